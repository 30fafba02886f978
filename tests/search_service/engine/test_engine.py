"""The engine: what is searched, what is found (against brute force), and what is refused."""

import hashlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search_service.engine.engine import Engine
from search_service.engine.query import Query
from shared.catalogue.item_store import ItemStore
from shared.catalogue.item_writer import write_items
from shared.errors import (
    BrokenImage,
    InvalidEmbedding,
    InvalidRequest,
    UnknownCategory,
    UnknownItem,
    UnsupportedImage,
)
from shared.images.decode import decode_image
from shared.images.limits import ImageLimits
from shared.images.preprocessing import to_pixels
from shared.retrieval.ood_verdict import IN_CATALOGUE, NOT_EVALUATED, OodVerdict
from shared.retrieval.results import SearchResult
from shared.retrieval.search_options import SearchOptions
from tests.support.fakes import FakeEmbedder, encoded, picture

_ALL = SearchOptions(top_k=1000)
_DIM = 8


def _ids(answer: SearchResult) -> list[str]:
    return [hit.item.item_id for hit in answer.hits]


def _embed(image: bytes) -> np.ndarray:
    """`(1, dim)`."""
    return FakeEmbedder().embed(to_pixels(decode_image(image, ImageLimits()))[np.newaxis])


_UNRECOGNISED = 5
"""The seed of a query that is nearly as near to one category as to another."""


def _query(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, size=_DIM)


def _assert_exact(answer: SearchResult, exact: Sequence[tuple[str, float]]) -> None:
    """The same items with the same scores, in an order that the scores allow, ranked 1 to n."""
    assert len(answer.hits) == len(exact)
    wanted = dict(exact)
    for hit in answer.hits:
        assert hit.score == pytest.approx(wanted[hit.item.item_id], abs=1e-5)
    assert len(set(_ids(answer))) == len(exact)
    assert [hit.score for hit in answer.hits] == pytest.approx([score for _, score in exact], abs=1e-5)
    assert [hit.rank for hit in answer.hits] == list(range(1, len(exact) + 1))


# What is searched


def test_a_strict_search_touches_only_the_predicted_category(catalogue, engine) -> None:
    for category in (catalogue.hats, catalogue.mugs, catalogue.shoes):
        for item_id in catalogue.ids(category):
            answer = engine.search_image(catalogue.image(item_id), _ALL)
            assert answer.searched == (category,)
            assert answer.predicted == answer.candidates[0]
            assert answer.predicted.category == category
            assert sorted(_ids(answer)) == sorted(catalogue.ids(category))


def test_a_strict_search_keeps_to_a_wrong_prediction(catalogue, engine_with) -> None:
    answer = engine_with([0.8, 0.1, 0.1]).search_embedding(_query(_UNRECOGNISED), _ALL)
    assert answer.predicted.category == catalogue.hats
    assert answer.searched == (catalogue.hats,)
    assert {hit.item.category for hit in answer.hits} == {catalogue.hats}


@pytest.mark.parametrize(("probe", "wanted"), [(1, 1), (2, 2), (3, 3), ("auto", 2)])
def test_an_item_that_is_recognised_counts_more_than_an_unsure_classifier(
    catalogue, engine_with, probe, wanted
) -> None:
    engine = engine_with([0.6, 0.3, 0.1], 0.9)  # hats, mugs, shoes; the last are not likely
    answer = engine.search_image(catalogue.image("mug-1"), SearchOptions(1000, probe=probe))
    hats, mugs, shoes = catalogue.hats, catalogue.mugs, catalogue.shoes
    assert answer.searched == (mugs, hats, shoes)[:wanted]
    assert (answer.predicted.category, answer.predicted.confidence) == (mugs, pytest.approx(0.3))
    assert [one.category for one in answer.candidates] == [hats, mugs, shoes]
    assert answer.hits[0].item.item_id == "mug-1"
    assert engine.classify_image(catalogue.image("mug-1")).predicted == answer.predicted


def test_a_classifier_that_is_sure_is_believed(catalogue, engine_with) -> None:
    answer = engine_with([0.95, 0.04, 0.01], 0.9).search_image(catalogue.image("mug-1"), _ALL)
    assert (answer.predicted.category, answer.searched) == (catalogue.hats, (catalogue.hats,))


