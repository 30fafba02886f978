"""The report in a snapshot: from raw data it comes out the same; it is made last, and its failure costs nothing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.data_quality.snapshot_images import SnapshotImages
from indexer.groups.folds import divided_groups
from indexer.groups.linking import link_images
from indexer.groups.nearest_images import nearest_images
from indexer.reports import evaluation_report
from indexer.snapshots.classifier_heads import Heads
from indexer.snapshots.stored_folds import StoredFolds, keys_of_images
from shared.retrieval.query_pictures import QueryPictures
from shared.retrieval.search_options import SearchOptions
from shared.retrieval.searcher import Searcher
from shared.snapshot.snapshot import Snapshot
from tests.support.builders.shop import KINDS, Done, Shop


@pytest.fixture
def shop(quick_stages_called: list[str], tmp_path: Path) -> Shop:
    """A shop of 60 pictures, built with a report."""
    shop = Shop(tmp_path / "shop", each=20).draw(side=40)
    done = shop.first_build("--report", "on", "--keep", 9)
    assert done.status == 0, done.err
    assert f"evaluation report: {shop.current().report}/evaluation.html" in done.err
    return shop


def told_of(shop: Shop) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((shop.current().report / "evaluation.json").read_text(encoding="utf-8"))
    return told


def _embedding(snapshot: Snapshot, item_id: str) -> NDArray[np.float32]:
    indexed = snapshot.items.by_id(item_id)
    return snapshot.partition(indexed.item.category).embeddings(indexed.rows[:1])[0]


def test_the_figures_are_those_of_the_raw_data(shop: Shop) -> None:
    told, snapshot = told_of(shop), Snapshot.open(shop.current(), interpreters=1)
    items = [(f"{kind}", f"{kind} {number}") for kind in KINDS for number in range(20)]
    rows = np.stack([_embedding(snapshot, item_id) for _, item_id in items])
    digests = [(kind, snapshot.items.by_id(item_id).digests[0]) for kind, item_id in items]
    folds = StoredFolds.open(shop.current().folds)
    assert folds is not None
    own_folds = folds.folds_of(keys_of_images(digests))
    assert np.bincount(own_folds).min() > 6
    heads = Heads.open(shop.current()).of_folds
    probabilities = np.concatenate(
        [heads[f].probabilities(row[np.newaxis]) for f, row in zip(own_folds, rows, strict=True)]
    )
    truth = np.repeat(np.arange(3), 20)
    predicted = probabilities.argmax(axis=1)
    assert told["queries"] == 60
    assert told["category_accuracy"] == pytest.approx((predicted == truth).mean())
    counts = [[int(((truth == row) & (predicted == column)).sum()) for column in range(3)] for row in range(3)]
    assert told["confusions"]["counts"] == counts
    two = np.argsort(-probabilities, axis=1)[:, :2]
    assert told["coverage"][1]["coverage"] == pytest.approx((two == truth[:, np.newaxis]).any(axis=1).mean())
    assert sum(one["queries"] for one in told["reliability"]) == 60
    error = sum(one["queries"] * abs(one["confidence"] - one["category_accuracy"]) for one in told["reliability"]) / 60
    assert told["expected_calibration_error"] == pytest.approx(error)
    # Without the classifier: the ten nearest of all items of other groups, by brute force.
    images = SnapshotImages.of(snapshot.items.without_metadata(), snapshot.partitions)
    groups = link_images(nearest_images(images), images.image_items, images.columns).numbers
    groups, _ = divided_groups(groups, images.image_items, images.columns)
    shares = []
    for place, row in enumerate(rows):
        scores = np.where(groups == groups[place], -2, rows @ row)
        shares.append(np.mean([items[hit][0] == items[place][0] for hit in np.argsort(-scores, kind="stable")[:10]]))
    assert told["unfiltered_category_precision_at_10"] == pytest.approx(np.mean(shares))
    # Mistakes are those of searches, after the nearest-item ratio test.
    wrong = []
    for place, (kind, _) in enumerate(items):
        beside = frozenset(np.flatnonzero(groups == groups[place]).tolist())
        query = QueryPictures(rows[place : place + 1], excluded_items=beside)
        searcher = Searcher(replace(snapshot, classifier=heads[own_folds[place]]))
        result = searcher.search(query, SearchOptions())
        wrong += [result] if result.predicted.category != kind else []
    worst = [result.predicted.confidence for result in wrong]
    assert told["n_mistakes"] == len(wrong)
    assert [one["confidence"] for one in told["mistakes"]] == pytest.approx(sorted(worst, reverse=True)[:12])
    snapshot.close()


def test_it_is_part_of_the_verified_snapshot_and_small(shop: Shop) -> None:
    path = shop.current().report / "evaluation.html"
    assert path.stat().st_size < 1_000_000
    assert shop.run("verify").status == 0
    path.write_text("other", encoding="utf-8")
    assert "evaluation.html is damaged" in shop.run("verify").err


def test_the_next_one_is_compared_with_it_and_a_build_with_nothing_changed_makes_none(shop: Shop) -> None:
    first = told_of(shop)
    assert first["before"] is None
    assert "nothing has changed" in shop.build().err
    assert len(shop.data.ids()) == 1
    shop.remove("checks 0")
    assert shop.build().status == 0
    before = told_of(shop)["before"]
    assert (before["snapshot_id"], before["snapshot_items"]) == (first["snapshot_id"], 60)
    assert before["category_accuracy"] == first["category_accuracy"]
    assert "Comparison with the previous snapshot" in (shop.current().report / "evaluation.html").read_text(
        encoding="utf-8"
    )


def test_its_failure_is_told_and_costs_nothing_else(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such font")

    monkeypatch.setattr(evaluation_report.EvaluationReport, "page", fail)
    shop.remove("checks 0")
    done: Done = shop.build()
    assert (done.status, done.json["published"]) == (0, True), done.err
    assert "the snapshot has no report: RuntimeError: no such font" in done.err
    assert not list(shop.current().report.glob("evaluation.*"))
    assert shop.run("verify").status == 0


def test_it_can_be_left_out(shop: Shop) -> None:
    shop.remove("checks 0")
    assert shop.build("--report", "off").status == 0
    assert not list(shop.current().report.glob("evaluation.*"))
