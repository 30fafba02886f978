"""Verification in a subprocess: its result, how it may end, and when it is needed."""

from dataclasses import replace
from pathlib import Path

import pytest

from search_service.snapshots.subprocess_verification import SMALL_ITEMS, needs_subprocess, verify_in_subprocess
from shared.errors import SnapshotError
from shared.snapshot.data_directory import SnapshotPaths
from tests.support.fakes import fake_manifest

_SERVED = fake_manifest(items=5, checksums={"embedder.tflite": "0" * 64, "partitions/mugs.faiss": "1" * 64})


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module for the process to run; tests write it."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "made_check"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ('print(\'{"error": "items.sqlite is damaged"}\')', "items.sqlite is damaged"),
        ("import os; os.kill(os.getpid(), 11)", "ended its subprocess with signal 11"),
        ("import os; os.abort()", "ended its subprocess with signal 6"),
        ("raise SystemExit(3)", "ended its subprocess with exit status 3"),
        ("print('sound')", "ended its subprocess with exit status 0"),
        ("print('[]')", "ended its subprocess with exit status 0"),
        ("import os; os.kill(os.getpid(), 14)", "takes more than 30 s"),
    ],
)
def test_what_a_process_ends_with_refuses_the_snapshot(tmp_path: Path, module: str, program: str, reason: str) -> None:
    (tmp_path / f"{module}.py").write_text(program)
    with pytest.raises(SnapshotError, match=reason):
        verify_in_subprocess(SnapshotPaths(tmp_path), 30, module)


def test_a_process_that_finds_nothing_lets_the_snapshot_pass(
    tmp_path: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARECIDO_MILVUS_PASSWORD", "secret")  # is nothing for it
    text = "import json, os; print(json.dumps({'error': os.environ.get('PARECIDO_MILVUS_PASSWORD')}))"
    (tmp_path / f"{module}.py").write_text(text)
    verify_in_subprocess(SnapshotPaths(tmp_path), 30, module)


def test_the_real_one_refuses_an_empty_directory(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"manifest\.json can't be read"):
        verify_in_subprocess(SnapshotPaths(tmp_path), 60)


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, False),
        ({"checksums": {**_SERVED.checksums, "partitions/shoes.faiss": "2" * 64}}, False),
        ({"checksums": {**_SERVED.checksums, "partitions/mugs.approximate.faiss": "2" * 64}}, True),
        ({"checksums": {**_SERVED.checksums, "embedder.tflite": "2" * 64}}, True),
        ({"items": SMALL_ITEMS}, False),
        ({"items": SMALL_ITEMS + 1}, True),
    ],
)
def test_a_process_is_needed_for_libraries_and_many_items(changes: dict[str, object], needed: bool) -> None:
    assert needs_subprocess(replace(_SERVED, **changes), _SERVED) == needed
