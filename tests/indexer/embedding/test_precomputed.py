"""Embeddings made elsewhere: read, refused, built, built again, and what the service says to an image then."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.__main__ import main
from indexer.console.progress import SilentReporter
from indexer.embedding.exported_backbone import UNKNOWN_BACKBONE, ExportedBackbone
from indexer.embedding.precomputed import PrecomputedViews, read_precomputed, require_same_dim
from shared.errors import CatalogueError, ImagesUnavailable, SettingsError
from shared.images.preprocessing import DEFAULT_SIDE_PX
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot
from shared.vectors import unit_rows
from tests.support.builders import quick_stages

_DIM = 24


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """60 rows that are not of length 1, of two categories; every third item has two rows."""
    centres = np.repeat(np.eye(2, _DIM), 30, axis=0)
    np.save(tmp_path / "e.npy", 3 * centres + np.random.default_rng(0).normal(0, 0.3, (60, _DIM)))
    _write(tmp_path / "i.jsonl", [_line(row) for row in range(60)])
    return tmp_path / "e.npy", tmp_path / "i.jsonl"


def _line(row: int) -> dict[str, Any]:
    item = row - 1 if row % 4 == 3 else row
    return {"item_id": f"i{item}", "category": "ab"[row // 30], "price": item}


def _write(path: Path, lines: list[Any]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _read(embeddings: Path, items: Path) -> Any:
    with SilentReporter().stage("") as stage:
        return read_precomputed(embeddings, items, UNKNOWN_BACKBONE, stage)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_rows_are_brought_to_length_1_and_fit_their_items(files: tuple[Path, Path], dtype: str) -> None:
    np.save(files[0], np.load(files[0]).astype(dtype))
    embedded = _read(*files)
    assert embedded.views.shape == (60, 1, _DIM)
    np.testing.assert_allclose(embedded.originals, unit_rows(np.load(files[0])), atol=1e-7)
    assert [embedded.items[number].item_id for number in embedded.image_items] == [
        _line(r)["item_id"] for r in range(60)
    ]
    assert embedded.items[2].images == ("row 2", "row 3")
    assert embedded.items[2].metadata == {"price": 2}


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_row_without_a_direction_is_refused(files: tuple[Path, Path], value: float) -> None:
    rows = np.load(files[0])
    rows[37] = value
    np.save(files[0], rows)
    with pytest.raises(CatalogueError, match=r"row 37 of .*e\.npy \(counted from 0\) is zero or not finite"):
        _read(*files)


@pytest.mark.parametrize("array", [np.zeros(4), np.zeros((0, 4)), np.ones((3, 4), np.int64), np.zeros((2, 3, 4))])
def test_another_array_is_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "e.npy", array)
    with pytest.raises(CatalogueError, match="expected floating-point numbers"):
        PrecomputedViews(tmp_path / "e.npy")


def test_what_is_no_array_is_refused(tmp_path: Path) -> None:
    (tmp_path / "e.npy").write_bytes(b"no array")
    with pytest.raises(CatalogueError, match=r"the embeddings .*e\.npy can't be read"):
        PrecomputedViews(tmp_path / "e.npy")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({59: None}, "describes 59 rows; .* has 60"),
        ({5: {"item_id": "x"}}, "row 6: `category` is missing"),
        ({5: {"item_id": "i0", "category": "a"}}, "row 6: the item 'i0' occurs earlier"),
        ({3: {"item_id": "i2", "category": "b"}}, "row 4: the item 'i2' occurs earlier"),
        ({7: [1]}, "row 8: is not a JSON object but list"),
    ],
)
def test_items_that_do_not_fit_are_refused(files: tuple[Path, Path], change: dict[int, Any], message: str) -> None:
    lines = [change.get(row, _line(row)) for row in range(60)]
    _write(files[1], [line for line in lines if line is not None])
    with pytest.raises(CatalogueError, match=message):
        _read(*files)


def test_a_base_of_other_dimensions_is_refused() -> None:
    with pytest.raises(SettingsError, match="makes embeddings of 1280 dimensions; those given have 24"):
        require_same_dim(ExportedBackbone("efficientnet_lite0", "", b"model"), 1280, 24)


def _build(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    status = main(["build", "--json", *options])
    told: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return status, told


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, stage in quick_stages.STAGES.items():
        monkeypatch.setitem(sys.modules, name, stage)


@pytest.mark.usefixtures("_quick")
def test_a_snapshot_of_given_embeddings_searches_by_them_and_refuses_images(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--embeddings", str(files[0]), "--items", str(files[1]), "--data", str(tmp_path / "data"))
    status, told = _build(capsys, *given)
    assert (status, told["published"], told["items"], told["images"]) == (0, True, 45, 60)
    data = DataDirectory(tmp_path / "data")
    snapshot = Snapshot.open(data.paths(told["snapshot_id"]))
    rows = unit_rows(np.load(files[0]))
    for row in (0, 3, 59):
        ((hit,),) = snapshot.partition("ab"[row // 30]).search(rows[row : row + 1], 1)
        (item,) = snapshot.items.by_numbers([hit.item_number])
        assert item.item.item_id == _line(row)["item_id"]
        assert hit.score == pytest.approx(1, abs=1e-6)
    assert snapshot.embedder.dim == _DIM
    with pytest.raises(ImagesUnavailable, match="search by `embedding`"):
        snapshot.embedder.embed(np.zeros((1, DEFAULT_SIDE_PX, DEFAULT_SIDE_PX, 3), np.uint8))
    snapshot.close()


@pytest.mark.usefixtures("_quick")
def test_given_embeddings_are_built_again_from_the_remembered_files(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--data", str(tmp_path / "data"))
    _, first = _build(capsys, "--embeddings", str(files[0]), "--items", str(files[1]), *data)
    assert _build(capsys, *data)[1]["snapshot_id"] == first["snapshot_id"]
    rows = np.load(files[0])
    rows[45] *= -1  # of b
    np.save(files[0], rows)
    status, second = _build(capsys, *data)
    assert (status, second["items"]) == (0, 45)
    inodes = [
        {
            name: (tmp_path / "data/snapshots" / one["snapshot_id"] / f"partitions/{name}.faiss").stat().st_ino
            for name in "ab"
        }
        for one in (first, second)
    ]
    assert [inodes[0][name] == inodes[1][name] for name in "ab"] == [True, False]


@pytest.mark.parametrize(
    "options",
    [
        ("--embeddings", "e.npy"),
        ("--items", "i.jsonl"),
        ("--embeddings", "e.npy", "--items", "i.jsonl", "--catalogue", "c"),
        ("--embeddings", "e.npy", "--items", "i.jsonl", "--dry-run"),
        ("--embeddings", "e.npy", "--items", "i.jsonl", "--fine-tune", "on"),
        ("--catalogue", "c", "--max-bytes-per-vector", "0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    options: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = _build(capsys, *options, "--data", str(tmp_path))
    assert (status, told["error"]["code"]) == (2, "invalid_setting")
