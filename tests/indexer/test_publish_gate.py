"""The gate, with real little classifiers: nearest means, learned from what is not held out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from indexer import publish_gate as gate
from indexer.classifier.held_out import HeldOut
from indexer.console.progress import Reporter, SilentReporter
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.groups.folds import N_FOLDS
from indexer.publish_gate import objections
from indexer.snapshots.classifier_heads import Heads
from indexer.snapshots.published import PublishedSnapshot
from shared.catalogue.items import Item
from shared.manifest import CategoryEntry, Manifest
from shared.model.classifier import Classifier
from shared.snapshot.data_directory import SnapshotPaths
from shared.vectors import unit_rows
from tests.support.builders.held_out import hold_out
from tests.support.fakes import fake_manifest

_DIM = 16
_EACH = 100


@dataclass(frozen=True)
class _State:
    """A catalogue, its heads, and what the manifest would say."""

    heads: Heads
    held_out: HeldOut
    manifest: Manifest


def _catalogue(
    categories: str, seed: int = 0, each: int = _EACH, spread: float = 1.0, scrambled: float = 0.0
) -> EmbeddedCatalogue:
    """Items around a direction for each category; a share of the labels is wrong."""
    random = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(categories)), each)
    centres = np.random.default_rng(5).normal(size=(26, _DIM))[[ord(one) - ord("a") for one in categories]]
    rows = unit_rows(centres[truth] + spread * random.normal(size=(len(truth), _DIM)))
    wrong = random.random(len(truth)) < scrambled
    labels = np.where(wrong, random.permutation(truth), truth)
    items = tuple(Item(f"sku-{n}", categories[label], ("x.jpg",)) for n, label in enumerate(labels))
    return EmbeddedCatalogue(
        items, np.arange(len(items)), tuple(row.tobytes() for row in rows), rows[:, np.newaxis], (), len(items)
    )


def _nearest_means(embedded: EmbeddedCatalogue, learned: NDArray[np.bool_]) -> Classifier:
    categories = tuple(sorted({item.category for item in embedded.items}))
    labels = np.array([categories.index(item.category) for item in embedded.items])
    means = np.stack([embedded.originals[(labels == label) & learned].mean(axis=0) for label in range(len(categories))])
    weights = np.ascontiguousarray(unit_rows(means).T * 10).astype(np.float32)
    return Classifier(categories, weights, np.zeros(len(categories), np.float32))


def _heads(held_out: HeldOut) -> Heads:
    everything = np.ones(len(held_out.embedded.digests), np.bool_)
    folds = held_out.folds.numbers
    of_folds = tuple(_nearest_means(held_out.embedded, folds != fold) for fold in range(N_FOLDS))
    return Heads(_nearest_means(held_out.embedded, everything), of_folds)


def _all_alike(head: Classifier) -> Heads:
    return Heads(head, (head,) * N_FOLDS)


def _state(embedded: EmbeddedCatalogue, heads: Heads | None = None, recall: float = 1.0, recipe: str = "r") -> _State:
    held_out = hold_out(embedded)
    chosen = heads or _heads(held_out)
    categories = tuple(
        CategoryEntry(name, 1, 1, 1, "IndexFlatIP", recall)
        for name in sorted({item.category for item in embedded.items})
    )
    figures = {"images": held_out.n_images, "category_accuracy": held_out.category_accuracy(chosen)}
    return _State(chosen, held_out, fake_manifest(categories=categories, classifier=figures, recipe=recipe))


class _Published(PublishedSnapshot):
    """A snapshot without items, whose images are those of its folds."""

    @property
    def image_keys(self) -> NDArray[np.uint64]:
        assert self.folds is not None
        return self.folds.keys


def _publish(state: _State, root: Path) -> PublishedSnapshot:
    paths = SnapshotPaths(root)
    state.heads.write(paths)
    state.held_out.folds.stored().write(paths.folds)
    return _Published(paths, state.manifest)


def _objections(candidate: _State, published: PublishedSnapshot | None, reporter: Reporter | None = None) -> list[str]:
    return objections(candidate.manifest, candidate.heads, candidate.held_out, published, reporter or SilentReporter())


def _figure(accuracy: float | None, images: int, published: PublishedSnapshot) -> PublishedSnapshot:
    figures = {"images": images, "category_accuracy": accuracy}
    manifest = fake_manifest(categories=published.manifest.categories, classifier=figures, recipe="another")
    return _Published(published.paths, manifest)


@pytest.fixture
def published(tmp_path: Path) -> PublishedSnapshot:
    """Three categories that are classified correctly nine times in ten."""
    state = _state(_catalogue("abc"))
    assert 0.9 < state.manifest.classifier["category_accuracy"] < 1
    return _publish(state, tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_a_slightly_worse_candidate_is_published(published: PublishedSnapshot, seed: int) -> None:
    """Another day's items of the same kind."""
    assert _objections(_state(_catalogue("abc", seed)), published) == []


