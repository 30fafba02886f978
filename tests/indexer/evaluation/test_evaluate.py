from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageColor

from indexer.console.progress import SilentReporter, TerminalReporter
from indexer.evaluation.evaluate import CategoryFigures, Evaluation, evaluate, show
from shared.errors import CatalogueError
from shared.model.ood_rule import OodRule
from shared.snapshot.snapshot import Snapshot
from tests.support.fakes import FakeEmbedder, picture


@pytest.fixture
def evaluation(snapshot: Snapshot, queries: Path) -> Evaluation:
    return evaluate(snapshot, queries, threads=2, reporter=SilentReporter())


def test_the_figures_are_those_counted_by_hand(evaluation: Evaluation) -> None:
    assert (evaluation.queries, evaluation.skipped) == (4, 1)
    assert evaluation.category_accuracy == 2 / 4
    assert evaluation.category_accuracy_at_2 == evaluation.category_accuracy_at_3 == 3 / 4
    # A strict search finds the predicted category alone, an unfiltered one all four items, two of each category.
    assert evaluation.category_precision_at_10 == 2 / 4
    assert evaluation.category_precision_at_10_probe_2 == (3 * 0.5 + 0) / 4
    assert evaluation.category_precision_at_10_probe_3 == (3 * 0.5 + 0) / 4
    assert evaluation.unfiltered_category_precision_at_10 == (3 * 0.5 + 0) / 4
    assert evaluation.unfiltered_nearest_accuracy == 2 / 4
    # Two are right and two wrong, all with a confidence of nearly 1.
    assert evaluation.expected_calibration_error == pytest.approx(0.5, abs=0.002)
    assert evaluation.strict_hits_outside_prediction == 0
    # So sure, probe auto searches one category; two of four lie there.
    assert (evaluation.probe_auto_coverage, evaluation.probe_auto_partitions) == (2 / 4, 1.0)
    assert evaluation.category_accuracy_interval == pytest.approx((0.1500, 0.8500), abs=1e-4)
    assert [(one.queries, one.category_accuracy) for one in evaluation.reliability] == [(4, 0.5)]


def test_without_a_rule_nothing_is_said_of_known_queries(evaluation: Evaluation) -> None:
    assert (evaluation.known_share, evaluation.unknown_detected, evaluation.known_auroc) == (None, None, None)


def test_known_queries_are_told_from_others_by_the_snapshots_rule(
    snapshot: Snapshot, queries: Path, evaluation: Evaluation
) -> None:
    """A red and a blue photo lie near the items that they are taken for, a grey hat near none."""
    (queries / "hats/grey.png").write_bytes(picture("grey", file_format="PNG"))
    (queries / "hats/red.png").unlink()
    # Only the mean cosine counts, which is taken here of all items of the predicted category.
    cosines = {}
    for category, colour in (("warm", "red"), ("warm", "blue"), ("cold", "navy"), ("hats", "grey")):
        query = FakeEmbedder().embed(np.full((1, 8, 8, 3), ImageColor.getrgb(colour), np.uint8))
        predicted = snapshot.classifier.categories[int(snapshot.classifier.logits(query).argmax())]
        cosines[category, colour] = np.mean([hit.score for hit in snapshot.partition(predicted).search(query, 5)[0]])
    hat, lowest, second, _ = sorted(cosines.values())
    assert hat == cosines["hats", "grey"]
    for threshold, known_share in (((hat + lowest) / 2, 1.0), ((lowest + second) / 2, 2 / 3)):
        rule = OodRule(np.zeros(2), np.array([1e9, 1.0]), np.full(2, threshold))
        judging = replace(snapshot, classifier=replace(snapshot.classifier, ood_rule=rule))
        found = evaluate(judging, queries, threads=1, reporter=SilentReporter())
        assert (found.known_share, found.unknown_detected, found.known_auroc) == (pytest.approx(known_share), 1.0, 1.0)
        assert found.category_accuracy == evaluation.category_accuracy


def test_categories_are_judged_one_by_one(evaluation: Evaluation) -> None:
    assert evaluation.by_category == (
        CategoryFigures("cold", 1, 1.0),
        CategoryFigures("hats", 1, 0.0),
        CategoryFigures("warm", 2, 0.5),
    )
    assert evaluation.unknown_categories == ("hats",)


def test_an_item_in_the_wrong_partition_would_be_counted(snapshot: Snapshot, queries: Path) -> None:
    snapshot.partitions["warm"], snapshot.partitions["cold"] = snapshot.partitions["cold"], snapshot.partitions["warm"]
    found = evaluate(snapshot, queries, threads=1, reporter=SilentReporter())
    assert found.strict_hits_outside_prediction == 8
    assert found.category_precision_at_10 == 1 / 4


def test_figures_are_shown(evaluation: Evaluation, capsys: pytest.CaptureFixture[str]) -> None:
    show(evaluation, TerminalReporter())
    shown = capsys.readouterr().err
    assert "category_accuracy_at_2" in shown
    assert "0.7500" in shown
    assert "not in the snapshot, so never right: hats" in shown


def test_without_a_photo_there_is_nothing_to_judge(snapshot: Snapshot, tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="does not exist"):
        evaluate(snapshot, tmp_path / "gone", threads=1, reporter=SilentReporter())
    (tmp_path / "empty").mkdir()
    with pytest.raises(CatalogueError, match="is empty"):
        evaluate(snapshot, tmp_path / "empty", threads=1, reporter=SilentReporter())
