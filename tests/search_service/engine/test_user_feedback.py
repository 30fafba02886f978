"""What is told of a query against a snapshot: the right category, and the record that becomes of it."""

from datetime import UTC, datetime

import numpy as np
import pytest

from search_service.engine.user_feedback import UserFeedback
from shared.errors import InvalidRequest, UnknownCategory, UnknownItem
from shared.vectors import Vectors
from tests.support.fakes import FakeEmbedder


def _queries(catalogue, category: str, count: int = 1) -> Vectors:
    return np.stack([embedding for _, embedding in catalogue.rows[category][:count]])


def test_a_record_has_what_was_predicted_and_what_was_told(catalogue) -> None:
    before = datetime.now(UTC)
    queries = _queries(catalogue, catalogue.mugs)
    record = UserFeedback(category=catalogue.hats).to_record(catalogue.snapshot, queries, image_sha256="ab" * 32)
    probabilities = catalogue.snapshot.classifier.probabilities(queries)[0]
    assert (record.category, record.predicted_category) == (catalogue.hats, catalogue.mugs)
    assert record.confidence == pytest.approx(float(probabilities.max()), abs=1e-6)
    assert (record.snapshot_id, record.embedder_id) == (catalogue.snapshot.snapshot_id, FakeEmbedder.embedder_id)
    assert (record.clicked_item_id, record.query_item_id, record.image_sha256) == (None, None, "ab" * 32)
    np.testing.assert_array_equal(record.embedding, queries[0])
    assert before <= record.time <= datetime.now(UTC)
    again = UserFeedback(category=catalogue.hats).to_record(catalogue.snapshot, queries)
    assert again.feedback_id != record.feedback_id


def test_a_clicked_item_implies_its_category(catalogue) -> None:
    record = UserFeedback(clicked_item_id="👟").to_record(catalogue.snapshot, _queries(catalogue, catalogue.mugs))
    assert (record.category, record.clicked_item_id) == (catalogue.shoes, "👟")
    both = UserFeedback(catalogue.shoes, "👟").to_record(catalogue.snapshot, _queries(catalogue, catalogue.mugs))
    assert (both.category, both.clicked_item_id) == (catalogue.shoes, "👟")


def test_an_item_as_the_query_is_judged_by_all_its_images_and_has_no_embedding(catalogue) -> None:
    queries = _queries(catalogue, catalogue.mugs, 3)
    record = UserFeedback(category=catalogue.mugs).to_record(catalogue.snapshot, queries, query_item_id="mug-1")
    mean = catalogue.snapshot.classifier.probabilities(queries).mean(axis=0)
    assert record.confidence == pytest.approx(float(mean.max()), abs=1e-6)
    assert (record.query_item_id, record.embedding) == ("mug-1", None)


@pytest.mark.parametrize(
    ("told", "error", "message"),
    [
        ({"category": "bowls"}, UnknownCategory, "no category has the name 'bowls'; GET /v1/categories lists them"),
        ({"category": "bowls", "clicked_item_id": "mug-1"}, UnknownCategory, "no category has the name 'bowls'"),
        ({"clicked_item_id": "none"}, UnknownItem, "no item has the id 'none'"),
        ({"category": "mugs", "clicked_item_id": "none"}, UnknownItem, "no item has the id 'none'"),
        (
            {"category": "mugs", "clicked_item_id": "👟"},
            InvalidRequest,
            "`category` is 'mugs', but the item '👟'",
        ),
    ],
)
def test_what_does_not_fit_the_snapshot_is_refused(catalogue, told, error, message) -> None:
    with pytest.raises(error, match=f"^{message}"):
        UserFeedback(**told).to_record(catalogue.snapshot, _queries(catalogue, catalogue.mugs))


def test_nothing_told_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no feedback given"):
        UserFeedback()
