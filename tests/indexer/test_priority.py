import os
import subprocess
import sys
from pathlib import Path

import pytest

from indexer.priority import NICENESS
from shared import priority as inference_threads

_ROOT = Path(__file__).parents[2]
_RUN = "import os; from indexer.priority import give_way; give_way(); give_way(); print(os.nice(0))"

pytestmark = pytest.mark.skipif(not hasattr(os, "nice"), reason="there are no such priorities here")


@pytest.mark.parametrize(("before", "wanted"), [(0, NICENESS), (NICENESS + 2, NICENESS + 2)])
def test_it_is_lowered_once_and_never_raised(before: int, wanted: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.nice(max(0, {before} - os.nice(0))); {_RUN}"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == max(wanted, os.nice(0))


def test_inference_of_a_service_goes_first() -> None:
    assert NICENESS > inference_threads.NICENESS


def test_the_program_gives_way() -> None:
    source = "import runpy, sys, os\nsys.argv = ['indexer', '--version']\n"
    source += "try: runpy.run_module('indexer', run_name='__main__')\nexcept SystemExit: print(os.nice(0))"
    done = subprocess.run([sys.executable, "-c", source], cwd=_ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) >= NICENESS
