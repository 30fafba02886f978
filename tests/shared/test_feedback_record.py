"""A record of feedback as a line and back; whatever else a line may hold is rejected."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from shared.feedback_record import MAX_LINE_BYTES, FeedbackRecord
from shared.vectors import unit_rows

_EMBEDDING = unit_rows(np.random.default_rng(3).normal(size=(1, 1280)))[0]
_TIME = datetime(2026, 3, 4, 5, 6, 7, 891_000, UTC)
_FIELDS: dict[str, Any] = {
    "feedback_id": "f1",
    "time": _TIME,
    "snapshot_id": "20260101T000000-abcdef",
    "embedder_id": "e1",
    "predicted_category": "mugs",
    "confidence": 0.75,
    "category": "zapatos niños 👟",
    "clicked_item_id": 'a/b\n\u2028 "x"',
    "image_sha256": "ab" * 32,
    "query_item_id": None,
    "embedding": _EMBEDDING,
}


def _feedback(**fields: Any) -> FeedbackRecord:
    return FeedbackRecord(**(_FIELDS | fields))


def _line(**fields: Any) -> bytes:
    """A good line, but for the fields that are given."""
    return json.dumps(json.loads(_feedback().to_line()) | fields).encode()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"clicked_item_id": None},
        {"image_sha256": None},
        {"image_sha256": None, "embedding": None, "query_item_id": "mug 1"},
        {"confidence": 0.0},
        {"confidence": 1.0},
    ],
)
def test_a_record_comes_back_as_it_was(fields: dict[str, Any]) -> None:
    record = _feedback(**fields)
    found = FeedbackRecord.from_line(record.to_line().encode("ascii"))
    for name in _FIELDS.keys() - {"embedding"}:
        assert getattr(found, name) == getattr(record, name), name
    if record.embedding is None:
        assert found.embedding is None
    else:
        assert found.embedding.dtype == np.float32
        assert found.embedding.tobytes() == record.embedding.tobytes()


def test_a_line_is_one_line_and_small() -> None:
    line = _feedback().to_line()
    assert line.endswith("}\n")
    assert len(line.splitlines()) == 1  # also for what Python counts as line ends
    assert len(line) < 1280 * 4 * 4 / 3 + 700 < MAX_LINE_BYTES


def test_the_line_is_documented_json() -> None:
    found = json.loads(_feedback(image_sha256=None, query_item_id="mug 1", embedding=None).to_line())
    assert found == {
        "format": 1,
        "id": "f1",
        "time": "2026-03-04T05:06:07.891+00:00",
        "snapshot_id": "20260101T000000-abcdef",
        "embedder_id": "e1",
        "predicted": {"category": "mugs", "confidence": 0.75},
        "category": "zapatos niños 👟",
        "clicked_item_id": 'a/b\n\u2028 "x"',
        "image_sha256": None,
        "query_item_id": "mug 1",
        "embedding": None,
    }


def test_the_bytes_of_an_embedding_do_not_depend_on_the_machine() -> None:
    record = _feedback(embedding=np.array([0, 0, -1, 0], np.float32))
    assert json.loads(record.to_line())["embedding"] == "AAAAAAAAAAAAAIC/AAAAAA=="
    assert json.loads(_feedback(embedding=np.array([0, 0, -1, 0], ">f4")).to_line())["embedding"] == (
        "AAAAAAAAAAAAAIC/AAAAAA=="
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"query_item_id": "mug 1"}, "expected exactly one of `query_item_id` and `embedding`"),
        ({"embedding": None}, "expected exactly one of `query_item_id` and `embedding`"),
        ({"time": _TIME.replace(tzinfo=None)}, "`time` is 2026-03-04T05:06:07.891000; expected one with a time zone"),
        ({"confidence": 1.01}, "`confidence` is 1.01; expected 0 to 1"),
        ({"confidence": float("nan")}, "`confidence` is nan; expected 0 to 1"),
        ({"image_sha256": "AB" * 32}, "`image_sha256` is 'ABAB"),
        ({"image_sha256": "ab" * 31}, "`image_sha256` is 'abab"),
        ({"embedding": 2 * _EMBEDDING}, r"`embedding` has shape \(1280,\); expected a vector of length 1"),
        ({"embedding": _EMBEDDING[np.newaxis]}, r"`embedding` has shape \(1, 1280\); expected a vector of length 1"),
        ({"embedding": np.array([np.nan, 1], np.float32)}, "expected a vector of length 1"),
        ({"embedding": np.array([3e38, 3e38], np.float32)}, "expected a vector of length 1"),
        ({"embedding": np.array([], np.float32)}, "expected a vector of length 1"),
    ],
)
def test_a_record_that_cannot_be_names_the_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _feedback(**fields)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("format", [None, 0, 2, "1"]),
        ("id", [None, "", 7]),
        ("time", [None, "yesterday", "2026-03-04T05:06:07", 1.5]),
        ("snapshot_id", [None, ""]),
        ("embedder_id", [None, []]),
        ("predicted", [None, "mugs", {}, {"category": "mugs"}, {"category": "mugs", "confidence": True}]),
        ("predicted", [{"category": "mugs", "confidence": 10**400}, {"category": "mugs", "confidence": float("nan")}]),
        ("category", [None, "", 3]),
        ("clicked_item_id", ["", 3]),
        ("image_sha256", ["", "x", 3]),
        ("query_item_id", ["", "mug 1"]),
        ("embedding", [None, "", "AAAA", "?", "é", "AACAPwAAgD8=", "AADAfwAAwH8=", [1.0]]),
    ],
)
def test_a_line_that_is_no_record_is_rejected(name: str, values: list[Any]) -> None:
    assert FeedbackRecord.from_line(_line()).feedback_id == "f1"
    for value in values:
        with pytest.raises(ValueError, match=r"."):
            FeedbackRecord.from_line(_line(**{name: value}))


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"null", b"[1]", b"{", b"\xff\xfe", b"[" * 100_000, b"9" * 5000, _line()[:-1], _line()[100:]]
)
def test_what_is_no_json_object_is_rejected(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        FeedbackRecord.from_line(line)


def test_wherever_a_line_is_torn_it_is_rejected() -> None:
    line = _feedback().to_line().encode()
    for length in range(0, len(line) - 1, 7):
        with pytest.raises(ValueError, match=r"."):
            FeedbackRecord.from_line(line[:length])


def test_a_time_keeps_its_zone() -> None:
    record = _feedback(time=_TIME.astimezone(timezone(timedelta(hours=-5))))
    assert FeedbackRecord.from_line(record.to_line().encode()).time == _TIME
