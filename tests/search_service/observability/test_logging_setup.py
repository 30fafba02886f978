"""The two forms of a line, and what reaches stderr of a process that logs so."""

import json
import logging
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from search_service.observability.logging_setup import JsonFormatter, TextFormatter, request_id

_ROOT = Path(__file__).parents[3]
_FORGED = 'x\n{"level": "error"}\r\x1b[31m\x00\u2028\u202e\x9b31m\ud800'


def _record(message: str, *args: object, level: int = logging.INFO, **named: object) -> logging.LogRecord:
    record = logging.LogRecord("search_service.x", level, __file__, 1, message, args, named.pop("exc_info", None))
    vars(record).update(named, created=1_800_000_000.0625)
    return record


def _raised() -> tuple:
    try:
        raise ValueError("wrong\nhere\x1b[2J")
    except ValueError:
        return sys.exc_info()


def test_json_has_utc_and_the_fields() -> None:
    line = JsonFormatter().format(_record("of %s", "all", fields={"status": 200, "ms": 1.5}))
    found = json.loads(line)
    assert list(found) == ["time", "level", "logger", "message", "pid", "status", "ms"]
    assert datetime.fromisoformat(found["time"]) == datetime(2027, 1, 15, 8, 0, 0, 62_000, tzinfo=UTC)
    assert found["time"].endswith("00.062Z")
    assert (found["level"], found["message"], found["status"]) == ("info", "of all", 200)


def test_a_record_made_while_a_request_is_answered_has_its_id() -> None:
    token = request_id.set("abc")
    try:
        assert json.loads(JsonFormatter().format(_record("x")))["request_id"] == "abc"
    finally:
        request_id.reset(token)


def test_nothing_that_a_client_sends_forges_a_line() -> None:
    line = JsonFormatter().format(_record("%s", _FORGED, fields={"path": _FORGED}))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["path"] == _FORGED
    text = TextFormatter(has_colours=False).format(_record("%s", _FORGED))
    assert text.isprintable()
    assert text.endswith(r'x\n{"level": "error"}\r\x1b[31m\x00\u2028\u202e\x9b31m\ud800')


def test_a_traceback_is_one_field_or_lines_set_off() -> None:
    record = _record("it failed", level=logging.ERROR, exc_info=_raised())
    found = json.loads(JsonFormatter().format(record))
    assert found["traceback"].startswith("Traceback (most recent call last):\n")
    assert "ValueError: wrong\nhere" in found["traceback"]
    first, *others = TextFormatter(has_colours=False).format(record).split("\n")
    assert first.endswith(" error: it failed")
    assert others[-2:] == ["    ValueError: wrong", r"    here\x1b[2J"]
    assert all(line.startswith("    ") and line.isprintable() for line in others)


def test_lines_have_a_greatest_length() -> None:
    record = _record("x" * 10**6, exc_info=(ValueError, ValueError("y" * 10**6), None))
    for formatter in (JsonFormatter(), TextFormatter(has_colours=False)):
        assert len(formatter.format(record)) < 10_000


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (logging.INFO, " hello"),
        (logging.WARNING, " \033[33mwarning: hello\033[0m"),
        (logging.ERROR, " \033[31merror: hello\033[0m"),
    ],
)
def test_colours_tell_the_level(level, shown) -> None:
    assert TextFormatter(has_colours=True).format(_record("hello", level=level))[8:] == shown
    assert "\033" not in TextFormatter(has_colours=False).format(_record("hello", level=level))


def _stderr(script: str, form: str, level: str) -> list[str]:
    """What a process that logs so has on stderr when it has run `script`."""
    begin = (
        f"import logging; from search_service.observability.logging_setup import *; configure({form!r}, {level!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", begin + script], cwd=_ROOT, capture_output=True, text=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_off_a_terminal_everything_is_json_also_what_nobody_caught() -> None:
    script = """
import os, threading, warnings
logging.getLogger("search_service.x").info("ours")
logging.getLogger("PIL.x").info("not heard")
warnings.warn("of a library")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start(); thread.join()
with without_native_messages():
    os.write(2, b"INFO: hello of C++\\n")
    logging.getLogger("search_service.x").info("heard meanwhile")
os.write(2, b'{"logger": "py.warnings", "of": "C++"}\\n')
raise KeyError("end")
"""
    lines = [json.loads(line) for line in _stderr(script, "auto", "info")]
    assert [(line["level"], line["message"]) for line in lines if line["logger"] != "py.warnings"] == [
        ("info", "ours"),
        ("error", "a thread has ended"),
        ("info", "heard meanwhile"),
        ("critical", "the process ends"),
    ]
    assert lines[1]["level"] == "warning"
    assert "UserWarning: of a library" in lines[1]["message"]
    assert lines[2]["traceback"].endswith("ZeroDivisionError: division by zero")
    assert lines[-1]["traceback"].endswith("KeyError: 'end'")


def test_the_level_is_of_our_own_records() -> None:
    script = "\n".join(
        f"logging.getLogger('search_service').{level}('{level}')" for level in ("debug", "info", "warning")
    )
    assert [line[9:] for line in _stderr(script, "text", "debug")] == ["debug", "info", "warning: warning"]
    assert [line[9:] for line in _stderr(script, "text", "warning")] == ["warning: warning"]
