"""How often one may ask: by a clock of the test's own, and over processes."""

import os

import pytest

from search_service.access.rate_limit import Rate, RateLimit


class _Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_all_of_a_period_may_come_at_once_then_one_after_another() -> None:
    clock = _Clock()
    limit = RateLimit(Rate(10, 1.0), clock)
    assert [limit.acquire("a") for _ in range(10)] == [0.0] * 10
    assert limit.acquire("a") == pytest.approx(0.1)
    clock.now += 0.05
    assert limit.acquire("a") == pytest.approx(0.05)
    clock.now += 0.05
    assert limit.acquire("a") == 0.0
    assert limit.acquire("a") == pytest.approx(0.1)


def test_what_is_refused_is_not_counted_and_the_rate_holds_in_the_long_run() -> None:
    clock = _Clock()
    limit = RateLimit(Rate(600, 60.0), clock)
    let_in = 0
    for _ in range(100_000):
        clock.now += 0.01
        let_in += limit.acquire("a") == 0.0
    assert let_in == pytest.approx(10 * 1000 + 600, abs=5)


def test_callers_are_counted_apart() -> None:
    limit = RateLimit(Rate(1, 3600.0), _Clock())
    assert [limit.acquire(f"caller {number}") for number in range(3)] == [0.0] * 3
    assert limit.acquire("caller 1") > 3000


def test_what_is_owed_is_waited_for() -> None:
    clock = _Clock()
    limit = RateLimit(Rate(10, 1.0), clock)
    limit.charge("a", 30)
    assert limit.acquire("a") == pytest.approx(2.1)
    clock.now += 2.1
    assert limit.acquire("a") == 0.0


def test_processes_forked_later_count_together() -> None:
    limit = RateLimit(Rate(100, 3600.0))
    children = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            os._exit(sum(limit.acquire("a") == 0.0 for _ in range(20)))
        children.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    assert children == [20] * 4
    assert sum(limit.acquire("a") == 0.0 for _ in range(100)) == 20


@pytest.mark.parametrize(("text", "rate"), [("10/s", Rate(10, 1)), ("600/min", Rate(600, 60)), ("7/h", Rate(7, 3600))])
def test_rates_are_read(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate
