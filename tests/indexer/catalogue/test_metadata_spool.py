"""Metadata in a file: read as they were put, by any thread, with nothing in memory and nothing left behind."""

import copy
import errno
import json
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.catalogue.metadata_spool import MetadataSpool, spooled
from indexer.catalogue.reader import read_catalogue
from indexer.console.progress import SilentReporter
from indexer.pipeline import build
from indexer.settings import BuildSettings
from shared.catalogue.item_store import ItemStore
from shared.catalogue.item_writer import write_items
from shared.catalogue.items import IndexedItem, Item
from shared.errors import StorageError

_ROOT = Path(__file__).resolve().parents[3]
_SAMPLES: list[dict[str, Any]] = [
    {"price": 9.5, "stock": 3, "sizes": ["S", "M"], "sale": True, "made": {"in": "Vigo", "by": None}, "title": "ratón"},
    {"z": 1, "a": 2, "m": 3},
    {"": "", "long": "x" * 100_000, "lines": "one\ntwo\0three\u2028"},
    {"huge": 10**400, "small": 5e-324, "third": 1 / 3, "zero": -0.0},
    {"one": 1},
]


def test_metadata_are_read_as_they_were_put(tmp_path: Path) -> None:
    spool = MetadataSpool(tmp_path)
    found = [spool.put(sample) for sample in _SAMPLES]
    for metadata, sample in zip(found, _SAMPLES, strict=True):
        assert metadata == sample
        assert sample == metadata
        assert dict(metadata) == sample
        assert json.dumps(dict(metadata)) == json.dumps(sample)  # the order and the types too
        assert list(metadata.items()) == list(sample.items())
        assert (len(metadata), repr(metadata), "price" in metadata) == (len(sample), repr(sample), "price" in sample)
    assert found[0] != found[1]
    assert found[4] == MetadataSpool(tmp_path).put({"one": 1})
    assert found[0].get("none", 7) == 7
    with pytest.raises(KeyError):
        found[0]["none"]


def test_an_item_without_metadata_needs_no_file(tmp_path: Path) -> None:
    assert MetadataSpool(tmp_path / "nowhere").put({}) == {}


def test_copies_and_other_processes_get_dictionaries(tmp_path: Path) -> None:
    item = spooled(Item("1", "c", ("a.jpg",), _SAMPLES[0]), MetadataSpool(tmp_path))
    for other in (pickle.loads(pickle.dumps(item)), copy.deepcopy(item)):
        assert other == item
        assert type(other.metadata) is dict


def test_threads_read_at_once(tmp_path: Path) -> None:
    spool = MetadataSpool(tmp_path)
    samples = [{"number": number, "text": "x" * (number % 300)} for number in range(2000)]
    found = [spool.put(sample) for sample in samples]

    def wrong(seed: int) -> int:
        order = random.Random(seed).sample(range(len(samples)), len(samples))
        return sum(dict(found[number]) != samples[number] for number in order)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(wrong, range(8))) == [0] * 8
    finally:
        sys.setswitchinterval(interval)


def test_items_are_written_as_if_their_metadata_were_in_memory(tmp_path: Path) -> None:
    spool = MetadataSpool(tmp_path)
    plain = [Item(str(number), "c", (f"{number}.jpg",), sample) for number, sample in enumerate([*_SAMPLES, {}])]
    dumps = []
    for name, items in (("plain", plain), ("spooled", [spooled(item, spool) for item in plain])):
        path = tmp_path / f"{name}.sqlite"
        write_items(path, (IndexedItem(item, number, (number,)) for number, item in enumerate(items)))
        store = ItemStore(path)
        assert [indexed.item for indexed in store] == plain
        bare = list(store.without_metadata())
        assert [indexed.item.metadata for indexed in bare] == [{}] * len(plain)
        assert [indexed.item.images for indexed in bare] == [item.images for item in plain]
        store.close()
        dumps.append(path.read_bytes())
    assert dumps[0] == dumps[1]


# Memory


def _held_bytes(make: Callable[[], object]) -> tuple[int, int]:
    """Bytes that are allocated for the result while it is held, and their peak."""
    tracemalloc.start()
    try:
        made = make()
        held = tracemalloc.get_traced_memory()
        del made
    finally:
        tracemalloc.stop()
    return held


def _write_catalogue(path: Path, n_items: int, **metadata: str) -> Path:
    (path.parent / "a.jpg").touch()
    entries = ({"item_id": str(number), "category": "c", "image": "a.jpg", **metadata} for number in range(n_items))
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def test_an_item_takes_the_same_memory_with_any_metadata(tmp_path: Path) -> None:
    n_items = 20_000

    def spool_all(length: int) -> list[Any]:
        spool = MetadataSpool(tmp_path)
        return [spool.put({f"field {number}": "x" * length, "number": number}) for number in range(n_items)]

    (small, _), (large, _) = (_held_bytes(lambda length=length: spool_all(length)) for length in (300, 3000))
    assert large < 150 * n_items
    assert large - small < n_items