def test_what_is_recognised_changes_no_category_that_was_named(catalogue, engine_with) -> None:
    options = SearchOptions(1000, category=catalogue.shoes)
    answer = engine_with([0.6, 0.3, 0.1]).search_image(catalogue.image("mug-1"), options)
    assert (answer.predicted.category, answer.searched) == (catalogue.hats, (catalogue.shoes,))


@pytest.mark.parametrize(("probe", "wanted"), [(1, 1), (2, 2), (3, 3), (4, 3), (10**6, 3)])
def test_probe_widens_the_search_by_probability(catalogue, engine_with, probe, wanted) -> None:
    options = SearchOptions(1000, probe=probe)
    answer = engine_with([0.2, 0.3, 0.5]).search_embedding(_query(_UNRECOGNISED), options)
    ranked = (catalogue.shoes, catalogue.mugs, catalogue.hats)
    assert answer.searched == ranked[:wanted]
    assert {hit.item.category for hit in answer.hits} == set(ranked[:wanted])
    assert [(one.category, round(one.confidence, 6)) for one in answer.candidates] == list(
        zip(ranked, (0.5, 0.3, 0.2), strict=True)
    )


@pytest.mark.parametrize(
    ("coverage", "wanted"), [(0.0, 1), (0.59, 1), (0.6, 1), (0.61, 2), (0.9, 2), (0.91, 3), (1.0, 3)]
)
def test_auto_probes_as_many_categories_as_reach_the_coverage(catalogue, engine_with, coverage, wanted) -> None:
    # 0.6, then 0.6 + 0.3 = 0.9, then 1.0
    options = SearchOptions(probe="auto")
    answer = engine_with([0.1, 0.6, 0.3], coverage).search_embedding(_query(_UNRECOGNISED), options)
    assert answer.searched == (catalogue.mugs, catalogue.shoes, catalogue.hats)[:wanted]


def test_a_named_category_is_searched_instead_of_the_predicted_one(catalogue, engine) -> None:
    answer = engine.search_image(catalogue.image("mug-1"), SearchOptions(category=catalogue.shoes))
    assert answer.predicted.category == catalogue.mugs
    assert answer.searched == (catalogue.shoes,)
    assert sorted(_ids(answer)) == sorted(catalogue.ids(catalogue.shoes))


@pytest.mark.parametrize("probe", [2, "auto"])
def test_category_and_probe_exclude_each_other(catalogue, engine, probe) -> None:
    with pytest.raises(InvalidRequest, match=r"`category` and `probe`"):
        engine.search_embedding(_query(), SearchOptions(category=catalogue.mugs, probe=probe))


def test_an_unknown_category_is_named(engine) -> None:
    with pytest.raises(UnknownCategory, match="'Mugs'"):
        engine.search_embedding(_query(), SearchOptions(category="Mugs"))


# What is found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("probe", [1, 2, 3])
def test_hits_equal_brute_force(catalogue, engine, seed, probe) -> None:
    query = _query(seed)
    answer = engine.search_embedding(query, SearchOptions(1000, probe=probe))
    assert len(answer.searched) == probe
    _assert_exact(answer, catalogue.exact(answer.searched, query[np.newaxis]))


@pytest.mark.parametrize("top_k", [1, 3, 5, 7])
def test_top_k_cuts_the_list_after_the_best(catalogue, engine, top_k) -> None:
    answer = engine.search_embedding(_query(), SearchOptions(top_k, probe=2))
    _assert_exact(answer, catalogue.exact(answer.searched, _query()[np.newaxis])[:top_k])


def test_top_k_larger_than_the_partition_gives_all_of_it(catalogue, engine) -> None:
    answer = engine.search_embedding(_query(), SearchOptions(1000, category=catalogue.mugs))
    assert len(answer.hits) == len(catalogue.ids(catalogue.mugs)) == 5


