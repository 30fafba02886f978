"""What a client tells of a query, and what becomes of it: a record of feedback. Knows nothing of the web."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.errors import InvalidRequest
from shared.feedback_record import FeedbackRecord
from shared.snapshot.snapshot import Snapshot
from shared.text.shorten import quoted
from shared.vectors import Vectors


@dataclass(frozen=True)
class UserFeedback:
    """What a query really showed: one of these at least.

    Attributes:
        category: that it showed.
        clicked_item_id: the item that was chosen; what it showed is then of that item's category.
    """

    category: str | None = None
    clicked_item_id: str | None = None

    def __post_init__(self) -> None:
        """Refuse to tell nothing.

        Raises:
            InvalidRequest: neither is there.
        """
        if self.category is None and self.clicked_item_id is None:
            raise InvalidRequest("no feedback given; expected `category`, `clicked_item_id` or both")

    def to_record(
        self,
        snapshot: Snapshot,
        queries: Vectors,
        image_sha256: str | None = None,
        query_item_id: str | None = None,
    ) -> FeedbackRecord:
        """A record, with what a snapshot's classifier takes the query for.

        Args:
            snapshot: that judges it.
            queries: `(n_pictures, dim)`, of one query; one picture unless an item is the query.
            image_sha256: of the image file, where there is one.
            query_item_id: of the item that is the query, where one is.

        Raises:
            UnknownCategory: `category` is none of the snapshot's.
            UnknownItem: `clicked_item_id` is none of the snapshot's.
            InvalidRequest: they contradict each other.
        """
        probabilities = snapshot.classifier.mean_probabilities(queries)
        best = int(probabilities.argmax())
        return FeedbackRecord(
            feedback_id=uuid.uuid4().hex,
            time=datetime.now(UTC),
            snapshot_id=snapshot.snapshot_id,
            embedder_id=snapshot.embedder.embedder_id,
            predicted_category=snapshot.classifier.categories[best],
            confidence=round(float(probabilities[best]), 6),
            category=self._right_category(snapshot),
            clicked_item_id=self._clicked_item_id(snapshot),
            image_sha256=image_sha256,
            query_item_id=query_item_id,
            embedding=queries[0] if query_item_id is None else None,
        )

    def _clicked_item_id(self, snapshot: Snapshot) -> str | None:
        """As the snapshot spells it."""
        return None if self.clicked_item_id is None else snapshot.items.by_id(self.clicked_item_id).item.item_id

    def _right_category(self, snapshot: Snapshot) -> str:
        category = None if self.category is None else snapshot.category_named(self.category)
        if self.clicked_item_id is None:
            assert category is not None
            return category
        clicked = snapshot.items.by_id(self.clicked_item_id).item.category
        if category not in (None, clicked):
            item = quoted(self.clicked_item_id)
            found = f"`category` is {quoted(category)}, but the item {item} is of {quoted(clicked)}"
            raise InvalidRequest(f"{found}; expected one of them, or two that agree")
        return clicked
