"""The engine: answers queries from one open snapshot, without the web.

image ─decode─▶ pixels ─embed (once)─┐
text ─correct─▶ known words ─encode──┴▶ query pictures ─`Searcher`: classify, rank categories, search, collapse─▶ hits

`shared.retrieval.searcher` implements the search. The engine adds what a service needs: images are decoded and embedded
in turns, costly searches run on threads of lower priority, searches have a deadline, and stages are timed.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path

from numpy.typing import ArrayLike

from search_service.admission.controller import AdmissionController, costly_search_admission
from search_service.admission.parallel_map import parallel_map
from search_service.admission.request_context import RequestContext, current_context, set_context
from search_service.admission.search_cost import is_costly_search
from search_service.admission.search_deadline import SearchDeadline
from search_service.engine.catalogue_lookup import CatalogueLookup
from search_service.engine.query import Query
from search_service.engine.query_decoder import QueryDecoder
from search_service.engine.query_embedding import QueryEmbedder
from search_service.engine.timing import Timing
from search_service.engine.user_feedback import UserFeedback
from shared.errors import ClientGone, ParecidoError, StoreUnavailable
from shared.feedback_record import FeedbackRecord
from shared.images.decode_pool.template import template_of_process
from shared.images.limits import ImageLimits
from shared.manifest import Manifest
from shared.model.classifier import PROBE_COVERAGE
from shared.priority import costly_search_threads
from shared.retrieval.query_pictures import QueryPictures
from shared.retrieval.results import SearchResult
from shared.retrieval.search_options import SearchOptions
from shared.retrieval.searcher import Searcher
from shared.retrieval.text_query import DEFAULT_WEIGHT
from shared.snapshot.lease import SnapshotLease
from shared.snapshot.snapshot import Snapshot


class Engine:
    """Answers queries; safe to call from any number of threads.

    Attributes:
        catalogue: looks up items, their images and categories without searching.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        limits: ImageLimits | None = None,
        probe_coverage: float = PROBE_COVERAGE,
        image_root: Path | None = None,
        lease: SnapshotLease | None = None,
        admission: AdmissionController | None = None,
        query_views: int = 1,
        search_admission: AdmissionController | None = None,
        decoder: QueryDecoder | None = None,
    ) -> None:
        """Serve a snapshot.

        Args:
            snapshot: open; closed by `close`.
            limits: of query images, if there is no `decoder`.
            probe_coverage: share of queries for which `probe: auto` is to search the right category.
            image_root: directory of the catalogue's images, if it is not the one that they were indexed from.
            lease: on the snapshot; released by `close`.
            admission: has slots for decoding and embedding images; by default one more than there are cores, for this
                engine alone.
            query_views: views of a query image that are embedded: 1 for the image, 2 for its mirror image too, which
                counts as a second picture of the query.
            search_admission: has slots for costly searches; by default one fewer than there are cores. No query holds a
                slot of both at once.
            decoder: of query images; by default one for this engine alone, closed by `close`.
        """
        cores = os.cpu_count() or 1
        self.catalogue = CatalogueLookup(snapshot, image_root)
        self._snapshot = snapshot
        self._searcher = Searcher(snapshot, probe_coverage)
        self._lease = lease
        self._admission = admission or AdmissionController(cores + 1)
        self._search_admission = search_admission or costly_search_admission(cores)
        self._own_decoder: QueryDecoder | None = None
        if decoder is None:
            template = template_of_process(limits or ImageLimits())
            decoder = self._own_decoder = QueryDecoder(template, self._admission.slots)
        self._embedder = QueryEmbedder(snapshot, decoder, self._admission, query_views)
        self._costly_threads = costly_search_threads(self._search_admission.slots)
        self._most_helpers = max(1, cores - 1)
        self._batch_threads = ThreadPoolExecutor(2 * cores, "batch")  # started when they are first needed

    @property
    def snapshot_id(self) -> str:
        """Id of the snapshot served."""
        return self._snapshot.snapshot_id

    @property
    def manifest(self) -> Manifest:
        """The manifest of the snapshot."""
        return self._snapshot.manifest

    @property
    def has_words(self) -> bool:
        """True if the snapshot can be searched by text."""
        return self._snapshot.words is not None

    def require_ready(self) -> None:
        """Raise if the snapshot can't be searched now.

        Raises:
            StoreUnavailable: the vectors are on a server that does not answer.
        """
        self._snapshot.require_reachable()

    def search(self, query: Query, options: SearchOptions) -> SearchResult:
        """Search by a query; an item is a hit itself, and its category counts as the predicted one.

        Raises:
            ParecidoError: those of `QueryEmbedder.of_query`.
            UnknownCategory: `options.category` is not in the snapshot.
        """
        timing = Timing()
        return self._search(self._embedder.of_query(query, timing), options, timing)

    def search_batch(self, searches: Sequence[tuple[Query, SearchOptions]]) -> list[SearchResult | ParecidoError]:
        """Search by several queries, on this thread and on those that requests share.

        Returns:
            For each query the result of `search`, or the error: a bad query fails alone.

        Raises:
            Overloaded: there are images among the queries, and the queue is full.
            StoreUnavailable: the vectors are on a server that does not answer.
            ClientGone: the client has disconnected.
        """
        if any(query.image is not None for query, _ in searches):
            self._admission.reject_if_full()
            self._admission.expect_concurrency()
        context = current_context() or RequestContext()
        context.is_batch = True
        set_context(context)
        return parallel_map(self._search_or_error, searches, self._batch_threads, self._most_helpers)

    def search_image(self, data: bytes, options: SearchOptions) -> SearchResult:
        """Search by the bytes of an image file, as `search`."""
        return self.search(Query(image=data), options)

    def search_embedding(self, embedding: ArrayLike | None, options: SearchOptions) -> SearchResult:
        """Search by a `(dim,)` vector of any length but 0, made by this snapshot's embedder, as `search`."""
        return self.search(Query(embedding=embedding), options)

    def search_item(self, item_id: str, options: SearchOptions) -> SearchResult:
        """Search by the images of a catalogue item, as `search`."""
        return self.search(Query(item_id=item_id), options)

    def similar(
        self, item_id: str, options: SearchOptions, text: str | None = None, text_weight: float = DEFAULT_WEIGHT
    ) -> SearchResult:
        """Search by an item as `search`, also with a text, without the item itself among the hits.

        Raises:
            UnknownItem: the snapshot has no item of this id.
        """
        timing = Timing()
        query = Query(item_id=item_id, text=text, text_weight=text_weight)
        pictures = self._embedder.of_query(query, timing)
        number = self._snapshot.items.by_id(item_id).number
        return self._search(replace(pictures, excluded_items=frozenset([number])), options, timing)

    def classify(self, query: Query) -> SearchResult:
        """Predict the category of an image, an embedding or a text, and whether it shows one at all; no hits.

        Raises:
            ParecidoError: those of `QueryEmbedder.of_query`.
        """
        timing = Timing()
        if query.image is not None:  # whatever item of the catalogue has this image
            return self._predict(QueryPictures(self._embedder.of_image(query.image, timing)), timing)
        return self._predict(self._embedder.of_query(query, timing), timing)

    def classify_image(self, data: bytes) -> SearchResult:
        """Predict the category of an image, as `classify`."""
        return self.classify(Query(image=data))

    def classify_embedding(self, embedding: ArrayLike | None) -> SearchResult:
        """Predict the category of a vector, as `classify`."""
        return self.classify(Query(embedding=embedding))

    def feedback(self, query: Query, feedback: UserFeedback) -> FeedbackRecord:
        """Return the record of a user's feedback on a query, without its image.

        Raises:
            ImageError: the image can't be used.
            InvalidEmbedding: the embedding has another shape, or no direction.
            UnknownItem: the snapshot has no item of this id.
            RequestError: the feedback does not fit the snapshot; see `UserFeedback.to_record`.
        """
        if query.image is not None:
            vectors = self._embedder.of_image(query.image, Timing())
            digest = hashlib.sha256(query.image).hexdigest()
            return feedback.to_record(self._snapshot, vectors, image_sha256=digest)
        if query.item_id is not None:
            indexed = self._snapshot.items.by_id(query.item_id)
            vectors = QueryPictures.of_item(self._snapshot, indexed).vectors
            return feedback.to_record(self._snapshot, vectors, query_item_id=indexed.item.item_id)
        return feedback.to_record(self._snapshot, self._embedder.of_embedding(query.embedding))

    def close(self) -> None:
        """Close the snapshot and release its lease; call it when no request uses the engine any more."""
        self._batch_threads.shutdown()
        self._costly_threads.shutdown()
        self._snapshot.close()
        if self._own_decoder is not None:
            self._own_decoder.close()
        if self._lease is not None:
            self._lease.close()

    def _search_or_error(self, search: tuple[Query, SearchOptions]) -> SearchResult | ParecidoError:
        try:
            return self.search(*search)
        except (StoreUnavailable, ClientGone):
            raise  # the other queries would fail too
        except ParecidoError as error:
            return error

    def _search(self, query: QueryPictures, options: SearchOptions, timing: Timing) -> SearchResult:
        with timing.stage("classify"):
            ranking = self._searcher.classify(query)
        categories = self._searcher.categories_to_search(ranking, options)
        partitions = [self._snapshot.partition(category) for category in categories]

        def search() -> SearchResult:
            return self._searcher.search(query, options, ranking, check=SearchDeadline.start().check)

        if is_costly_search(self._snapshot, options, query.n_searches, partitions):
            with self._search_admission.slot(), timing.stage("search"):
                result = self._costly_threads.submit(copy_context().run, search).result()
        else:
            with timing.stage("search"):
                result = search()
        return replace(result, timing_ms=timing.as_ms())

    def _predict(self, query: QueryPictures, timing: Timing) -> SearchResult:
        with timing.stage("classify"):
            ranking = self._searcher.classify(query)
        with timing.stage("search" if self._searcher.needs_search(query, ranking) else "classify"):
            result = self._searcher.predict(query, ranking, SearchDeadline.start().check)
        return replace(result, timing_ms=timing.as_ms())
