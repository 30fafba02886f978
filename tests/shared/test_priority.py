import os
import sys
import threading

import pytest

from shared.priority import NICENESS, inference_threads


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have the priority of their process")
def test_they_let_the_rest_of_the_process_go_first() -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def priority_of_a_thread_made_there() -> int:
        found = []
        thread = threading.Thread(target=lambda: found.append(priority()))
        thread.start()
        thread.join()
        return found[0]

    before = priority()
    with inference_threads(2) as threads:
        assert threads.submit(priority).result() == min(19, before + NICENESS)
        assert threads.submit(priority_of_a_thread_made_there).result() == min(19, before + NICENESS)
    assert priority() == before


def test_so_many_run_at_once() -> None:
    met = threading.Barrier(2)
    with inference_threads(2) as threads:
        assert sorted(threads.map(lambda _: met.wait(30), range(2))) == [0, 1]
