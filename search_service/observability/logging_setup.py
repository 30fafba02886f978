"""Logging of the service: one line per record on stderr, as JSON or text. Does not depend on Flask.

Structured values of a record are its `fields`: `log.info("…", extra={"fields": {"status": 200}})`. Both formats escape
characters that are not printable, so that data from clients can neither begin a line nor move the cursor.
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
"""Id of the request that this thread handles; added to its records."""

FORMATS = ("auto", "json", "text")
LEVELS = ("debug", "info", "warning", "error")
_OWN_LOGGERS = ("search_service", "shared", "gunicorn")
# Short enough that the lines of several workers are not interleaved in a pipe.
_MAX_MESSAGE_CHARS = 1_000
_MAX_TRACEBACK_CHARS = 8_000
_COLOURS = {logging.WARNING: "\033[33m", logging.ERROR: "\033[31m", logging.CRITICAL: "\033[31m"}
_RESET_COLOUR = "\033[0m"


def configure(form: str, level: str) -> None:
    """Configure the logging of this process and of the processes that it forks. Libraries log warnings and errors only.

    Args:
        form: one of `FORMATS`; `auto` is text on a terminal, and JSON otherwise.
        level: one of `LEVELS`.
    """
    # A separate descriptor, so that `without_native_messages` does not silence the log.
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
    for name in _OWN_LOGGERS:
        logging.getLogger(name).setLevel(level.upper())
    logging.captureWarnings(True)
    sys.excepthook = lambda kind, error, at: root.critical("the process ends", exc_info=(kind, error, at))
    threading.excepthook = lambda given: root.error("a thread has ended", exc_info=given.exc_value)


@contextmanager
def without_native_messages() -> Iterator[None]:
    """Discard messages that C++ libraries such as LiteRT print on stderr; their errors are still raised."""
    stderr = os.dup(2)
    try:
        with open(os.devnull, "w") as null_device:
            os.dup2(null_device.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the JSON object: standard keys first, then the fields."""
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:_MAX_MESSAGE_CHARS],
            "pid": record.process,
        }
        if (current_id := request_id.get()) is not None:
            content["request_id"] = current_id
        content |= getattr(record, "fields", {})
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)[-_MAX_TRACEBACK_CHARS:]
        return json.dumps(content, default=str)


class TextFormatter(logging.Formatter):
    """Formats a record as local time, level if above `info`, and message; a traceback follows on lines of its own."""

    def __init__(self, has_colours: bool) -> None:
        super().__init__()
        self._has_colours = has_colours

    def format(self, record: logging.LogRecord) -> str:
        """Return the text, without the fields: messages already have what a person needs."""
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        text = level + _printable(record.getMessage()[:_MAX_MESSAGE_CHARS])
        if self._has_colours and record.levelno in _COLOURS:
            text = f"{_COLOURS[record.levelno]}{text}{_RESET_COLOUR}"
        lines = [f"{datetime.fromtimestamp(record.created):%H:%M:%S} {text}"]
        if record.exc_info:
            traceback = self.formatException(record.exc_info)[-_MAX_TRACEBACK_CHARS:]
            lines += ["    " + _printable(line) for line in traceback.split("\n")]
        return "\n".join(lines)


class GunicornLog(Logger):  # type: ignore[misc]
    """Gunicorn's logger: same format as other records, routine messages at `debug`, and no access log."""

    def setup(self, cfg: Any) -> None:
        """Use the handlers of `configure`; gunicorn calls this when it starts and when it reloads."""
        self.cfg = cfg
        self.error_log.propagate = True

    def info(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Log at `debug`."""
        self.debug(msg, *args, **kwargs)


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