def test_several_rows_of_an_item_give_one_hit_with_the_best_score(catalogue, engine) -> None:
    rows = catalogue.rows[catalogue.shoes]
    of_item = [embedding for item_id, embedding in rows if item_id == "👟"]
    assert len(of_item) == 4  # two images, an augmented copy of each
    for embedding in of_item:
        answer = engine.search_embedding(embedding, SearchOptions(1000, category=catalogue.shoes))
        assert _ids(answer).count("👟") == 1
        assert answer.hits[0].item.item_id == "👟"
        assert answer.hits[0].score == pytest.approx(1.0, abs=1e-6)
        assert len(answer.hits) == 5


def test_min_score_leaves_out_what_is_below(catalogue, engine) -> None:
    exact = catalogue.exact([catalogue.shoes], _query()[np.newaxis])
    limit = (exact[1][1] + exact[2][1]) / 2
    answer = engine.search_embedding(_query(), SearchOptions(category=catalogue.shoes, min_score=limit))
    _assert_exact(answer, exact[:2])
    assert engine.search_embedding(_query(), SearchOptions(category=catalogue.shoes, min_score=1.0)).hits == ()


def test_every_image_of_an_item_finds_the_item_first(catalogue, engine) -> None:
    for item in catalogue.items():
        for position in range(len(item.images)):
            best = engine.search_image(catalogue.image(item.item_id, position), SearchOptions()).hits[0]
            assert best.item == item
            assert best.score >= 0.999


def test_a_scaled_embedding_finds_the_same(engine) -> None:
    wanted = engine.search_embedding(_query(), _ALL)
    for factor in (1e-9, 0.3, 1e9):
        found = engine.search_embedding((_query() * factor).tolist(), _ALL)
        assert _ids(found) == _ids(wanted)
        assert [hit.score for hit in found.hits] == pytest.approx([hit.score for hit in wanted.hits], abs=1e-6)


def test_concurrent_searches_answer_as_one_after_the_other(catalogue, engine) -> None:
    options = SearchOptions(4, probe=2)
    images = [catalogue.image(item.item_id) for item in catalogue.items()] * 8

    def found(image: bytes) -> tuple:
        answer = engine.search_image(image, options)
        return answer.searched, [(hit.item.item_id, hit.score) for hit in answer.hits]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(found, images)) == [found(image) for image in images]


# Items as queries


def test_an_items_search_takes_its_own_category_though_the_classifier_disagrees(catalogue, engine_with) -> None:
    engine = engine_with([0.7, 0.2, 0.1])
    for answer in (engine.search_item("👟", _ALL), engine.similar("👟", _ALL)):
        assert answer.searched == (catalogue.shoes,)
        assert answer.predicted.category == catalogue.shoes
        assert answer.predicted.confidence == pytest.approx(0.1)
        assert answer.candidates[0].category == catalogue.hats


def test_an_items_own_category_comes_first_when_probing(catalogue, engine_with) -> None:
    engine = engine_with([0.7, 0.2, 0.1])
    assert engine.search_item("👟", SearchOptions(probe=2)).searched == (catalogue.shoes, catalogue.hats)
    assert engine.search_item("👟", SearchOptions(probe="auto")).searched == (catalogue.shoes,)


def _with_digests(engine: Engine, catalogue, path: Path, also: Sequence[str] = ()) -> Engine:
    """The engine with the SHA-256 of each image in its items; those of `also` have the image of 👟, too."""
    stored = []
    for indexed in catalogue.snapshot.items:
        ids = [("👟" if indexed.item.item_id in also else indexed.item.item_id)] * len(indexed.rows)
        files = [catalogue.image(item_id, min(place, 0)) for place, item_id in enumerate(ids)]
        stored.append(replace(indexed, digests=tuple(hashlib.sha256(file).digest() for file in files)))
    write_items(path, stored)
    return Engine(replace(engine._snapshot, items=ItemStore(path)))


def test_a_catalogue_image_counts_as_its_items_category(catalogue, engine_with, tmp_path) -> None:
    engine = _with_digests(engine_with([0.7, 0.2, 0.1]), catalogue, tmp_path / "items.sqlite")
    answer = engine.search_image(catalogue.image("👟"), _ALL)
    assert answer.searched == (catalogue.shoes,)
    assert answer.predicted.category == catalogue.shoes
    assert answer.candidates[0].category == catalogue.hats
    assert answer.hits[0].score >= 0.999
    assert "👟" in [hit.item.item_id for hit in answer.hits if hit.score >= 0.999]
    engine.close()


