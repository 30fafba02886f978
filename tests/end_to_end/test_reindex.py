"""Reindexing: what changed is made again, what did not is taken over; the result is that of a build from scratch."""

import colorsys
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from partitions import open_partitions
from PIL import Image, ImageDraw

from indexer.augment import Augmentation
from indexer.embed import Embedding, embed_catalogue
from indexer.read_catalogue import read_catalogue
from indexer.report import SilentReporter
from indexer.writer_lock import writer_lock
from shared.images import ImageLimits
from shared.partition import Partition, partition_file
from shared.snapshot import DataDirectory, Snapshot, SnapshotPaths
from shared.snapshot_lease import SnapshotLease

pytestmark = pytest.mark.tensorflow

_ROOT = Path(__file__).parents[2]
_KINDS = ("checks", "discs", "stripes")
_EACH = 12
_VIEWS = 2
_OPTIONS = ("--backbone", "efficientnet_lite0", "--augmentations", "1")
_MAIN = """
import json, sys
from indexer import gate
from indexer.__main__ import main
for name, value in json.loads(sys.argv[1]).items():
    setattr(gate, name, value)
status = main(sys.argv[2:])
print("tensorflow" in sys.modules)
sys.exit(status)
"""


@dataclass(frozen=True)
class _Done:
    """How a build ended."""

    status: int
    json: dict[str, Any]
    err: str
    tensorflow: bool


