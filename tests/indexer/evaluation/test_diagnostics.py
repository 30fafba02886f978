"""Each figure against one that was counted by hand: of a red and a blue warm photo, a navy cold one and a red hat."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import bootstrap

from indexer.console.progress import SilentReporter
from indexer.evaluation.diagnostics import Diagnostics, diagnose, resampled_mean
from indexer.evaluation.evaluate import evaluation_of, predict_queries
from indexer.evaluation.predictions import Predictions
from shared.manifest import CategoryEntry
from shared.snapshot.snapshot import Snapshot


@pytest.fixture
def judged(snapshot: Snapshot, queries: Path) -> Predictions:
    entries = tuple(CategoryEntry(name, 2, 3, 3, "IndexFlatIP", 1.0) for name in ("cold", "warm"))
    object.__setattr__(snapshot.manifest, "categories", entries)
    return predict_queries(snapshot, queries, threads=1, reporter=SilentReporter())


@pytest.fixture
def found(judged: Predictions) -> Diagnostics:
    return diagnose(judged, evaluation_of(judged))


def test_confusions_are_counted(found: Diagnostics) -> None:
    told = found.confusions
    assert (told.truth, told.predicted) == (("cold", "hats", "warm"), ("cold", "warm"))
    assert told.counts == ((1, 0), (0, 1), (1, 1))


def test_coverage_grows_with_the_partitions_searched(found: Diagnostics) -> None:
    assert [(one.probe, one.coverage) for one in found.coverage] == [(1, 0.5), (2, 0.75)]
    assert found.coverage[0].interval == pytest.approx((0.15, 0.85), abs=1e-4)


def test_every_hit_is_in_a_bin_of_its_score(judged: Predictions, found: Diagnostics) -> None:
    assert sum(one.right for one in found.scores) == sum(one.wrong for one in found.scores) == 4
    scores = [hit.score for result in judged.strict for hit in result.hits]
    filled = [one for one in found.scores if one.right + one.wrong]
    assert filled[0].above <= min(scores) <= filled[0].up_to
    assert filled[-1].above <= max(scores) <= filled[-1].up_to


def test_the_surest_mistake_comes_first_with_the_items_it_led_to(found: Diagnostics, tmp_path: Path) -> None:
    assert found.n_mistakes == len(found.mistakes) == 2
    assert found.mistakes[0].confidence >= found.mistakes[1].confidence
    by_truth = {one.category: one for one in found.mistakes}
    assert by_truth["hats"].predicted == "warm"
    assert Path(by_truth["hats"].image) == tmp_path / "queries/hats/red.png"
    assert by_truth["warm"].predicted == "cold"
    assert {hit.item_id for hit in by_truth["warm"].hits} == {"b1", "b2"}
    assert by_truth["warm"].hits[0].item_id == "b1"  # the very blue
    assert by_truth["warm"].hits[0].image == str(tmp_path / "blue.png")


def test_partitions_are_told(found: Diagnostics) -> None:
    assert [(one.category, one.items, one.index_kind) for one in found.partitions] == [
        ("cold", 2, "IndexFlatIP"),
        ("warm", 2, "IndexFlatIP"),
    ]
    assert all(one.search_ms > 0 for one in found.partitions)


def test_a_resampled_mean_agrees_with_scipys() -> None:
    each = np.random.default_rng(1).beta(4, 1, size=200)
    wanted = bootstrap((each,), np.mean, method="percentile", rng=np.random.default_rng(2)).confidence_interval
    assert resampled_mean(each) == pytest.approx(tuple(wanted), abs=0.004)
    assert resampled_mean(np.ones(5)) == (1.0, 1.0)
