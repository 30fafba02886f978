"""Which of the feedback is learned from, what is said of the rest, and what counts as the same feedback."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.classifier import feedback_queries as module
from indexer.classifier.feedback_queries import LabelledQueries, read_feedback, require_feedback
from indexer.console.progress import SilentReporter
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from shared.catalogue.items import Item
from shared.errors import SettingsError
from shared.feedback_record import MAX_LINE_BYTES, FeedbackRecord
from shared.vectors import unit_rows

_DIM = 8
_OURS = "embedder"
_IN_CATALOGUE = "c0" * 32


class _Reporter(SilentReporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


def _catalogue() -> EmbeddedCatalogue:
    """Two items, of the categories cold and warm; the first one's image is `_IN_CATALOGUE`."""
    items = (Item("1", "warm", ("a.png",)), Item("2", "cold", ("b.png",)))
    digests = (bytes.fromhex(_IN_CATALOGUE), b"other")
    return EmbeddedCatalogue(items, np.arange(2), digests, np.ones((2, 1, _DIM), np.float32), (), 2, "r")


def _sha256(image: int) -> str:
    return f"{image:064x}"


def _record(image: int | None = 1, category: str = "warm", **fields: Any) -> FeedbackRecord:
    """On an image of this number, or on an embedding alone."""
    embedding = unit_rows(np.random.default_rng(image or 0).normal(size=(1, _DIM)))[0]
    given = {
        "feedback_id": "f",
        "time": datetime(2026, 1, 1, tzinfo=UTC),
        "snapshot_id": "s",
        "embedder_id": _OURS,
        "predicted_category": "cold",
        "confidence": 0.5,
        "category": category,
        "image_sha256": None if image is None else _sha256(image),
        "embedding": embedding,
    }
    return FeedbackRecord(**(given | fields))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feedback.jsonl"


def _read(path: Path, *records: FeedbackRecord | bytes) -> tuple[LabelledQueries | None, str]:
    """What is learned of a file with these records and lines, and the line that is said."""
    lines = (record if isinstance(record, bytes) else record.to_line().encode() for record in records)
    path.write_bytes(b"".join(lines))
    reporter = _Reporter()
    queries = read_feedback(path, _OURS, _DIM, _catalogue(), reporter)
    (said,) = reporter.said
    prefix = f"feedback of {path}: {0 if queries is None else len(queries.categories)} to train on"
    assert said.startswith(prefix)
    return queries, said.removeprefix(prefix)


def _learned(queries: LabelledQueries | None) -> dict[bytes, str]:
    assert queries is not None
    return dict(zip((row.tobytes() for row in queries.embeddings), queries.categories, strict=True))


def _embedding(record: FeedbackRecord) -> bytes:
    assert record.embedding is not None
    return unit_rows(record.embedding[np.newaxis])[0].tobytes()


def test_queries_are_learned_with_the_category_that_was_told(path: Path) -> None:
    records = [_record(1), _record(2, "cold"), _record(None, "cold"), _record(3, clicked_item_id="1")]
    queries, left_out = _read(path, *records)
    assert _learned(queries) == {_embedding(record): record.category for record in records}
    assert (queries.embeddings.shape, queries.embeddings.dtype) == ((4, _DIM), np.float32)
    np.testing.assert_allclose(np.linalg.norm(queries.embeddings, axis=1), 1, atol=1e-6)
    assert left_out == ""
    assert queries.columns(("cold", "warm")).tolist() == [int(one == "warm") for one in queries.categories]


