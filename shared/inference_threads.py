"""Threads for inference that let all others go first."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

NICENESS = 10
"""How much lower their priority is than the process's own; 20 would be the most."""


def inference_threads(count: int) -> ThreadPoolExecutor:
    """Threads of a lower priority than the rest of the process, where the system has that for threads.

    Inference takes all cores for as long as there is work. A thread that is answering a request needs one for moments,
    but often, and mostly holds Python's lock then: while it has to wait for its share of a core, nobody can do
    anything in Python, and the cores run empty a moment later.

    Args:
        count: how many run at once.
    """
    return ThreadPoolExecutor(count, "inference", initializer=_let_others_go_first)


def _let_others_go_first() -> None:
    if sys.platform == "linux":  # elsewhere this is of the whole process
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS))
