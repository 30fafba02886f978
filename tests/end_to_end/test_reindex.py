"""Reindexing: what changed is made again, what did not is taken over; the result is that of a build from scratch."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from indexer import publish_gate as gate
from indexer.catalogue.reader import read_catalogue
from indexer.console.progress import SilentReporter
from indexer.embedding.augmentation import Augmentation
from indexer.embedding.embed_catalogue import embed_catalogue
from indexer.embedding.embed_image import EmbeddingConfig
from indexer.snapshots.writer_lock import writer_lock
from shared.images.limits import ImageLimits
from shared.index.partition_files import partition_file
from shared.snapshot.data_directory import SnapshotPaths
from shared.snapshot.lease import SnapshotLease
from shared.snapshot.snapshot import Snapshot
from tests.support.builders import quick_stages
from tests.support.builders.partitions import open_partitions
from tests.support.builders.shop import KINDS, Done, Hits, Shop, hits_of, published_hits

pytestmark = pytest.mark.tensorflow

_ROOT = Path(__file__).parents[2]
_EACH = 12
_VIEWS = 2
_OPTIONS = ("--backbone", "efficientnet_lite0", "--augmentations", "1", "--report", "off")
_MAIN = """
import sys
from indexer.__main__ import main
status = main(sys.argv[1:])
print("tensorflow" in sys.modules)
sys.exit(status)
"""


@dataclass(frozen=True)
class _First:
    """The first build, by a real base; it is kept beside, so that every test works in the same place."""

    root: Path
    snapshot_id: str
    model: bytes


def _build_alone(shop: Shop, *options: object) -> tuple[Done, bool]:
    """`python -m indexer build …` in a process of its own, and whether it imported TensorFlow."""
    arguments = ("build", "--data", shop.data.root, *options, "--json")
    command = [sys.executable, "-c", _MAIN, *map(str, arguments)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    *_, summary, tensorflow = done.stdout.splitlines()
    return Done(done.returncode, json.loads(summary), done.stderr), tensorflow == "True"


@pytest.fixture(scope="module")
def first(lite0_tflite: Path, tmp_path_factory: pytest.TempPathFactory) -> _First:
    root = tmp_path_factory.mktemp("reindex")
    shop = Shop(root / "shop", _EACH).draw()
    model = lite0_tflite.read_bytes()
    with quick_stages.exported(model):
        done = shop.build("--catalogue", shop.catalogue, *_OPTIONS)
    assert done.status == 0, done.err
    shop.root.rename(root / "kept")
    return _First(root, done.json["snapshot_id"], model)


@pytest.fixture
def shop(first: _First, _no_tensorflow: None) -> Iterator[Shop]:
    shutil.copytree(first.root / "kept", first.root / "shop")
    yield Shop(first.root / "shop", _EACH)
    shutil.rmtree(first.root / "shop")


@pytest.fixture
def before(first: _First, shop: Shop) -> SnapshotPaths:
    """The first snapshot."""
    return shop.data.paths(first.snapshot_id)


@pytest.fixture
def _no_tensorflow(first: _First, monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds in this process embed for real, but neither export nor train; `quick_stages.called` says that they would.

    That they import TensorFlow for nothing else is asserted by those in a process of their own.
    """

    def export(_: object) -> bytes:
        quick_stages.called.append("export")
        return first.model

    monkeypatch.setattr(quick_stages.STAGES["indexer.backbone.export"], "export_embedder", export)
    monkeypatch.setattr(quick_stages.STAGES["indexer.backbone.load"], "pretrained_classes", lambda *_: None)
    for name in ("indexer.backbone.export", "indexer.backbone.load", "indexer.classifier.train"):
        monkeypatch.setitem(sys.modules, name, quick_stages.STAGES[name])
    quick_stages.called.clear()


def _good(done: Done, embedded: int, *, stages: list[str] | None = None) -> None:
    """How a build ended, what it embedded, and what it trained and exported."""
    assert (done.status, done.json.get("published")) == (0, True), done.err
    assert (done.json["embedded"], quick_stages.called) == (embedded, stages or []), done.err
    quick_stages.called.clear()


