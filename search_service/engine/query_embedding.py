"""The embeddings of queries: images are decoded and embedded in turns, vectors are checked."""

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
    """Embeds queries by the embedder of one snapshot; safe to call from any number of threads."""

    def __init__(self, snapshot: Snapshot, decoder: QueryDecoder, admission: AdmissionController, n_views: int) -> None:
        """Prepare.

        Args:
            snapshot: open.
            decoder: of images.
            admission: has slots for decoding and embedding images.
            n_views: views of an image that are embedded: 1 for the image, 2 for its mirror image too.
        """
        self._snapshot = snapshot
        self._decoder = decoder
        self._admission = admission
        self._n_views = n_views

    def of_image(self, data: bytes, timing: Timing) -> Vectors:
        """Decode and embed an image file, `(n_views, dim)`.

        Raises:
            ImageError: the image can't be used.
            Overloaded: the queue is full.
            ClientGone: the client has disconnected.
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
        views = image_views(pixels, self._n_views)
        with timing.stage("embed"):
            return self._snapshot.embedder.embed(views, is_alone=slot.take_idle_cores())

    def of_embedding(self, embedding: ArrayLike | None) -> Vectors:
        """Check an embedding of the caller's, `(1, dim)`.

        Raises:
            InvalidEmbedding: the snapshot's embedder can't have made it, or it has no direction.
        """
        return query_vector(embedding, self._snapshot.embedder.dim)
