"""The calls that a breaker allows, by a clock that the test moves."""

from shared.milvus.circuit_breaker import CircuitBreaker


class _Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_all_may_ask_until_enough_have_failed_in_a_row() -> None:
    breaker = CircuitBreaker(failures=2, pause_s=5, clock=_Clock())
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert breaker.wait_s() == 0
    breaker.failed()
    assert breaker.wait_s() == 5


def test_one_asks_after_a_pause_and_closes_it_for_all() -> None:
    clock = _Clock()
    breaker = CircuitBreaker(failures=1, pause_s=5, clock=clock)
    breaker.failed()
    clock.now_s += 5
    assert breaker.wait_s() == 0
    assert breaker.wait_s() == 5  # another one waits for what the first finds
    breaker.succeeded()
    assert breaker.wait_s() == breaker.wait_s() == 0


def test_a_failure_after_the_pause_opens_it_again() -> None:
    clock = _Clock()
    breaker = CircuitBreaker(failures=1, pause_s=5, clock=clock)
    breaker.failed()
    clock.now_s += 6
    assert breaker.wait_s() == 0
    breaker.failed()
    clock.now_s += 4
    assert breaker.wait_s() == 1