def test_an_image_of_several_categories_counts_as_the_most_probable_of_them(catalogue, engine_with, tmp_path) -> None:
    mug = catalogue.ids(catalogue.mugs)[0]
    engine = _with_digests(engine_with([0.7, 0.2, 0.1]), catalogue, tmp_path / "items.sqlite", also=[mug])
    assert engine.search_image(catalogue.image("👟"), _ALL).searched == (catalogue.mugs,)
    engine.close()


def test_another_image_is_left_to_the_classifier(catalogue, engine_with, tmp_path) -> None:
    engine = _with_digests(engine_with([0.99, 0.005, 0.005]), catalogue, tmp_path / "items.sqlite")
    assert engine.search_image(catalogue.image("👟") + b"\0", _ALL).searched == (catalogue.hats,)
    engine.close()


class _LeftQuarter(FakeEmbedder):
    """Sees the left quarter of a picture alone, and counts the pictures."""

    seen = 0

    def embed(self, pixels: np.ndarray, is_alone: bool = False) -> np.ndarray:
        self.seen += len(pixels)
        return super().embed(pixels[:, :, :56], is_alone)


def test_a_mirror_image_counts_as_a_second_picture_where_that_is_wanted(catalogue, judging) -> None:
    two = Image.new("RGB", (32, 32), (20, 20, 250))
    two.paste((220, 80, 80), (0, 0, 16, 32))
    file = encoded(two, "PNG")
    halves = np.concatenate([_embed(picture(colour, file_format="PNG")) for colour in ((220, 80, 80), (20, 20, 250))])
    probabilities = catalogue.snapshot.classifier.probabilities(halves)
    for views in (halves[:1], halves):
        embedder = _LeftQuarter()
        engine = Engine(replace(judging()._snapshot, embedder=embedder), query_views=len(views))
        answer = engine.search_image(file, SearchOptions(1000, probe=3))
        _assert_exact(answer, catalogue.exact([catalogue.hats, catalogue.mugs, catalogue.shoes], views))
        found = {one.category: one.confidence for one in answer.candidates}
        wanted = dict(zip(catalogue.rows, probabilities[: len(views)].mean(axis=0), strict=True))
        assert found == pytest.approx(wanted, abs=1e-2)
        assert engine.classify_image(file).ood_verdict == answer.ood_verdict
        assert embedder.seen == 2 * len(views)


def test_an_item_is_searched_by_all_its_images(catalogue, engine) -> None:
    for item in catalogue.items():
        pictures = range(len(item.images))
        own = np.stack([e for i, e in catalogue.rows[item.category] if i == item.item_id][: len(pictures)])
        answer = engine.search_item(item.item_id, _ALL)
        _assert_exact(answer, catalogue.exact([item.category], own))
        assert answer.hits[0].item == item


def test_an_items_probabilities_are_the_mean_over_its_images(catalogue, engine) -> None:
    images = np.stack([embedding for item_id, embedding in catalogue.rows[catalogue.shoes] if item_id == "👟"][:2])
    first, second = catalogue.snapshot.classifier.probabilities(images)
    found = {one.category: one.confidence for one in engine.search_item("👟", SearchOptions()).candidates}
    wanted = dict(zip(catalogue.rows, (first + second) / 2, strict=True))
    assert found == pytest.approx(wanted, abs=1e-6)
    assert abs(first - second).max() > 0.01


def test_similar_is_the_items_search_without_the_item(catalogue, engine) -> None:
    for item in catalogue.items():
        everything = engine.search_item(item.item_id, _ALL).hits
        for top_k in (1, 3, 4, 1000):
            answer = engine.similar(item.item_id, SearchOptions(top_k))
            wanted = [(hit.item, hit.score) for hit in everything if hit.item != item][:top_k]
            assert [(hit.item, hit.score) for hit in answer.hits] == wanted
            assert [hit.rank for hit in answer.hits] == list(range(1, min(top_k, 4) + 1))


