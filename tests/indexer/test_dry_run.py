"""A dry run writes nothing, and says what the build that follows then does."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from indexer.snapshots.writer_lock import writer_lock
from shared.index.partition_files import partition_file
from tests.support.builders.shop import KINDS, Done, Shop


def _files(root: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Everything in a directory: when it was changed, its inode, and what it holds."""
    return {
        path.relative_to(root).as_posix(): (
            path.stat().st_mtime_ns,
            path.stat().st_ino,
            path.stat().st_mode,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in [root, *root.rglob("*")]
    }


def _dry_run(shop: Shop, called: list[str], *options: object) -> dict[str, Any]:
    """Run a dry run and require that it changed, embedded and trained nothing."""
    before = _files(shop.data.root)
    done = shop.build("--dry-run", *options)
    assert (done.status, done.json.get("dry_run")) == (0, True), done.err
    assert _files(shop.data.root) == before
    assert called == []
    assert "dry run: nothing was changed" in done.err
    return done.json


def _edit(shop: Shop) -> None:
    shop.picture("discs", 3, shade=0.95, side=40)


def _remove(shop: Shop) -> None:
    shop.remove("checks 0", "discs 11")


def _add(shop: Shop) -> None:
    shop.picture("stripes", 12, shade=0.95, side=40)
    shop.write([shop.row("stripes", 12), *shop.rows()])


def _move(shop: Shop) -> None:
    shop.change("discs 3", category="stripes")


def _new_category(shop: Shop) -> None:
    shop.change("discs 3", category="rings")


def _reprice(shop: Shop) -> None:
    shop.change("discs 3", price=99)


def _break(shop: Shop) -> None:
    (shop.root / "discs-3.png").unlink()


def _touch(shop: Shop) -> None:
    os.utime(shop.root / "discs-3.png")


def _everything(shop: Shop) -> None:
    for change in (_edit, _remove, _add, _new_category):
        change(shop)
    shop.change("checks 5", price=7)


def _nothing(_: Shop) -> None:
    pass


_CHANGES = {
    _nothing: {},
    _touch: {},
    _edit: {"edited": 1},
    _remove: {"removed": 2},
    _add: {"added": 1},
    _move: {"moved": 1},
    _new_category: {"moved": 1},
    _reprice: {"described": 1},
    _break: {"removed": 1},
    _everything: {"added": 1, "removed": 2, "moved": 1, "edited": 1, "described": 1},
}


@pytest.mark.parametrize(("change", "expected"), _CHANGES.items(), ids=[one.__name__ for one in _CHANGES])
def test_a_dry_run_agrees_with_the_build_that_follows(
    quick_shop: Shop, quick_stages_called: list[str], change: Callable[[Shop], None], expected: dict[str, int]
) -> None:
    before = quick_shop.current()
    change(quick_shop)
    result = _dry_run(quick_shop, quick_stages_called)
    counts = {name: len(result["changes"][name]) for name in ("added", "removed", "moved", "edited", "described")}
    assert {name: count for name, count in counts.items() if count} == expected

    done = quick_shop.build("--keep", 9)
    assert (done.status, done.json["published"]) == (0, True), done.err
    after = quick_shop.current()
    assert (result["items"], result["images"], result["skipped"]) == tuple(
        done.json[name] for name in ("items", "images", "skipped")
    )
    assert 2 * result["images_to_embed"] == done.json["embedded"]
    assert (result["reason_to_train"] is not None) == (quick_stages_called == ["train"])
    made = [
        path.name
        for path in after.partitions.glob("*.faiss")
        if not (before.partitions / path.name).exists() or not path.samefile(before.partitions / path.name)
    ]
    assert sorted(map(partition_file, result["partitions_to_build"])) == sorted(made)
    assert (before == after) == (not expected)
    if result["reason_to_train"] is not None:
        assert f"the classifier is trained: {result['reason_to_train']}" in done.err


def test_before_the_first_build_everything_is_to_do(quick_stages_called: list[str], tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop").draw(side=40)
    options = ("--catalogue", shop.catalogue, "--augmentations", 1)
    done = shop.build("--dry-run", *options)
    assert done.status == 0, done.err
    assert not shop.data.root.exists()
    assert done.json == {
        "dry_run": True,
        "items": 36,
        "images": 36,
        "skipped": 0,
        "changes": None,
        "images_to_embed": 36,
        "partitions_to_build": list(KINDS),
        "reason_to_train": "there is none yet",
        "reason_to_learn_words": None,
    }
    assert quick_stages_called == []
    assert shop.build(*options).json["embedded"] == 2 * done.json["images_to_embed"]


def test_what_another_option_would_cost(quick_shop: Shop, quick_stages_called: list[str]) -> None:
    result = _dry_run(quick_shop, quick_stages_called, "--augmentations", 0)
    assert (result["images_to_embed"], result["partitions_to_build"]) == (36, list(KINDS))
    assert result["reason_to_train"] == "the recipe of the embeddings has changed"
    assert (result["changes"]["unchanged"], result["changes"]["edited"]) == (36, [])
    result = _dry_run(quick_shop, quick_stages_called, "--retrain")
    assert (result["images_to_embed"], result["partitions_to_build"]) == (0, [])
    assert result["reason_to_train"] == "requested by --retrain"
    result = _dry_run(quick_shop, quick_stages_called, "--index-views", "all")
    assert (result["images_to_embed"], result["partitions_to_build"], result["reason_to_train"]) == (
        0,
        list(KINDS),
        None,
    )
    result = _dry_run(quick_shop, quick_stages_called, "--vectors", "int8")
    assert (result["images_to_embed"], result["partitions_to_build"], result["reason_to_train"]) == (
        0,
        list(KINDS),
        None,
    )


def test_options_of_a_dry_run_are_not_remembered(quick_shop: Shop, quick_stages_called: list[str]) -> None:
    _dry_run(quick_shop, quick_stages_called, "--augmentations", 0)
    assert quick_shop.build().json["embedded"] == 0


def test_rehash_sees_what_size_and_time_hide(quick_shop: Shop, quick_stages_called: list[str]) -> None:
    status = (quick_shop.root / "discs-3.png").stat()
    _edit(quick_shop)
    os.utime(quick_shop.root / "discs-3.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert _dry_run(quick_shop, quick_stages_called)["changes"]["edited"] == []
    assert _dry_run(quick_shop, quick_stages_called, "--rehash")["changes"]["edited"] == ["discs 3"]


def test_without_a_cache_every_image_would_be_embedded(quick_shop: Shop, quick_stages_called: list[str]) -> None:
    shutil.rmtree(quick_shop.data.cache.parent)
    result = _dry_run(quick_shop, quick_stages_called)
    assert (result["images_to_embed"], result["partitions_to_build"], result["reason_to_train"]) == (36, [], None)
    done = quick_shop.build()
    assert (done.json["embedded"], quick_stages_called) == (72, [])
    assert "nothing has changed" in done.err


def test_a_dry_run_needs_no_lock(quick_shop: Shop, quick_stages_called: list[str]) -> None:
    with writer_lock(quick_shop.data):
        _edit(quick_shop)
        assert _dry_run(quick_shop, quick_stages_called)["images_to_embed"] == 1


def _refused(shop: Shop, *options: object) -> Done:
    before = _files(shop.data.root)
    done = shop.build("--dry-run", *options)
    assert _files(shop.data.root) == before
    return done


def test_an_unreadable_catalogue_is_rejected_and_changes_nothing(quick_shop: Shop) -> None:
    done = _refused(quick_shop, "--catalogue", quick_shop.root / "gone")
    assert (done.status, done.json["error"]["code"]) == (2, "invalid_catalogue")


@pytest.mark.parametrize("name", ["items.sqlite", "embedder.tflite", "manifest.json"])
def test_a_damaged_snapshot_is_reported_and_would_be_rebuilt(
    quick_shop: Shop, quick_stages_called: list[str], name: str
) -> None:
    path = quick_shop.current().root / name
    path.write_bytes(path.read_bytes()[:-10])
    result = _dry_run(quick_shop, quick_stages_called)
    assert (result["changes"], result["partitions_to_build"]) == (None, list(KINDS))
    assert quick_shop.build().json["published"]


def test_with_a_damaged_cache_all_images_count_as_not_embedded(quick_shop: Shop) -> None:
    quick_shop.data.cache.write_bytes(b"garbage " * 1000)
    done = quick_shop.build("--dry-run")
    assert (done.status, done.json["images_to_embed"]) == (0, done.json["images"])
    assert "embeddings.sqlite can't be used" in done.err
    assert quick_shop.data.cache.read_bytes() == b"garbage " * 1000
