"""Back-pressure: while the event loop is late, clients that send much or only get errors are slowed down.

A client that sends megabytes, or retries at once what is rejected, can cost the event loop more time than there is. The
lateness of its wake-ups shows that, whatever the cause.
"""

import asyncio

_TICK_S = 0.05
_TOLERATED_S = 0.005
_DECAY = 0.8
_BLOCK_FACTOR, _MAX_BLOCK_S = 20, 1.0
_ERROR_FACTOR, _MAX_ERROR_S = 50, 2.0


class Backpressure:
    """The lateness of one event loop.

    Attributes:
        late_s: how late the loop has been lately, at worst; decays.
    """

    def __init__(self) -> None:
        """Start without lateness."""
        self.late_s = 0.0

    async def measure(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            expected_s = loop.time() + _TICK_S
            await asyncio.sleep(_TICK_S)
            self.late_s = max(loop.time() - expected_s, _DECAY * self.late_s)

    async def before_block(self) -> None:
        """Wait before more of a long body is read."""
        if self.late_s > _TOLERATED_S:
            await asyncio.sleep(min(_BLOCK_FACTOR * self.late_s, _MAX_BLOCK_S))

    async def before_error(self) -> None:
        """Wait before an error is sent."""
        if self.late_s > _TOLERATED_S:
            await asyncio.sleep(min(_ERROR_FACTOR * self.late_s, _MAX_ERROR_S))
