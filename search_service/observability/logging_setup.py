"""The service's log: one line a record on stderr, JSON for machines or text for people. Knows nothing of the web.

What a record tells beside its message is in its `fields`: `log.info("…", extra={"fields": {"status": 200}})`. Whatever
a client sent, it cannot begin a line or move the cursor: both forms escape what is not printable.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from gunicorn.glogging import Logger

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Of the request that this thread answers; every record made meanwhile has it."""

FORMATS = ("auto", "json", "text")
LEVELS = ("debug", "info", "warning", "error")
_OURS = ("search_service", "shared", "gunicorn")
# A line as long as this still reaches a pipe whole, among those of other workers.
_MOST_MESSAGE = 1_000
_MOST_TRACEBACK = 8_000
_COLOURS = {logging.WARNING: "\033[33m", logging.ERROR: "\033[31m", logging.CRITICAL: "\033[31m"}
_PLAIN = "\033[0m"


def configure(form: str, level: str) -> None:
    """Log all of this process, and of what it forks, in one way. Libraries are heard from `warning` on.

    Args:
        form: one of `FORMATS`; `auto` is text on a terminal, JSON elsewhere.
        level: one of `LEVELS`.
    """
    # A descriptor of its own: `without_native_messages` does not silence it.
    stream = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace")
    is_terminal = stream.isatty()
    handler = logging.StreamHandler(stream)
    if form == "text" or (form == "auto" and is_terminal):
        handler.setFormatter(TextFormatter(has_colours=is_terminal and not os.environ.get("NO_COLOR")))
    else:
        handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in _OURS:
        logging.getLogger(name).setLevel(level.upper())
    logging.captureWarnings(True)
    sys.excepthook = lambda kind, error, at: root.critical("the process ends", exc_info=(kind, error, at))
    threading.excepthook = lambda given: root.error("a thread has ended", exc_info=given.exc_value)


@contextmanager
def without_native_messages() -> Iterator[None]:
    """Drop what libraries in C++ print on stderr themselves, such as LiteRT's greeting; a fault of theirs raises."""
    stderr = os.dup(2)
    try:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


class JsonFormatter(logging.Formatter):
    """One JSON object, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's own keys first, then its fields."""
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:_MOST_MESSAGE],
            "pid": record.process,
        }
        if (known := request_id.get()) is not None:
            content["request_id"] = known
        content |= getattr(record, "fields", {})
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)[-_MOST_TRACEBACK:]
        return json.dumps(content, default=str)


class TextFormatter(logging.Formatter):
    """The local time and the message; its level where that is more than `info`, a traceback on lines of its own."""

    def __init__(self, has_colours: bool) -> None:
        super().__init__()
        self._has_colours = has_colours

    def format(self, record: logging.LogRecord) -> str:
        """Without the fields: what a person needs of them is in the message."""
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        text = level + _printable(record.getMessage()[:_MOST_MESSAGE])
        if self._has_colours and record.levelno in _COLOURS:
            text = f"{_COLOURS[record.levelno]}{text}{_PLAIN}"
        lines = [f"{datetime.fromtimestamp(record.created):%H:%M:%S} {text}"]
        if record.exc_info:
            traceback = self.formatException(record.exc_info)[-_MOST_TRACEBACK:]
            lines += ["    " + _printable(line) for line in traceback.split("\n")]
        return "\n".join(lines)


class GunicornLog(Logger):  # type: ignore[misc]
    """Gunicorn's own lines, as all others; what it does day by day is for `debug`. We log the requests ourselves."""

    def setup(self, cfg: Any) -> None:
        """Leave everything to `configure`; gunicorn calls this at its start and at a reload."""
        self.cfg = cfg
        self.error_log.propagate = True

    def info(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Log it as `debug`."""
        self.debug(msg, *args, **kwargs)


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
