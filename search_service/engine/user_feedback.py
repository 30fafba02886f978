"""User feedback on a query, and its conversion to a record. Does not depend on Flask."""

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
    """The correct category of a query, the item that the user chose, or both.

    Attributes:
        category: the correct category; None for that of the chosen item.
        clicked_item_id: the chosen item; None if the user chose none.
    """

    category: str | None = None
    clicked_item_id: str | None = None

    def __post_init__(self) -> None:
        """Check that there is any feedback.

        Raises:
            InvalidRequest: both are None.
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
        """Return a record of the feedback, with the category that the classifier predicts for the query.

        Args:
            snapshot: whose classifier predicts.
            queries: `(n_images, dim)` float32, unit rows: the images of the query, which are several only for an item.
            image_sha256: hexadecimal digest of the image file; None for other queries.
            query_item_id: id of the queried item; None for other queries.

        Raises:
            UnknownCategory: the snapshot does not have `category`.
            UnknownItem: the snapshot does not have `clicked_item_id`.
            InvalidRequest: `category` is not the category of the chosen item.
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
            category=self._correct_category(snapshot),
            clicked_item_id=self._clicked_item_id(snapshot),
            image_sha256=image_sha256,
            query_item_id=query_item_id,
            embedding=snapshot.base_embeddings(queries[:1])[0] if query_item_id is None else None,
        )

    def _clicked_item_id(self, snapshot: Snapshot) -> str | None:
        """Return the id as the snapshot spells it."""
        return None if self.clicked_item_id is None else snapshot.items.by_id(self.clicked_item_id).item.item_id

    def _correct_category(self, snapshot: Snapshot) -> str:
        category = None if self.category is None else snapshot.category_named(self.category)
        if self.clicked_item_id is None:
            assert category is not None
            return category
        clicked = snapshot.items.by_id(self.clicked_item_id).item.category
        if category not in (None, clicked):
            item = quoted(self.clicked_item_id)
            problem = f"`category` is {quoted(category)}, but the item {item} is in {quoted(clicked)}"
            raise InvalidRequest(f"{problem}; expected one of the two fields, or the item's own category")
        return clicked
