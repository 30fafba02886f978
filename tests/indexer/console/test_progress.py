import os
import re
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from indexer.console.progress import TerminalReporter

_ROOT = Path(__file__).parents[3]
_STAGES = """
import time
from indexer.console.progress import TerminalReporter
reporter = TerminalReporter()
with reporter.stage("embed images", 1_000_000) as stage:
    for _ in range(40):
        stage.advance()
        time.sleep(0.05)
with reporter.stage("read catalogue") as stage:
    for _ in range(20):
        stage.advance()
        time.sleep(0.05)
"""


def test_everything_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = TerminalReporter()
    reporter.say("built [bold] from 'a' – 1,000 items")
    with reporter.stage("embed images", 3) as stage:
        for _ in range(3):
            stage.advance()
    with reporter.stage("read catalogue"):
        pass
    reporter.table("Build", ["figure", "value"], [("items", 1234), ("share", 0.98765), ("published", True)])
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0] == "built [bold] from 'a' – 1,000 items"
    assert lines[1].startswith("embed images")
    assert "3/3" in lines[1]
    assert lines[2].startswith("read catalogue")
    for text in ("Build", "1,234", "0.9877", "yes"):
        assert text in captured.err


def test_a_failing_stage_leaves_its_line_and_its_error(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with TerminalReporter().stage("embed images", 3) as stage:
            stage.advance()
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert "1/3" in capsys.readouterr().err


def test_a_wide_table_loses_nothing_when_it_goes_to_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    cells = [f"20260101T00000{number}-abcdef" for number in range(5)]
    TerminalReporter().table("Snapshots", list("abcde"), [cells])
    shown = capsys.readouterr().err
    for cell in cells:
        assert cell in shown


def test_a_stage_on_a_terminal_has_rate_and_time_left_in_colour_and_fits_80_columns() -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_ROOT), "TERM": "xterm-256color"}
    shown = pexpect.spawn(
        sys.executable, ["-c", _STAGES], encoding="utf-8", dimensions=(40, 80), timeout=120, env=environment
    ).read()
    assert "\x1b[3" in shown
    frames = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown))
    assert max(map(len, frames)) <= 80
    assert any(re.search(r"embed images .* \d+/1000000 [\d.]+/s \d+:\d\d:\d\d 0:00:0", frame) for frame in frames)
    assert any(re.search(r"read catalogue .* \d+ [\d.]+/s 0:00:0", frame) for frame in frames)


def test_without_a_terminal_a_stage_is_a_line_without_colour() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _STAGES], cwd=_ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    assert "\x1b" not in done.stderr
    assert [line.split("  ")[0] for line in done.stderr.splitlines()] == ["embed images", "read catalogue"]
    assert done.stdout == ""
