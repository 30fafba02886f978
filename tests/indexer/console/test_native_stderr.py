"""Native log lines of a program in a process of its own."""

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[3]
_PROGRAM = """
import os, sys
from indexer.console.native_stderr import without_native_logs

def native(line):
    os.write(2, line.encode() + b"\\n")

with without_native_logs():
    native("WARNING: All log messages before absl::InitializeLog() is called are written to STDERR")
    native("I0000 00:00:1795886610.402713    9106 cudart_stub.cc:31] Could not find cuda drivers on your machine")
    native("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.")
    native("E0000 00:00:1795886610.402713    9106 model.cc:7] the model is broken")
    native("*** a library gives up")
    print("what Python says – é", file=sys.stderr)
    assert os.isatty(2) is False
print("after", file=sys.stderr)
native("INFO: Created TensorFlow Lite, no more concern of ours")
raise KeyError("a traceback")
"""


def test_only_native_log_lines_are_dropped() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], cwd=_ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert set(lines[:3]) == {
        "E0000 00:00:1795886610.402713    9106 model.cc:7] the model is broken",
        "*** a library gives up",
        "what Python says – é",
    }
    assert lines[3:5] == ["after", "INFO: Created TensorFlow Lite, no more concern of ours"]
    assert lines[-1] == "KeyError: 'a traceback'"
