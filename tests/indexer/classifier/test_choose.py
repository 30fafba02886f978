import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from indexer.classifier.choose import CHANGED, FEEDBACK, ChosenClassifier, choose_classifier, reason_to_train
from indexer.classifier.feedback_queries import LabelledQueries
from indexer.console.progress import SilentReporter
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.embedding.exported_backbone import ExportedBackbone
from indexer.snapshots.classifier_heads import Heads
from indexer.snapshots.published import PublishedSnapshot, image_keys
from shared.catalogue.items import Item
from shared.manifest import CategoryEntry
from shared.model.classifier import Classifier
from shared.snapshot.data_directory import SnapshotPaths
from tests.support.builders.held_out import hold_out
from tests.support.fakes import fake_manifest

_RECIPE = "r"
_NAMES = [("cold" if number % 2 else "warm", f"{number}".encode()) for number in range(100)]
_TRAINED = (True, 7, 0)
_BASE = ExportedBackbone("efficientnet_lite0", "none", b"model")


@pytest.fixture(autouse=True)
def _trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training stands in for itself: what is tested is whether it is called."""
    trainer = SimpleNamespace(train_classifier=lambda *_: (_heads("trained"), 7, 0.75))
    monkeypatch.setitem(sys.modules, "indexer.classifier.train", trainer)


class _Published(PublishedSnapshot):
    """A snapshot of `_NAMES`, with no files."""

    image_keys = image_keys(_NAMES)
    has_folds = True

    def heads(self) -> Any:
        return _heads("kept")


def _heads(name: str) -> Any:
    return Heads(f"{name}, served", (f"{name}, of a fold",))


def _published(changed: int = 0, recipe: str = _RECIPE, feedback: str | None = None) -> PublishedSnapshot:
    categories = tuple(CategoryEntry(name, 50, 50, 50, "IndexFlatIP", 1.0) for name in ("cold", "warm"))
    figures = {"category_accuracy": 0.9, "epochs": 3, CHANGED: changed, FEEDBACK: feedback}
    return _Published(
        SnapshotPaths(Path("gone")), fake_manifest(recipe=recipe, categories=categories, classifier=figures)
    )


def _embedded(images: list[tuple[str, bytes]]) -> EmbeddedCatalogue:
    items = tuple(Item(str(number), category, ("x.png",)) for number, (category, _) in enumerate(images))
    digests = tuple(digest for _, digest in images)
    views = np.ones((len(images), 1, 1), np.float32)
    return EmbeddedCatalogue(items, np.arange(len(images)), digests, views, (), len(images), _RECIPE)


def _queries(digest: str) -> LabelledQueries:
    return LabelledQueries(np.ones((2, 1), np.float32), ("cold", "warm"), digest)


def _choose(
    images: list[tuple[str, bytes]],
    published: PublishedSnapshot | None,
    retrain: bool = False,
    queries: LabelledQueries | None = None,
) -> tuple[Any, ...]:
    """Whether it is new, its epochs, and the images changed since it was trained."""
    embedded = _embedded(images)
    chosen = choose_classifier(
        published,
        embedded,
        hold_out(embedded),
        _BASE,
        SilentReporter(),
        queries,
        seed=0,
        retrain=retrain,
    )
    assert chosen.queries is queries
    assert chosen.heads == _heads("trained" if chosen.is_new else "kept")
    return chosen.is_new, chosen.epochs, chosen.changed


def _kept(changed: int) -> tuple[bool, int, int]:
    return False, 3, changed


def _edited(count: int) -> list[tuple[str, bytes]]:
    return [(category, b"new " + digest) for category, digest in _NAMES[:count]] + _NAMES[count:]


def _moved(count: int) -> list[tuple[str, bytes]]:
    other = {"cold": "warm", "warm": "cold"}
    return [(other[category], digest) for category, digest in _NAMES[:count]] + _NAMES[count:]


def test_the_first_build_trains() -> None:
    assert _choose(_NAMES, None) == _TRAINED


def test_nothing_changed_keeps_the_classifier_and_its_count_of_changes() -> None:
    assert _choose(_NAMES, _published(changed=3)) == _kept(3)


def test_retrain_trains_whatever_has_changed() -> None:
    assert _choose(_NAMES, _published(), retrain=True) == _TRAINED


def test_another_recipe_trains() -> None:
    assert _choose(_NAMES, _published(recipe="another")) == _TRAINED


@pytest.mark.parametrize("change", [_edited, _moved])
def test_an_image_that_was_edited_or_moved_counts_once(change: Any) -> None:
    assert _choose(change(5), _published()) == _kept(5)
    assert _choose(change(6), _published()) == _TRAINED


def test_images_that_came_or_went_count() -> None:
    came = [*_NAMES, *[("cold", f"new {number}".encode()) for number in range(5)]]
    assert _choose(came, _published()) == _kept(5)
    assert _choose(_NAMES[4:], _published()) == _kept(4)
    assert _choose(_NAMES[5:], _published()) == _TRAINED  # 5 of 95 are over 5 %


def test_changes_add_up_until_it_is_trained_again() -> None:
    assert _choose(_edited(2), _published(changed=3)) == _kept(5)
    assert _choose(_edited(2), _published(changed=4)) == _TRAINED


def test_a_category_that_came_or_went_trains() -> None:
    assert _choose([*_NAMES, ("hats", b"hat")], _published()) == _TRAINED
    assert _choose([one for one in _NAMES if one[0] == "cold"], _published()) == _TRAINED


def test_feedback_that_came_changed_or_went_trains() -> None:
    assert _choose(_NAMES, _published(), queries=_queries("new")) == _TRAINED
    assert _choose(_NAMES, _published(feedback="old"), queries=_queries("new")) == _TRAINED
    assert _choose(_NAMES, _published(feedback="old")) == _TRAINED
    assert _choose(_NAMES, _published(changed=3, feedback="old"), queries=_queries("old")) == _kept(3)


def test_a_snapshot_from_before_there_was_feedback_learned_from_none() -> None:
    published = _published()
    figures = {name: figure for name, figure in published.manifest.classifier.items() if name != FEEDBACK}
    old = _Published(published.paths, replace(published.manifest, classifier=figures))
    assert _choose(_NAMES, old) == _kept(0)
    assert _choose(_NAMES, old, queries=_queries("new")) == _TRAINED


def test_the_reason_names_feedback() -> None:
    reason = reason_to_train(_published(), _RECIPE, {"cold", "warm"}, image_keys(_NAMES), queries=_queries("new"))
    assert reason == "the feedback has changed since the last training"


@pytest.mark.parametrize(
    ("categories", "wanted"),
    [
        ({"cold", "warm"}, None),
        ({"cold", "warm", "hats"}, "categories are new: hats"),
        ({"cold"}, "categories are removed: warm"),
        ({"cold", *"abcdef"}, "categories are new: a, b, c and 3 more, removed: warm"),
    ],
)
def test_the_reason_names_categories(categories: set[str], wanted: str | None) -> None:
    assert reason_to_train(_published(), _RECIPE, categories, image_keys(_NAMES)) == wanted


def test_the_reason_counts_images() -> None:
    reason = reason_to_train(_published(changed=4), _RECIPE, {"cold", "warm"}, image_keys(_edited(2)))
    assert reason == "6 of 100 images changed since the last training, more than 5%"


def test_a_classifier_of_an_earlier_version_is_replaced() -> None:
    published = _published()
    published.__class__ = type("Old", (_Published,), {"has_folds": False})
    assert _choose(_NAMES, published) == _TRAINED
    reason = reason_to_train(published, _RECIPE, {"cold", "warm"}, image_keys(_NAMES))
    assert reason == "the published one was evaluated on a random split, by an earlier version"


def test_the_figures_are_those_of_held_out_images() -> None:
    """Heads that call everything cold are right about half of the images, whatever the served one learned."""
    held_out = hold_out(_embedded(_NAMES))
    head = Classifier(("cold", "warm"), np.zeros((1, 2), np.float32), np.array([9.0, 0.0], np.float32), 2.0)
    heads = Heads(replace(_by_axis(1.0), temperature=2.0), (head,) * 5)
    figures = ChosenClassifier(heads, False, 3, 5, random_split_accuracy=0.75).figures(held_out)
    assert figures["items"] == figures["images"] == 100
    assert (figures["folds"], figures["groups"]) == (5, 2)  # all images of a category look the same
    assert figures["category_accuracy"] == 0.5
    assert figures["category_accuracy_margin"] == pytest.approx(1.96 * 0.5, abs=0.01)  # two groups say next to nothing
    assert figures["random_split_accuracy"] == 0.75
    assert figures["expected_calibration_error"] == pytest.approx(1 / (1 + np.exp(-4.5)) - 0.5)
    assert (figures["temperature"], figures["epochs"], figures[CHANGED]) == (2.0, 3, 5)
    assert (figures["feedback_queries"], figures[FEEDBACK]) == (0, None)
    figures = ChosenClassifier(Heads.single(head), False, 3, 5, _queries("new")).figures(held_out)
    assert (figures["feedback_queries"], figures[FEEDBACK]) == (2, "new")
    assert (figures["folds"], figures["images"]) == (1, 20)  # there is a head of the first alone


def test_choosing_does_not_import_tensorflow() -> None:
    code = "import indexer.classifier.choose, indexer.backbone.choose, sys; sys.exit('tensorflow' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


# Heads that were tuned with the base


def _by_axis(sign: float, categories: tuple[str, ...] = ("cold", "warm")) -> Classifier:
    """Says `warm` of what lies along the first axis, and `cold` of what lies along the second; or the contrary."""
    weights = np.zeros((2, len(categories)), np.float32)
    weights[0, 1] = weights[1, 0] = sign
    return Classifier(categories, weights, np.zeros(len(categories), np.float32))


def _along_axes() -> EmbeddedCatalogue:
    embedded = _embedded(_NAMES)
    axes = [int(category == "cold") for category, _ in _NAMES]
    return replace(embedded, views=np.eye(2, dtype=np.float32)[axes][:, np.newaxis])


class _Tuned(_Published):
    """Its base was tuned, and so was its head."""

    head = _by_axis(2)

    def heads(self) -> Heads:
        return Heads.single(self.head)


def _tuned(changed: int = 6, recipe: str = _RECIPE, *, improved: bool = True) -> PublishedSnapshot:
    published = _published(changed, recipe)
    return _Tuned(published.paths, replace(published.manifest, tuning={"improved": improved}))


def _head(
    monkeypatch: pytest.MonkeyPatch,
    trained: Classifier,
    base: ExportedBackbone = _BASE,
    published: PublishedSnapshot | None = None,
) -> Classifier:
    """What is chosen where there is a reason to train and training gives this."""
    monkeypatch.setattr(
        sys.modules["indexer.classifier.train"], "train_classifier", lambda *_: (Heads.single(trained), 7, None)
    )
    embedded = _along_axes()
    chosen = choose_classifier(
        published, embedded, hold_out(embedded, is_tuned=True), base, SilentReporter(), seed=0, retrain=True
    )
    assert (chosen.is_new, chosen.epochs, chosen.changed) == _TRAINED
    assert chosen.heads.is_single
    return chosen.heads.served


@pytest.mark.parametrize(("tuned", "trained", "wanted"), [(2, -1, 2), (2, 1, 3), (-2, 3, 3)])
@pytest.mark.parametrize("just_now", [True, False])
def test_of_the_tuned_head_the_trained_one_and_their_sum_held_out_items_choose(
    monkeypatch: pytest.MonkeyPatch, tuned: float, trained: float, wanted: float, just_now: bool
) -> None:
    monkeypatch.setattr(_Tuned, "head", _by_axis(tuned))
    base, published = (replace(_BASE, head=_by_axis(tuned)), None) if just_now else (_BASE, _tuned())
    new = replace(_by_axis(trained), temperature=0.2)
    found = _head(monkeypatch, new, base, published)
    assert (found is new) == (wanted == trained)
    np.testing.assert_array_equal(found.weights, _by_axis(wanted).weights)
    assert found.temperature == pytest.approx(0.2, rel=0.01)  # its bound, since all is right


@pytest.mark.parametrize(
    ("base", "published"),
    [
        (_BASE, None),
        (_BASE, _tuned(improved=False)),
        (_BASE, _tuned(recipe="another")),
        (replace(_BASE, head=_by_axis(9, ("cold", "warm", "wet"))), None),
    ],
)
def test_where_no_head_was_tuned_for_this_the_trained_one_is_taken(
    monkeypatch: pytest.MonkeyPatch, base: ExportedBackbone, published: PublishedSnapshot | None
) -> None:
    new = _by_axis(-1)
    assert _head(monkeypatch, new, base, published) is new
