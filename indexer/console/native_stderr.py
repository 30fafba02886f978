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

_NATIVE_LOG = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR"
    rb"|[IW]\d{4} \d\d:\d\d:[\d.]+ +\d+ \S+\.cc:\d+\] "
    rb"|INFO: (Created|Initialized) TensorFlow Lite "
    rb"|To enable the following instructions: "
)


@contextmanager
def without_native_logs() -> Iterator[None]:
    """Drop native log lines while the program runs; to be entered before it starts threads."""
    if sys.stderr is None:  # the program was started with it closed
        yield
        return
    sys.stderr.flush()
    before, terminal = sys.stderr, os.dup(2)
    read_end, write_end = os.pipe()
    os.dup2(write_end, 2)
    os.close(write_end)
    filtering = threading.Thread(target=_pass_on, args=(os.fdopen(read_end, "rb"), terminal), daemon=True)
    filtering.start()
    sys.stderr = os.fdopen(os.dup(terminal), "w", buffering=1, encoding=before.encoding, errors=before.errors)
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr = before
        os.dup2(terminal, 2)  # closes the pipe's last write end, unless a child process still holds it
        filtering.join(timeout=1)


def _pass_on(native: BinaryIO, terminal: int) -> None:
    with native:
        for line in native:
            if not _NATIVE_LOG.match(line):
                os.write(terminal, line)
