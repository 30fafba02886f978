"""Snapshots with valid checksums and invalid content: each is rejected with a reason."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from shared.catalogue.item_store import ItemStore
from shared.catalogue.item_writer import write_items
from shared.catalogue.items import IndexedItem, Item
from shared.catalogue.items_database import SCHEMAS
from shared.database.connections import Connections
from shared.deadline import Deadline
from shared.errors import DamagedSnapshot, SnapshotError
from shared.index.approximate_index import ApproximateIndex
from shared.index.index_kind import IndexKind
from shared.index.partition import Partition
from shared.index.rows_by_position import RowsByPosition
from shared.index.search_settings import SearchSettings
from shared.index.stored_vectors import StoredVectors
from shared.manifest import CategoryEntry, Manifest
from shared.model.classifier import Classifier
from shared.snapshot.data_directory import SnapshotPaths
from shared.snapshot.snapshot import Snapshot
from shared.snapshot.validate_content import validate_content
from shared.vectors import Vectors, unit_rows
from tests.support.builders.words import write_words
from tests.support.fakes import fake_manifest

_ID = "20250102T030405-abcdef"
_DIM, _ROWS = 32, 400
_KINDS = ("HNSW16,SQfp16", "P16,HNSW16,SQ8", "IVF8,SQ8", "IVF8,PQ16x4fs", "P16,IVF8,SQfp16")
_ROOT = Path(__file__).parents[3]


def _vectors(seed: int) -> Vectors:
    return unit_rows(np.random.default_rng(seed).normal(size=(_ROWS, _DIM)))


def _approximate(kind: str, vectors: Vectors) -> ApproximateIndex:
    rows = RowsByPosition.shuffled(np.arange(_ROWS), 0)
    index = IndexKind(kind, _DIM).trained(vectors)
    index.add(vectors[rows.first_rows(np.arange(_ROWS))])
    return ApproximateIndex(index, rows, SearchSettings(kind, 4, 40))


def _write(paths: SnapshotPaths, kind: str | None = None) -> None:
    """A snapshot of two categories that was built of given embeddings."""
    paths.partitions.mkdir(parents=True)
    entries, items = [], []
    for column, name in enumerate(("mugs", "shoes")):
        vectors, numbers = _vectors(column), np.arange(_ROWS) + column * _ROWS
        approximate = _approximate(kind, vectors) if kind and name == "shoes" else None
        Partition(name, StoredVectors.from_batches(iter([vectors])), numbers, approximate).write(paths.partitions)
        entries.append(CategoryEntry(name, _ROWS, _ROWS, _ROWS, kind or "exact", 1.0))
        items += [
            IndexedItem(Item(f"{name}-{row}", name, (f"{row}.jpg",), {"price": row}), number, (row,), (bytes(32),))
            for row, number in enumerate(numbers.tolist())
        ]
    weights = np.random.default_rng(2).normal(size=(_DIM, 2)).astype(np.float32)
    Classifier(("mugs", "shoes"), weights, np.zeros(2, np.float32)).save(paths.classifier)
    write_items(paths.items, items)
    fake_manifest(snapshot_id=_ID, dim=_DIM, categories=tuple(entries), items=2 * _ROWS, images=2 * _ROWS).write(
        paths.manifest
    )
    _seal(paths)


def _seal(paths: SnapshotPaths, **changes: Any) -> None:
    manifest = Manifest.read(paths.manifest)
    replace(manifest, **{"checksums": paths.checksums(), "samples": {}, **changes}).write(paths.manifest)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sense")
    for kind in (None, *_KINDS):
        _write(SnapshotPaths(root / str(kind) / "snapshots" / _ID), kind)
    return root


@pytest.fixture
def copy_of(written: Path, tmp_path: Path) -> Callable[[str | None], SnapshotPaths]:
    def copy(kind: str | None = None) -> SnapshotPaths:
        shutil.copytree(written / str(kind), tmp_path / "data")
        return SnapshotPaths(tmp_path / "data" / "snapshots" / _ID)

    return copy


def _open(paths: SnapshotPaths) -> None:
    with closing(Snapshot.open(paths)) as snapshot:
        validate_content(snapshot, paths)


def _rejected(paths: SnapshotPaths, reason: str, **changes: Any) -> None:
    _seal(paths, **changes)
    with pytest.raises(SnapshotError, match=reason) as caught:
        _open(paths)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("kind", [None, *_KINDS])
def test_sound_snapshots_are_opened(copy_of: Any, kind: str | None) -> None:
    _open(copy_of(kind))


# Rows


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows + 10**9, "has item numbers 1000000000 to"),
        (lambda rows: rows - 10**9, "has item numbers -1000000000 to"),
        (lambda rows: rows * 0 + 2**62, r"has .*|item numbers"),
        (lambda rows: rows + _ROWS, "items of another category"),
        (lambda rows: rows + 0.5, "expected one dimension of int64"),
        (lambda rows: rows.astype(np.uint64), "expected one dimension of int64"),
        (lambda rows: rows.astype(">i8"), "expected one dimension of int64"),
        (lambda rows: rows.reshape(2, -1), "expected one dimension of int64"),
        (lambda rows: rows[:-1], "item numbers of shape"),
        (lambda rows: np.array([os.system] * len(rows), dtype=object), "expected one dimension of int64"),
        (lambda rows: np.zeros(len(rows), dtype=[("a", "i8")]), "expected one dimension of int64"),
    ],
)
def test_rows_of_no_items_are_rejected(copy_of: Any, change: Callable[[Any], Any], reason: str) -> None:
    paths = copy_of()
    file = paths.partitions / "mugs.rows.npy"
    rows = np.load(file)
    np.save(file, change(rows), allow_pickle=True)
    _rejected(paths, reason)


@pytest.mark.parametrize("count", [2**62, 10**12, _ROWS + 1, 0, -1])
def test_a_header_that_declares_another_count_is_rejected(copy_of: Any, count: int) -> None:
    paths = copy_of()
    with (paths.partitions / "mugs.rows.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<i8", "fortran_order": False, "shape": (count,)})
        file.write(np.arange(_ROWS).tobytes())
    _rejected(paths, "its header says|item numbers of shape|can't be read")


# Vectors


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: content[:20],
        lambda content: b"",
        lambda content: b"IxF2" + content[4:],
        lambda content: content[:4] + (2**31 - 1).to_bytes(4, "little") + content[8:],
        lambda content: content[:4] + (0).to_bytes(4, "little") + content[8:],
        lambda content: content[:8] + (2**62).to_bytes(8, "little") + content[16:],
        lambda content: content[:8] + (_ROWS + 1).to_bytes(8, "little") + content[16:],
        lambda content: content[:37] + (2**40).to_bytes(8, "little") + content[45:],
        lambda content: content[:33] + (1).to_bytes(4, "little") + content[37:],
        lambda content: content[:45] + np.float32(np.nan).tobytes() + content[49:],
        lambda content: content[:-4] + np.float32(np.inf).tobytes(),
        lambda content: faiss.serialize_index(faiss.index_factory(_DIM, "HNSW8")).tobytes(),
    ],
)
def test_vectors_that_are_none_are_rejected(copy_of: Any, change: Callable[[bytes], bytes]) -> None:
    paths = copy_of()
    file = paths.partitions / "mugs.faiss"
    file.write_bytes(change(file.read_bytes()))
    _rejected(paths, "mugs")


@pytest.mark.parametrize("at", [32, 37, 53, 65, 73, 81])
def test_coded_vectors_with_another_head_are_rejected(copy_of: Any, at: int) -> None:
    paths = copy_of()
    StoredVectors.from_batches(iter([_vectors(0)])).to_int8().write(paths.partitions / "mugs.faiss")
    _seal(paths)
    _open(paths)
    content = bytearray((paths.partitions / "mugs.faiss").read_bytes())
    content[at : at + 4] = np.float32(np.nan).tobytes()
    (paths.partitions / "mugs.faiss").write_bytes(content)
    _rejected(paths, "mugs")


def test_rows_that_are_not_there_are_an_error_of_ours() -> None:
    part = Partition.build("mugs", _vectors(0), np.arange(_ROWS))
    for row in (-1, _ROWS, 2**40):
        with pytest.raises(DamagedSnapshot, match="has 400 rows, but"):
            part.embeddings([row])


def test_vectors_that_are_not_finite_are_no_hits() -> None:
    vectors = _vectors(0)
    vectors[5] = np.nan
    part = Partition.build("mugs", vectors, np.arange(_ROWS))
    [hits] = part.search(vectors[:1], _ROWS)
    assert 5 not in [hit.item_number for hit in hits]
    assert all(np.isfinite(hit.score) for hit in hits)
    with pytest.raises(DamagedSnapshot, match="not finite"):
        part.embeddings([5])


# Approximate indexes


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize(
    "other", ["HNSW32,SQfp16", "IVF4,SQ8", "P8,HNSW16,SQ8", "IVF8,PQ8x4fs", "Flat", "PQ8", 5, "x" * 500]
)
def test_settings_of_another_kind_are_rejected(copy_of: Any, kind: str, other: object) -> None:
    paths = copy_of(kind)
    file = paths.partitions / "shoes.approximate.json"
    file.write_text(json.dumps({"kind": other, "effort": 4, "depth": 40}))
    _rejected(paths, "shoes")


@pytest.mark.parametrize("change", [{"effort": 0}, {"effort": 2**31}, {"depth": 1.5}, {"depth": None}, {"more": 1}])
def test_settings_that_can_not_be_are_rejected(copy_of: Any, change: dict[str, object]) -> None:
    paths = copy_of(_KINDS[0])
    file = paths.partitions / "shoes.approximate.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    _rejected(paths, "shoes")


@pytest.mark.parametrize("value", [-1, _ROWS, 2**30])
@pytest.mark.parametrize("at", [0, 5, _ROWS, _ROWS + 1, -1])
def test_positions_that_lead_out_are_rejected(copy_of: Any, at: int, value: int) -> None:
    paths = copy_of(_KINDS[2])
    file = paths.partitions / "shoes.approximate.rows.npy"
    rows = np.load(file)
    changed = rows.copy()
    changed[at] = value
    if np.array_equal(changed, rows):
        pytest.skip("it is that already")
    np.save(file, changed)
    _rejected(paths, "shoes")


@pytest.mark.parametrize(
    "change",
    [
        lambda graph: setattr(graph, "entry_point", _ROWS),
        lambda graph: setattr(graph, "entry_point", -1),
        lambda graph: setattr(graph, "max_level", 7),
        lambda graph: faiss.rev_swig_ptr(graph.neighbors.data(), 8).fill(_ROWS),
        lambda graph: faiss.rev_swig_ptr(graph.neighbors.data(), 8).fill(-2),
        lambda graph: faiss.rev_swig_ptr(graph.levels.data(), 8).fill(5),
        lambda graph: faiss.rev_swig_ptr(graph.offsets.data(), 8).fill(10**9),
    ],
)
def test_a_graph_that_leads_out_is_rejected(copy_of: Any, change: Callable[[Any], object]) -> None:
    paths = copy_of(_KINDS[0])
    file = str(paths.partitions / "shoes.approximate.faiss")
    index: Any = faiss.read_index(file)
    change(index.hnsw)
    faiss.write_index(index, file)
    _rejected(paths, "shoes")


def test_an_id_beyond_the_vectors_is_rejected(copy_of: Any) -> None:
    paths = copy_of("IVF8,SQ8")
    file = str(paths.partitions / "shoes.approximate.faiss")
    index: Any = faiss.read_index(file)
    faiss.rev_swig_ptr(index.invlists.get_ids(0), 1)[0] = _ROWS
    faiss.write_index(index, file)
    _rejected(paths, "has ids outside of")


# Items


def _run(script: str, database: str = "items") -> Callable[[SnapshotPaths], None]:
    def run(paths: SnapshotPaths) -> None:
        with closing(sqlite3.connect(getattr(paths, database))) as connection:
            connection.executescript(script)

    return run


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("UPDATE images SET path = 'a' || char(0) || 'b'", "a path that is not text"),
        ("UPDATE images SET path = x'00ff'", "a path that is not text"),
        ("UPDATE images SET row = 1000000", "a row beyond its partition"),
        ("UPDATE images SET row = -5", "a row that is not a number"),
        ("UPDATE images SET row = 'x'", "a row that is not a number"),
        ("DELETE FROM images WHERE number = 3", "an item without an image"),
        ("UPDATE images SET number = 5000 WHERE number = 3", "images of items that do not exist"),
        ("UPDATE items SET metadata = '{'", "metadata that are not valid JSON"),
        ("UPDATE items SET metadata = '[]'", "metadata that are not a JSON object"),
        ("UPDATE items SET metadata = x'7b7d'", "metadata that are not text"),
        ("UPDATE items SET metadata = '{\"a\": \"' || hex(zeroblob(600000)) || '\"}'", "or exceed"),
        ("UPDATE items SET metadata = '{\"a\":' || replace(hex(zeroblob(5000)), '0', '[') || '}'", "not valid JSON"),
        ("UPDATE items SET category = 'nope'", "a category that is not in the manifest"),
        ("UPDATE items SET category = 'mugs'", "items of another category"),
        ("UPDATE items SET item_id = ''  WHERE number = 3", "an id that is not text"),
        ("UPDATE items SET item_id = x'00' WHERE number = 3", "an id that is not text"),
        ("UPDATE items SET number = 4611686018427387904 WHERE number = 799", "items, numbered 0 to 46116860"),
        ("UPDATE items SET number = -1 WHERE number = 0", "items, numbered -1 to"),
        ("DELETE FROM items WHERE number = 3", "799 items"),
        ("DROP TABLE images", "unknown schema"),
        ("DROP TABLE metadata_fields", "unknown schema"),
        ("ALTER TABLE items ADD COLUMN more TEXT", "unknown schema"),
        ("ALTER TABLE items ADD COLUMN more TEXT AS (hex(zeroblob(1000000000)))", "unknown schema"),
        ("CREATE TRIGGER t AFTER INSERT ON items BEGIN SELECT 1; END", "unknown schema"),
        ("CREATE VIEW v AS SELECT 1", "unknown schema"),
        ("CREATE INDEX more ON items (length(metadata))", "unknown schema"),
        ("CREATE TABLE more (a)", "unknown schema"),
        (
            "ALTER TABLE items RENAME TO it; CREATE VIEW items AS WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT"
            " n + 1 FROM r) SELECT it.* FROM it, r WHERE it.number < r.n",
            "unknown schema",
        ),
    ],
)
def test_invalid_items_are_rejected(copy_of: Any, script: str, reason: str) -> None:
    paths = copy_of()
    _run(script)(paths)
    _rejected(paths, reason)


def test_a_virtual_table_is_rejected(copy_of: Any) -> None:
    paths = copy_of()
    _run("DROP TABLE images; CREATE VIRTUAL TABLE images USING fts5(path)")(paths)
    _rejected(paths, "unknown schema")


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}', f'{{"a": 1{"0" * 400}.0}}'])
def test_numbers_that_json_has_not_are_read_as_null(copy_of: Any, text: str) -> None:
    paths = copy_of()
    with closing(sqlite3.connect(paths.items)) as connection, connection:
        connection.execute("UPDATE items SET metadata = ?", (text,))
    _seal(paths)
    _open(paths)
    with closing(ItemStore(paths.items)) as items:
        assert items.by_id("mugs-0").item.metadata == {"a": None}


@pytest.mark.parametrize(
    "script",
    [
        "UPDATE items SET metadata = '{'",
        "UPDATE items SET metadata = '{\"a\":' || replace(hex(zeroblob(50000)), '0', '[') || '}'",
        "UPDATE items SET metadata = '{\"a\": 1' || replace(hex(zeroblob(5000)), '0', '0') || '}'",
        "UPDATE items SET metadata = CAST(x'7b22ff227d' AS TEXT)",
        "DELETE FROM images",
    ],
)
def test_what_opening_does_not_look_for_is_an_error_of_ours_when_it_is_read(copy_of: Any, script: str) -> None:
    paths = copy_of()
    _run(script)(paths)
    with closing(ItemStore(paths.items)) as items, pytest.raises(DamagedSnapshot, match="items can't be read"):
        items.by_numbers([0])


def test_a_statement_ends_with_its_deadline(copy_of: Any) -> None:
    endless = "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r"
    with (
        closing(Connections(copy_of().items, SCHEMAS, "items")) as connections,
        connections.until(Deadline.after(0.05)),
        pytest.raises(sqlite3.OperationalError, match="interrupted"),
    ):
        connections.execute(endless).fetchall()


# Words


def _with_words(paths: SnapshotPaths, n_items: int = 2 * _ROWS, dim: int = _DIM) -> SnapshotPaths:
    paths.lexical_index.unlink(missing_ok=True)
    embeddings = unit_rows(np.random.default_rng(0).normal(size=(n_items, dim)))
    write_words(paths.root, [f"word{number % 7} red" for number in range(n_items)], embeddings)
    return paths


def test_words_are_part_of_a_snapshot(copy_of: Any) -> None:
    paths = _with_words(copy_of())
    _seal(paths)
    _open(paths)
    with closing(Snapshot.open(paths)) as snapshot:
        assert snapshot.words is not None
        assert snapshot.words.index.frequencies(["red"]) == {"red": 2 * _ROWS}
    paths.lexical_index.unlink()
    _seal(paths)
    with closing(Snapshot.open(paths)) as snapshot:
        assert snapshot.words is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda paths: _with_words(paths, n_items=_ROWS), "words are of 400 items and 32 dimensions; expected 800"),
        (lambda paths: _with_words(paths, dim=8), "words are of 800 items and 8 dimensions"),
        (lambda paths: paths.text_encoder.write_bytes(b"PK"), "text encoder .* can't be read"),
        (lambda paths: paths.lexical_index.write_bytes(bytes(5000)), r"words\.sqlite can't be read"),
        (lambda paths: paths.lexical_index.write_bytes(paths.items.read_bytes()), "unknown schema"),
        (_run("UPDATE words SET numbers = x'ff'", "lexical_index"), "do not have the length"),
        (_run("UPDATE summary SET alphabet = x'00'", "lexical_index"), "invalid values"),
    ],
)
def test_invalid_words_are_rejected(copy_of: Any, change: Callable[[SnapshotPaths], Any], reason: str) -> None:
    paths = _with_words(copy_of())
    change(paths)
    _rejected(paths, reason)


@pytest.mark.parametrize("name", ["text_encoder.npz", "words.sqlite"])
def test_words_without_a_checksum_are_rejected(copy_of: Any, name: str) -> None:
    paths = _with_words(copy_of())
    checksums = paths.checksums()
    del checksums[name]
    _rejected(paths, f"has no checksum of .*{name}", checksums=checksums)


# Files


@pytest.mark.parametrize(
    "name", ["manifest.json", "classifier.npz", "items.sqlite", "partitions/mugs.faiss", "partitions/mugs.rows.npy"]
)
@pytest.mark.parametrize(
    "make",
    [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to("/etc/passwd"), os.mkdir],
)
def test_what_is_no_file_of_the_snapshot_is_not_opened(copy_of: Any, name: str, make: Callable[[Path], None]) -> None:
    paths = copy_of()
    (paths.root / name).unlink()
    make(paths.root / name)
    with pytest.raises(SnapshotError, match=name.rpartition("/")[2]):
        Snapshot.open(paths)


def test_hard_links_and_links_to_other_snapshots_are_followed(copy_of: Any) -> None:
    paths = copy_of()
    other = paths.root.parent / "other"
    shutil.copytree(paths.root, other)
    for name, link in (("mugs.faiss", os.link), ("mugs.rows.npy", os.symlink)):
        (paths.partitions / name).unlink()
        link(other / "partitions" / name, paths.partitions / name)
    _open(paths)


@pytest.mark.parametrize(
    "name", ["classifier.npz", "items.sqlite", "partitions/mugs.faiss", "partitions/mugs.rows.npy"]
)
def test_a_file_without_a_checksum_is_not_opened(copy_of: Any, name: str) -> None:
    paths = copy_of()
    checksums = {other: sum_ for other, sum_ in paths.checksums().items() if other != name}
    _rejected(paths, "has no checksum of", checksums=checksums)


def test_a_file_that_may_be_there_needs_a_checksum_too(copy_of: Any) -> None:
    paths = copy_of()
    checksums = paths.checksums()
    (paths.partitions / "mugs.approximate.json").write_text("{}")
    _rejected(paths, "has no checksum of", checksums=checksums)


def test_a_manifest_of_another_snapshot_is_refused_by_its_name(copy_of: Any) -> None:
    paths = copy_of()
    _rejected(paths, "belongs to the snapshot '../../x'", snapshot_id="../../x")


def test_a_sparse_file_of_terabytes_is_given_up_on(copy_of: Any) -> None:
    paths = copy_of()
    checksums = {**paths.checksums(), "report/endless": "0" * 64}
    (paths.root / "report").mkdir()
    with (paths.root / "report" / "endless").open("wb") as file:
        file.truncate(8 << 40)
    replace(Manifest.read(paths.manifest), checksums=checksums).write(paths.manifest)
    with pytest.raises(SnapshotError, match="takes too long"):
        Snapshot.open(paths, deadline=Deadline.after(0.3))


# The classifier


def _classifier(paths: SnapshotPaths, **changes: Any) -> None:
    arrays = dict(np.load(paths.classifier))
    np.savez(paths.classifier, **{**arrays, **changes}, allow_pickle=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": np.full((_DIM, 2), np.nan)},
        {"weights": np.full((_DIM, 2), np.inf)},
        {"bias": np.array([np.nan, 0])},
        {"bias": np.array(["a", "b"])},
        {"temperature": np.float64(np.inf)},
        {"temperature": np.float64(np.nan)},
        {"own_probabilities": np.array([[0.5]])},
        {"own_probabilities": np.array([np.nan])},
        {"categories": np.array(["mugs", "mugs"])},
        {"categories": np.array([1, 2])},
        {"categories": np.array([os.system] * 2, dtype=object)},
    ],
)
def test_a_classifier_that_makes_no_sense_is_rejected(copy_of: Any, changes: dict[str, Any]) -> None:
    paths = copy_of()
    _classifier(paths, **changes)
    _rejected(paths, "classifier")


def test_a_compressed_classifier_is_not_unpacked(copy_of: Any) -> None:
    paths = copy_of()
    with (
        zipfile.ZipFile(paths.classifier, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("weights.npy", "w") as file,
    ):
        for _ in range(64):
            file.write(bytes(1 << 20))
    assert paths.classifier.stat().st_size < 1 << 20
    _rejected(paths, "it is compressed, or its members are larger than the file")


# In a process of its own


def _checked(paths: SnapshotPaths) -> str | None:
    command = [sys.executable, "-m", "shared.snapshot.verify_process", str(paths.root), "60"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True)
    rejected: str | None = json.loads(done.stdout)["error"]
    return rejected


def test_a_process_says_what_is_wrong(copy_of: Any) -> None:
    paths = copy_of(_KINDS[0])
    assert _checked(paths) is None
    _run("UPDATE images SET row = 1000000")(paths)
    _seal(paths)
    assert "has an image in a row beyond its partition" in str(_checked(paths))
