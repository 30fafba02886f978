"""Builds that are killed at any moment lose nothing; `make chaos` does the same for longer."""

from pathlib import Path

import pytest

from benchmarks.chaos import Chaos

pytestmark = pytest.mark.tensorflow


def test_builds_that_are_killed_lose_nothing(tmp_path: Path) -> None:
    chaos = Chaos(tmp_path, seed=3)
    rounds = [chaos.round(kind) for kind in ("cold", "edited", "cold", "nothing", "edited", "cold")]
    assert any(one.was_killed for one in rounds)
    assert any(one.embedded > 0 for one in rounds)