def _made_again(before: SnapshotPaths, after: SnapshotPaths) -> set[str]:
    """The categories whose index is a new file; the others are the old one by another name."""
    kinds = {path.stem for path in after.partitions.glob("*.faiss")}
    return {
        kind for kind in kinds if not _same_file(*(one.partitions / partition_file(kind) for one in (before, after)))
    }


def _same_file(one: Path, other: Path) -> bool:
    return one.exists() and one.stat().st_ino == other.stat().st_ino


def _same_classifier(before: SnapshotPaths, after: SnapshotPaths) -> bool:
    names = ("classifier", "fold_classifiers")
    return all(getattr(before, name).read_bytes() == getattr(after, name).read_bytes() for name in names)


def _hits_from_scratch(shop: Shop) -> Hits:
    """Every image embedded anew, without a cache, and every partition built anew, without a published snapshot.

    Augmented copies are not indexed here.
    """
    snapshot = Snapshot.open(shop.current(), interpreters=2)
    how = EmbeddingConfig(snapshot.embedder, Augmentation(copies=0), ImageLimits(), threads=2)
    with SilentReporter().stage("build") as stage:
        embedded = embed_catalogue(read_catalogue(shop.catalogue), how, stage)
    snapshot.close()
    return hits_of(*open_partitions(embedded))


def _is_as_from_scratch(shop: Shop) -> None:
    _same_hits(shop.hits(), _hits_from_scratch(shop))


def _same_hits(found: Hits, wanted: Hits) -> None:
    assert set(found) == set(wanted)
    for item_id, hits in wanted.items():
        assert found[item_id] == pytest.approx(hits, abs=1e-6)


# Nothing, or nothing that matters


def test_nothing_changed(shop: Shop, before: SnapshotPaths) -> None:
    done, tensorflow = _build_alone(shop)
    _good(done, embedded=0)
    assert not tensorflow
    assert done.json["snapshot_id"] == before.root.name == shop.data.current_id()
    assert shop.data.ids() == [before.root.name]
    assert "nothing has changed" in done.err


def test_a_touched_file_embeds_nothing(shop: Shop, before: SnapshotPaths) -> None:
    os.utime(shop.root / "discs-3.png")
    done = shop.build()
    _good(done, embedded=0)
    assert done.json["snapshot_id"] == before.root.name


def test_the_same_content_under_another_name_embeds_nothing(shop: Shop, before: SnapshotPaths) -> None:
    (shop.root / "discs-3.png").rename(shop.root / "round.png")
    shop.change("discs 3", image="round.png")
    _good(shop.build(), embedded=0)
    assert _made_again(before, shop.current()) == set()
    _is_as_from_scratch(shop)


def test_metadata_alone_take_over_every_partition(shop: Shop, before: SnapshotPaths) -> None:
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


def test_settings_are_remembered_where_nothing_else_changed(shop: Shop, before: SnapshotPaths) -> None:
    shop.catalogue = shop.catalogue.rename(shop.root / "products.jsonl")
    _good(shop.build("--catalogue", shop.catalogue, *_OPTIONS, "--keep", 2), embedded=0)
    _good(shop.build(), embedded=0)  # the old catalogue is gone
    settings = json.loads(shop.data.build_settings.read_text(encoding="utf-8"))
    assert (settings["catalogue"], settings["keep"]) == (str(shop.catalogue), 2)
    assert shop.data.current_id() == before.root.name


# Changes


def test_an_edited_picture_alone_is_embedded_again(shop: Shop, before: SnapshotPaths) -> None:
    shop.picture("discs", 3, shade=0.95, age_s=60)
    done, tensorflow = _build_alone(shop)
    _good(done, embedded=_VIEWS)
    assert not tensorflow
    after = shop.current()
    assert _made_again(before, after) == {"discs"}
    assert _same_classifier(before, after)
    _is_as_from_scratch(shop)


def test_a_removed_item_leaves(shop: Shop, before: SnapshotPaths) -> None:
    shop.write([row for row in shop.rows() if row["item_id"] != "checks 0"])  # all others get another number
    _good(shop.build(), embedded=0)
    assert _made_again(before, shop.current()) == {"checks"}
    assert "checks 0" not in shop.hits()
    _is_as_from_scratch(shop)


