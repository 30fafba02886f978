"""Thin a ranking: one hit per group, near-duplicates folded into the better hit."""

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
    """A hit that stays, and the numbers of the items folded into it, best first."""

    hit: Hit
    duplicates: list[int] = field(default_factory=list)


class HitCollapser:
    """Takes a ranking from its best hit on. Without groups and folding, all hits stay.

    Attributes:
        kept: the hits that stay, best first.
        n_taken: hits of the ranking that were looked at.
    """

    def __init__(
        self,
        wanted: int,
        partitions: Sequence[CategorySearch],
        n_numbers: int,
        groups: NDArray[np.int32] | None = None,
        collapse_above: float | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin.

        Args:
            wanted: how many hits are to stay; what comes after is not looked at.
            partitions: that the ranking is of.
            n_numbers: item numbers are lower.
            groups: `(n_numbers,)` by item number: the same where one hit is to stay, -1 where items stay by themselves.
            collapse_above: the cosine from which a hit is folded into a better one that stays.
            check: called between blocks of hits; raises where the work is to end.
        """
        self.kept: list[KeptHit] = []
        self.n_taken = 0
        self._wanted = wanted
        self._groups = groups
        self._check = check
        self._embeddings = HitEmbeddings(partitions, n_numbers)
        self._near = None if collapse_above is None else KeptEmbeddings(collapse_above)
        self._seen_groups: set[int] = set()
        self._seen_items: list[int] = []
        self._is_exhausted = False

    @property
    def is_done(self) -> bool:
        """Whether as many stay as are wanted, or no more hits may be compared."""
        return len(self.kept) >= self._wanted or self._is_exhausted

    def take(self, hits: Sequence[Hit]) -> None:
        """Go on by these, which are the next of the ranking."""
        if self._near is None:
            self._keep_first_of_groups(hits)
        else:
            for block in self._embeddings.blocks(hits):
                self._check()
                self._is_exhausted = self._near.n_products + self._near.price(block) > MOST_PRODUCTS
                if self.is_done:
                    break
                self._fold(block, self._near)
        self.n_taken += len(hits)
        self._seen_items += [hit.item_number for hit in hits]

    def left(self, allowed: Allowed) -> Allowed:
        """Of these items, those that may still come: neither seen nor of a group that has its hit."""
        left = allowed.copy()
        left[self._seen_items] = False
        if self._groups is not None and self._seen_groups:
            is_seen = np.zeros(int(self._groups.max()) + 2, dtype=np.bool_)  # the last is that of -1: no group
            is_seen[list(self._seen_groups)] = True
            left &= ~is_seen[self._groups]
        return left

    def _keep_first_of_groups(self, hits: Sequence[Hit]) -> None:
        for hit in hits:
            if self.is_done:
                return
            group = self._group(hit)
            if group not in self._seen_groups:
                self._keep(hit, group)

    def _fold(self, block: Block, near: KeptEmbeddings) -> None:
        """Keep the hits of a block that are near-duplicates of none that is kept; fold the others."""
        owners, is_near = near.owners(block, _NO_OWNER), near.near(block)
        added: dict[int, int] = {}
        for position, hit in enumerate(block.hits):
            if self.is_done:
                break
            # Groups first: an item whose group has its hit counts for nothing else, whether or not it is ever searched.
            group = self._group(hit)
            if group in self._seen_groups:
                continue
            owner = int(owners[position])
            if owner != _NO_OWNER:
                self._add_duplicate(self.kept[owner], hit)
                continue
            added[position] = len(self.kept)
            owners[is_near[position] & (owners == _NO_OWNER)] = len(self.kept)
            self._keep(hit, group)
        near.add(block, added)

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
