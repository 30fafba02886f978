"""Fixtures for several files."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.snapshot.data_directory import DataDirectory
from tests.support.processes.milvus_server import MilvusServer
from tests.support.processes.swapping import make_snapshots


@pytest.fixture(scope="session")
def data(lite0_tflite: Path, tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    """Snapshots to swap between, with their `catalogue` beside; mark the test `tensorflow`."""
    return make_snapshots(tmp_path_factory.mktemp("swap"), lite0_tflite.read_bytes())


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    """One that is down, as it is in the end; MILVUS_TEST_BED names a directory to keep it in."""
    directory = os.environ.get("MILVUS_TEST_BED")
    found = MilvusServer(Path(directory) if directory else tmp_path_factory.mktemp("milvus"))
    found.kill()
    yield found
    found.kill()