def test_a_catalogue_never_holds_metadata_in_memory(tmp_path: Path) -> None:
    bare = _write_catalogue(tmp_path / "bare.jsonl", 500)
    full = _write_catalogue(tmp_path / "full.jsonl", 500, text="x" * 20_000)
    (held_bare, _), (held, peak) = (_held_bytes(lambda path=path: read_catalogue(path)) for path in (bare, full))
    assert held - held_bare < 500 * 200  # of 10 MB
    assert peak < 1e6


# Nothing is left, and a full disk


def test_the_file_has_no_name_and_is_closed_with_its_last_reader(tmp_path: Path) -> None:
    before = _open_files()
    metadata = MetadataSpool(tmp_path).put({"a": 1})
    assert list(tmp_path.iterdir()) == []
    assert len(_open_files()) == len(before) + 1
    assert metadata == {"a": 1}
    del metadata
    assert _open_files() == before


def _open_files() -> set[str]:
    return {name for name in os.listdir("/proc/self/fd") if Path(f"/proc/self/fd/{name}").is_symlink()}


@pytest.fixture
def reader(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that has read a catalogue into `tmp_path / "data"`, and holds it."""
    path = _write_catalogue(tmp_path / "items.jsonl", 100, text="some text")
    (tmp_path / "data").mkdir()
    code = (
        "import sys; from pathlib import Path; from indexer.catalogue.reader import read_catalogue\n"
        "catalogue = read_catalogue(Path(sys.argv[1]), spool_directory=Path(sys.argv[2]))\n"
        "print(catalogue.items[99].metadata['text'], flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(path), str(tmp_path / "data")]
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_a_killed_build_leaves_nothing(tmp_path: Path, reader: "subprocess.Popen[str]") -> None:
    assert reader.stdout is not None
    assert reader.stdout.readline() == "some text\n"
    reader.kill()
    assert reader.wait() == -signal.SIGKILL
    assert list((tmp_path / "data").iterdir()) == []


def _fill_disk(monkeypatch: pytest.MonkeyPatch, free_bytes: int) -> None:
    """A disk takes the part of a write that it has room for, and rejects the next."""
    pwrite, left = os.pwrite, [free_bytes]

    def limited(file: int, data: bytes, offset: int) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = pwrite(file, data[: left[0]], offset)
        left[0] -= written
        return written

    monkeypatch.setattr(os, "pwrite", limited)


def test_a_full_disk_is_reported_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write_catalogue(tmp_path / "items.jsonl", 100, text="x" * 1000)
    (tmp_path / "data").mkdir()
    _fill_disk(monkeypatch, 50_000)
    expected = (
        f"the metadata of the catalogue's items can't be kept in a temporary file in {tmp_path / 'data'}"
        " (0 MB so far; make room there): No space left on device; "
    )
    with pytest.raises(StorageError, match=f"^{re.escape(expected)}[0-9,]+ MB are free"):
        read_catalogue(path, spool_directory=tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize("given", [False, True])
def test_a_build_keeps_metadata_in_its_data_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bool
) -> None:
    path = _write_catalogue(tmp_path / "items.jsonl", 100, text="x" * 1000)
    np.save(tmp_path / "rows.npy", np.eye(100, 128, dtype=np.float32))
    data = tmp_path / "data"
    _fill_disk(monkeypatch, 50_000)
    with pytest.raises(StorageError, match=f"in a temporary file in {re.escape(str(data))} .* MB are free"):
        build(BuildSettings(path, data, embeddings=tmp_path / "rows.npy" if given else None), SilentReporter())
    assert [left.name for left in data.iterdir()] == ["lock"]


def test_without_a_directory_the_message_names_tmpdir(monkeypatch: pytest.MonkeyPatch) -> None:
    _fill_disk(monkeypatch, 0)
    expected = (
        f"in {tempfile.gettempdir()} (0 MB so far; make room there, or set TMPDIR to a directory on a larger disk)"
    )
    with pytest.raises(StorageError, match=re.escape(expected)):
        MetadataSpool().put({"a": 1})


def test_a_partly_written_record_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = MetadataSpool(tmp_path)
    first = spool.put({"first": 1})
    with monkeypatch.context() as full:
        _fill_disk(full, 7)
        with pytest.raises(StorageError):
            spool.put({"second": "x" * 100})
    third = spool.put({"third": 3})
    assert (first, third) == ({"first": 1}, {"third": 3})


def test_partial_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: pwrite(file, data[:3], offset))
    spool = MetadataSpool(tmp_path)
    found = [spool.put(sample) for sample in _SAMPLES[:2]]
    assert found == _SAMPLES[:2]


def test_a_file_that_cannot_be_read_back_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = MetadataSpool(tmp_path).put({"a": 1})

    def failing(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(StorageError, match=r"can't be read back from a temporary file in .*: Input/output error"):
        dict(metadata)
