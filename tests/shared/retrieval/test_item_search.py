"""Filter, pages, groups and folding, alone and together, against plain Python over all items of a drawn catalogue."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_service.engine.engine import Engine
from shared.catalogue.item_store import ItemStore
from shared.catalogue.item_writer import write_items
from shared.catalogue.items import IndexedItem, Item
from shared.catalogue.metadata_filter import MetadataFilter
from shared.index.partition import Partition
from shared.model.classifier import Classifier
from shared.model.ood_rule import OodRule
from shared.retrieval import item_search
from shared.retrieval.results import MAX_DUPLICATES, SearchResult
from shared.retrieval.search_options import SearchOptions
from shared.snapshot.snapshot import Snapshot
from shared.vectors import Vectors, unit_rows
from tests.support.fakes import FakeEmbedder, fake_manifest

_CATEGORIES = ("bikes", "mugs", "shoes")
_N_ITEMS = 400
_DIM = FakeEmbedder.dim
_NEAR = 0.995


@dataclass(frozen=True)
class _Drawn:
    """The items with their rows, and a snapshot of them."""

    items: list[Item]
    rows: list[Vectors]
    snapshot: Snapshot

    def ranking(self, query: np.ndarray, categories: tuple[str, ...]) -> list[tuple[int, float]]:
        """Number and score of every item of these categories, best first."""
        scores = [float((rows @ unit_rows(query[np.newaxis])[0]).max()) for rows in self.rows]
        numbers = [number for number, item in enumerate(self.items) if item.category in categories]
        return [(number, scores[number]) for number in sorted(numbers, key=lambda number: (-scores[number], number))]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Drawn]:
    """Items of one to three pictures around a few designs; a third are copies of an earlier one, also elsewhere."""
    draw, random_numbers = random.Random(1), np.random.default_rng(1)
    designs = random_numbers.normal(size=(12, _DIM))
    items: list[Item] = []
    rows: list[Vectors] = []
    for number in range(_N_ITEMS):
        if number and draw.random() < 0.33:
            rows.append(rows[draw.randrange(number)])
        else:
            noise = random_numbers.normal(0, 0.25, size=(draw.randint(1, 3), _DIM))
            rows.append(unit_rows(designs[draw.randrange(12)] + noise))
        metadata: dict[str, Any] = {"price": draw.randint(1, 100), "brand": draw.choice("abcdefgh")}
        metadata["tags"] = draw.sample(["new", "sale", "eco"], draw.randint(0, 3))
        if draw.random() < 0.3:
            metadata["size"] = draw.choice([41, 42.0, "42", True])
        paths = tuple(f"{number}-{place}.png" for place in range(len(rows[-1])))
        items.append(Item(f"item {number}", draw.choice(_CATEGORIES), paths, metadata))
    snapshot = _snapshot(items, rows, tmp_path_factory.mktemp("drawn"))
    yield _Drawn(items, rows, snapshot)
    snapshot.close()


def _snapshot(items: list[Item], rows: list[Vectors], directory: Path) -> Snapshot:
    members = {category: [n for n, item in enumerate(items) if item.category == category] for category in _CATEGORIES}
    indexed, partitions = [], {}
    for category, numbers in members.items():
        row_items = np.repeat(np.array(numbers), [len(rows[number]) for number in numbers])
        partitions[category] = Partition.build(category, np.concatenate([rows[n] for n in numbers]), row_items)
        for number in numbers:
            own = tuple(np.flatnonzero(row_items == number).tolist())
            indexed.append(IndexedItem(items[number], number, own))
    write_items(directory / "items.sqlite", indexed)
    head = np.zeros((_DIM, 3), np.float32), np.log(np.array([0.5, 0.3, 0.2], dtype=np.float32))
    return Snapshot(
        fake_manifest(),
        FakeEmbedder(),
        Classifier(_CATEGORIES, *head),
        ItemStore(directory / "items.sqlite"),
        partitions,
    )


@pytest.fixture
def engine(drawn: _Drawn) -> Engine:
    return Engine(drawn.snapshot, probe_coverage=0.0)  # so that the classifier counts as sure, and is believed


def _query(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=_DIM)


def _told(answer: SearchResult) -> list[tuple[Any, ...]]:
    return [(hit.rank, hit.item.item_id, hit.score, hit.group) for hit in answer.hits]


_FILTERS: dict[str, tuple[dict[str, Any], Any]] = {
    "price": ({"price": {"gte": 20, "lt": 60}}, lambda item: 20 <= item["price"] < 60),
    "brand": ({"brand": ["a", "b", "z"]}, lambda item: item["brand"] in "ab"),
    "both": ({"tags": "eco", "brand": "c"}, lambda item: "eco" in item["tags"] and item["brand"] == "c"),
    "rare": ({"price": 7}, lambda item: item["price"] == 7),
    "none": ({"price": {"gt": 100}}, lambda item: False),
    "all": ({}, lambda item: True),
}


@pytest.mark.parametrize("name", _FILTERS)
@pytest.mark.parametrize("probe", [1, 2, 3])
@pytest.mark.parametrize(("top_k", "offset"), [(5, 0), (3, 4), (1000, 0), (10, 1000)])
def test_filtered_pages_equal_brute_force(drawn: _Drawn, engine: Engine, name: str, probe: int, top_k, offset) -> None:
    given, passes = _FILTERS[name]
    options = SearchOptions(top_k, probe=probe, offset=offset, filter=MetadataFilter.from_json(given))
    for seed in range(3):
        answer = engine.search_embedding(_query(seed), options)
        assert answer.searched == _CATEGORIES[:probe]
        ranking = drawn.ranking(_query(seed), answer.searched)
        wanted = [one for one in ranking if passes(drawn.items[one[0]].metadata)][offset : offset + top_k]
        assert [hit.item for hit in answer.hits] == [drawn.items[number] for number, _ in wanted]
        assert [hit.score for hit in answer.hits] == pytest.approx([score for _, score in wanted], abs=1e-6)
        assert [hit.rank for hit in answer.hits] == list(range(offset + 1, offset + 1 + len(wanted)))


class _Asked:
    """A partition that remembers how many items it was asked for."""

    def __init__(self, partition: Partition) -> None:
        self._partition, self.top_ks = partition, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._partition, name)

    def search(self, queries: Vectors, top_k: int, allowed: Any = None) -> Any:
        self.top_ks.append(top_k)
        return self._partition.search(queries, top_k, allowed)


@pytest.mark.parametrize(("top_k", "offset", "wanted"), [(10, 0, 10), (10, 30, 40), (2, 0, 5)])
def test_a_category_is_searched_once_for_no_more_than_the_page(drawn: _Drawn, top_k: int, offset: int, wanted) -> None:
    """One item more is one step more of an approximate index, four times as dear."""
    asked = {category: _Asked(partition) for category, partition in drawn.snapshot.partitions.items()}
    engine = Engine(replace(drawn.snapshot, partitions=asked))  # unsure: it looks at several for a recognised item
    options = SearchOptions(top_k, offset=offset)
    (searched,) = engine.search_embedding(_query(0), options).searched
    assert asked[searched].top_ks == [wanted]
    item = drawn.items[0]
    engine.similar(item.item_id, options)
    assert asked[item.category].top_ks[-1] == top_k + offset + 1  # itself is among them


def test_a_filter_changes_no_score(engine: Engine) -> None:
    everything = {hit.item.item_id: hit.score for hit in engine.search_embedding(_query(0), SearchOptions(1000)).hits}
    options = SearchOptions(1000, filter=MetadataFilter.from_json({"brand": "a"}))
    for hit in engine.search_embedding(_query(0), options).hits:
        assert hit.score == everything[hit.item.item_id]


_THINNED = [
    {"group_by": group_by, "collapse_above": collapse_above}
    for group_by, collapse_above in product((None, "brand", "size", "tags", "nowhere"), (None, 0.5, _NEAR, 1.0))
]


@pytest.mark.parametrize("thinned", _THINNED, ids=str)
@pytest.mark.parametrize("given", [None, {"price": {"gte": 20}}], ids=["all", "filtered"])
@pytest.mark.parametrize("top_k", [4, 25])
def test_groups_and_folding_equal_a_walk_over_all(drawn: _Drawn, engine: Engine, thinned, given, top_k) -> None:
    wanted_filter = None if given is None else MetadataFilter.from_json(given)
    options = SearchOptions(top_k, probe=2, offset=3, filter=wanted_filter, **thinned)
    for seed in range(3):
        ranking = drawn.ranking(_query(seed), _CATEGORIES[:2])
        if given is not None:
            ranking = [one for one in ranking if drawn.items[one[0]].metadata["price"] >= 20]
        wanted = _walk(drawn, ranking, options)[3:]
        answer = engine.search_embedding(_query(seed), options)
        assert [hit.item for hit in answer.hits] == [drawn.items[number] for number, _ in wanted]
        assert [list(hit.duplicates) for hit in answer.hits] == [
            [drawn.items[number].item_id for number in copies[:MAX_DUPLICATES]] for _, copies in wanted
        ]
        assert [hit.rank for hit in answer.hits] == list(range(4, 4 + len(wanted)))
        for hit in answer.hits:
            value = hit.item.metadata.get(options.group_by)
            assert hit.group == (None if isinstance(value, list) else value)


def _walk(drawn: _Drawn, ranking: list[tuple[int, float]], options: SearchOptions) -> list[tuple[int, list[int]]]:
    """Which items stay, each with those folded into it, one by one from the best."""
    kept: list[tuple[int, list[int]]] = []
    seen = set()
    for number, _ in ranking:
        if len(kept) == options.offset + options.top_k:
            break
        value = drawn.items[number].metadata.get(options.group_by)
        group = None if isinstance(value, list | None) else (type(value) in (bool, str) and type(value), value)
        if group in seen:
            continue
        limit = options.collapse_above
        near = [
            copies
            for one, copies in kept
            if limit is not None and (drawn.rows[one] @ drawn.rows[number].T).max() >= limit - 1e-6
        ]
        if near:
            near[0].append(number)
            continue
        if group is not None:
            seen.add(group)
        kept.append((number, []))
    return kept


@pytest.mark.parametrize("thinned", [_THINNED[0], _THINNED[2], _THINNED[4], _THINNED[6], _THINNED[8]], ids=str)
@pytest.mark.parametrize("size", [1, 7, 10])
def test_pages_are_the_long_search_cut_up(engine: Engine, thinned: dict[str, Any], size: int) -> None:
    options = SearchOptions(40, probe=3, filter=MetadataFilter.from_json({"tags": ["eco", "sale"]}), **thinned)
    whole = _told(engine.search_embedding(_query(5), options))
    pages = [
        _told(engine.search_embedding(_query(5), replace(options, top_k=size, offset=offset)))
        for offset in range(0, 40, size)
    ]
    assert [hit for page in pages for hit in page][:40] == whole


def test_min_score_ends_every_kind_of_search(drawn: _Drawn, engine: Engine) -> None:
    limit = drawn.ranking(_query(0), _CATEGORIES)[60][1]
    for thinned in _THINNED:
        everything = engine.search_embedding(_query(0), SearchOptions(1000, probe=3, **thinned))
        answer = engine.search_embedding(_query(0), SearchOptions(1000, probe=3, min_score=limit, **thinned))
        assert _told(answer) == [one for one in _told(everything) if one[2] >= limit]
        assert 0 < len(answer.hits) <= 61


def test_similar_and_items_of_several_pictures_are_filtered_too(drawn: _Drawn, engine: Engine) -> None:
    item = next(item for item, rows in zip(drawn.items, drawn.rows, strict=True) if len(rows) == 3)
    options = SearchOptions(12, probe=3, filter=MetadataFilter.from_json({"price": {"lte": 50}}))
    everything = engine.search_item(item.item_id, SearchOptions(1000, probe=3)).hits
    wanted = [hit for hit in everything if hit.item.metadata["price"] <= 50]
    assert [hit.item for hit in engine.search_item(item.item_id, options).hits] == [hit.item for hit in wanted[:12]]
    others = [hit.item for hit in wanted if hit.item != item]
    assert [hit.item for hit in engine.similar(item.item_id, options).hits] == others[:12]
    second = engine.similar(item.item_id, replace(options, offset=12, top_k=5)).hits
    assert [hit.item for hit in second] == others[12:17]


def test_a_filter_changes_no_verdict(drawn: _Drawn) -> None:
    rule = OodRule(np.zeros(2), np.array([1000.0, 1.0]), np.full(3, 0.9))
    engine = Engine(replace(drawn.snapshot, classifier=replace(drawn.snapshot.classifier, ood_rule=rule)))
    for seed in range(5):
        plain = engine.search_embedding(_query(seed), SearchOptions())
        for name, (given, _) in _FILTERS.items():
            options = SearchOptions(filter=MetadataFilter.from_json(given), group_by="brand", collapse_above=0.99)
            answer = engine.search_embedding(_query(seed), options)
            assert answer.ood_verdict == plain.ood_verdict, name
            assert answer.ood_verdict.in_distribution is not None


def test_the_search_for_what_is_no_copy_ends(drawn: _Drawn, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_search, "_MAX_COLLAPSED", 50)
    answer = engine.search_embedding(_query(0), SearchOptions(10, probe=3, collapse_above=-1.0))
    (hit,) = answer.hits
    ranking = drawn.ranking(_query(0), _CATEGORIES)
    ids = [drawn.items[number].item_id for number, _ in ranking[: MAX_DUPLICATES + 1]]
    assert [hit.item.item_id, *hit.duplicates] == ids


def test_threads_with_different_options_do_not_disturb_each_other(engine: Engine) -> None:
    filters = [None, *(MetadataFilter.from_json(given) for given, _ in _FILTERS.values())]
    searches = [
        (seed, SearchOptions(8, probe=2, offset=seed, filter=wanted, **thinned))
        for seed, wanted, thinned in product(range(3), filters, _THINNED[::3])
    ]

    def found(search: tuple[int, SearchOptions]) -> list[tuple[Any, ...]]:
        return _told(engine.search_embedding(_query(search[0]), search[1]))

    wanted = [found(search) for search in searches]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(found, searches)) == wanted
