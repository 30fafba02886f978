"""Embedding of queries: images are decoded and embedded under admission control, given vectors are validated."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from search_service.admission.controller import AdmissionController, Slot
from search_service.engine.query import query_vector
from search_service.engine.query_decoder import QueryDecoder
from search_service.engine.timing import Timing
from shared.retrieval.query_pictures import image_views
from shared.snapshot.snapshot import Snapshot
from shared.vectors import Vectors


class QueryEmbedder:
    """Embeds queries with the embedder of one snapshot. Thread-safe."""

    def __init__(self, snapshot: Snapshot, decoder: QueryDecoder, admission: AdmissionController, n_views: int) -> None:
        """Use the embedder of a snapshot.

        Args:
            snapshot: open.
            decoder: decodes the images.
            admission: limits the images that are decoded and embedded at the same time.
            n_views: number of embedded views of an image: 1, or 2 with its mirror image.
        """
        self._snapshot = snapshot
        self._decoder = decoder
        self._admission = admission
        self._n_views = n_views

    def of_image(self, data: bytes, timing: Timing) -> Vectors:
        """Decode and embed an image file; return `(n_views, dim)` float32, unit rows.

        Raises:
            ImageError: the image is broken, unsupported, too large or too costly.
            Overloaded: the queue is full.
            ClientGone: the client has disconnected.
        """
        preprocessing = self._snapshot.preprocessing
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
        views = image_views(pixels, self._n_views)
        with timing.stage("embed"):
            return self._snapshot.embedder.embed(views, is_alone=slot.take_idle_cores())

    def of_embedding(self, embedding: ArrayLike | None) -> Vectors:
        """Validate a given embedding; return `(1, dim)` float32, a unit row.

        Raises:
            InvalidEmbedding: not of the embedder's dimension, not finite, or zero.
        """
        return self._snapshot.given_embeddings(query_vector(embedding, self._snapshot.embedder.dim))
