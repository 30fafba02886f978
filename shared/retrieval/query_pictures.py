"""The pictures and the text of one query, embedded, and what the catalogue knows of them.

The service and the evaluation both make queries here, so that a photo is searched by alike in both.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.catalogue.items import IndexedItem
from shared.retrieval.ood_verdict import IN_CATALOGUE, NOT_EVALUATED, OodVerdict
from shared.retrieval.text_query import TextQuery
from shared.snapshot.snapshot import Snapshot
from shared.vectors import Pixels, Vectors

MAX_PICTURES = 16
"""Most images of an item that are searched by; of more, so many are spread evenly over them."""


@dataclass(frozen=True)
class QueryPictures:
    """One query.

    Attributes:
        vectors: `(n_pictures, dim)` float32, unit rows.
        category: the category that the catalogue has the query in; None leaves it to the classifier.
        ood_verdict: None has it evaluated.
        excluded_item: number of an item that is not to be a hit.
        text: refines the order of the hits; None without one.
        is_text_alone: True if there is no picture: `vectors` is that of the text, which decides the category too.
    """

    vectors: Vectors
    category: str | None = None
    ood_verdict: OodVerdict | None = None
    excluded_items: frozenset[int] = frozenset()
    text: TextQuery | None = None
    is_text_alone: bool = False

    @property
    def searched(self) -> Vectors:
        """`(n_pictures, dim)` float32, unit rows: what hits are compared with, the pictures with the text in them."""
        return self.vectors if self.text is None else self.text.mixed_with(self.vectors)

    @property
    def n_searches(self) -> int:
        """The number of searches of each partition: one per picture, and per match level of the text."""
        return len(self.vectors) * (1 if self.text is None else sum(1 for _ in self.text.bonuses()))

    @classmethod
    def of_text(cls, text: TextQuery) -> "QueryPictures":
        """Make a query of a text alone, with the weight 1."""
        return cls(text.vector, ood_verdict=NOT_EVALUATED, text=text, is_text_alone=True)

    @classmethod
    def of_image(cls, snapshot: Snapshot, data: bytes, vectors: Vectors) -> "QueryPictures":
        """Make a query of an image file.

        The very file of a catalogue image counts as that item's category, whatever the classifier predicts, so that a
        catalogue image always finds itself. If it is in several categories, the most probable one counts.

        Args:
            snapshot: to search.
            data: the bytes of the file.
            vectors: `(n_views, dim)`, the embeddings of its views.
        """
        categories = snapshot.items.categories_of(hashlib.sha256(data).digest())
        if not categories:
            return cls(vectors)
        classifier = snapshot.classifier
        probabilities = dict(zip(classifier.categories, classifier.mean_probabilities(vectors), strict=True))
        return cls(vectors, max(categories, key=lambda category: float(probabilities[category])), IN_CATALOGUE)

    @classmethod
    def of_item(cls, snapshot: Snapshot, indexed: IndexedItem) -> "QueryPictures":
        """Make a query of the images of a catalogue item, `MAX_PICTURES` at most.

        Raises:
            StoreUnavailable: the vectors are on a server that does not answer.
        """
        n_images = len(indexed.rows)
        rows = [row for image, row in enumerate(indexed.rows) if image * MAX_PICTURES % n_images < MAX_PICTURES]
        category = indexed.item.category
        return cls(snapshot.partition(category).embeddings(rows), category, NOT_EVALUATED)


def image_views(pixels: NDArray[np.uint8], n_views: int = 1) -> Pixels:
    """The views of an image that are embedded: `(side, side, 3)` → `(n_views, side, side, 3)` uint8.

    Args:
        pixels: decoded by the snapshot's preprocessing.
        n_views: 1 for the image, 2 for its mirror image too.
    """
    return np.stack([pixels, pixels[:, ::-1]][:n_views])
