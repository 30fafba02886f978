"""Keep TensorFlow's and LiteRT's own log lines off the terminal.

They write to file descriptor 2, past Python and, before their logging is set up, past `TF_CPP_MIN_LOG_LEVEL`. Within
`without_native_logs` that descriptor is a pipe, from which everything else is passed on; Python's own `sys.stderr`
goes straight to where it went before.
"""

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

_CHATTER = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR"
    rb"|[IW]\d{4} \d\d:\d\d:[\d.]+ +\d+ \S+\.cc:\d+\] "
    rb"|INFO: (Created|Initialized) TensorFlow Lite "
    rb"|To enable the following instructions: "
)


@contextmanager
def without_native_logs() -> Iterator[None]:
    """For the whole of a program, that has one thread so far."""
    if sys.stderr is None:  # closed by whoever started the program
        yield
        return
    sys.stderr.flush()
    before, there = sys.stderr, os.dup(2)
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    passing_on = threading.Thread(target=_pass_on, args=(os.fdopen(reading, "rb"), there), daemon=True)
    passing_on.start()
    sys.stderr = os.fdopen(os.dup(there), "w", buffering=1, encoding=before.encoding, errors=before.errors)
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr = before
        os.dup2(there, 2)  # closes the pipe's last end, unless a child process has it still
        passing_on.join(timeout=1)


def _pass_on(native: BinaryIO, there: int) -> None:
    with native:
        for line in native:
            if not _CHATTER.match(line):
                os.write(there, line)
