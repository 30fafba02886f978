"""Fixtures for several files."""

import pytest
from swapping import make_snapshots

from shared.snapshot import DataDirectory


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    """Snapshots to swap between, with their `catalogue` beside; mark the test `tensorflow`."""
    return make_snapshots(tmp_path_factory.mktemp("swap"))
