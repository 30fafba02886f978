"""One query's search of the partitions: for the items that pass its filter, those that stay, and the page wanted.

filter ─▶ allowed items ─search─▶ ranking ─one a group, near-duplicates folded─▶ hits that stay ─offset, top_k─▶ page
"""

from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np

from shared.catalogue.items import Item
from shared.index.category_search import Allowed, CategorySearch, Hit, best_hits, search_partitions
from shared.model.ood_rule import NEIGHBOURS
from shared.retrieval.collapse import HitCollapser, KeptHit
from shared.retrieval.results import ItemHit
from shared.retrieval.search_options import SearchOptions
from shared.snapshot.snapshot import Snapshot
from shared.text.unicode_forms import unicode_forms
from shared.vectors import Vectors

_DEEPEST = 4096
"""How many hits are fetched at once at most, where no page is longer."""

_MOST_FOLDED = 4096
"""After so many hits more than are wanted, the search for those that stay ends, and the page may be shorter."""


class ItemSearch:
    """The search of one query, by one thread."""

    def __init__(
        self,
        snapshot: Snapshot,
        queries: Vectors,
        options: SearchOptions,
        without: int | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare.

        Args:
            snapshot: to search.
            queries: `(n_pictures, dim)` float32, unit rows, all of one query.
            options: the caller's.
            without: the number of an item that is no hit.
            check: called every few milliseconds of the work, to end it by an error.

        Raises:
            FiltersUnavailable: the snapshot has no index of the metadata, and the options need it.
            ParecidoError: that of `check`; so do the other methods.
        """
        self._check = check
        self._snapshot = snapshot
        self._queries = queries
        self._options = options
        self._without = without
        self._wanted = options.offset + options.top_k
        self._allowed = None if options.filter is None else snapshot.items.passing(options.filter, self._check)
        self._groups = None if options.group_by is None else snapshot.items.groups(options.group_by)
        self._nearest: dict[str, list[Hit]] = {}

    def nearest(self, category: str) -> list[Hit]:
        """The items of a category that are nearest to the query's first picture, whatever their metadata.

        Without a filter, what is found here is not searched for again.
        """
        if category not in self._nearest:
            n_hits = max(self._n_hits(self._wanted), NEIGHBOURS) if self._allowed is None else NEIGHBOURS
            self._nearest[category] = self._snapshot.partition(category).search(self._queries[:1], n_hits)[0]
        return self._nearest[category]

    def best_cosine(self, category: str) -> float:
        """That of the category's nearest item; -1 where it has none."""
        return max((hit.score for hit in self.nearest(category)), default=-1.0)

    def page(self, categories: Sequence[str]) -> tuple[ItemHit, ...]:
        """The hits of these categories, from `offset` on.

        Raises:
            UnknownCategory: there is none of such a name.
        """
        partitions = [self._snapshot.partition(category) for category in categories]
        n_numbers, collapse_above = self._snapshot.items.n_numbers, self._options.collapse_above
        distinct = HitCollapser(self._wanted, partitions, n_numbers, self._groups, collapse_above, self._check)
        depth, allowed = self._wanted, self._allowed
        while True:
            hits = self._ranking(partitions, depth, allowed)
            distinct.take(hits)
            if distinct.is_done or len(hits) < depth or distinct.n_taken >= self._wanted + _MOST_FOLDED:
                return self._item_hits(distinct.kept[self._options.offset :])
            if allowed is None:
                allowed = np.ones(n_numbers, dtype=np.bool_)
            allowed = distinct.left(allowed)
            depth = max(depth, min(4 * depth, _DEEPEST))

    def _ranking(self, partitions: Sequence[CategorySearch], depth: int, allowed: Allowed | None) -> list[Hit]:
        """The `depth` best hits, fewer only where there are no more that are good enough."""
        nearest = self._nearest if allowed is None and len(self._queries) == 1 else {}
        known = chain.from_iterable(nearest.get(part.category, ()) for part in partitions)
        others = [part for part in partitions if part.category not in nearest]
        n_hits = self._n_hits(depth)
        found = best_hits(chain(known, search_partitions(others, self._queries, n_hits, allowed, self._check)))
        limit = self._options.min_score
        kept = [hit for hit in found if hit.item_number != self._without and (limit is None or hit.score >= limit)]
        return kept[:depth]

    def _n_hits(self, wanted: int) -> int:
        """How many to search for, and no more: of an approximate index each step costs four times as much."""
        return wanted if self._without is None else wanted + 1

    def _item_hits(self, kept: Sequence[KeptHit]) -> tuple[ItemHit, ...]:
        items, field = self._snapshot.items, self._options.group_by
        found = items.by_numbers([one.hit.item_number for one in kept])
        ids = items.ids_of([number for one in kept for number in one.duplicates])
        hits = []
        for rank, (one, indexed) in enumerate(zip(kept, found, strict=True), start=self._options.offset + 1):
            grouped = self._groups is not None and self._groups[indexed.number] >= 0
            group = _value(indexed.item, field) if field is not None and grouped else None
            folded = tuple(ids[number] for number in one.duplicates)
            hits.append(ItemHit(rank, one.hit.score, indexed.item, group, folded))
        return tuple(hits)


def _value(item: Item, field: str) -> str | int | float | bool:
    """An item's value in a field that it has under one of the name's forms."""
    value: str | int | float | bool = next(
        item.metadata[name] for name in unicode_forms(field) if name in item.metadata
    )
    return value
