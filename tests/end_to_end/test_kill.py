"""Builds killed at random moments lose nothing; `make chaos` runs more of them, with the real stages."""

from pathlib import Path

import pytest

from tests.support.killed_builds import KilledBuilds

_STAND_INS = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.support.builders import quick_stages
quick_stages.install()
"""


@pytest.mark.usefixtures("quick_stages_called")
def test_builds_that_are_killed_lose_nothing(tmp_path: Path) -> None:
    builds = KilledBuilds(tmp_path, seed=3, before_builds=_STAND_INS)
    rounds = [builds.round(kind) for kind in ("cold", "edited", "cold", "nothing", "edited", "cold")]
    assert any(result.was_killed for result in rounds)
    assert any(result.embedded > 0 for result in rounds)
