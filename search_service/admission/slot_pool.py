"""A pool of slots, of which batches take a limited share. Not thread-safe: `AdmissionController` locks it."""

import math

# After two queries have met, each keeps to one core for so long: there are several clients, and more may come.
_CONTENTION_S = 0.1


class SlotPool:
    """The slots of one process.

    Attributes:
        size: number of slots.
        free: number of free slots.
    """

    def __init__(self, size: int) -> None:
        """Make `size` free slots."""
        self.size = self.free = size
        self._n_batch = 0  # slots that queries of batches have
        self._contended_s = -math.inf

    def note_contention(self, now_s: float) -> None:
        """Note that several queries are there at `now_s`, so that none takes all slots."""
        self._contended_s = now_s

    def allows_batch(self, single_waits: bool) -> bool:
        """Return True if a query of a batch may take a slot: one stays free, or half of them if single queries wait."""
        return self._n_batch < max(1, self.size // 2 if single_waits else self.size - 1)

    def take(self, is_batch: bool) -> None:
        """Take a free slot."""
        self.free -= 1
        self._n_batch += is_batch

    def take_rest(self, now_s: float) -> int:
        """Take all other slots if only one is taken and there was no contention lately; return how many."""
        is_alone = self.free == self.size - 1 and now_s - self._contended_s > _CONTENTION_S
        taken = self.free if is_alone else 0
        self.free -= taken
        return taken

    def give_back(self, slots: int, is_batch: bool) -> None:
        """Free the slots of one query."""
        self.free += slots
        self._n_batch -= is_batch