class _Shop:
    """A catalogue and its data directory, as the first build left them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.catalogue = root / "items.jsonl"
        self.data = DataDirectory(root / "data")

    def draw(self) -> None:
        for kind in _KINDS:
            for number in range(_EACH):
                self.picture(kind, number, shade=number / _EACH)
        self.write([self.row(kind, number) for kind in _KINDS for number in range(_EACH)])

    @staticmethod
    def row(kind: str, number: int) -> dict[str, Any]:
        return {"item_id": f"{kind} {number}", "category": kind, "image": f"{kind}-{number}.png", "price": number}

    def picture(self, kind: str, number: int, shade: float, age_s: float = 3600) -> Path:
        """Draw a picture; all files have the same size in bytes, whatever they show."""
        path = self.root / f"{kind}-{number}.png"
        _draw(kind, shade).save(path, compress_level=0)
        os.utime(path, (time.time() - age_s, time.time() - age_s))
        return path

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.catalogue.read_text(encoding="utf-8").splitlines()]

    def write(self, rows: list[dict[str, Any]]) -> None:
        self.catalogue.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def change(self, item_id: str, **fields: object) -> None:
        self.write([row | fields if row["item_id"] == item_id else row for row in self.rows()])

    def build(self, *options: object, gate: dict[str, float] | None = None) -> _Done:
        """`python -m indexer build …` in a process of its own, with other limits of the gate where they are given."""
        arguments = ("build", "--data", self.data.root, *options, "--json")
        command = [sys.executable, "-c", _MAIN, json.dumps(gate or {}), *map(str, arguments)]
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        *_, summary, tensorflow = done.stdout.splitlines()
        return _Done(done.returncode, json.loads(summary), done.stderr, tensorflow == "True")

    def current(self) -> SnapshotPaths:
        return self.data.paths(self.data.current_id())


def _draw(kind: str, shade: float) -> Image.Image:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(shade, 0.9, 0.8))
    image = Image.new("RGB", (120, 120), "white")
    draw = ImageDraw.Draw(image)
    step = 10 + round(shade * 20)
    for place in range(0, 120, 2 * step):
        if kind == "discs":
            draw.ellipse(
                (place // 2, place // 2, 119 - place // 2, 119 - place // 2), outline=(red, green, blue), width=4
            )
        elif kind == "stripes":
            draw.rectangle((0, place, 119, place + step), fill=(red, green, blue))
        else:
            for row in range(0, 120, step):
                left = place + row % (2 * step)
                draw.rectangle((left, row, left + step, row + step), fill=(red, green, blue))
    return image


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, _Done]:
    """The first build; it is kept beside, since paths are remembered and so every test works in the same place."""
    root = tmp_path_factory.mktemp("reindex")
    shop = _Shop(root / "shop")
    shop.root.mkdir()
    shop.draw()
    done = shop.build("--catalogue", shop.catalogue, *_OPTIONS)
    assert done.status == 0, done.err
    shop.root.rename(root / "kept")
    return root, done


@pytest.fixture
def shop(first: tuple[Path, _Done]) -> Iterator[_Shop]:
    root, _ = first
    shutil.copytree(root / "kept", root / "shop")
    yield _Shop(root / "shop")
    shutil.rmtree(root / "shop")


@pytest.fixture
def before(first: tuple[Path, _Done], shop: _Shop) -> SnapshotPaths:
    """The first snapshot."""
    return shop.data.paths(first[1].json["snapshot_id"])


def _good(done: _Done, embedded: int, tensorflow: bool = False) -> None:
    assert (done.status, done.json.get("published")) == (0, True), done.err
    assert (done.json["embedded"], done.tensorflow) == (embedded, tensorflow), done.err


def _made_again(before: SnapshotPaths, after: SnapshotPaths) -> set[str]:
    """The categories whose index is a new file; the others are the old one by another name."""
    kinds = {path.stem for path in after.partitions.glob("*.faiss")}
    return {
        kind for kind in kinds if not _same_file(*(one.partitions / partition_file(kind) for one in (before, after)))
    }


def _same_file(one: Path, other: Path) -> bool:
    return one.exists() and one.stat().st_ino == other.stat().st_ino


def _same_classifier(before: SnapshotPaths, after: SnapshotPaths) -> bool:
    return before.classifier.read_bytes() == after.classifier.read_bytes()


_Hits = dict[str, dict[str, float]]


def _hits(partitions: dict[str, Partition], items: list[Any]) -> _Hits:
    """For every item as the query, within its category: the items found and their scores."""
    ids = {indexed.number: indexed.item.item_id for indexed in items}
    found: _Hits = {}
    for indexed in items:
        part = partitions[indexed.item.category]
        (hits,) = part.search(part.embeddings(indexed.rows[:1]), 100)
        found[indexed.item.item_id] = {ids[hit.item_number]: hit.score for hit in hits}
    return found


def _published_hits(paths: SnapshotPaths) -> _Hits:
    snapshot = Snapshot.open(paths, interpreters=1)
    try:
        return _hits(snapshot.partitions, list(snapshot.items))
    finally:
        snapshot.close()


def _hits_from_scratch(shop: _Shop, augmentations: int = 1) -> _Hits:
    """Every image embedded anew, without a cache, and every partition built anew, without a published snapshot."""
    snapshot = Snapshot.open(shop.current(), interpreters=2)
    how = Embedding(snapshot.embedder, Augmentation(copies=augmentations), ImageLimits(), threads=2)
    with SilentReporter().stage("build") as stage:
        embedded = embed_catalogue(read_catalogue(shop.catalogue), how, stage)
    snapshot.close()
    return _hits(*open_partitions(embedded))


def _is_as_from_scratch(shop: _Shop) -> None:
    _same_hits(_published_hits(shop.current()), _hits_from_scratch(shop))


def _same_hits(found: _Hits, wanted: _Hits) -> None:
    assert set(found) == set(wanted)
    for item_id, hits in wanted.items():
        assert found[item_id] == pytest.approx(hits, abs=1e-6)


# Nothing, or nothing that matters


def test_nothing_changed(shop: _Shop, before: SnapshotPaths) -> None:
    done = shop.build()
    _good(done, embedded=0)
    assert done.json["snapshot_id"] == before.root.name == shop.data.current_id()
    assert shop.data.ids() == [before.root.name]
    assert "nothing has changed" in done.err


def test_a_touched_file_embeds_nothing(shop: _Shop, before: SnapshotPaths) -> None:
    os.utime(shop.root / "discs-3.png")
    done = shop.build()
    _good(done, embedded=0)
    assert done.json["snapshot_id"] == before.root.name


def test_the_same_content_under_another_name_embeds_nothing(shop: _Shop, before: SnapshotPaths) -> None:
    (shop.root / "discs-3.png").rename(shop.root / "round.png")
    shop.change("discs 3", image="round.png")
    _good(shop.build(), embedded=0)
    assert _made_again(before, shop.current()) == set()
    _is_as_from_scratch(shop)


def test_metadata_alone_take_over_every_partition(shop: _Shop, before: SnapshotPaths) -> None:
    shop.change("discs 3", price=99)
    _good(shop.build(), embedded=0)
    after = shop.current()
    assert after != before
    assert _made_again(before, after) == set()
    assert _same_classifier(before, after)
    snapshot = Snapshot.open(after, interpreters=1)
    assert snapshot.items.by_id("discs 3").item.metadata == {"price": 99}
    snapshot.close()
    _is_as_from_scratch(shop)


def test_settings_are_remembered_where_nothing_else_changed(shop: _Shop, before: SnapshotPaths) -> None:
    shop.catalogue = shop.catalogue.rename(shop.root / "products.jsonl")
    _good(shop.build("--catalogue", shop.catalogue, *_OPTIONS, "--keep", 2), embedded=0)
    _good(shop.build(), embedded=0)  # the old catalogue is gone
    settings = json.loads(shop.data.build_settings.read_text(encoding="utf-8"))
    assert (settings["catalogue"], settings["keep"]) == (str(shop.catalogue), 2)
    assert shop.data.current_id() == before.root.name


# Changes


def test_an_edited_picture_alone_is_embedded_again(shop: _Shop, before: SnapshotPaths) -> None:
    shop.picture("discs", 3, shade=0.95, age_s=60)
    _good(shop.build(), embedded=_VIEWS)
    after = shop.current()
    assert _made_again(before, after) == {"discs"}
    assert _same_classifier(before, after)
    _is_as_from_scratch(shop)


def test_a_removed_item_leaves(shop: _Shop, before: SnapshotPaths) -> None:
    shop.write([row for row in shop.rows() if row["item_id"] != "checks 0"])  # all others get another number
    _good(shop.build(), embedded=0)
    assert _made_again(before, shop.current()) == {"checks"}
    assert "checks 0" not in _published_hits(shop.current())
    _is_as_from_scratch(shop)


def test_an_item_that_went_and_comes_back_embeds_nothing(shop: _Shop) -> None:
    rows = shop.rows()
    shop.write(rows[1:])
    _good(shop.build(), embedded=0)
    shop.write(rows)
    _good(shop.build(), embedded=0, tensorflow=True)  # changes add up: the second of 36 since the training
    _is_as_from_scratch(shop)


def test_an_added_item_alone_is_embedded(shop: _Shop, before: SnapshotPaths) -> None:
    shop.picture("stripes", _EACH, shade=0.95, age_s=60)
    shop.write([shop.row("stripes", _EACH), *shop.rows()])
    _good(shop.build(), embedded=_VIEWS)
    assert _made_again(before, shop.current()) == {"stripes"}
    assert _same_classifier(before, shop.current())
    _is_as_from_scratch(shop)


def test_a_moved_item_embeds_nothing(shop: _Shop, before: SnapshotPaths) -> None:
    shop.change("discs 3", category="stripes")
    _good(shop.build(), embedded=0)
    assert _made_again(before, shop.current()) == {"discs", "stripes"}
    assert _same_classifier(before, shop.current())
    _is_as_from_scratch(shop)


def test_many_changes_in_a_row_end_as_one_build_from_scratch(shop: _Shop, tmp_path: Path) -> None:
    shop.picture("discs", 3, shade=0.95, age_s=60)
    shop.build()
    shop.change("discs 4", category="checks", price=4.5)
    shop.build()
    shop.write(shop.rows()[:0:-1])  # the first is gone, the others are in another order
    shop.build()
    options = ("--catalogue", shop.catalogue, *_OPTIONS)
    found = _published_hits(shop.current())
    fresh = _Shop(tmp_path)
    _good(fresh.build(*options), embedded=(3 * _EACH - 1) * _VIEWS, tensorflow=True)
    _same_hits(found, _published_hits(fresh.current()))


def test_a_change_that_size_and_time_hide_is_seen_with_rehash(shop: _Shop, before: SnapshotPaths) -> None:
    status = (shop.root / "discs-3.png").stat()
    path = shop.picture("discs", 3, shade=0.95)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    _good(shop.build(), embedded=0)
    assert shop.data.current_id() == before.root.name
    _good(shop.build("--rehash"), embedded=_VIEWS)
    assert _made_again(before, shop.current()) == {"discs"}
    _is_as_from_scratch(shop)


# The classifier


def test_over_5_percent_changed_trains_again(shop: _Shop, before: SnapshotPaths) -> None:
    shop.picture("discs", 3, shade=0.95, age_s=60)
    _good(shop.build(), embedded=_VIEWS)
    assert _same_classifier(before, shop.current())
    shop.picture("stripes", 3, shade=0.95, age_s=60)  # the second of 36 since the training
    _good(shop.build(), embedded=_VIEWS, tensorflow=True)
    assert not _same_classifier(before, shop.current())


def test_a_new_category_trains_again(shop: _Shop, before: SnapshotPaths) -> None:
    shop.change("discs 3", category="rings")
    done = shop.build()
    _good(done, embedded=0, tensorflow=True)
    assert done.json["categories"] == 4
    assert _made_again(before, shop.current()) == {"discs", "rings"}
    _is_as_from_scratch(shop)


def test_retrain_trains_though_nothing_changed(shop: _Shop, before: SnapshotPaths) -> None:
    done = shop.build("--retrain")
    _good(done, embedded=0, tensorflow=True)
    assert done.json["snapshot_id"] > before.root.name
    assert _made_again(before, shop.current()) == set()
    _good(shop.build(), embedded=0)  # it is not remembered


@pytest.mark.parametrize(("option", "other", "back", "views"), [("--seed", 1, 0, 2), ("--augmentations", 0, 1, 1)])
def test_another_recipe_embeds_again_and_the_cache_keeps_both(
    shop: _Shop, option: str, other: int, back: int, views: int
) -> None:
    _good(shop.build(option, other), embedded=3 * _EACH * views, tensorflow=True)
    _good(shop.build(option, back), embedded=0, tensorflow=True)
    _good(shop.build(), embedded=0)
    _is_as_from_scratch(shop)


# Damage


def test_a_damaged_cache_entry_is_embedded_again(shop: _Shop, before: SnapshotPaths) -> None:
    with closing(sqlite3.connect(shop.data.cache)) as connection, connection:
        flipped = (
            "UPDATE views SET views = zeroblob(length(views)) WHERE number = (SELECT number FROM entries JOIN files"
        )
        connection.execute(f"{flipped} USING (digest) WHERE path LIKE '%discs-5.png')")
    _good(shop.build(), embedded=0)  # nothing changed: no embedding is read
    shop.picture("discs", 3, shade=0.95, age_s=60)
    done = shop.build()
    _good(done, embedded=2 * _VIEWS)
    assert "1 damaged entries of" in done.err
    assert _made_again(before, shop.current()) == {"discs"}
    _is_as_from_scratch(shop)
    _good(shop.build(), embedded=0)


def test_a_cache_of_garbage_is_set_aside(shop: _Shop, before: SnapshotPaths) -> None:
    shop.data.cache.write_bytes(b"garbage " * 10_000)
    done = shop.build()
    _good(done, embedded=3 * _EACH * _VIEWS)
    assert "set aside as embeddings.sqlite.damaged" in done.err
    assert shop.data.current_id() == before.root.name
    _good(shop.build(), embedded=0)


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(("name", "damage"), [("embedder.tflite", _truncate), ("partitions/discs.faiss", _flip_a_bit)])
def test_nothing_is_taken_over_from_a_damaged_snapshot(
    shop: _Shop, before: SnapshotPaths, name: str, damage: Callable[[Path], None]
) -> None:
    damage(before.root / name)
    done = shop.build()
    _good(done, embedded=0, tensorflow=True)  # the export is the same to the byte, so the cache fits
    assert f"nothing of the published snapshot is taken over: {before.root / name} is damaged" in done.err
    assert shop.data.current_id() != before.root.name
    _is_as_from_scratch(shop)


# Retention, one writer, rollback, the gate


def _three_more(shop: _Shop) -> list[str]:
    ids = []
    for price in (1001, 1002, 1003):
        shop.change("discs 3", price=price)
        ids.append(str(shop.build("--keep", 2).json["snapshot_id"]))
    return ids


def test_keep_leaves_so_many_snapshots(shop: _Shop) -> None:
    ids = _three_more(shop)
    assert shop.data.ids() == ids[1:]
    assert sorted(path.name for path in shop.data.snapshots.iterdir()) == ids[1:]
    _published_hits(shop.data.paths(ids[1]))  # what it shared with deleted ones is still there


def test_a_leased_snapshot_stays(shop: _Shop, before: SnapshotPaths) -> None:
    lease = SnapshotLease(before)
    ids = _three_more(shop)
    assert shop.data.ids() == [before.root.name, *ids[1:]]
    lease.close()
    shop.change("discs 3", price=1)
    last = shop.build().json["snapshot_id"]
    assert shop.data.ids() == [ids[2], last]


def test_a_second_build_is_told_who_writes(shop: _Shop, before: SnapshotPaths) -> None:
    with writer_lock(shop.data):
        done = shop.build()
    assert (done.status, done.json["error"]["code"]) == (1, "busy")
    assert f'"pid": {os.getpid()}' in done.err
    assert shop.data.ids() == [before.root.name]
    _good(shop.build(), embedded=0)


def test_a_reindex_after_a_rollback_publishes_the_catalogue_again(shop: _Shop, before: SnapshotPaths) -> None:
    shop.picture("discs", 3, shade=0.95, age_s=60)
    shop.build()
    edited = _published_hits(shop.current())
    command = [sys.executable, "-m", "indexer", "rollback", "--data", str(shop.data.root)]
    assert subprocess.run(command, cwd=_ROOT, capture_output=True, check=False).returncode == 0
    assert shop.data.current_id() == before.root.name
    _good(shop.build(), embedded=0)
    assert len(shop.data.ids()) == 3
    _same_hits(_published_hits(shop.current()), edited)


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        ({"MAX_ACCURACY_LOSS": -1.0, "_MIN_JUDGED_IMAGES": 1}, "category_accuracy on 6 held-out images is"),
        ({"MIN_ANN_RECALL_AT_10": 1.1}, "ann_recall_at_10 of 'checks' is 1.0000"),
    ],
)
def test_what_the_gate_objects_to_is_kept_but_not_published(
    shop: _Shop, before: SnapshotPaths, gate: dict[str, float], reason: str
) -> None:
    shop.change("discs 3", price=99)
    done = shop.build("--keep", 1, gate=gate)
    assert (done.status, done.json["published"]) == (3, False)
    assert f"objection: {reason}" in done.err
    assert shop.data.current_id() == before.root.name
    assert json.loads(shop.data.build_settings.read_text(encoding="utf-8"))["keep"] == 5
    done = shop.build("--force", gate=gate)
    _good(done, embedded=0)
    assert shop.data.current_id() == done.json["snapshot_id"]


def test_a_first_build_may_be_held_back_too(shop: _Shop) -> None:
    shop.data.current.unlink()
    done = shop.build(gate={"MIN_ANN_RECALL_AT_10": 1.1})
    assert (done.status, done.json["published"]) == (3, False), done.err
    assert not shop.data.current.exists()
