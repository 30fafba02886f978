"""The event loop knows how late it is, and slows down those who cost it most."""

import asyncio
import time
from contextlib import suppress

import pytest

from search_service.server import backpressure as pace_module
from search_service.server.backpressure import Backpressure


def test_a_loop_that_was_held_up_is_late_and_recovers() -> None:
    async def run() -> tuple[float, float]:
        pace = Backpressure()
        measuring = asyncio.create_task(pace.measure())
        await asyncio.sleep(0.01)
        time.sleep(0.2)
        await asyncio.sleep(0.01)
        held_up_s = pace.late_s
        for _ in range(200):
            await asyncio.sleep(0.05)
            if pace.late_s < held_up_s / 4:
                break
        measuring.cancel()
        with suppress(asyncio.CancelledError):
            await measuring
        return held_up_s, pace.late_s

    held_up_s, later_s = asyncio.run(run())
    assert held_up_s >= 0.1
    assert later_s < held_up_s / 4


@pytest.mark.parametrize(
    ("late_s", "block_s", "error_s"),
    [(0.0, None, None), (0.004, None, None), (0.01, 0.2, 0.5), (0.03, 0.6, 1.5), (9.0, 1.0, 2.0)],
)
def test_waits_grow_with_how_late_it_is_up_to_a_bound(monkeypatch, late_s, block_s, error_s) -> None:
    waited: list[float] = []

    async def note(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(pace_module.asyncio, "sleep", note)
    pace = Backpressure()
    pace.late_s = late_s
    for wait in (pace.before_block(), pace.before_error()):
        with suppress(StopIteration):
            wait.send(None)
    assert waited == pytest.approx([seconds for seconds in (block_s, error_s) if seconds is not None])
