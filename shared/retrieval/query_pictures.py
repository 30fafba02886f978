"""The pictures of one query, embedded, and what the catalogue knows of them.

The service and the evaluation both make queries here, so that a photo is searched by alike in both.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.catalogue.items import IndexedItem
from shared.retrieval.ood_verdict import IN_CATALOGUE, NOT_EVALUATED, OodVerdict
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
        excluded_items: numbers of items that are not to be hits.
    """

    vectors: Vectors
    category: str | None = None
    ood_verdict: OodVerdict | None = None
    excluded_items: frozenset[int] = frozenset()

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
