"""How many connections there may be, in all and of one network, and what they may hold; who is given up for others."""

from collections import Counter
from typing import Protocol

from shared.errors import Overloaded, ParecidoError

_HOLDS_TOO_MUCH = "the service is busy: it holds as many bytes of requests as it may; try again in 1 s"


class Evictable(Protocol):
    """What is asked of a connection."""

    network: str
    is_busy: bool
    progress_s: float
    held_bytes: int

    @property
    def is_idle(self) -> bool:
        """Whether it waits between two requests."""

    def evict(self, reason: ParecidoError | None = None) -> None:
        """End it."""


class ConnectionLimits:
    """The open connections of one worker.

    Whoever has most makes room: a newcomer takes the place of the connection that has made no progress for the longest
    time, among those of the network that has most. Bytes are counted likewise; of a network that holds more than its
    share, its own connections make room, however quick they are.

    Attributes:
        is_draining: whether each connection ends with its next answer.
    """

    def __init__(self, most: int, most_of_network: int, max_held_bytes: int, max_held_of_network: int) -> None:
        """Set the limits."""
        self.is_draining = False
        self._most, self._most_of_network = most, most_of_network
        self._max_held_bytes, self._max_held_of_network = max_held_bytes, max_held_of_network
        self._open: set[Evictable] = set()
        self._held: Counter[str] = Counter()  # bytes, of each network that holds some
        self._held_bytes = 0

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    @property
    def held_bytes(self) -> int:
        """What all of them hold."""
        return self._held_bytes

    def evict_idle(self) -> None:
        """Close the connections that wait between two requests."""
        for connection in [one for one in self._open if one.is_idle]:
            connection.evict()

    def add(self, connection: Evictable) -> bool:
        """Let one in, in another one's place where there are too many; False where all others are busy."""
        of_network = Counter(one.network for one in self._open) if len(self._open) >= self._most_of_network else {}
        largest = connection.network if of_network.get(connection.network, 0) >= self._most_of_network else None
        if largest is None and len(self._open) >= self._most:
            largest = max(of_network, key=lambda network: of_network[network])
        if largest is not None and not self._replace(largest):
            return False
        self._open.add(connection)
        return True

    def remove(self, connection: Evictable) -> None:
        """It is closed."""
        self.release(connection)
        self._open.discard(connection)

    def hold(self, connection: Evictable, n_bytes: int) -> None:
        """Count further bytes that one holds, and make room where its network, or all together, hold too many."""
        connection.held_bytes += n_bytes
        self._held[connection.network] += n_bytes
        self._held_bytes += n_bytes
        if self._held[connection.network] > self._max_held_of_network:
            self._make_room(connection.network)
        elif self._held_bytes > self._max_held_bytes:
            # Requests that are whole are not given up: then the network that has the next most has to wait.
            for network, _ in self._held.most_common():
                if self._make_room(network):
                    break

    def release(self, connection: Evictable) -> None:
        """It holds nothing any more."""
        self._held_bytes -= connection.held_bytes
        self._held[connection.network] -= connection.held_bytes
        if not self._held[connection.network]:
            del self._held[connection.network]
        connection.held_bytes = 0

    def _make_room(self, network: str) -> bool:
        """Have the most stalled connection of a network give up what it holds, and return whether there was one.

        It stays open until its client has read why.
        """
        stalled = _most_stalled([one for one in self._open if one.held_bytes and one.network == network])
        if stalled is not None:
            stalled.evict(Overloaded(_HOLDS_TOO_MUCH))
            self.release(stalled)
        return stalled is not None

    def _replace(self, network: str) -> bool:
        """Close the most stalled connection of a network, and return whether there was one."""
        stalled = _most_stalled([one for one in self._open if one.network == network])
        if stalled is not None:
            stalled.evict()
            self.remove(stalled)
        return stalled is not None


def _most_stalled(candidates: list[Evictable]) -> Evictable | None:
    return min((one for one in candidates if not one.is_busy), key=lambda one: one.progress_s, default=None)
