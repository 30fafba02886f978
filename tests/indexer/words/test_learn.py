from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from indexer.classifier.held_out import HeldOut
from indexer.console.progress import SilentReporter
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.groups.catalogue_folds import CatalogueFolds
from indexer.settings import BuildSettings
from indexer.snapshots.published import PublishedSnapshot
from indexer.words.learn import learn_words, plan_words
from indexer.words.learned import LearnedWords
from shared.errors import SnapshotError
from shared.snapshot.data_directory import SnapshotPaths
from tests.support.builders.described import make_described, nearest


def _learn(embedded: EmbeddedCatalogue, published: PublishedSnapshot | None = None) -> LearnedWords | None:
    settings = BuildSettings(Path("catalogue"))
    return learn_words(published, HeldOut.of(CatalogueFolds(embedded, None, 0)), settings, SilentReporter())


def _published(tmp_path: Path, learned: LearnedWords | None, recipe: str) -> PublishedSnapshot:
    root = tmp_path / "snapshots" / "one"
    root.mkdir(parents=True)
    paths = SnapshotPaths(root)
    if learned is not None:
        learned.write(paths)
    words, dim = (None, 0) if learned is None else (learned.figures, learned.text_encoder.dim)
    manifest = SimpleNamespace(words=words, dim=dim, recipe=recipe)
    return PublishedSnapshot(paths, cast(Any, manifest))


def _with_titles(embedded: EmbeddedCatalogue, numbers: Sequence[int], title: str) -> EmbeddedCatalogue:
    items = list(embedded.items)
    for number in numbers:
        items[number] = replace(items[number], metadata={**items[number].metadata, "title": title})
    return replace(embedded, items=tuple(items))


def test_a_catalogue_with_words_is_learned_from() -> None:
    embedded, titles = make_described(400)
    learned = _learn(embedded)
    assert learned is not None
    assert learned.projection is not None
    assert len(learned.fold_projections) == 5
    assert learned.figures["columns"] == ["colour", "title"]
    indexed = learned.projected(embedded)
    assert indexed.recipe != embedded.recipe
    unseen, unseen_titles = make_described(200, seed=9)
    rows = indexed.views[np.arange(400)][:, 0]
    hits = nearest(learned.projection.apply(unseen.views[:, 0]), rows)
    assert np.mean([titles[hit] == title for hit, title in zip(hits, unseen_titles, strict=True)]) > 0.8
    texts = nearest(learned.projection.apply(learned.text_encoder.embed("yellow pocket watch")), rows)
    assert titles[texts[0]] == "Yellow pocket watch"


def test_a_fold_s_projection_has_not_learned_its_images() -> None:
    embedded, _ = make_described(400)
    folds = CatalogueFolds(embedded, None, 0)
    learned = _learn(embedded)
    own = np.flatnonzero(folds.numbers == 2)
    others = _learn(_with_titles(embedded, own.tolist(), "Purple unicycle"))
    assert learned is not None
    assert others is not None
    kept, changed = learned.fold_projections[2], others.fold_projections[2]
    rows = embedded.views[own][:, 0]
    # The weights of features are of all texts, so that a little differs; the full projection differs far more.
    assert np.abs(kept.apply(rows) @ kept.apply(rows).T - changed.apply(rows) @ changed.apply(rows).T).max() < 0.2


@pytest.mark.parametrize("n", [300, 30])
def test_without_words_or_with_few_images_nothing_is_learned(n: int) -> None:
    embedded, _ = make_described(n, with_words=n == 30)
    assert _learn(embedded) is None


def test_what_was_learned_is_kept_until_enough_items_changed(tmp_path: Path) -> None:
    embedded, _ = make_described(400)
    learned = _learn(embedded)
    assert learned is not None
    published = _published(tmp_path, learned, embedded.recipe)
    slightly = _with_titles(embedded, range(20), "Silver pocket watch")
    kept = _learn(slightly, published)
    assert kept is not None
    assert not kept.is_new
    assert kept.projection is not None
    assert learned.projection is not None
    assert kept.projection.digest == learned.projection.digest
    assert [one.digest for one in kept.fold_projections] == [one.digest for one in learned.fold_projections]
    plan = plan_words(published, _with_titles(embedded, range(21), "Silver pocket watch"), "auto", False)
    assert plan is not None
    assert plan.reason == "21 of 400 items changed since they were learned, more than 5%"


@pytest.mark.parametrize(
    ("requested", "retrain", "recipe", "reason"),
    [
        ("auto", True, None, "requested by --retrain"),
        ("title", False, None, "--words names other columns"),
        ("auto", False, "other", "the recipe of the embeddings has changed"),
    ],
)
def test_reasons_to_learn_again(tmp_path: Path, requested: str, retrain: bool, recipe: str | None, reason: str) -> None:
    embedded, _ = make_described(200)
    published = _published(tmp_path, _learn(embedded), recipe or embedded.recipe)
    plan = plan_words(published, embedded, requested, retrain)
    assert plan is not None
    assert (plan.kept, plan.reason) == (None, reason)


def test_a_damaged_file_is_rejected(tmp_path: Path) -> None:
    embedded, _ = make_described(200)
    published = _published(tmp_path, _learn(embedded), embedded.recipe)
    published.paths.learned_words.write_bytes(b"PK\x03\x04")
    with pytest.raises(SnapshotError, match="can't be read"):
        plan_words(published, embedded, "auto", False)


@pytest.mark.parametrize(
    "changes",
    [
        {"keys": None},
        {"keys": np.array(["a"])},
        {"keys": np.array([2, 1], np.uint64)},
        {"n_folds": np.int64(2**60)},
        {"n_folds": np.array(["many"])},
        {"n_folds": np.zeros(3, np.int64)},
        {"basis_0": np.zeros((2, 1), [("a", "f4")])},
        {"basis_0": np.eye(3, 1, dtype=np.float32), "gains_0": np.full(1, 2, np.float32)},
    ],
)
def test_what_a_hostile_file_says_was_learned_is_rejected(tmp_path: Path, changes: dict[str, Any]) -> None:
    embedded, _ = make_described(200)
    published = _published(tmp_path, _learn(embedded), embedded.recipe)
    path = published.paths.learned_words
    arrays = {**np.load(path), **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(SnapshotError, match=r"can't be read|is not of"):
        _learn(embedded, published)
