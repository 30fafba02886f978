from pathlib import Path

import numpy as np
import pytest

from indexer.classifier.held_out import HeldOut
from indexer.console.progress import SilentReporter
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.evaluation.evaluate import predict_queries
from indexer.evaluation.predictions import LabelledPhotos, affordable_searches, predict
from shared.snapshot.snapshot import Snapshot


@pytest.fixture
def held_out(embedded: EmbeddedCatalogue) -> HeldOut:
    """The second item, and both images of the first."""
    return HeldOut(embedded, np.array([True, True, False, False]), np.array([0, 1, 2]))


def test_a_held_out_photo_does_not_find_its_own_item(snapshot: Snapshot, held_out: HeldOut, tmp_path: Path) -> None:
    photos = LabelledPhotos.of_held_out(held_out, tmp_path)
    assert [path.name for path in photos.paths] == ["red.png", "orange.png", "blue.png"]
    assert photos.truth == ("warm", "warm", "cold")
    with SilentReporter().stage("") as stage:
        judged = predict(snapshot, photos, stage)
    for place, own in enumerate([0, 0, 1]):
        found = [hit.item_number for hit in judged.hits(place, probe=2)]
        assert sorted(found) == [number for number in range(4) if number != own]
    assert judged.right.tolist() == [True, True, True]


def test_queries_find_everything_best_first(snapshot: Snapshot, queries: Path) -> None:
    judged = predict_queries(snapshot, queries, threads=1, reporter=SilentReporter())
    assert judged.photos.skipped == 1
    for place in range(len(judged.photos)):
        hits = judged.hits(place, probe=2)
        assert sorted(hit.item_number for hit in hits) == [0, 1, 2, 3]
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert dict(zip(judged.photos.truth, judged.labels.tolist(), strict=True)) == {"cold": 0, "hats": -1, "warm": 1}


def test_of_very_many_photos_a_random_part_is_searched_by(
    snapshot: Snapshot, held_out: HeldOut, tmp_path: Path
) -> None:
    photos = LabelledPhotos.of_held_out(held_out, tmp_path)
    with SilentReporter().stage("") as stage:
        judged = predict(snapshot, photos, stage, most_searched=2)
    assert (len(judged.searched), len(judged.probabilities)) == (2, 3)
    whole_number = {path.name: number for path, number in zip(photos.paths, [0, 0, 1], strict=True)}
    for place, photo in enumerate(judged.searched.tolist()):
        own = whole_number[photos.paths[photo].name]
        assert own not in [hit.item_number for hit in judged.hits(place, probe=2)]


@pytest.mark.parametrize(
    ("rows", "categories", "wanted"), [(3_000, 10, 2000), (400_000, 10, 500), (10**7, 10, 200), (1_000, 500, 400)]
)
def test_a_large_snapshot_is_searched_by_fewer(rows: int, categories: int, wanted: int) -> None:
    assert affordable_searches(rows, categories) == wanted
