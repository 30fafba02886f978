"""The search of partitions by one query: the items that pass its filter, ranked and collapsed, one page of them.

filter ─▶ allowed items ─search─▶ ranking ─collapse groups and near-duplicates─▶ kept hits ─offset, top_k─▶ page
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import numpy as np

from shared.catalogue.items import Item
from shared.index.category_search import Allowed, Hit, best_hits, search_partitions
from shared.index.search_without import search_without
from shared.model.ood_rule import NEIGHBOURS
from shared.retrieval.collapse import HitCollapser, KeptHit
from shared.retrieval.query_pictures import QueryPictures
from shared.retrieval.results import ItemHit
from shared.retrieval.search_options import SearchOptions
from shared.retrieval.text_query import TextQuery
from shared.snapshot.snapshot import Snapshot
from shared.text.unicode_forms import unicode_forms

_MAX_AT_ONCE = 4096
"""Most hits that are fetched at once, unless the page itself is longer."""

_MAX_COLLAPSED = 4096
"""After so many collapsed hits the search ends, and the page may be shorter."""


def nearest_items(snapshot: Snapshot, category: str, queries: Sequence[QueryPictures], top_k: int) -> list[list[Hit]]:
    """Find the items of a category that are nearest to the first picture of each query, whatever their metadata.

    A query's result does not depend on the others, bit by bit.

    Returns:
        For each query at least `top_k` hits, and as many as the OOD rule needs, if the category has so many.
    """
    vectors = np.concatenate([query.vectors[:1] for query in queries])
    excluded = [query.excluded_items for query in queries]
    return search_without(snapshot.partition(category), vectors, excluded, max(top_k, NEIGHBOURS))


class ItemSearch:
    """The search by one query, on one thread."""

    def __init__(
        self,
        snapshot: Snapshot,
        query: QueryPictures,
        options: SearchOptions,
        nearest: Mapping[str, Sequence[Hit]] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare.

        Args:
            snapshot: to search.
            query: its pictures.
            options: of the caller.
            nearest: what `nearest_items` returned for the query and `options.offset + options.top_k`, by category.
            check: called every few milliseconds; raises to end the search.

        Raises:
            FiltersUnavailable: the options need an index of the metadata that the snapshot lacks.
            ParecidoError: that of `check`, here and in the other methods.
        """
        self._check = check
        self._snapshot = snapshot
        self._query = query
        self._searched = query.searched
        self._options = options
        self._n_kept = options.offset + options.top_k
        self._allowed = None if options.filter is None else snapshot.items.passing(options.filter, self._check)
        self._groups = None if options.group_by is None else snapshot.items.groups(options.group_by)
        self._nearest = dict(nearest or {})

    def nearest(self, category: str) -> Sequence[Hit]:
        """The items of a category that are nearest to the query's first picture, whatever their metadata.

        Without a filter these are hits as well, and not searched for again.
        """
        if category not in self._nearest:
            top_k = self._n_kept if self._allowed is None else NEIGHBOURS
            self._nearest[category] = nearest_items(self._snapshot, category, [self._query], top_k)[0]
        return self._nearest[category]

    def best_cosine(self, category: str) -> float:
        """The cosine of the category's nearest item; -1 if it has none."""
        return max((hit.score for hit in self.nearest(category)), default=-1.0)

    def page(self, categories: Sequence[str]) -> tuple[ItemHit, ...]:
        """The hits of these categories, from `offset` on.

        Raises:
            UnknownCategory: the snapshot has no category of such a name.
        """
        names = [self._snapshot.category_named(category) for category in categories]
        partitions = [self._snapshot.partitions[name] for name in names]
        n_numbers, collapse_above = self._snapshot.items.n_numbers, self._options.collapse_above
        collapser = HitCollapser(self._n_kept, partitions, n_numbers, self._groups, collapse_above, self._check)
        n_hits, allowed = self._n_kept, self._allowed
        while True:
            hits = self._ranking(names, n_hits, allowed)
            collapser.add(hits)
            if collapser.is_done or len(hits) < n_hits or collapser.n_added >= self._n_kept + _MAX_COLLAPSED:
                return self._item_hits(collapser.kept[self._options.offset :])
            if allowed is None:
                allowed = np.ones(n_numbers, dtype=np.bool_)
            allowed = collapser.remaining(allowed)
            n_hits = max(n_hits, min(4 * n_hits, _MAX_AT_ONCE))

    def _ranking(self, categories: Sequence[str], n_hits: int, allowed: Allowed | None) -> list[Hit]:
        """The `n_hits` best hits; fewer only if no more are good enough."""
        if self._query.text is not None:
            return self._ranking_by_text(categories, self._query.text, n_hits, allowed)
        vectors, excluded = self._query.vectors, self._query.excluded_items
        nearest = self._nearest if allowed is None and len(vectors) == 1 else {}
        reused = chain.from_iterable(nearest.get(category, ()) for category in categories)
        others = [self._snapshot.partition(category) for category in categories if category not in nearest]
        # No more than needed: of an approximate index each step costs four times as much.
        n_searched = n_hits + len(excluded)
        hits = best_hits(chain(reused, search_partitions(others, vectors, n_searched, allowed, self._check)))
        limit = self._options.min_score
        good = [hit for hit in hits if hit.item_number not in excluded and (limit is None or hit.score >= limit)]
        return good[:n_hits]

    def _ranking_by_text(
        self, categories: Sequence[str], text: TextQuery, n_hits: int, allowed: Allowed | None
    ) -> list[Hit]:
        """The same, ranked by cosine plus the bonus of the words that describe an item.

        Items with equal bonuses are ranked by cosine, so one search for each bonus finds the best of all, exactly.
        """
        partitions = [self._snapshot.partition(category) for category in categories]
        excluded, limit = self._query.excluded_items, self._options.min_score
        n_searched = n_hits + len(excluded)
        ranked: list[tuple[float, Hit]] = []
        for level, bonus in text.bonuses():
            with_level = text.levels == level
            if allowed is not None:
                with_level &= allowed
            hits = search_partitions(partitions, self._searched, n_searched, with_level, self._check)
            ranked += [(hit.score + bonus, hit) for hit in hits if limit is None or hit.score >= limit]
        ranked.sort(key=lambda pair: (-pair[0], pair[1].item_number))
        return [hit for _, hit in ranked if hit.item_number not in excluded][:n_hits]

    def _item_hits(self, kept: Sequence[KeptHit]) -> tuple[ItemHit, ...]:
        items, field = self._snapshot.items, self._options.group_by
        indexed_items = items.by_numbers([each.hit.item_number for each in kept])
        ids = items.ids_of([number for each in kept for number in each.duplicates])
        hits = []
        for rank, (each, indexed) in enumerate(zip(kept, indexed_items, strict=True), start=self._options.offset + 1):
            is_grouped = self._groups is not None and self._groups[indexed.number] >= 0
            group = _value(indexed.item, field) if field is not None and is_grouped else None
            duplicates = tuple(ids[number] for number in each.duplicates)
            hits.append(ItemHit(rank, each.hit.score, indexed.item, group, duplicates))
        return tuple(hits)


def _value(item: Item, field: str) -> str | int | float | bool:
    """An item's value in a field that it has under one of the name's forms."""
    value: str | int | float | bool = next(
        item.metadata[name] for name in unicode_forms(field) if name in item.metadata
    )
    return value