def test_similar_in_another_category_returns_top_k_too(catalogue, engine) -> None:
    answer = engine.similar("mug-1", SearchOptions(2, category=catalogue.hats))
    assert answer.searched == (catalogue.hats,)
    assert len(answer.hits) == 2


def test_an_unknown_item_is_named(engine) -> None:
    for ask in (
        lambda: engine.search_item("mug-2", SearchOptions()),
        lambda: engine.similar("mug-2", SearchOptions()),
    ):
        with pytest.raises(UnknownItem, match="'mug-2'"):
            ask()


# Batches


def test_a_batch_answers_each_query_as_a_search_of_its_own_and_a_bad_one_fails_alone(catalogue, engine) -> None:
    image, broken = catalogue.image("mug-1"), picture("red", file_format="PNG")[:-30]
    searches = [
        (Query(image=image), SearchOptions(3)),
        (Query(image=broken), SearchOptions()),
        (Query(item_id="👟"), SearchOptions(4, probe=2, offset=1)),
        (Query(item_id="nowhere"), SearchOptions()),
        (Query(embedding=_query()), SearchOptions(category=catalogue.hats)),
        (Query(embedding=_query()), SearchOptions(category="nowhere")),
        (Query(), SearchOptions()),
    ] * 3
    answers = engine.search_batch(searches)
    wanted = [SearchResult, BrokenImage, SearchResult, UnknownItem, SearchResult, UnknownCategory, InvalidEmbedding] * 3
    assert [type(answer) for answer in answers] == wanted
    for (query, options), answer in zip(searches, answers, strict=True):
        if isinstance(answer, SearchResult):
            own = engine.search(query, options)
            assert own.hits
            assert replace(answer, timing_ms={}) == replace(own, timing_ms={})
    assert engine.search_batch([]) == []
    engine._batch_threads.shutdown()


