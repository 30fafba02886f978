"""Threads of a lower priority than the rest of the process: for inference, and lower still for costly searches."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

NICENESS = 10
"""How much lower the priority of inference is than the process's own; 20 would be the most."""
COSTLY_NICENESS = 15
"""The same for costly searches: photos are embedded first."""


def inference_threads(count: int) -> ThreadPoolExecutor:
    """Threads of a lower priority than the rest of the process, where the system has that for threads.

    Inference takes all cores for as long as there is work. A thread that is answering a request needs one for moments,
    but often, and mostly holds Python's lock then: while it has to wait for its share of a core, nobody can do
    anything in Python, and the cores run empty a moment later.

    Args:
        count: how many run at once.
    """
    return ThreadPoolExecutor(count, "inference", initializer=_let_others_go_first, initargs=(NICENESS,))


def costly_search_threads(count: int) -> ThreadPoolExecutor:
    """Threads that let inference go first too.

    Args:
        count: how many run at once.
    """
    return ThreadPoolExecutor(count, "costly", initializer=_let_others_go_first, initargs=(COSTLY_NICENESS,))


def _let_others_go_first(niceness: int) -> None:
    if sys.platform == "linux":  # elsewhere this is of the whole process
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + niceness))