def test_a_first_build_is_published(published: PublishedSnapshot) -> None:
    assert _objections(_state(_catalogue("abc", scrambled=1.0)), None) == []


@pytest.mark.parametrize("scrambled", [0.3, 1.0])
def test_a_catalogue_whose_labels_went_wrong_is_held_back_by_the_figure_at_publishing_time(
    published: PublishedSnapshot, scrambled: float
) -> None:
    """On today's labels the published classifier is no better: they are what is wrong."""
    candidate = _state(_catalogue("abc", scrambled=scrambled))
    messages = _objections(candidate, published)
    was, now = (one.classifier["category_accuracy"] for one in (published.manifest, candidate.manifest))
    assert messages[0] == (
        f"category_accuracy on {candidate.held_out.n_images} held-out images is {now:.4f}; the published snapshot had"
        f" when it was published {was:.4f}, expected at least {was - 0.03:.4f}"
    )
    if scrambled == 1.0:
        assert len(messages) == 1


def test_a_classifier_that_was_trained_badly_is_held_back_by_the_same_items(published: PublishedSnapshot) -> None:
    """The catalogue has become easier, so that even a bad classifier reaches the old figure."""
    embedded = _catalogue("abc", seed=1, spread=0.5)
    held_out = hold_out(embedded)
    assert held_out.category_accuracy(published.heads()) > 0.99
    good, blind = _heads(held_out).served, np.random.default_rng(2)
    bad = next(
        one
        for one in (
            _all_alike(replace(good, weights=good.weights + blind.normal(0, 2.5, good.weights.shape).astype("f4")))
            for _ in range(1000)
        )
        if 0.92 < (held_out.category_accuracy(one) or 0) < 0.96
    )
    published = _figure(0.93, 200, published)
    same_recipe = _Published(published.paths, fake_manifest(**{**vars(published.manifest), "recipe": "r"}))
    (message,) = _objections(_state(embedded, bad), same_recipe)
    assert "; the published snapshot has on the same images " in message
    assert _objections(_state(embedded, _all_alike(good)), same_recipe) == []
    # Embeddings made otherwise say nothing to the published classifier: its figure alone counts.
    assert _objections(_state(embedded, bad), published) == []


def test_what_the_published_heads_have_learned_does_not_count(published: PublishedSnapshot) -> None:
    """An image that was in another fold, or in none, is none that the head of its fold now has not learned."""
    state = _state(_catalogue("abc"))
    keys, folds = state.held_out.keys, state.held_out.fold_of
    assert published.has_not_learned(keys, folds).all()
    assert not published.has_not_learned(keys, (folds + 1) % N_FOLDS).any()
    assert published.has_not_learned(keys + np.uint64(1), folds).all()  # new ones


def test_a_random_split_of_an_earlier_version_is_not_compared(
    published: PublishedSnapshot,
) -> None:
    candidate = _state(_catalogue("abc", scrambled=1.0))
    assert len(_objections(candidate, published)) == 1
    published.paths.folds.unlink()
    said: list[str] = []
    reporter = SilentReporter()
    reporter.say = said.append  # type: ignore[method-assign]
    assert _objections(candidate, published, reporter) == []
    assert "an earlier version measured it on a random split" in said[0]