def test_an_item_that_went_and_comes_back_embeds_nothing(shop: Shop) -> None:
    rows = shop.rows()
    shop.write(rows[1:])
    _good(shop.build(), embedded=0)
    shop.write(rows)
    _good(shop.build(), embedded=0, stages=["train"])  # changes add up: the second of 36 since the training
    _is_as_from_scratch(shop)


def test_an_added_item_alone_is_embedded(shop: Shop, before: SnapshotPaths) -> None:
    shop.picture("stripes", _EACH, shade=0.95, age_s=60)
    shop.write([shop.row("stripes", _EACH), *shop.rows()])
    _good(shop.build(), embedded=_VIEWS)
    assert _made_again(before, shop.current()) == {"stripes"}
    assert _same_classifier(before, shop.current())
    _is_as_from_scratch(shop)


def test_a_moved_item_embeds_nothing(shop: Shop, before: SnapshotPaths) -> None:
    shop.change("discs 3", category="stripes")
    _good(shop.build(), embedded=0)
    assert _made_again(before, shop.current()) == {"discs", "stripes"}
    assert _same_classifier(before, shop.current())
    _is_as_from_scratch(shop)


def test_many_changes_in_a_row_end_as_one_build_from_scratch(shop: Shop, tmp_path: Path) -> None:
    shop.picture("discs", 3, shade=0.95, age_s=60)
    shop.build()
    shop.change("discs 4", category="checks", price=4.5)
    shop.build()
    shop.write(shop.rows()[:0:-1])  # the first is gone, the others are in another order
    shop.build()
    found = shop.hits()
    quick_stages.called.clear()
    fresh = Shop(shop.root, data=tmp_path / "data")
    done = fresh.build("--catalogue", shop.catalogue, *_OPTIONS)
    _good(done, embedded=(len(KINDS) * _EACH - 1) * _VIEWS, stages=["export", "train"])
    _same_hits(found, fresh.hits())


def test_a_change_that_size_and_time_hide_is_seen_with_rehash(shop: Shop, before: SnapshotPaths) -> None:
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


def test_over_5_percent_changed_trains_again(shop: Shop, before: SnapshotPaths) -> None:
    shop.picture("discs", 3, shade=0.95, age_s=60)
    _good(shop.build(), embedded=_VIEWS)
    assert _same_classifier(before, shop.current())
    shop.picture("stripes", 3, shade=0.95, age_s=60)  # the second of 36 since the training
    _good(shop.build(), embedded=_VIEWS, stages=["train"])
    assert not _same_classifier(before, shop.current())


def test_a_new_category_trains_again(shop: Shop, before: SnapshotPaths) -> None:
    shop.change("discs 3", category="rings")
    done = shop.build()
    _good(done, embedded=0, stages=["train"])
    assert done.json["categories"] == 4
    assert _made_again(before, shop.current()) == {"discs", "rings"}
    _is_as_from_scratch(shop)


def test_retrain_trains_though_nothing_changed(shop: Shop, before: SnapshotPaths) -> None:
    done = shop.build("--retrain")
    _good(done, embedded=0, stages=["train"])
    assert done.json["snapshot_id"] > before.root.name
    assert _made_again(before, shop.current()) == set()
    _good(shop.build(), embedded=0)  # it is not remembered


@pytest.mark.parametrize(("option", "other", "back", "views"), [("--seed", 1, 0, 2), ("--augmentations", 0, 1, 1)])
def test_another_recipe_embeds_again_and_the_cache_keeps_both(
    shop: Shop, option: str, other: int, back: int, views: int
) -> None:
    _good(shop.build(option, other), embedded=len(KINDS) * _EACH * views, stages=["train"])
    _good(shop.build(option, back), embedded=0, stages=["train"])
    _good(shop.build(), embedded=0)
    _is_as_from_scratch(shop)


# Damage


def test_a_damaged_cache_entry_is_embedded_again_when_it_is_wanted(shop: Shop, before: SnapshotPaths) -> None:
    with closing(sqlite3.connect(shop.data.cache)) as connection, connection:
        connection.execute("UPDATE views SET views = zeroblob(length(views))")
    _good(shop.build(), embedded=0)  # nothing is read of it
    assert shop.data.current_id() == before.root.name
    shop.picture("discs", 3, shade=0.95, age_s=60)
    done = shop.build()
    wanted = len(KINDS) * _EACH - 1  # near images are searched among all
    _good(done, embedded=(1 + wanted) * _VIEWS)
    assert f"{wanted} damaged entries of" in done.err
    assert _made_again(before, shop.current()) == {"discs"}
    _is_as_from_scratch(shop)