def test_the_queries_of_a_batch_are_embedded_side_by_side(catalogue, monkeypatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    together = threading.Barrier(3, timeout=10)

    class Embedder(FakeEmbedder):
        def embed(self, pixels: np.ndarray, is_alone: bool = False) -> np.ndarray:
            together.wait()  # breaks if it is not three at once
            return super().embed(pixels, is_alone)

    engine = Engine(replace(catalogue.snapshot, embedder=Embedder()))
    answers = engine.search_batch([(Query(image=catalogue.image("mug-1")), SearchOptions(1))] * 6)
    assert [answer.hits[0].item.item_id for answer in answers] == ["mug-1"] * 6
    engine._batch_threads.shutdown()


def test_a_fault_of_our_own_is_no_answer_of_a_batch(engine, monkeypatch) -> None:
    monkeypatch.setattr(engine, "search", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.search_batch([(Query(item_id="👟"), SearchOptions())])
    engine._batch_threads.shutdown()


# Queries that show none of the categories

_GREY = picture((128, 128, 128), file_format="PNG")
_NEW_MUG = picture((30, 30, 240), file_format="PNG")


def _margin(engine: Engine, catalogue, query: np.ndarray, category: str, threshold: float = 0.93) -> float:
    """By hand, of the rule that `judging` makes."""
    head = engine._snapshot.classifier
    column = head.categories.index(category)
    probability = float(head.probabilities(query)[0, column])
    cosines = [score for _, score in catalogue.exact([category], query)[:5]]
    return np.log(probability / (1 - probability)) / 1000 + np.mean(cosines) - threshold


@pytest.mark.parametrize(("image", "known"), [(_NEW_MUG, True), (_GREY, False)], ids=["mug", "grey"])
def test_a_query_is_judged_by_its_predicted_category(catalogue, judging, image, known) -> None:
    engine = judging()
    answer, classified = engine.search_image(image, SearchOptions()), engine.classify_image(image)
    wanted = _margin(engine, catalogue, _embed(image), answer.predicted.category)
    for one in (answer, classified, engine.search_embedding(_embed(image)[0], SearchOptions())):
        assert one.ood_verdict.in_distribution is known
        assert one.ood_verdict.score == pytest.approx(wanted, abs=1e-5)
    assert (wanted >= 0) == known
    assert (classified.hits, classified.searched) == ((), ())


@pytest.mark.parametrize("top_k", [1, 5, 1000])
@pytest.mark.parametrize("probe", [1, 2, 3, "auto"])
def test_how_much_is_searched_changes_no_verdict_and_no_hit(catalogue, engine, judging, top_k, probe) -> None:
    options = SearchOptions(top_k, probe=probe)
    for seed in range(5):
        judged = judging().search_embedding(_query(seed), options)
        assert judged.ood_verdict == judging().classify_embedding(_query(seed)).ood_verdict
        plain = engine.search_embedding(_query(seed), options)
        assert (judged.hits, judged.searched, judged.predicted) == (plain.hits, plain.searched, plain.predicted)
        _assert_exact(judged, catalogue.exact(judged.searched, _query(seed)[np.newaxis])[:top_k])


def test_each_category_has_its_own_threshold(catalogue, judging) -> None:
    engine = judging(2.0, 0.0, 2.0)  # hats, mugs, shoes
    for item_id, known in (("#1", False), ("mug-1", True), ("👟", False)):
        answer = engine.search_embedding(_embed(catalogue.image(item_id))[0], SearchOptions())
        assert answer.ood_verdict.in_distribution is known


def test_a_query_on_the_threshold_is_known(catalogue, judging) -> None:
    score = judging(0, 0, 0).classify_image(_GREY).ood_verdict.score
    assert judging(score, score, score).classify_image(_GREY).ood_verdict == OodVerdict(in_distribution=True, score=0.0)
    assert not judging(*[score + 2e-6] * 3).classify_image(_GREY).ood_verdict.in_distribution


@pytest.mark.parametrize("on_unknown", ["empty", "reject"])
@pytest.mark.parametrize("probe", [1, 2, "auto"])
def test_an_unknown_query_can_be_left_unsearched(judging, on_unknown, probe) -> None:
    searched = judging().search_image(_GREY, SearchOptions())
    assert (len(searched.hits), len(searched.searched)) == (5, 1)
    answer = judging().search_image(_GREY, SearchOptions(probe=probe, on_unknown=on_unknown))
    assert (answer.hits, answer.searched) == ((), ())
    assert (answer.predicted, answer.ood_verdict) == (searched.predicted, searched.ood_verdict)


@pytest.mark.parametrize("on_unknown", ["search", "empty", "reject"])
def test_a_known_query_is_searched_whatever_is_done_with_others(judging, on_unknown) -> None:
    answer = judging().search_image(_NEW_MUG, SearchOptions(on_unknown=on_unknown))
    assert answer.ood_verdict.in_distribution
    assert answer.hits == judging().search_image(_NEW_MUG, SearchOptions()).hits != ()


@pytest.mark.parametrize("on_unknown", ["search", "empty", "reject"])
def test_where_the_category_is_no_question_nothing_is_judged(catalogue, judging, on_unknown) -> None:
    engine, options = judging(9.0, 9.0, 9.0), SearchOptions(on_unknown=on_unknown)
    named = replace(options, category=catalogue.mugs)
    answers = [engine.search_image(_GREY, named), engine.search_item("👟", options), engine.similar("mug-1", options)]
    for answer in answers:
        assert answer.ood_verdict == NOT_EVALUATED
        assert len(answer.hits) >= 4


def test_a_snapshot_without_a_rule_judges_nothing(engine) -> None:
    answer = engine.search_image(_GREY, SearchOptions(on_unknown="empty"))
    assert answer.ood_verdict == engine.classify_image(_GREY).ood_verdict == NOT_EVALUATED
    assert len(answer.hits) == 5


def test_a_catalogue_image_is_known_by_itself(catalogue, judging, engine_with, tmp_path) -> None:
    engine = _with_digests(judging(9.0, 9.0, 9.0), catalogue, tmp_path / "items.sqlite")
    reject = SearchOptions(on_unknown="reject")
    answer = engine.search_image(catalogue.image("👟"), reject)
    assert (answer.ood_verdict, len(answer.hits)) == (IN_CATALOGUE, 5)
    in_mugs = replace(reject, category=catalogue.mugs)
    assert engine.search_image(catalogue.image("👟"), in_mugs).ood_verdict == NOT_EVALUATED
    assert engine.search_image(catalogue.image("👟") + b"\0", reject).ood_verdict.in_distribution is False
    engine.close()
    plain = _with_digests(engine_with([0.7, 0.2, 0.1]), catalogue, tmp_path / "plain.sqlite")
    assert plain.search_image(catalogue.image("👟"), reject).ood_verdict == NOT_EVALUATED
    plain.close()


# Queries that are refused


@pytest.mark.parametrize(
    "embedding",
    [
        [],
        [1.0] * (_DIM - 1),
        [1.0] * (_DIM + 1),
        [[1.0] * _DIM],
        1.0,
        [[1.0], [1.0, 2.0], *[[1.0]] * (_DIM - 2)],
        [0.0] * _DIM,
        [1.0] * (_DIM - 1) + [float("nan")],
        [1.0] * (_DIM - 1) + [float("inf")],
        [1.0] * (_DIM - 1) + [float("-inf")],
        [1.0] * (_DIM - 1) + [10**400],
        [1.0] * (_DIM - 1) + ["one"],
        [1.0] * (_DIM - 1) + [None],
        [1.0] * (_DIM - 1) + [{}],
        "embedding",
    ],
    ids=str,
)
def test_an_embedding_without_a_direction_is_refused(engine, embedding) -> None:
    for ask in (engine.classify_embedding, lambda vector: engine.search_embedding(vector, SearchOptions())):
        with pytest.raises(InvalidEmbedding, match="`embedding`"):
            ask(embedding)


def test_the_message_names_both_shapes(engine) -> None:
    with pytest.raises(InvalidEmbedding, match=r"shape \(3,\); expected \(8,\)"):
        engine.search_embedding([1, 2, 3], SearchOptions())


@pytest.mark.parametrize(
    ("data", "error"),
    [(b"", UnsupportedImage), (b"text", UnsupportedImage), (picture("red", file_format="PNG")[:-30], BrokenImage)],
)
def test_an_image_that_is_none_is_refused(engine, data, error) -> None:
    for ask in (engine.classify_image, lambda image: engine.search_image(image, SearchOptions())):
        with pytest.raises(error):
            ask(data)


# Classifying, timing, what the snapshot holds


def test_classifying_gives_the_candidates_and_searches_nothing(catalogue, engine) -> None:
    image = catalogue.image("niño-é")
    embedding = catalogue.rows[catalogue.shoes][0][1]
    for answer in (engine.classify_image(image), engine.classify_embedding(embedding)):
        assert answer.predicted.category == catalogue.shoes
        assert answer.candidates[0] == answer.predicted
        assert sum(one.confidence for one in answer.candidates) == pytest.approx(1.0, abs=1e-5)
        assert answer.searched == ()
        assert answer.hits == ()


def test_every_answer_times_every_stage(catalogue, engine, engine_with, judging) -> None:
    answers = {
        ("decode", "embed", "classify", "search"): engine.search_image(catalogue.image("mug-1"), SearchOptions()),
        ("classify", "search"): engine.search_item("mug-1", SearchOptions()),
        ("classify",): engine_with([0.99, 0.005, 0.005]).classify_embedding(_query()),
    }
    assert judging().classify_embedding(_query()).timing_ms["search"] > 0
    for used, answer in answers.items():
        assert list(answer.timing_ms) == ["decode", "embed", "classify", "search", "total"]
        stages = {stage: value for stage, value in answer.timing_ms.items() if stage != "total"}
        assert {stage for stage, value in stages.items() if value > 0} == set(used)
        assert answer.timing_ms["total"] >= sum(stages.values()) - 1e-6


def test_the_engine_looks_up_in_its_snapshot(catalogue, tmp_path) -> None:
    path = Path(catalogue.items()[0].images[0])
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).touch()
    engine = Engine(catalogue.snapshot, image_root=tmp_path)
    assert engine.snapshot_id == engine.manifest.snapshot_id == catalogue.snapshot.snapshot_id
    assert engine.catalogue.image_path(catalogue.items()[0].item_id) == tmp_path / path