def test_what_was_classified_rightly_is_learned_too(path: Path) -> None:
    """Else a correction would be forgotten as soon as it is learned: the next query like it is classified rightly."""
    queries, _ = _read(path, _record(1, "cold"))
    assert queries.categories == ("cold",)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (_record(2, embedder_id="another"), "1 of another embedder"),
        (_record(2, embedding=np.eye(9, dtype=np.float32)[0]), "1 of another embedder"),
        (_record(2, "hats"), "1 of categories that the catalogue does not have"),
        (_record(2, image_sha256=_IN_CATALOGUE), "1 on images of the catalogue itself"),
        (_record(None, embedding=None, query_item_id="2"), "1 on images of the catalogue itself"),
        (b"garbage\n", "1 in damaged or incomplete lines"),
        (_record(2).to_line().encode()[:-50], "1 in damaged or incomplete lines"),
        (b"x" * (MAX_LINE_BYTES + 1) + b"\n", "2 in damaged or incomplete lines"),
        (b"\xff\n\0\n{}\n", "3 in damaged or incomplete lines"),
    ],
)
def test_what_does_not_fit_is_left_out_and_counted(path: Path, bad: FeedbackRecord | bytes, reason: str) -> None:
    queries, left_out = _read(path, _record(1), bad)
    assert _learned(queries) == {_embedding(_record(1)): "warm"}
    assert left_out == f"; left out: {reason}"


def test_everything_that_is_left_out_is_one_line(path: Path) -> None:
    queries, left_out = _read(path, _record(1, "hats"), b"{}\n", _record(2, "hats"), b"\n", _record(3, embedder_id="x"))
    assert queries is None
    assert left_out == (
        "; left out: 1 in damaged or incomplete lines, 1 of another embedder, "
        "2 of categories that the catalogue does not have"
    )


def test_of_one_image_the_last_word_counts(path: Path) -> None:
    queries, left_out = _read(path, _record(1, "warm"), _record(2), _record(1, "cold"), _record(1, "cold"))
    assert _learned(queries) == {_embedding(_record(1)): "cold", _embedding(_record(2)): "warm"}
    assert left_out == "; left out: 2 superseded by later feedback"


def test_the_last_word_counts_also_where_its_category_is_gone(path: Path) -> None:
    queries, _ = _read(path, _record(1, "warm"), _record(2), _record(1, "hats"))
    assert _learned(queries) == {_embedding(_record(2)): "warm"}


def test_of_one_embedding_without_an_image_too(path: Path) -> None:
    queries, _ = _read(path, _record(None, "warm"), _record(None, "cold"))
    assert queries.categories == ("cold",)


def test_of_very_many_the_newest_are_learned(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_QUERIES", 3)
    queries, left_out = _read(path, *(_record(image) for image in (1, 2, 3, 4, 2, 5)))
    assert _learned(queries).keys() == {_embedding(_record(image)) for image in (4, 2, 5)}
    assert "2 older than the newest" in left_out
    assert "1 superseded by later feedback" in left_out


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_file_is_as_none(path: Path, content: bytes) -> None:
    assert _read(path, content) == (None, "")


def test_without_a_file_nothing_is_said() -> None:
    reporter = _Reporter()
    assert read_feedback(None, _OURS, _DIM, _catalogue(), reporter) is None
    assert reporter.said == []


def _digest(path: Path, records: Sequence[FeedbackRecord | bytes]) -> str:
    queries, _ = _read(path, *records)
    return queries.digest


def test_the_digest_is_that_of_what_is_learned(path: Path) -> None:
    records = [_record(1), _record(2, "cold"), _record(None)]
    digest = _digest(path, records)
    same = [
        records[::-1],
        [*records, _record(3, "hats"), b"garbage\n"],
        [_record(1, "cold"), *records],
        [_record(1, snapshot_id="later", feedback_id="g", confidence=0.1), *records[1:]],
    ]
    other = [records[1:], [*records, _record(3)], [*records, _record(1, "cold")], [_record(9), *records[1:]]]
    assert {_digest(path, one) for one in same} == {digest}
    assert len({digest, *(_digest(path, one) for one in other)}) == 1 + len(other)


def test_a_file_that_is_not_there_is_named_at_once(tmp_path: Path) -> None:
    require_feedback(None)
    for gone in (tmp_path / "gone.jsonl", tmp_path):
        with pytest.raises(SettingsError, match=f"^--feedback {gone} is not a file; expected the one in the"):
            require_feedback(gone)


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    for gone in (tmp_path / "gone.jsonl", tmp_path):
        with pytest.raises(SettingsError, match=f"^--feedback {gone} can't be read: "):
            read_feedback(gone, _OURS, _DIM, _catalogue(), SilentReporter())
