"""Turn what a caller searches by into unit vectors: the pictures of one query."""

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

from search_service.admission.controller import AdmissionController, Slot
from search_service.engine.query import query_vector
from search_service.engine.query_decoder import QueryDecoder
from shared.catalogue.items import IndexedItem
from shared.retrieval.results import Timing
from shared.snapshot.snapshot import Snapshot
from shared.vectors import Vectors

MOST_PICTURES = 16
"""Images of an item that are a query at most; of more, so many that are spread evenly over them."""


class QueryEmbedder:
    """By the embedder and the partitions of one snapshot; safe to call from any number of threads."""

    def __init__(self, snapshot: Snapshot, decoder: QueryDecoder, admission: AdmissionController, n_views: int) -> None:
        """Prepare.

        Args:
            snapshot: open.
            decoder: decodes images.
            admission: decides which images are decoded and embedded when.
            n_views: of an image that are embedded: 1 for itself, 2 for its mirror image too.
        """
        self._snapshot = snapshot
        self._decoder = decoder
        self._admission = admission
        self._n_views = n_views

    def of_image(self, data: bytes, timing: Timing) -> Vectors:
        """The embeddings of an image file, `(n_views, dim)`.

        Raises:
            ImageError: it can't be used.
            Overloaded: too many others are before it.
            ClientGone: nobody waits for it any more.
        """
        preprocessing = self._snapshot.manifest.preprocessing
        if not self._decoder.is_known_slow(data):
            with self._admission.slot() as slot:
                with timing.stage("decode"):
                    pixels = self._decoder.decode_quickly(data, preprocessing)
                if pixels is not None:
                    return self._embed(pixels, slot, timing)
        with timing.stage("decode"):
            pixels = self._decoder.decode_slowly(data, preprocessing)
        with self._admission.slot() as slot:
            return self._embed(pixels, slot, timing)

    def _embed(self, pixels: NDArray[np.uint8], slot: Slot, timing: Timing) -> Vectors:
        views = [pixels, pixels[:, ::-1]][: self._n_views]
        with timing.stage("embed"):
            return self._snapshot.embedder.embed(np.stack(views), is_alone=slot.take_idle_cores())

    def of_item(self, indexed: IndexedItem) -> Vectors:
        """Those of the images of an item of the catalogue, `(n_images, dim)`, of `MOST_PICTURES` at most.

        Raises:
            StoreUnavailable: they are on a server that does not answer.
        """
        n_images = len(indexed.rows)
        chosen = [indexed.rows[one] for one in range(n_images) if one * MOST_PICTURES % n_images < MOST_PICTURES]
        return self._snapshot.partition(indexed.item.category).embeddings(chosen)

    def of_embedding(self, embedding: ArrayLike | None) -> Vectors:
        """A caller's own, `(1, dim)`.

        Raises:
            InvalidEmbedding: it is none that the snapshot's embedder could have made, or has no direction.
        """
        return query_vector(embedding, self._snapshot.embedder.dim)

    def category_of(self, data: bytes, vectors: Vectors) -> str | None:
        """The category that the catalogue has this very image file in; of several the most probable."""
        found = self._snapshot.items.categories_of(hashlib.sha256(data).digest())
        if len(found) > 1:
            head = self._snapshot.classifier
            probabilities = head.mean_probabilities(vectors)
            return max(found, key=lambda category: float(probabilities[head.categories.index(category)]))
        return found[0] if found else None