def test_a_cache_of_garbage_is_set_aside(shop: Shop, before: SnapshotPaths) -> None:
    shop.data.cache.write_bytes(b"garbage " * 10_000)
    done = shop.build()
    _good(done, embedded=len(KINDS) * _EACH * _VIEWS)
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
    shop: Shop, before: SnapshotPaths, name: str, damage: Callable[[Path], None]
) -> None:
    damage(before.root / name)
    done = shop.build()
    _good(done, embedded=0, stages=["export", "train"])
    assert f"nothing of the published snapshot is reused: {before.root / name} is damaged" in done.err
    assert shop.data.current_id() != before.root.name
    assert _made_again(before, shop.current()) == set(KINDS)
    _is_as_from_scratch(shop)


# Retention, one writer, rollback, the gate


def _three_more(shop: Shop) -> list[str]:
    ids = []
    for price in (1001, 1002, 1003):
        shop.change("discs 3", price=price)
        ids.append(str(shop.build("--keep", 2).json["snapshot_id"]))
    return ids


def test_keep_leaves_so_many_snapshots(shop: Shop) -> None:
    ids = _three_more(shop)
    assert shop.data.ids() == ids[1:]
    assert sorted(path.name for path in shop.data.snapshots.iterdir()) == ids[1:]
    published_hits(shop.data.paths(ids[1]))  # what it shared with deleted ones is still there


def test_a_leased_snapshot_stays(shop: Shop, before: SnapshotPaths) -> None:
    lease = SnapshotLease(before)
    ids = _three_more(shop)
    assert shop.data.ids() == [before.root.name, *ids[1:]]
    lease.close()
    shop.change("discs 3", price=1)
    last = shop.build().json["snapshot_id"]
    assert shop.data.ids() == [ids[2], last]


def test_a_second_build_is_told_who_writes(shop: Shop, before: SnapshotPaths) -> None:
    with writer_lock(shop.data):
        done = shop.build()
    assert (done.status, done.json["error"]["code"]) == (1, "busy")
    assert f'"pid": {os.getpid()}' in done.err
    assert shop.data.ids() == [before.root.name]
    _good(shop.build(), embedded=0)


def test_a_reindex_after_a_rollback_publishes_the_catalogue_again(shop: Shop, before: SnapshotPaths) -> None:
    shop.picture("discs", 3, shade=0.95, age_s=60)
    shop.build()
    edited = shop.hits()
    quick_stages.called.clear()
    assert shop.run("rollback").status == 0
    assert shop.data.current_id() == before.root.name
    _good(shop.build(), embedded=0)
    assert len(shop.data.ids()) == 3
    _same_hits(shop.hits(), edited)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"MAX_ACCURACY_LOSS": -1.0, "_MIN_HELD_OUT_IMAGES": 1}, "category_accuracy on 36 held-out images is"),
        ({"MIN_ANN_RECALL_AT_10": 1.1}, "ann_recall_at_10 of 'checks' is 1.0000"),
    ],
)
def test_what_the_gate_objects_to_is_kept_but_not_published(
    shop: Shop, before: SnapshotPaths, monkeypatch: pytest.MonkeyPatch, limits: dict[str, float], reason: str
) -> None:
    for name, limit in limits.items():
        monkeypatch.setattr(gate, name, limit)
    shop.change("discs 3", price=99)
    done = shop.build("--keep", 1)
    assert (done.status, done.json["published"]) == (3, False)
    assert f"objection: {reason}" in done.err
    assert shop.data.current_id() == before.root.name
    assert json.loads(shop.data.build_settings.read_text(encoding="utf-8"))["keep"] == 5
    done = shop.build("--force")
    _good(done, embedded=0)
    assert shop.data.current_id() == done.json["snapshot_id"]


def test_a_first_build_may_be_held_back_too(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MIN_ANN_RECALL_AT_10", 1.1)
    shop.data.current.unlink()
    done = shop.build()
    assert (done.status, done.json["published"]) == (3, False), done.err
    assert not shop.data.current.exists()
