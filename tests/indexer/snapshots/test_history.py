"""Listing, rolling back and comparing snapshots, with real builds by colour."""

import json
import shutil
from pathlib import Path

import pytest

from indexer import publish_gate as gate
from indexer.snapshots.history import diff, list_snapshots, roll_back, snapshot_paths
from indexer.snapshots.publish import published_ids
from indexer.snapshots.writer_lock import writer_lock
from shared.errors import Busy, SnapshotError, SnapshotMissing
from tests.support.builders.shop import Done, Shop


def _build(shop: Shop, price: int, *options: object) -> str:
    """Publish a snapshot that differs from others by a price."""
    shop.change("discs 3", price=price)
    done = shop.build(*options)
    assert (done.status, done.json["published"]) == (0, True), done.err
    return str(done.json["snapshot_id"])


def _held_back(shop: Shop, price: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Build one that the gate objects to."""
    with monkeypatch.context() as patch:
        patch.setattr(gate, "MIN_ANN_RECALL_AT_10", 1.1)
        shop.change("discs 3", price=price)
        done = shop.build()
    assert (done.status, done.json["published"]) == (3, False), done.err
    return str(done.json["snapshot_id"])


def _states(shop: Shop) -> dict[str, str]:
    return {one.snapshot_id: one.state for one in list_snapshots(shop.data)}


def test_states_of_snapshots(quick_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    first = quick_shop.data.current_id()
    second = _build(quick_shop, 1)
    candidate = _held_back(quick_shop, 2, monkeypatch)
    expected = {first: "published", second: "current", candidate: "held back"}
    assert _states(quick_shop) == expected
    assert list(_states(quick_shop)) == sorted(expected)
    done = quick_shop.run("snapshots")
    assert {one["snapshot_id"]: one["state"] for one in done.json["snapshots"]} == expected
    assert done.json["current"] == second


def test_a_summary_says_what_is_in_it(quick_shop: Shop) -> None:
    quick_shop.remove("discs 3", "checks 1")
    quick_shop.build()
    (_, summary) = list_snapshots(quick_shop.data)
    paths = quick_shop.current()
    assert summary.snapshot_id == paths.root.name
    assert (summary.backbone, summary.categories, summary.items, summary.images) == ("efficientnet_lite0", 3, 34, 34)
    assert summary.bytes == sum(path.stat().st_size for path in paths.root.rglob("*") if path.is_file())
    assert summary.created_at == json.loads(paths.manifest.read_text())["created_at"]


def test_where_nothing_is_published_there_is_nothing_to_list(tmp_path: Path) -> None:
    data = Shop(tmp_path).data
    for call in (lambda: list_snapshots(data), lambda: roll_back(data, None), lambda: diff(data, "a", "b")):
        with pytest.raises(SnapshotMissing):
            call()
    assert not data.root.exists()


# Going back


def test_rolling_back_skips_what_was_held_back(quick_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    first = quick_shop.data.current_id()
    candidate = _held_back(quick_shop, 1, monkeypatch)
    second = _build(quick_shop, 2, "--keep", 9)
    assert first < candidate < second
    # Candidates that are older than what is published go; this one comes back by hand.
    assert candidate not in quick_shop.data.ids()
    shutil.copytree(quick_shop.data.paths(first).root, quick_shop.data.paths(candidate).root)
    assert roll_back(quick_shop.data, None) == (first, second)
    assert quick_shop.data.current_id() == first
    assert _states(quick_shop) == {first: "current", candidate: "held back", second: "published"}
    with pytest.raises(SnapshotMissing, match=f"is older than {first}, the current one"):
        roll_back(quick_shop.data, None)


def test_a_candidate_is_published_by_its_id(quick_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    first = quick_shop.data.current_id()
    candidate = _held_back(quick_shop, 1, monkeypatch)
    done = quick_shop.run("rollback", candidate)
    assert (done.status, done.json) == (0, {"snapshot_id": candidate, "was": first})
    assert published_ids(quick_shop.data) == {first, candidate}
    assert roll_back(quick_shop.data, None) == (first, candidate)


def test_rolling_back_twice_and_forward_again(quick_shop: Shop) -> None:
    ids = [quick_shop.data.current_id(), *(_build(quick_shop, price) for price in (1, 2))]
    assert [roll_back(quick_shop.data, None)[0] for _ in range(2)] == ids[1::-1]
    assert roll_back(quick_shop.data, ids[2]) == (ids[2], ids[0])
    assert quick_shop.hits()


def test_rolling_back_is_rejected_while_a_build_is_writing(quick_shop: Shop) -> None:
    _build(quick_shop, 1)
    before = quick_shop.data.current_id()
    with writer_lock(quick_shop.data):
        with pytest.raises(Busy, match="another build is writing"):
            roll_back(quick_shop.data, None)
        done = quick_shop.run("rollback")
    assert (done.status, done.json["error"]["code"]) == (1, "busy")
    assert quick_shop.data.current_id() == before
    assert quick_shop.run("rollback").status == 0


def test_a_damaged_snapshot_is_not_published(quick_shop: Shop) -> None:
    first, second = quick_shop.current(), _build(quick_shop, 1)
    (first.root / "items.sqlite").write_bytes(b"garbage")
    with pytest.raises(SnapshotError, match=r"items\.sqlite is damaged"):
        roll_back(quick_shop.data, None)
    assert quick_shop.data.current_id() == second


def test_a_missing_snapshot_is_rejected(quick_shop: Shop) -> None:
    for missing in ("gone", "..", ""):
        with pytest.raises(SnapshotMissing, match="no snapshot"):
            snapshot_paths(quick_shop.data, missing)
    with pytest.raises(SnapshotMissing, match="no snapshot 'gone'"):
        roll_back(quick_shop.data, "gone")


def test_without_the_list_of_published_snapshots_all_count(quick_shop: Shop) -> None:
    first, second = quick_shop.data.current_id(), _build(quick_shop, 1)
    quick_shop.data.published.unlink()
    assert _states(quick_shop) == {first: "published", second: "current"}
    assert roll_back(quick_shop.data, None) == (first, second)


# Two side by side


def test_a_diff_has_the_changes_of_the_catalogue(quick_shop: Shop) -> None:
    first = quick_shop.data.current_id()
    quick_shop.picture("discs", 3, shade=0.95, side=40)
    quick_shop.change("discs 4", category="checks")
    quick_shop.change("checks 5", price=99)
    quick_shop.remove("stripes 0", "stripes 1")
    quick_shop.picture("stripes", 77, shade=0.5, side=40)
    quick_shop.write([*quick_shop.rows(), quick_shop.row("stripes", 77)])
    second = str(quick_shop.build().json["snapshot_id"])
    found = diff(quick_shop.data, first, second)
    changes = found.changes
    assert (changes.added, changes.removed, changes.edited, changes.described) == (
        ("stripes 77",),
        ("stripes 0", "stripes 1"),
        ("discs 3",),
        ("checks 5",),
    )
    assert [one.sentence() for one in changes.moved] == ["discs 4: discs → checks"]
    assert changes.unchanged == 36 - 2 - 3
    assert found.category_items == {"checks": (12, 13), "discs": (12, 11), "stripes": (12, 11)}
    assert (found.before.items, found.after.items) == (36, 35)
    assert (found.before.state, found.after.state) == ("published", "current")


def test_a_diff_back_is_the_other_way_round(quick_shop: Shop) -> None:
    first = quick_shop.data.current_id()
    quick_shop.remove("stripes 0")
    second = str(quick_shop.build().json["snapshot_id"])
    back = diff(quick_shop.data, second, first)
    assert (back.changes.added, back.changes.removed) == (("stripes 0",), ())
    assert back.category_items == {"stripes": (11, 12)}


def test_shared_files_are_counted(quick_shop: Shop) -> None:
    first = quick_shop.current()
    second = quick_shop.data.paths(_build(quick_shop, 1))
    shared = [first.embedder, *first.partitions.glob("*.faiss")]
    found = diff(quick_shop.data, first.root.name, second.root.name)
    assert found.shared_bytes == sum(path.stat().st_size for path in shared)
    assert found.changes.described == ("discs 3",)
    same = diff(quick_shop.data, second.root.name, second.root.name)
    assert same.shared_bytes == same.after.bytes
    assert same.changes.unchanged == 36


def test_the_command_compares_with_the_published_snapshot_by_default(quick_shop: Shop) -> None:
    first = quick_shop.data.current_id()
    quick_shop.remove("stripes 0")
    quick_shop.build()
    done: Done = quick_shop.run("diff", first)
    assert done.status == 0, done.err
    assert done.json["changes"]["removed"] == ["stripes 0"]
    assert (done.json["before"]["snapshot_id"], done.json["after"]["state"]) == (first, "current")
    assert "stripes 0" in done.err
    done = quick_shop.run("diff", first, "gone")
    assert (done.status, done.json["error"]["code"]) == (2, "no_snapshot")


def test_a_damaged_snapshot_gives_a_message(quick_shop: Shop) -> None:
    first, second = quick_shop.current(), _build(quick_shop, 1)
    for name in ("items.sqlite", "manifest.json"):
        (first.root / name).write_bytes(b"garbage")
        done = quick_shop.run("diff", first.root.name, second)
        assert (done.status, done.json["error"]["code"]) == (1, "bad_snapshot"), done.err
        assert name in done.json["error"]["message"]
