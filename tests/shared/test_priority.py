import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from shared.priority import INDEXER_NICENESS, INFERENCE_NICENESS, inference_threads

_ROOT = Path(__file__).parents[2]
_LOWER_TWICE = (
    "import os; from shared.priority import lower_process_priority;"
    " lower_process_priority(); lower_process_priority(); print(os.nice(0))"
)

has_niceness = pytest.mark.skipif(not hasattr(os, "nice"), reason="the system has no niceness")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have the priority of their process")
def test_inference_threads_have_a_lower_priority() -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def priority_of_a_child_thread() -> int:
        priorities = []
        thread = threading.Thread(target=lambda: priorities.append(priority()))
        thread.start()
        thread.join()
        return priorities[0]

    before = priority()
    with inference_threads(2) as threads:
        assert threads.submit(priority).result() == min(19, before + INFERENCE_NICENESS)
        assert threads.submit(priority_of_a_child_thread).result() == min(19, before + INFERENCE_NICENESS)
    assert priority() == before


def test_inference_threads_run_at_once() -> None:
    barrier = threading.Barrier(2)
    with inference_threads(2) as threads:
        assert sorted(threads.map(lambda _: barrier.wait(30), range(2))) == [0, 1]


@has_niceness
@pytest.mark.parametrize(("before", "expected"), [(0, INDEXER_NICENESS), (INDEXER_NICENESS + 2, INDEXER_NICENESS + 2)])
def test_process_priority_is_lowered_once_and_never_raised(before: int, expected: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.nice(max(0, {before} - os.nice(0))); {_LOWER_TWICE}"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == max(expected, os.nice(0))


def test_the_indexer_has_a_lower_priority_than_inference() -> None:
    assert INDEXER_NICENESS > INFERENCE_NICENESS


@has_niceness
def test_the_indexer_lowers_its_priority() -> None:
    source = "import runpy, sys, os\nsys.argv = ['indexer', '--version']\n"
    source += "try: runpy.run_module('indexer', run_name='__main__')\nexcept SystemExit: print(os.nice(0))"
    done = subprocess.run([sys.executable, "-c", source], cwd=_ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) >= INDEXER_NICENESS
