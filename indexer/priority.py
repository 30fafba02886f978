"""The indexer is in no hurry: who waits for an answer goes first."""

import os

from shared.priority import NICENESS as INFERENCE_NICENESS

NICENESS = INFERENCE_NICENESS + 5
"""A core that both want gives a service's inference about three times as much of its time."""


def give_way() -> None:
    """Lower the priority of this process below that of inference in a service on the same machine.

    Where it is that low already, or the system has no such priorities, nothing changes.
    """
    if hasattr(os, "nice"):
        os.nice(max(0, NICENESS - os.nice(0)))
