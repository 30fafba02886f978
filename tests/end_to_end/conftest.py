"""Fixtures for several files."""

from pathlib import Path

import pytest
from swapping import make_snapshots

from shared.data_directory import DataDirectory


@pytest.fixture(scope="session")
def data(lite0_tflite: Path, tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    """Snapshots to swap between, with their `catalogue` beside; mark the test `tensorflow`."""
    return make_snapshots(tmp_path_factory.mktemp("swap"), lite0_tflite.read_bytes())
