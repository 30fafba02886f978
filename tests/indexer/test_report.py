import pytest

from indexer.report import TerminalReporter


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
