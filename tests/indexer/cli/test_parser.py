"""The parser that is made from the declarations of options."""

import shlex
from dataclasses import fields

import pytest

from indexer.cli.options import COMMANDS
from indexer.cli.parser import command_parser
from indexer.settings import BuildSettings

_EXAMPLES = [example for command in COMMANDS.values() for example in command.examples]


def _usage_error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit, match="2"):
        command_parser().parse_args(arguments)
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("example", _EXAMPLES)
def test_an_example_is_parsed(example: str) -> None:
    options = vars(command_parser().parse_args(shlex.split(example)))
    assert example.startswith(options["command"])


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_examples_on_80_columns(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit, match="0"):
        command_parser().parse_args([*name.split(), "--help"])
    shown = capsys.readouterr().out
    for example in COMMANDS[name].examples:
        assert f"  python -m indexer {example}\n" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_only_options_that_were_given_are_parsed() -> None:
    options = vars(command_parser().parse_args(["build", "--max-bad", "0.5", "--dry-run"]))
    assert options == {"command": "build", "json": False, "max_bad": 0.5, "dry_run": True}


def test_every_setting_of_a_build_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        command_parser().parse_args(["build", "--help"])
    shown = capsys.readouterr().out
    assert all(f"--{field.name.replace('_', '-')}" in shown for field in fields(BuildSettings))
    assert "copies of each image, to train the classifier on (default: 2)" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("build", "--seed", "x"), "argument --seed: 'x' given; expected an integer from 0 to 2,147,483,647"),
        (("build", "--weights", ""), "argument --weights: '' given; expected a path"),
        (("build", "--catalogue", "file:///a"), "'file:///a' is a file on this machine"),
        (("build", "--backbone", "resnet"), "argument --backbone: invalid choice: 'resnet'"),
        (("plan",), "the following arguments are required: --items"),
        (("diff",), "the following arguments are required: before"),
    ],
)
def test_a_usage_error_names_the_option(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert message in _usage_error(capsys, *arguments)
