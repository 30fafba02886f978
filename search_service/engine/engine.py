"""Answer queries from one open snapshot. Knows nothing of the web.

image ─decode─▶ pixels ─embed (once)─▶ embedding ─classify─▶ probabilities ─choose─▶ categories ─search─▶ hits
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from search_service.admission.controller import AdmissionController, costly_search_admission
from search_service.admission.parallel_map import parallel_map
from search_service.admission.request_context import RequestContext, current_context, set_context
from search_service.admission.search_cost import is_costly_search
from search_service.admission.search_deadline import SearchDeadline
from search_service.engine.catalogue_lookup import CatalogueLookup
from search_service.engine.query import Query
from search_service.engine.query_decoder import QueryDecoder
from search_service.engine.query_embedding import QueryEmbedder
from search_service.engine.user_feedback import UserFeedback
from shared.errors import ClientGone, ParecidoError, StoreUnavailable
from shared.feedback_record import Feedback
from shared.images.decode_pool.template import template_of_process
from shared.images.limits import ImageLimits
from shared.manifest import Manifest
from shared.model.classifier import PROBE_COVERAGE, ranking
from shared.priority import costly_search_threads
from shared.retrieval.category_ranking import CategoryRanking
from shared.retrieval.item_search import ItemSearch
from shared.retrieval.ood_verdict import IN_CATALOGUE, NOT_EVALUATED, OodVerdict, judge
from shared.retrieval.results import ItemHit, Prediction, SearchResult, Timing
from shared.retrieval.search_options import SearchOptions
from shared.snapshot.lease import SnapshotLease
from shared.snapshot.snapshot import Snapshot
from shared.vectors import Vectors

CANDIDATES = 5


class Engine:
    """Safe to call from any number of threads.

    Attributes:
        catalogue: for what is looked up and not searched.
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
            limits: what query images are refused for, where there is no `decoder`.
            probe_coverage: for what share of the queries `probe: auto` searches the right category.
            image_root: where the catalogue's images lie, if not where they were indexed.
            lease: on the snapshot; given back by `close`.
            admission: decides which images are decoded and embedded when; by default one more than there are cores, for
                this engine alone.
            query_views: of a query image that are embedded: 1 for itself, 2 for its mirror image too, which counts as a
                second picture of the query.
            search_admission: decides which costly searches run when; by default one fewer than there are cores. No
                query holds a slot of both at once.
            decoder: decodes query images; by default one for this engine alone, closed by `close`.
        """
        cores = os.cpu_count() or 1
        self.catalogue = CatalogueLookup(snapshot, image_root)
        self._snapshot = snapshot
        self._probe_coverage = probe_coverage
        self._lease = lease
        self._admission = admission or AdmissionController(cores + 1)
        self._search_admission = search_admission or costly_search_admission(cores)
        self._own_decoder: QueryDecoder | None = None
        if decoder is None:
            template = template_of_process(limits or ImageLimits())
            decoder = self._own_decoder = QueryDecoder(template, self._admission.slots)
        self._vectors = QueryEmbedder(snapshot, decoder, self._admission, query_views)
        self._costly_threads = costly_search_threads(self._search_admission.slots)
        self._most_helpers = max(1, cores - 1)
        self._batch_threads = ThreadPoolExecutor(2 * cores, "batch")  # started when they are first needed

    @property
    def snapshot_id(self) -> str:
        """The snapshot being served."""
        return self._snapshot.snapshot_id

    @property
    def manifest(self) -> Manifest:
        """How the snapshot describes itself."""
        return self._snapshot.manifest

    def require_ready(self) -> None:
        """Refuse where what is served can't be searched now.

        Raises:
            StoreUnavailable: the vectors are on a server that does not answer.
        """
        self._snapshot.require_reachable()

    def search(self, query: Query, options: SearchOptions) -> SearchResult:
        """Search by whatever the query has.

        Raises:
            ParecidoError: those of `search_image`, `search_item` and `search_embedding`.
        """
        if query.image is not None:
            return self.search_image(query.image, options)
        if query.item_id is not None:
            return self.search_item(query.item_id, options)
        return self.search_embedding(query.embedding, options)

    def search_batch(self, searches: Sequence[tuple[Query, SearchOptions]]) -> list[SearchResult | ParecidoError]:
        """Search by several queries, on the caller's thread and on helpers; each answer is that of `search`.

        Returns:
            For each in its order its answer, or why it has none: a bad one fails alone.

        Raises:
            Overloaded: there are images among them, and too many others are before these.
            StoreUnavailable: the vectors are on a server that does not answer.
            ClientGone: nobody waits for the answers any more.
        """
        if any(query.image is not None for query, _ in searches):
            self._admission.reject_if_full()
            self._admission.expect_concurrency()
        context = current_context() or RequestContext()
        context.is_batch = True
        set_context(context)
        return parallel_map(self._search_or_error, searches, self._batch_threads, self._most_helpers)

    def search_image(self, data: bytes, options: SearchOptions) -> SearchResult:
        """Search by the bytes of an image file.

        The very file of a catalogue image counts as that item's category, whatever the classifier thinks of it: so
        what is in the catalogue always finds itself.

        Raises:
            ImageError: it can't be used.
            UnknownCategory: `options.category` is none.
        """
        timing = Timing()
        queries = self._vectors.of_image(data, timing)
        known = self._vectors.category_of(data, queries)
        return self._search(queries, options, timing, known, None if known is None else IN_CATALOGUE)

    def search_embedding(self, embedding: ArrayLike | None, options: SearchOptions) -> SearchResult:
        """Search by a `(dim,)` vector of any length but 0, made by this snapshot's embedder.

        Raises:
            InvalidEmbedding: another shape, or no direction.
            UnknownCategory: `options.category` is none.
        """
        timing = Timing()
        return self._search(self._vectors.of_embedding(embedding), options, timing)

    def search_item(self, item_id: str, options: SearchOptions) -> SearchResult:
        """Search by the images of an item of the catalogue, which is itself among the hits.

        Its category is known, and that is the one that counts as most probable.

        Raises:
            UnknownItem: there is none of this id.
            UnknownCategory: `options.category` is none.
        """
        timing = Timing()
        indexed = self._snapshot.items.by_id(item_id)
        return self._search(self._vectors.of_item(indexed), options, timing, indexed.item.category, NOT_EVALUATED)

    def similar(self, item_id: str, options: SearchOptions) -> SearchResult:
        """As `search_item`, without the item itself.

        Raises:
            UnknownItem: there is none of this id.
        """
        timing = Timing()
        indexed = self._snapshot.items.by_id(item_id)
        queries, known = self._vectors.of_item(indexed), indexed.item.category
        return self._search(queries, options, timing, known, NOT_EVALUATED, without=indexed.number)

    def classify(self, query: Query) -> SearchResult:
        """Say which category an image or an embedding shows; that of an item is known.

        Raises:
            ParecidoError: those of `classify_image` and `classify_embedding`.
        """
        if query.image is not None:
            return self.classify_image(query.image)
        return self.classify_embedding(query.embedding)

    def classify_image(self, data: bytes) -> SearchResult:
        """Say which category an image shows, if any; nothing is searched but what tells that.

        Raises:
            ImageError: it can't be used.
        """
        timing = Timing()
        return self._classified(self._vectors.of_image(data, timing), timing)

    def classify_embedding(self, embedding: ArrayLike | None) -> SearchResult:
        """As `classify_image`, for a vector.

        Raises:
            InvalidEmbedding: another shape, or no direction.
        """
        return self._classified(self._vectors.of_embedding(embedding), Timing())

    def feedback(self, query: Query, feedback: UserFeedback) -> Feedback:
        """Return the record of a user's feedback on a query, without its image.

        Raises:
            ImageError: the image can't be used.
            InvalidEmbedding: the embedding has another shape, or no direction.
            UnknownItem: there is none of this id.
            RequestError: the feedback does not fit the snapshot; see `UserFeedback.to_record`.
        """
        if query.image is not None:
            digest = hashlib.sha256(query.image).hexdigest()
            return feedback.to_record(
                self._snapshot, self._vectors.of_image(query.image, Timing()), image_sha256=digest
            )
        if query.item_id is not None:
            indexed = self._snapshot.items.by_id(query.item_id)
            return feedback.to_record(
                self._snapshot, self._vectors.of_item(indexed), query_item_id=indexed.item.item_id
            )
        return feedback.to_record(self._snapshot, self._vectors.of_embedding(query.embedding))

    def close(self) -> None:
        """Close the snapshot and give back its lease; call it when no request uses the engine any more."""
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
            raise  # it is of no use to ask for the others
        except ParecidoError as error:
            return error

    def _search(
        self,
        queries: Vectors,
        options: SearchOptions,
        timing: Timing,
        known: str | None = None,
        verdict: OodVerdict | None = None,
        without: int | None = None,
    ) -> SearchResult:
        """Search by all pictures of one query, `(n_pictures, dim)`.

        Its category is `known`, or left to the classifier and to an item that is recognised. `verdict` is given, or
        found for the first picture and the classifier's category.
        """
        if options.category is not None:
            options = replace(options, category=self._snapshot.category_named(options.category))
        if options.category is not None or self._snapshot.classifier.ood_rule is None:
            verdict = NOT_EVALUATED  # also of the catalogue's own images
        with timing.stage("classify"):
            probabilities = self._snapshot.classifier.mean_probabilities(queries)
            ranked = CategoryRanking.of(self._snapshot.classifier, probabilities, self._probe_coverage, known)
        partitions = [self._snapshot.partition(category) for category in ranked.chosen(options)]
        search = partial(self._found, queries, options, ranked, verdict, without)
        if is_costly_search(self._snapshot, options, len(queries), partitions):
            with self._search_admission.slot(), timing.stage("search"):
                found = self._costly_threads.submit(copy_context().run, search).result()
        else:
            with timing.stage("search"):
                found = search()
        predicted, categories, hits, verdict = found
        return self._answer(probabilities, predicted, categories, hits, timing, verdict)

    def _found(
        self,
        queries: Vectors,
        options: SearchOptions,
        ranked: CategoryRanking,
        verdict: OodVerdict | None,
        without: int | None,
    ) -> tuple[str, tuple[str, ...], tuple[ItemHit, ...], OodVerdict]:
        """The category, the categories searched, the hits, and whether the query shows one of the categories."""
        search = ItemSearch(self._snapshot, queries, options, without, SearchDeadline.start().check)
        if verdict is None:
            verdict = judge(self._snapshot.classifier, queries[:1], ranked.first, search.nearest(ranked.first))
        if options.category is None:
            ranked = ranked.recognised(search.best_cosine)
        categories = ranked.chosen(options)
        if verdict.in_distribution is False and options.on_unknown != "search":
            categories = ()
        return ranked.first, categories, search.page(categories), verdict

    def _classified(self, queries: Vectors, timing: Timing) -> SearchResult:
        with timing.stage("classify"):
            probabilities = self._snapshot.classifier.mean_probabilities(queries)
            ranked = CategoryRanking.of(self._snapshot.classifier, probabilities, self._probe_coverage)
        predicted, verdict = ranked.first, NOT_EVALUATED
        if ranked.n_likely > 1 or self._snapshot.classifier.ood_rule is not None:
            with timing.stage("search"):
                search = ItemSearch(self._snapshot, queries, SearchOptions(), check=SearchDeadline.start().check)
                verdict = judge(self._snapshot.classifier, queries[:1], predicted, search.nearest(predicted))
                predicted = ranked.recognised(search.best_cosine).first
        return self._answer(probabilities, predicted, (), (), timing, verdict)

    def _answer(
        self,
        probabilities: NDArray[np.float32],
        predicted: str,
        searched: tuple[str, ...],
        hits: tuple[ItemHit, ...],
        timing: Timing,
        verdict: OodVerdict,
    ) -> SearchResult:
        categories = self._snapshot.classifier.categories
        ranked = [Prediction(categories[place], float(probabilities[place])) for place in ranking(probabilities)]
        query = next(candidate for candidate in ranked if candidate.category == predicted)
        candidates = tuple(ranked[:CANDIDATES])
        return SearchResult(self.snapshot_id, query, candidates, searched, hits, timing.as_ms(), verdict)
