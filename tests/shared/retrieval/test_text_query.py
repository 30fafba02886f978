"""Searches by text, alone and beside a picture, against plain Python over all items of a drawn catalogue."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_service.engine.engine import Engine
from search_service.engine.query import Query
from shared.catalogue.item_store import ItemStore
from shared.catalogue.item_writer import write_items
from shared.catalogue.items import IndexedItem, Item
from shared.catalogue.metadata_filter import MetadataFilter
from shared.errors import InvalidRequest, TextUnavailable, UnknownWords
from shared.index.partition import Partition
from shared.model.classifier import Classifier
from shared.model.ood_rule import OodRule
from shared.retrieval.ood_verdict import NOT_EVALUATED
from shared.retrieval.search_options import SearchOptions
from shared.retrieval.text_query import MAX_BONUS, N_LEVELS, TextQueries
from shared.snapshot.snapshot import Snapshot
from shared.vectors import Vectors, unit_rows
from tests.support.builders.words import catalogue_words
from tests.support.fakes import FakeEmbedder, fake_manifest

_CATEGORIES = ("bikes", "mugs", "shoes")
_COLOURS = ("red", "green", "blue")
_STYLES = ("sport", "classic", "retro", "plain")
_N_ITEMS = 300
_DIM = FakeEmbedder.dim


@dataclass(frozen=True)
class _Drawn:
    """The items with their texts and rows, and a snapshot of them."""

    items: list[Item]
    texts: list[str]
    rows: list[Vectors]
    snapshot: Snapshot

    def ranking(self, vectors: Vectors, words: list[str], weight: float, categories: tuple[str, ...]) -> list[int]:
        """The numbers of all items of these categories, best first: by cosine and the words that describe them."""
        counts = {word: sum(word in text.split() for text in self.texts) for word in words}
        idf = {word: np.log(1 + (_N_ITEMS - n + 0.5) / (n + 0.5)) for word, n in counts.items()}
        fused = {}
        for number, item in enumerate(self.items):
            if item.category in categories:
                said = sum(idf[word] for word in words if word in self.texts[number].split()) / sum(idf.values())
                level = np.ceil(said * N_LEVELS - 1e-3) / N_LEVELS
                cosine = float((vectors @ self.rows[number].T).max())
                fused[number] = cosine + MAX_BONUS * weight * level
        return sorted(fused, key=lambda number: (-fused[number], number))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Drawn]:
    """Items of one or two pictures, near the sum of a direction of their colour and one of their style; 1 in 5 has no
    text."""
    draw, numbers = random.Random(2), np.random.default_rng(2)
    directions = {word: numbers.normal(size=_DIM) for word in (*_COLOURS, *_STYLES, *_CATEGORIES)}
    items, texts, rows = [], [], []
    for number in range(_N_ITEMS):
        category = draw.choice(_CATEGORIES)
        words = [draw.choice(_COLOURS), draw.choice(_STYLES), category]
        centre = sum(directions[word] for word in words)
        rows.append(unit_rows(centre + numbers.normal(0, 0.4, size=(draw.randint(1, 2), _DIM))))
        texts.append("" if draw.random() < 0.2 else " ".join(words))
        paths = tuple(f"{number}-{place}.png" for place in range(len(rows[-1])))
        items.append(Item(f"item {number}", category, paths, {"price": draw.randint(1, 9), "colour": words[0]}))
    directory = tmp_path_factory.mktemp("described")
    snapshot = replace(
        _snapshot(items, rows, directory),
        words=catalogue_words(directory, texts, np.concatenate([row[:1] for row in rows])),
    )
    yield _Drawn(items, texts, rows, snapshot)
    snapshot.close()


def _snapshot(items: list[Item], rows: list[Vectors], directory: Path) -> Snapshot:
    indexed, partitions = [], {}
    for category in _CATEGORIES:
        members = [number for number, item in enumerate(items) if item.category == category]
        row_items = np.repeat(np.array(members), [len(rows[number]) for number in members])
        partitions[category] = Partition.build(category, np.concatenate([rows[n] for n in members]), row_items)
        indexed += [IndexedItem(items[n], n, tuple(np.flatnonzero(row_items == n).tolist())) for n in members]
    write_items(directory / "items.sqlite", indexed)
    head = np.zeros((_DIM, 3), np.float32), np.log(np.array([0.5, 0.3, 0.2], dtype=np.float32))
    store = ItemStore(directory / "items.sqlite")
    return Snapshot(fake_manifest(), FakeEmbedder(), Classifier(_CATEGORIES, *head), store, partitions)


@pytest.fixture
def engine(drawn: _Drawn) -> Engine:
    return Engine(drawn.snapshot)


def _numbers(result: Any) -> list[int]:
    return [int(hit.item.item_id.split()[1]) for hit in result.hits]


@pytest.mark.parametrize("text", ["red", "green classic", "blue retro shoes", "plain mugs"])
@pytest.mark.parametrize("options", [{"probe": 3}, {"category": "bikes"}, {"probe": 2}], ids=str)
@pytest.mark.parametrize(("top_k", "offset"), [(5, 0), (7, 11), (1000, 0)])
def test_pages_equal_brute_force(drawn: _Drawn, engine: Engine, text: str, options, top_k: int, offset: int) -> None:
    result = engine.search(Query(text=text), SearchOptions(top_k, offset=offset, **options))
    vector = TextQueries(drawn.snapshot).read(text).vector
    expected = drawn.ranking(vector, text.split(), 1.0, result.searched)
    assert _numbers(result) == expected[offset : offset + top_k]
    assert [hit.rank for hit in result.hits] == list(range(offset + 1, offset + 1 + len(result.hits)))
    for hit, number in zip(result.hits, _numbers(result), strict=True):  # a score is the cosine alone
        assert hit.score == pytest.approx(float((vector @ drawn.rows[number].T).max()), abs=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
def test_beside_a_picture_the_order_is_of_both(drawn: _Drawn, engine: Engine, weight: float) -> None:
    embedding = np.random.default_rng(5).normal(size=_DIM)
    query = Query(embedding=embedding, text="green", text_weight=weight)
    result = engine.search(query, SearchOptions(1000, probe=3))
    picture, text = unit_rows(embedding[np.newaxis]), TextQueries(drawn.snapshot).read("green").vector
    mixed = unit_rows((1 - weight) * picture + weight * text)
    assert _numbers(result) == drawn.ranking(mixed, ["green"], weight, _CATEGORIES)
    if weight == 0:
        assert _numbers(result) == _numbers(engine.search_embedding(embedding, SearchOptions(1000, probe=3)))


def test_of_an_item_each_picture_is_mixed_with_the_text(drawn: _Drawn, engine: Engine) -> None:
    number = next(number for number, rows in enumerate(drawn.rows) if len(rows) == 2)
    item = drawn.items[number]
    result = engine.search(Query(item_id=item.item_id, text="retro"), SearchOptions(1000))
    mixed = unit_rows(0.5 * drawn.rows[number] + 0.5 * TextQueries(drawn.snapshot).read("retro").vector)
    expected = drawn.ranking(mixed, ["retro"], 0.5, (item.category,))
    assert _numbers(result) == expected
    assert _numbers(engine.similar(item.item_id, SearchOptions(1000), "retro")) == [n for n in expected if n != number]


def test_beside_a_picture_the_category_and_the_verdict_are_those_of_the_picture(drawn: _Drawn) -> None:
    head = replace(
        drawn.snapshot.classifier, ood_rule=OodRule(np.zeros(2), np.ones(2), np.full(3, 100.0))
    )  # nothing is known
    engine = Engine(replace(drawn.snapshot, classifier=head))
    picture = Query(embedding=drawn.rows[0][0])
    alone = engine.search(picture, SearchOptions())
    both = engine.search(replace(picture, text="red shoes"), SearchOptions())
    assert both.ood_verdict == alone.ood_verdict
    assert both.ood_verdict.in_distribution is False
    assert (both.candidates, both.searched) == (alone.candidates, alone.searched)
    assert engine.search(Query(text="red"), SearchOptions()).ood_verdict == NOT_EVALUATED


@pytest.mark.parametrize("category", _CATEGORIES)
def test_the_category_is_predicted_from_the_text(engine: Engine, category: str) -> None:
    for result in (
        engine.search(Query(text=f"red {category}"), SearchOptions()),
        engine.classify(Query(text=f"red {category}")),
    ):
        assert result.predicted.category == category
        assert result.predicted.confidence > 0.9
        assert sum(candidate.confidence for candidate in result.candidates) == pytest.approx(1, abs=1e-5)
    assert engine.search(Query(text=category), SearchOptions(probe="auto")).searched == (category,)
    assert set(engine.search(Query(text="red"), SearchOptions(probe="auto")).searched) == set(_CATEGORIES)


def test_items_with_more_of_the_words_come_first(drawn: _Drawn, engine: Engine) -> None:
    result = engine.search(Query(text="red classic"), SearchOptions(1000, category="mugs"))
    said = [len({"red", "classic"} & set(drawn.texts[number].split())) for number in _numbers(result)]
    assert said[:4] == [2] * 4


def test_a_filter_and_the_least_score_hold(drawn: _Drawn, engine: Engine) -> None:
    cheap = MetadataFilter.from_json({"price": {"lte": 3}})
    options = SearchOptions(1000, probe=3, filter=cheap, min_score=0.2)
    result = engine.search(Query(text="blue sport"), options)
    vector = TextQueries(drawn.snapshot).read("blue sport").vector
    expected = [
        number
        for number in drawn.ranking(vector, ["blue", "sport"], 1.0, _CATEGORIES)
        if drawn.items[number].metadata["price"] <= 3 and float((vector @ drawn.rows[number].T).max()) >= 0.2
    ]
    assert expected
    assert _numbers(result) == expected


def test_of_each_group_the_best_is_kept(drawn: _Drawn, engine: Engine) -> None:
    result = engine.search(Query(text="classic"), SearchOptions(10, probe=3, group_by="colour"))
    ranking = drawn.ranking(TextQueries(drawn.snapshot).read("classic").vector, ["classic"], 1.0, _CATEGORIES)
    best = list({drawn.items[number].metadata["colour"]: number for number in reversed(ranking)}.values())
    assert sorted(_numbers(result)) == sorted(best)
    assert _numbers(result)[0] == ranking[0]


def test_near_duplicates_are_folded_into_the_better_hit(drawn: _Drawn, engine: Engine) -> None:
    plain = engine.search(Query(text="red sport"), SearchOptions(1000, probe=3))
    folded = engine.search(Query(text="red sport"), SearchOptions(1000, probe=3, collapse_above=0.97))
    assert _numbers(folded)[0] == _numbers(plain)[0]
    kept = set(_numbers(folded))
    assert kept < set(_numbers(plain))
    assert [number for number in _numbers(plain) if number in kept] == _numbers(folded)


def test_words_are_understood_before_they_are_searched(engine: Engine) -> None:
    options = SearchOptions(20, probe=3)
    right = engine.search(Query(text="green classic mugs"), options)
    for spelt in ("GREEN Classic mug", "grene classic múgs", "classic green mugs greens purple"):
        result = engine.search(Query(text=spelt), options)
        assert sorted(_numbers(result)) == sorted(_numbers(right))
        assert result.understood is not None
        assert set(result.understood.text.split()) == {"green", "classic", "mugs"}
    assert result.understood.unknown_words == ("purple",)


def test_a_text_of_unknown_words_alone_is_rejected(engine: Engine) -> None:
    with pytest.raises(UnknownWords, match="'purple', 'elephants'"):
        engine.search(Query(text="Purple elephants"), SearchOptions())
    with pytest.raises(InvalidRequest, match="no words"):
        engine.search(Query(text=" ?! "), SearchOptions())


def test_without_words_a_text_is_rejected(drawn: _Drawn) -> None:
    with pytest.raises(TextUnavailable, match="no metadata that describe"):
        Engine(replace(drawn.snapshot, words=None)).search(Query(text="red"), SearchOptions())


def test_a_picture_that_is_the_opposite_of_the_text_counts_alone(drawn: _Drawn, engine: Engine) -> None:
    opposite = -TextQueries(drawn.snapshot).read("red").vector[0]
    result = engine.search(Query(embedding=opposite, text="red", text_weight=0.5), SearchOptions(5, probe=3))
    assert len(result.hits) == 5


def test_queries_of_a_batch_may_be_texts(engine: Engine) -> None:
    options = SearchOptions(3)
    results = engine.search_batch([(Query(text="red"), options), (Query(text="purple"), options)])
    assert _numbers(results[0]) == _numbers(engine.search(Query(text="red"), options))
    assert isinstance(results[1], UnknownWords)