def test_new_categories_do_not_count(published: PublishedSnapshot) -> None:
    """Three that are always confused with the first ones: the overall accuracy is far below what it was."""
    embedded = _catalogue("abcxyz")
    good = _heads(hold_out(embedded)).served
    weights = np.concatenate([good.weights[:, :3], np.full((_DIM, 3), 0, np.float32)], axis=1)
    blind = Classifier(good.categories, weights, np.array([0, 0, 0, -99, -99, -99], np.float32))
    candidate = _state(embedded, _all_alike(blind))
    assert candidate.manifest.classifier["category_accuracy"] < 0.5
    assert _objections(candidate, published) == []
    weights[:, :3] = weights[:, [1, 0, 2]]
    assert len(_objections(_state(embedded, _all_alike(replace(blind, weights=weights))), published)) == 2


def test_a_removed_category_does_not_count(published: PublishedSnapshot) -> None:
    assert _objections(_state(_catalogue("ab")), published) == []


def test_with_another_recipe_only_the_figure_at_publishing_time_counts(published: PublishedSnapshot) -> None:
    assert _objections(_state(_catalogue("abc"), recipe="another"), published) == []
    (message,) = _objections(_state(_catalogue("abc", scrambled=0.5), recipe="another"), published)
    assert "had when it was published" in message


@pytest.mark.parametrize(("each", "held_back"), [(33, False), (34, True)])
def test_too_few_held_out_images_of_today_hold_nothing_back(
    published: PublishedSnapshot, each: int, held_back: bool
) -> None:
    candidate = _state(_catalogue("abc", each=each))
    wrong = _all_alike(replace(candidate.heads.served, weights=-candidate.heads.served.weights))
    messages = _objections(_state(_catalogue("abc", each=each), wrong), published)
    assert (candidate.held_out.n_images >= 100) == held_back == bool(messages)


@pytest.mark.parametrize(
    ("accuracy", "images", "held_back"), [(0.9, 100, True), (0.9, 99, False), (None, 0, False), (0.1, 200, False)]
)
def test_too_few_held_out_images_of_the_published_snapshot_hold_nothing_back(
    published: PublishedSnapshot, accuracy: float | None, images: int, held_back: bool
) -> None:
    candidate = _state(_catalogue("abc", scrambled=0.5))
    assert bool(_objections(candidate, _figure(accuracy, images, published))) == held_back


def test_the_limit_is_exact_to_one_image(published: PublishedSnapshot) -> None:
    candidate = _state(_catalogue("abc"))
    now = candidate.manifest.classifier["category_accuracy"]
    assert _objections(candidate, _figure(now + 0.0299, 200, published)) == []
    (message,) = _objections(candidate, _figure(now + 0.0301, 200, published))
    assert f"is {now:.4f}; the published snapshot had" in message


def _all(names: Sequence[str], recall: float) -> list[str]:
    return [f"ann_recall_at_10 of {name!r} is {recall:.4f}; expected at least 0.99" for name in names]


@pytest.mark.parametrize("first", [True, False])
def test_an_index_that_misses_hits_is_held_back_even_at_first(published: PublishedSnapshot, first: bool) -> None:
    before = None if first else published
    embedded = _catalogue("abc")
    assert _objections(_state(embedded, recall=0.98), before) == _all("abc", 0.98)
    assert _objections(_state(embedded, recall=0.99), before) == []


def test_every_objection_is_reported(published: PublishedSnapshot) -> None:
    assert len(_objections(_state(_catalogue("abc", scrambled=1.0), recall=0.5), published)) == 4


def test_the_limits_are_those_that_the_documentation_names() -> None:
    assert (gate.MAX_ACCURACY_LOSS, gate.MIN_ANN_RECALL_AT_10) == (0.03, 0.99)
