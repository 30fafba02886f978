from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from indexer.classifier.held_out import HeldOut
from indexer.console.progress import SilentReporter
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.evaluation.evaluate import predict_queries
from indexer.evaluation.labelled_photos import LabelledPhotos
from indexer.evaluation.predictions import TOP_K, Probe, affordable_searches, predict
from indexer.groups.catalogue_folds import CatalogueFolds
from indexer.groups.folds import N_FOLDS
from indexer.groups.linking import ImageGroups
from indexer.groups.nearest_images import Neighbours
from shared.retrieval.search_options import SearchOptions
from shared.retrieval.searcher import Searcher
from shared.snapshot.snapshot import Snapshot


@pytest.fixture
def held_out(embedded: EmbeddedCatalogue) -> HeldOut:
    """The second item, and both images of the first; no two items are of one group."""
    folds = CatalogueFolds(embedded, None, 0)
    n_images = len(embedded.digests)
    numbers, near = np.arange(n_images), Neighbours(np.zeros((n_images, 0), int), np.zeros((n_images, 0), "f4"), True)
    folds.groups = ImageGroups(numbers[embedded.image_items], near, folds.columns, 2.0)
    return HeldOut(folds, N_FOLDS, np.array([0, 1, 2]))


_IDS = ["r1", "b1", "r2", "b2"]


def test_a_held_out_photo_does_not_hit_its_own_item(snapshot: Snapshot, held_out: HeldOut, tmp_path: Path) -> None:
    photos = LabelledPhotos.of_held_out(held_out, tmp_path)
    assert [path.name for path in photos.paths] == ["red.png", "orange.png", "blue.png"]
    assert photos.truth == ("warm", "warm", "cold")
    assert photos.folds is not None
    mistaken = replace(snapshot, classifier=replace(snapshot.classifier, weights=-snapshot.classifier.weights))
    of_folds = [mistaken] * N_FOLDS
    of_folds[photos.folds[0]] = of_folds[photos.folds[2]] = snapshot  # each by the head of its fold
    with SilentReporter().stage("") as stage:
        predictions = predict(mistaken, photos, stage, of_folds=of_folds)
    for result, own in zip(predictions.search(probe=2), ["r1", "r1", "b1"], strict=True):
        assert sorted(hit.item.item_id for hit in result.hits) == sorted(set(_IDS) - {own})
    assert predictions.is_right.tolist() == [True, True, True]


def test_queries_hit_everything_best_first(snapshot: Snapshot, queries: Path) -> None:
    predictions = predict_queries(snapshot, queries, threads=1, reporter=SilentReporter())
    assert predictions.photos.skipped == 1
    for result in predictions.search(probe=2):
        assert sorted(hit.item.item_id for hit in result.hits) == sorted(_IDS)
        assert [hit.score for hit in result.hits] == sorted((hit.score for hit in result.hits), reverse=True)
    assert dict(zip(predictions.photos.truth, predictions.labels.tolist(), strict=True)) == {
        "cold": 0,
        "hats": -1,
        "warm": 1,
    }


def test_a_copy_of_a_catalogue_photo_is_of_its_items_category(
    snapshot: Snapshot, queries: Path, tmp_path: Path
) -> None:
    """Though the classifier takes all that is cold for warm here."""
    mistaken = replace(snapshot, classifier=replace(snapshot.classifier, weights=-snapshot.classifier.weights))
    (queries / "warm/teal.png").write_bytes((tmp_path / "teal.png").read_bytes())
    predictions = predict_queries(mistaken, queries, threads=1, reporter=SilentReporter())
    by_name = {path.name: result for path, result in zip(predictions.photos.paths, predictions.strict, strict=True)}
    assert by_name["navy.png"].predicted.category == "warm"
    assert by_name["teal.png"].predicted.category == "cold"
    assert by_name["teal.png"].hits[0].item.item_id == "b2"


def test_of_very_many_photos_a_random_part_is_searched_by(
    snapshot: Snapshot, held_out: HeldOut, tmp_path: Path
) -> None:
    photos = LabelledPhotos.of_held_out(held_out, tmp_path)
    with SilentReporter().stage("") as stage:
        predictions = predict(snapshot, photos, stage, max_searched=2, of_folds=[snapshot] * N_FOLDS)
    assert (len(predictions.searched), len(predictions.probabilities)) == (2, 3)
    own = {path.name: item_id for path, item_id in zip(photos.paths, ["r1", "r1", "b1"], strict=True)}
    for photo, result in zip(predictions.searched, predictions.search(probe=2), strict=True):
        assert own[photos.paths[photo].name] not in [hit.item.item_id for hit in result.hits]


@pytest.mark.parametrize("probe", [1, 2, "auto"])
def test_a_search_that_reuses_nearest_items_returns_what_a_search_alone_returns(
    snapshot: Snapshot, queries: Path, probe: Probe
) -> None:
    predictions = predict_queries(snapshot, queries, threads=1, reporter=SilentReporter())
    options = SearchOptions(top_k=TOP_K, probe=probe)
    alone = [Searcher(snapshot).search(query, options) for query in predictions.photos.queries]
    assert predictions.search(probe) == alone
    assert all(result.hits for result in alone)


@pytest.mark.parametrize(
    ("rows", "categories", "wanted"), [(3_000, 10, 2000), (400_000, 10, 500), (10**7, 10, 200), (1_000, 500, 400)]
)
def test_a_large_snapshot_is_searched_by_fewer(rows: int, categories: int, wanted: int) -> None:
    assert affordable_searches(rows, categories) == wanted
