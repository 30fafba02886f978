"""Time several ways of doing one thing in turns, so that noise hits all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timed:
    """Medians over the rounds.

    Attributes:
        way: what was timed.
        wall_ms: milliseconds an image.
        cpu_ms: processor time an image, of all threads of this process.
    """

    way: str
    wall_ms: float
    cpu_ms: float


def time_in_turns(ways: Mapping[str, tuple[int, Callable[[], object]]], rounds: int) -> list[Timed]:
    """Call every way once to warm it, then once a round.

    Args:
        ways: by name, how many images a call handles, and the call.
        rounds: how many.
    """
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _, call in ways.values():
        call()
    for _ in range(rounds):
        for way, (images, call) in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            found[way].append(
                (1000 * (time.perf_counter() - wall) / images, 1000 * (time.process_time() - cpu) / images)
            )
    return [
        Timed(way, statistics.median(wall for wall, _ in times), statistics.median(cpu for _, cpu in times))
        for way, times in found.items()
    ]
