"""Every command has examples in its help, and the command line takes each as it stands."""

import shlex

import pytest

from indexer.cli.examples import EXAMPLES
from indexer.cli.parser import command_parser


@pytest.mark.parametrize("example", [one for examples in EXAMPLES.values() for one in examples])
def test_an_example_is_taken(example: str) -> None:
    options = command_parser().parse_args(shlex.split(example))
    assert str(options.data) == "data"


@pytest.mark.parametrize("name", EXAMPLES)
def test_help_shows_the_examples_on_80_columns(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit, match="0"):
        command_parser().parse_args([*(["cache"] if name == "prune" else []), name, "--help"])
    shown = capsys.readouterr().out
    for example in EXAMPLES[name]:
        assert f"  python -m indexer {example}\n" in shown
    assert max(map(len, shown.splitlines())) <= 80
