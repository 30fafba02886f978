"""Slows down clients that send much, or get errors only, while the event loop is late: the others are answered in time.

An attacker who sends megabytes, or asks again at once for what is refused, costs the event loop more than it has. How
late it wakes up tells so, whatever the cause is.
"""

import asyncio

_TICK_S = 0.05
_LATE_S = 0.005
"""A loop that is late by less has time for everybody."""
_FADING = 0.8
_BLOCK_TIMES, _MOST_BLOCK_S = 20, 1.0
_ERROR_TIMES, _MOST_ERROR_S = 50, 2.0


class Backpressure:
    """Of one event loop.

    Attributes:
        late_s: how late it has been lately, at worst.
    """

    def __init__(self) -> None:
        """Not late yet."""
        self.late_s = 0.0

    async def measure(self) -> None:
        """Go on until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            wanted_s = loop.time() + _TICK_S
            await asyncio.sleep(_TICK_S)
            self.late_s = max(loop.time() - wanted_s, _FADING * self.late_s)

    async def before_block(self) -> None:
        """Wait before more of a long body is read."""
        if self.late_s > _LATE_S:
            await asyncio.sleep(min(_BLOCK_TIMES * self.late_s, _MOST_BLOCK_S))

    async def before_error(self) -> None:
        """Wait before an error is sent."""
        if self.late_s > _LATE_S:
            await asyncio.sleep(min(_ERROR_TIMES * self.late_s, _MOST_ERROR_S))
