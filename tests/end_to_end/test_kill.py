"""Builds that are killed at any moment lose nothing; `make chaos` does the same for longer, with the real stages."""

from pathlib import Path

import pytest

from benchmarks.chaos.kill_builds import Chaos

_STAND_INS = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.support.builders import quick_stages
quick_stages.install()
"""


@pytest.mark.usefixtures("quick_stages_called")
def test_builds_that_are_killed_lose_nothing(tmp_path: Path) -> None:
    chaos = Chaos(tmp_path, seed=3, before_builds=_STAND_INS)
    rounds = [chaos.round(kind) for kind in ("cold", "edited", "cold", "nothing", "edited", "cold")]
    assert any(one.was_killed for one in rounds)
    assert any(one.embedded > 0 for one in rounds)
