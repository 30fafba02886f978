"""A real bash on a terminal, set up as the documentation says."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

_ROOT = Path(__file__).parents[3]
_PAGE = (_ROOT / "docs/reference/command-line.md").read_text(encoding="utf-8")
_SET_UP = 'eval "$(activate-global-python-argcomplete --dest=-)"'

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")


@pytest.fixture(scope="module")
def bash() -> Iterator[pexpect.spawn]:
    """With the virtual environment that runs the tests in front, as `activate` puts it."""
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PS1": "$ ", "TERM": "dumb"}
    shell = pexpect.spawn(
        "bash",
        ["--norc", "--noprofile"],
        encoding="utf-8",
        dimensions=(40, 200),
        timeout=300,
        cwd=_ROOT,
        env=environment,
    )
    shell.sendline(f'{_SET_UP}; echo "rea""dy"')
    shell.expect("ready")
    yield shell
    shell.close(force=True)


def completed(bash: pexpect.spawn, typed: str, expected: str) -> None:
    """Type it and Tab, and wait for what the shell adds; then the line is cleared."""
    bash.sendcontrol("u")
    bash.send(f"{typed}\t")
    bash.expect_exact(typed + expected)


def test_the_documentation_says_how_it_is_set_up() -> None:
    assert _SET_UP in _PAGE


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("python -m indexer ev", "aluate "),
        ("python -m indexer cache ", "prune "),
        ("python -m indexer build --backbone efficientnet_l", "ite0 "),
        ("python -m indexer build --catalogue READ", "ME.md "),
    ],
)
def test_commands_options_choices_and_files(bash: pexpect.spawn, typed: str, expected: str) -> None:
    completed(bash, typed, expected)


def test_ids_of_snapshots(bash: pexpect.spawn, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshots" / "20260101T000000000-abcdef"
    snapshot.mkdir(parents=True)
    (snapshot / "manifest.json").touch()
    completed(bash, f"python -m indexer diff --data {tmp_path} ", f"{snapshot.name} ")
