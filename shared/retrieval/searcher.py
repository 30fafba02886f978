"""One search of a snapshot, from the embeddings of a query to its hits.

1. Classify: the mean class probabilities of the query's pictures, or those of its text if it has no picture.
2. Rank the categories by them; the nearest-item ratio test may put another category first.
3. OOD verdict: does the query show one of the categories at all?
4. Search the partitions of the categories that the options ask for; a text lifts the items that its words describe.
5. Collapse: one hit per item or group, near-duplicates folded.

The service answers queries with it, and the evaluation evaluates it: there is no other implementation of a search.
"""

from collections.abc import Callable, Mapping, Sequence

from shared.index.category_search import Hit
from shared.model.classifier import PROBE_COVERAGE
from shared.retrieval.category_ranking import CategoryRanking
from shared.retrieval.item_search import ItemSearch
from shared.retrieval.nearest_item_rule import MAX_RATIO
from shared.retrieval.ood_verdict import NOT_EVALUATED, OodVerdict, evaluate_ood
from shared.retrieval.query_pictures import QueryPictures
from shared.retrieval.results import SearchResult
from shared.retrieval.search_options import SearchOptions
from shared.snapshot.snapshot import Snapshot

CANDIDATES = 5


class Searcher:
    """Searches one open snapshot; safe to use from any number of threads."""

    def __init__(
        self, snapshot: Snapshot, probe_coverage: float = PROBE_COVERAGE, max_ratio: float = MAX_RATIO
    ) -> None:
        """Search a snapshot.

        Args:
            snapshot: open; it is not closed here.
            probe_coverage: the share of queries for which `probe: auto` is to search the right category.
            max_ratio: of the nearest-item ratio test; 0 switches it off.
        """
        self._snapshot = snapshot
        self._probe_coverage = probe_coverage
        self._max_ratio = max_ratio

    def search(
        self,
        query: QueryPictures,
        options: SearchOptions,
        ranking: CategoryRanking | None = None,
        nearest: Mapping[str, Sequence[Hit]] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> SearchResult:
        """Search by one query.

        Args:
            query: its pictures.
            options: of the caller.
            ranking: the result of `classify`, if it was called before.
            nearest: by category the result of `item_search.nearest_items`, if it was called before.
            check: called every few milliseconds; raises to end the search.

        Raises:
            UnknownCategory: `options.category` is not in the snapshot.
            FiltersUnavailable: the options need an index of the metadata that the snapshot lacks.
            StoreUnavailable: the vectors are on a server that does not answer.
        """
        items = ItemSearch(self._snapshot, query, options, nearest, check)
        ranking, ood_verdict = self._categorise(query, options, ranking or self.classify(query), items)
        categories = self.categories_to_search(ranking, options)
        if ood_verdict.in_distribution is False and options.on_unknown != "search":
            categories = ()
        return self._result(query, ranking, ood_verdict, categories, items)

    def predict(
        self, query: QueryPictures, ranking: CategoryRanking | None = None, check: Callable[[], None] = lambda: None
    ) -> SearchResult:
        """Predict the category of a query, as `search` does; there are no hits."""
        items = ItemSearch(self._snapshot, query, SearchOptions(), check=check)
        ranking, ood_verdict = self._categorise(query, SearchOptions(), ranking or self.classify(query), items)
        return self._result(query, ranking, ood_verdict, (), items)

    def classify(self, query: QueryPictures) -> CategoryRanking:
        """Rank the categories by class probability; a category that is known comes first."""
        classifier = self._snapshot.classifier
        if query.is_text_alone and query.text is not None:
            return CategoryRanking.of_text(classifier, query.text, self._probe_coverage)
        ranking = CategoryRanking.of(classifier, classifier.mean_probabilities(query.vectors), self._probe_coverage)
        return ranking if query.category is None else ranking.with_known(query.category)

    def needs_search(self, query: QueryPictures, ranking: CategoryRanking) -> bool:
        """Return True if `predict` searches: there is an OOD rule, or several categories are likely of a picture."""
        has_rule = self._snapshot.classifier.ood_rule is not None
        return not query.is_text_alone and (has_rule or ranking.n_likely > 1)

    def categories_to_search(self, ranking: CategoryRanking, options: SearchOptions) -> tuple[str, ...]:
        """The categories that the options ask for, as the snapshot spells them.

        Raises:
            UnknownCategory: `options.category` is not in the snapshot.
        """
        if options.category is not None:
            return (self._snapshot.category_named(options.category),)
        return ranking.to_search(options.probe)

    def _categorise(
        self, query: QueryPictures, options: SearchOptions, ranking: CategoryRanking, items: ItemSearch
    ) -> tuple[CategoryRanking, OodVerdict]:
        """The OOD verdict for the classifier's category, and the ranking after the ratio test.

        A category that the caller has chosen, or a text speaks of, stands as it is: nothing is evaluated or tested.
        """
        if options.category is not None or query.is_text_alone:
            return ranking, NOT_EVALUATED
        classifier, ood_verdict = self._snapshot.classifier, query.ood_verdict
        if classifier.ood_rule is None:
            ood_verdict = NOT_EVALUATED
        elif ood_verdict is None:
            predicted = ranking.predicted.category
            ood_verdict = evaluate_ood(classifier, query.vectors[:1], predicted, items.nearest(predicted))
        return ranking.after_ratio_test(items.best_cosine, self._max_ratio), ood_verdict

    def _result(
        self,
        query: QueryPictures,
        ranking: CategoryRanking,
        ood_verdict: OodVerdict,
        categories: tuple[str, ...],
        items: ItemSearch,
    ) -> SearchResult:
        return SearchResult(
            snapshot_id=self._snapshot.snapshot_id,
            predicted=ranking.predicted,
            candidates=ranking.candidates(CANDIDATES),
            searched=categories,
            hits=items.page(categories),
            ood_verdict=ood_verdict,
            understood=None if query.text is None else query.text.understood,
        )
