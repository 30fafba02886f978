"""Collapse a ranking: one hit per group, near-duplicates folded into the better hit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shared.index.category_search import Allowed, CategorySearch, Hit
from shared.retrieval.near_duplicates import MOST_PRODUCTS, Block, HitEmbeddings, KeptEmbeddings
from shared.retrieval.results import MAX_DUPLICATES

_NO_OWNER = 2**62


@dataclass(frozen=True)
class KeptHit:
    """A hit that is kept, and the numbers of the items folded into it, best first."""

    hit: Hit
    duplicates: list[int] = field(default_factory=list)


class HitCollapser:
    """Collapses a ranking that is added from its best hit on. Without groups and folding, all hits are kept.

    Attributes:
        kept: the hits that are kept, best first.
        n_added: hits of the ranking that were added.
    """

    def __init__(
        self,
        n_hits: int,
        partitions: Sequence[CategorySearch],
        n_numbers: int,
        groups: NDArray[np.int32] | None = None,
        collapse_above: float | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Start with no hits.

        Args:
            n_hits: how many hits to keep; later ones are ignored.
            partitions: those that the ranking is of.
            n_numbers: item numbers are lower.
            groups: `(n_numbers,)` by item number: equal for items of which one hit is kept, -1 for items without group.
            collapse_above: the cosine from which a hit is folded into a better one that is kept.
            check: called between blocks of hits; raises to end the search.
        """
        self.kept: list[KeptHit] = []
        self.n_added = 0
        self._n_hits = n_hits
        self._groups = groups
        self._check = check
        self._embeddings = HitEmbeddings(partitions, n_numbers)
        self._near = None if collapse_above is None else KeptEmbeddings(collapse_above)
        self._seen_groups: set[int] = set()
        self._seen_items: list[int] = []
        self._is_exhausted = False

    @property
    def is_done(self) -> bool:
        """True if enough hits have been kept, or no more may be compared."""
        return len(self.kept) >= self._n_hits or self._is_exhausted

    def add(self, hits: Sequence[Hit]) -> None:
        """Add the next hits of the ranking."""
        if self._near is None:
            self._keep_first_of_groups(hits)
        else:
            for block in self._embeddings.blocks(hits):
                self._check()
                self._is_exhausted = self._near.n_products + self._near.price(block) > MOST_PRODUCTS
                if self.is_done:
                    break
                self._fold(block, self._near)
        self.n_added += len(hits)
        self._seen_items += [hit.item_number for hit in hits]

    def remaining(self, allowed: Allowed) -> Allowed:
        """Return which of the allowed items may still be kept: neither added before, nor of a group that has a hit."""
        remaining = allowed.copy()
        remaining[self._seen_items] = False
        if self._groups is not None and self._seen_groups:
            is_seen = np.zeros(int(self._groups.max()) + 2, dtype=np.bool_)  # the last is that of -1: no group
            is_seen[list(self._seen_groups)] = True
            remaining &= ~is_seen[self._groups]
        return remaining

    def _keep_first_of_groups(self, hits: Sequence[Hit]) -> None:
        for hit in hits:
            if self.is_done:
                return
            group = self._group(hit)
            if group not in self._seen_groups:
                self._keep(hit, group)

    def _fold(self, block: Block, near: KeptEmbeddings) -> None:
        """Keep the hits of a block that are not near-duplicates of a kept one; fold the others."""
        owners, is_near = near.owners(block, _NO_OWNER), near.near(block)
        newly_kept: dict[int, int] = {}
        for position, hit in enumerate(block.hits):
            if self.is_done:
                break
            # Groups first: an item whose group has a hit is not folded, since a later search may not return it at all.
            group = self._group(hit)
            if group in self._seen_groups:
                continue
            owner = int(owners[position])
            if owner != _NO_OWNER:
                self._add_duplicate(self.kept[owner], hit)
                continue
            newly_kept[position] = len(self.kept)
            owners[is_near[position] & (owners == _NO_OWNER)] = len(self.kept)
            self._keep(hit, group)
        near.add(block, newly_kept)

    def _group(self, hit: Hit) -> int:
        return -1 if self._groups is None else int(self._groups[hit.item_number])

    def _keep(self, hit: Hit, group: int) -> None:
        if group >= 0:
            self._seen_groups.add(group)
        self.kept.append(KeptHit(hit))

    @staticmethod
    def _add_duplicate(owner: KeptHit, hit: Hit) -> None:
        if len(owner.duplicates) < MAX_DUPLICATES:
            owner.duplicates.append(hit.item_number)
