"""Limits on connections and on the bytes that they hold, in all and per network, and the eviction of others."""

from collections import Counter
from typing import Protocol

from shared.errors import Overloaded, ParecidoError

_MEMORY_FULL = "the service is busy: the memory for requests is full; retry in 1 s"


class Evictable(Protocol):
    """The part of a connection that limits need."""

    network: str
    is_busy: bool
    progress_s: float
    held_bytes: int

    @property
    def is_idle(self) -> bool:
        """True between two requests."""

    def evict(self, error: ParecidoError | None = None) -> None:
        """End it."""


class ConnectionLimits:
    """The open connections of one worker.

    A newcomer evicts the connection that has made no progress for the longest time, of the network that has most. So do
    bytes; but a network that holds more than its share makes room itself, however fast its connections are.

    Attributes:
        is_draining: True if each connection ends with its next response.
    """

    def __init__(
        self, max_connections: int, max_of_network: int, max_held_bytes: int, max_held_of_network: int
    ) -> None:
        """Set the limits."""
        self.is_draining = False
        self._max_connections, self._max_of_network = max_connections, max_of_network
        self._max_held_bytes, self._max_held_of_network = max_held_bytes, max_held_of_network
        self._open: set[Evictable] = set()
        self._held: Counter[str] = Counter()  # bytes, of each network that holds some
        self._held_bytes = 0

    def __len__(self) -> int:
        """Return the number of open connections."""
        return len(self._open)

    @property
    def held_bytes(self) -> int:
        """Bytes held by all connections."""
        return self._held_bytes

    def evict_idle(self) -> None:
        """End the connections that are between two requests."""
        for connection in [candidate for candidate in self._open if candidate.is_idle]:
            connection.evict()

    def add(self, connection: Evictable) -> bool:
        """Add a connection, evicting another one if needed; return False if all others are busy."""
        n_open = len(self._open)
        of_network = Counter(other.network for other in self._open) if n_open >= self._max_of_network else Counter()
        largest = connection.network if of_network[connection.network] >= self._max_of_network else None
        if largest is None and n_open >= self._max_connections:
            largest = max(of_network, key=lambda network: of_network[network])
        if largest is not None and not self._replace(largest):
            return False
        self._open.add(connection)
        return True

    def remove(self, connection: Evictable) -> None:
        """Remove a closed connection."""
        self.release(connection)
        self._open.discard(connection)

    def hold(self, connection: Evictable, n_bytes: int) -> None:
        """Count further bytes of a connection, and free some if its network or all networks hold too many."""
        connection.held_bytes += n_bytes
        self._held[connection.network] += n_bytes
        self._held_bytes += n_bytes
        if self._held[connection.network] > self._max_held_of_network:
            self._free_bytes_of(connection.network)
        elif self._held_bytes > self._max_held_bytes:
            # Complete requests are not evicted: then it is the turn of the network with the next most bytes.
            for network, _ in self._held.most_common():
                if self._free_bytes_of(network):
                    break

    def release(self, connection: Evictable) -> None:
        """Note that a connection holds no bytes any more."""
        self._held_bytes -= connection.held_bytes
        self._held[connection.network] -= connection.held_bytes
        if not self._held[connection.network]:
            del self._held[connection.network]
        connection.held_bytes = 0

    def _free_bytes_of(self, network: str) -> bool:
        """Evict the most stalled connection of a network that holds bytes; return False if there is none.

        It stays open until its client has read the error.
        """
        stalled = _most_stalled([other for other in self._open if other.held_bytes and other.network == network])
        if stalled is not None:
            stalled.evict(Overloaded(_MEMORY_FULL))
            self.release(stalled)
        return stalled is not None

    def _replace(self, network: str) -> bool:
        """Evict and remove the most stalled connection of a network; return False if there is none."""
        stalled = _most_stalled([other for other in self._open if other.network == network])
        if stalled is not None:
            stalled.evict()
            self.remove(stalled)
        return stalled is not None


def _most_stalled(connections: list[Evictable]) -> Evictable | None:
    waiting = (connection for connection in connections if not connection.is_busy)
    return min(waiting, key=lambda connection: connection.progress_s, default=None)
