"""Priorities of threads and processes: requests come first, then inference, costly searches, and indexing."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

INFERENCE_NICENESS = 10
"""Added to the process's own niceness, of at most 19, for inference."""
COSTLY_SEARCH_NICENESS = 15
"""Added to the process's own niceness for costly searches: photos are embedded first."""
INDEXER_NICENESS = INFERENCE_NICENESS + 5
"""Gives a service's inference about three times the indexer's share of a core that both want."""


def inference_threads(count: int) -> ThreadPoolExecutor:
    """Create threads for inference of a lower priority than the rest of the process, where the system supports it.

    Inference takes all cores for as long as there is work. A thread that answers a request needs a core briefly but
    often, and mostly holds the GIL then: while it waits for its share of a core no Python code runs, and the cores are
    idle a moment later.

    Args:
        count: number of threads.
    """
    return ThreadPoolExecutor(count, "inference", initializer=_raise_niceness, initargs=(INFERENCE_NICENESS,))


def costly_search_threads(count: int) -> ThreadPoolExecutor:
    """Create threads for costly searches, whose priority is lower than that of inference.

    Args:
        count: number of threads.
    """
    return ThreadPoolExecutor(count, "costly", initializer=_raise_niceness, initargs=(COSTLY_SEARCH_NICENESS,))


def lower_process_priority() -> None:
    """Lower this process's priority below that of a service's inference on the same machine.

    Does nothing if it is that low already, or the system has no niceness.
    """
    if hasattr(os, "nice"):
        os.nice(max(0, INDEXER_NICENESS - os.nice(0)))


def _raise_niceness(niceness: int) -> None:
    if sys.platform == "linux":  # elsewhere niceness is the whole process's
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + niceness))
