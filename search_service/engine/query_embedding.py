"""Embedding of queries: images are decoded and embedded under admission control, texts encoded, vectors validated."""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from search_service.admission.controller import AdmissionController, Slot
from search_service.engine.query import Query, query_vector
from search_service.engine.query_decoder import QueryDecoder
from search_service.engine.timing import Timing
from shared.retrieval.query_pictures import QueryPictures, image_views
from shared.retrieval.text_query import TextQueries
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
        self._texts = TextQueries(snapshot)

    def of_query(self, query: Query, timing: Timing) -> QueryPictures:
        """Embed a query; its text, where there is one, first, since it is quickly rejected.

        Raises:
            ImageError: the image can't be used.
            InvalidEmbedding: the embedding has another shape, or no direction.
            UnknownItem: the snapshot has no item of this id.
            RequestError: the text can't be searched by; see `TextQueries.read`.
        """
        text = None
        if query.text is not None:
            with timing.stage("embed"):
                text = self._texts.read(query.text, 1.0 if query.is_text_alone else query.text_weight)
                if query.is_text_alone:
                    return QueryPictures.of_text(text)
        return replace(self._pictures(query, timing), text=text)

    def _pictures(self, query: Query, timing: Timing) -> QueryPictures:
        if query.image is not None:
            return QueryPictures.of_image(self._snapshot, query.image, self.of_image(query.image, timing))
        if query.item_id is not None:
            return QueryPictures.of_item(self._snapshot, self._snapshot.items.by_id(query.item_id))
        return QueryPictures(self.of_embedding(query.embedding))

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
