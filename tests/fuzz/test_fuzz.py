"""The fuzzer for some seconds; `make fuzz` runs it for longer."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("atheris", reason="there is no atheris for this Python or platform")


def test_the_fuzzer_finds_nothing(tmp_path: Path) -> None:
    script = Path(__file__).with_name("decoding.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "corpus"), "-max_total_time=10", "-seed=1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    runs = re.search(r"Done (\d+) runs", done.stderr)
    assert runs is not None
    assert int(runs[1]) > 1000
