"""Ids that sort by the order of their making, whatever the clock says."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from indexer.snapshots import snapshot_id as module
from indexer.snapshots.snapshot_id import new_snapshot_id

_ID = re.compile(r"[0-9]{8}T[0-9]{9}-[0-9a-f]{6}")
_NOON = datetime(2026, 3, 1, 12, 0, 0, 5_000, UTC)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Sets the clock."""

    def set_to(moment: datetime) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: object = None) -> datetime:
                return moment

        monkeypatch.setattr(module, "datetime", Clock)

    return set_to


def test_an_id_has_the_time_to_the_millisecond(clock: Callable[[datetime], None]) -> None:
    clock(_NOON)
    assert new_snapshot_id([]).startswith("20260301T120000005-")
    assert _ID.fullmatch(new_snapshot_id([]))


def test_two_of_the_same_moment_are_in_order(clock: Callable[[datetime], None]) -> None:
    clock(_NOON)
    ids: list[str] = []
    for _ in range(100):
        ids.append(new_snapshot_id(ids))
    assert ids == sorted(ids)
    assert len({one[:18] for one in ids}) == 100
    assert all(map(_ID.fullmatch, ids))


@pytest.mark.parametrize("back", [timedelta(milliseconds=1), timedelta(hours=1), timedelta(days=4000)])
def test_a_clock_that_goes_back_does_not_disturb_the_order(clock: Callable[[datetime], None], back: timedelta) -> None:
    ids: list[str] = []
    for step in (0, 1, -1, 2, -2):
        clock(_NOON + step * back)
        ids.append(new_snapshot_id(ids))
        ids.append(new_snapshot_id(ids[::-1]))
    assert ids == sorted(ids)
    assert all(map(_ID.fullmatch, ids))
    # Once the clock has caught up, ids tell the time again.
    later = _NOON + 3 * back + timedelta(seconds=1)
    clock(later)
    assert new_snapshot_id(ids) > ids[-1]
    assert new_snapshot_id(ids).startswith(f"{later:%Y%m%dT%H%M%S}")


def test_the_last_moment_of_a_day_has_a_successor(clock: Callable[[datetime], None]) -> None:
    clock(_NOON)
    ids = ["20260301T235959999-ffffff"]
    for _ in range(3):
        ids.append(new_snapshot_id(ids))
    assert ids == sorted(ids)
    clock(_NOON + timedelta(days=1))
    assert new_snapshot_id(ids) > ids[-1]


def test_other_names_are_ignored(clock: Callable[[datetime], None]) -> None:
    """Earlier ids had no milliseconds, and users may put directories there."""
    clock(_NOON)
    for name in ("backup", "99991231T000000-abcdef", "x20990101T000000000-abcdef", "20990101T00000000-abcdef"):
        assert new_snapshot_id([name]).startswith("20260301T120000005-")
