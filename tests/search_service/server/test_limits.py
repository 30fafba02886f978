"""Who is given up for whom."""

from dataclasses import dataclass, field

from search_service.server.limits import ConnectionLimits
from shared.errors import Overloaded, ParecidoError


@dataclass(eq=False)
class _Connection:
    """Notes that it was given up."""

    network: str = "192.0.2.1"
    progress_s: float = 0.0
    is_busy: bool = False
    is_idle: bool = False
    held_bytes: int = 0
    evicted_for: list[ParecidoError | None] = field(default_factory=list)

    def evict(self, reason: ParecidoError | None = None) -> None:
        self.evicted_for.append(reason)


def _filled(limits: ConnectionLimits, *connections: _Connection) -> tuple[_Connection, ...]:
    for connection in connections:
        assert limits.add(connection)
    return connections


def test_of_one_address_the_one_that_has_stalled_longest_makes_room() -> None:
    limits = ConnectionLimits(100, 3, 100, 100)
    first, second, busy = _filled(
        limits, _Connection(progress_s=2), _Connection(progress_s=1), _Connection(is_busy=True)
    )
    other = _Connection(network="192.0.2.2", progress_s=0)
    assert limits.add(other)
    assert limits.add(_Connection(progress_s=3))
    assert (second.evicted_for, first.evicted_for, busy.evicted_for, other.evicted_for) == ([None], [], [], [])
    assert len(limits) == 4


def test_the_address_that_has_most_makes_room_for_others() -> None:
    limits = ConnectionLimits(5, 4, 100, 100)
    many = _filled(limits, *(_Connection(progress_s=number + 1) for number in range(4)))
    [lone] = _filled(limits, _Connection(network="192.0.2.2", progress_s=0))
    for number in range(2):
        assert limits.add(_Connection(network=f"192.0.2.{number + 3}", progress_s=9))
    assert [one.evicted_for for one in many] == [[None], [None], [], []]
    assert lone.evicted_for == []


def test_where_all_are_busy_nobody_is_let_in() -> None:
    limits = ConnectionLimits(2, 2, 100, 100)
    busy = _filled(limits, _Connection(is_busy=True), _Connection(is_busy=True))
    assert not limits.add(_Connection())
    assert not limits.add(_Connection(network="192.0.2.2"))
    assert [one.evicted_for for one in busy] == [[], []]


def test_who_has_stalled_longest_with_bytes_makes_room_for_bytes() -> None:
    limits = ConnectionLimits(100, 100, 100, 100)
    idle, slow, quick, busy = _filled(
        limits, _Connection(), _Connection(progress_s=1), _Connection(progress_s=5), _Connection(is_busy=True)
    )
    limits.hold(busy, 40)
    limits.hold(slow, 20)
    limits.hold(quick, 40)
    assert not slow.evicted_for
    limits.hold(quick, 1)
    [reason] = slow.evicted_for
    assert isinstance(reason, Overloaded)
    assert (idle.evicted_for, quick.evicted_for, busy.evicted_for) == ([], [], [])
    limits.release(busy)
    limits.hold(quick, 59)
    assert quick.evicted_for == []
    limits.hold(quick, 1)
    assert len(quick.evicted_for) == 1


def test_a_network_that_holds_more_than_its_share_makes_room_itself() -> None:
    limits = ConnectionLimits(100, 100, 100, 50)
    honest, quick, quicker = _filled(
        limits, _Connection(network="192.0.2.2", progress_s=0), _Connection(progress_s=8), _Connection(progress_s=9)
    )
    limits.hold(honest, 20)
    limits.hold(quick, 25)
    limits.hold(quicker, 26)
    assert (honest.evicted_for, len(quick.evicted_for), quicker.evicted_for) == ([], 1, [])
    assert (limits.held_bytes, quick.held_bytes) == (46, 0)
    assert len(limits) == 3  # it has to be told why


def test_the_network_that_holds_most_makes_room_for_the_bytes_of_others() -> None:
    limits = ConnectionLimits(100, 100, 100, 60)
    busy, quick, slow = _filled(
        limits,
        _Connection(is_busy=True),
        _Connection(network="192.0.2.2", progress_s=9),
        _Connection(network="192.0.2.3", progress_s=0),
    )
    limits.hold(busy, 60)
    limits.hold(quick, 30)
    limits.hold(slow, 11)
    assert (busy.evicted_for, len(quick.evicted_for), slow.evicted_for) == ([], 1, [])


def test_what_is_removed_holds_nothing() -> None:
    limits = ConnectionLimits(100, 100, 100, 100)
    [one] = _filled(limits, _Connection())
    limits.hold(one, 100)
    limits.remove(one)
    limits.remove(one)
    assert (len(limits), one.held_bytes) == (0, 0)
    [other] = _filled(limits, _Connection())
    limits.hold(other, 100)
    assert other.evicted_for == []


def test_only_idle_connections_are_closed_while_draining() -> None:
    limits = ConnectionLimits(100, 100, 100, 100)
    idle, waiting = _filled(limits, _Connection(is_idle=True), _Connection())
    limits.evict_idle()
    assert (idle.evicted_for, waiting.evicted_for) == ([None], [])
