"""Which hits of a ranking stay where one a group is wanted, or near-duplicates are folded."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from search_service.answer import MAX_DUPLICATES
from shared.category_search import Allowed, CategorySearch, Hit
from shared.vectors import Vectors

_ROUNDING = 1e-6
"""How far the cosine of a picture with its copy may lie below 1."""


@dataclass(frozen=True)
class Kept:
    """A hit that stays, and the numbers of the items folded into it, best first."""

    hit: Hit
    duplicates: list[int] = field(default_factory=list)


class Distinct:
    """Takes a ranking from its best hit on. Without groups and folding, all hits stay."""

    def __init__(
        self,
        wanted: int,
        partitions: Sequence[CategorySearch],
        groups: NDArray[np.int32] | None,
        collapse_above: float | None,
    ) -> None:
        """Begin.

        Args:
            wanted: how many hits are to stay; what comes after is not looked at.
            partitions: that the ranking is of.
            groups: `(n,)` by item number: the same where one hit is to stay, -1 where items stay by themselves.
            collapse_above: the cosine from which a hit is folded into a better one that stays.
        """
        self.kept: list[Kept] = []
        self.n_taken = 0
        self._wanted = wanted
        self._partitions = partitions
        self._groups = groups
        self._collapse_above = collapse_above
        self._seen_groups: set[int] = set()
        self._seen_items: list[int] = []
        self._rows: list[Vectors] = []  # of those kept
        self._owners: list[int] = []  # for each of these rows, whose it is

    @property
    def is_enough(self) -> bool:
        """Whether as many stay as are wanted."""
        return len(self.kept) >= self._wanted

    def take(self, hits: Sequence[Hit]) -> None:
        """Go on by these, which are the next of the ranking."""
        embeddings = self._embeddings(hits) if self._collapse_above is not None else {}
        for hit in hits:
            if self.is_enough:
                return
            self._take(hit, embeddings.get(hit.item_number))
        self.n_taken += len(hits)
        self._seen_items += [hit.item_number for hit in hits]

    def left(self, allowed: Allowed) -> Allowed:
        """Of these items, those that may still come: neither seen nor of a group that has its hit."""
        left = allowed.copy()
        left[self._seen_items] = False
        if self._groups is not None:
            left[np.isin(self._groups, list(self._seen_groups))] = False
        return left

    def _take(self, hit: Hit, rows: Vectors | None) -> None:
        # Groups first: an item whose group has its hit counts for nothing else, whether or not it is ever searched.
        group = -1 if self._groups is None else int(self._groups[hit.item_number])
        if group in self._seen_groups:
            return
        if rows is not None:
            owner = self._owner(rows)
            if owner is not None:
                if len(owner.duplicates) < MAX_DUPLICATES:
                    owner.duplicates.append(hit.item_number)
                return
            self._rows.append(rows)
            self._owners += [len(self.kept)] * len(rows)
        if group >= 0:
            self._seen_groups.add(group)
        self.kept.append(Kept(hit))

    def _owner(self, rows: Vectors) -> Kept | None:
        """The best hit that an item with these rows is a near-duplicate of."""
        assert self._collapse_above is not None
        if not self._rows:
            return None
        near = (np.concatenate(self._rows) @ rows.T).max(axis=1) >= self._collapse_above - _ROUNDING
        return self.kept[self._owners[int(np.argmax(near))]] if near.any() else None

    def _embeddings(self, hits: Sequence[Hit]) -> dict[int, Vectors]:
        """Of each item all its rows."""
        wanted = np.array([hit.item_number for hit in hits], dtype=np.int64)
        found: dict[int, Vectors] = {}
        for partition in self._partitions:
            numbers = partition.item_numbers()
            rows = np.flatnonzero(np.isin(numbers, wanted))
            owners, embeddings = numbers[rows], partition.embeddings(rows)
            order = np.argsort(owners, kind="stable")
            for item in np.split(order, np.flatnonzero(np.diff(owners[order])) + 1):
                if len(item):
                    found[int(owners[item[0]])] = embeddings[item]
        return found
