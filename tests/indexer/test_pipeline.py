"""Builds over the published snapshot of an earlier version."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from indexer.snapshots import published
from indexer.snapshots.classifier_heads import Heads
from indexer.snapshots.stored_folds import StoredFolds
from shared.images.preprocessing import DEFAULT_PREPROCESSING, Preprocessing
from shared.manifest import Manifest
from tests.support.builders.shop import Shop

_FIRST, _NEWEST = Preprocessing(revision=1), DEFAULT_PREPROCESSING


def _preprocessing(shop: Shop) -> Preprocessing:
    return Preprocessing.parse(Manifest.read(shop.current().manifest).preprocessing)


@pytest.mark.usefixtures("quick_stages_called")
def test_a_data_directory_keeps_its_preprocessing_and_embeds_nothing_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path / "shop").draw(side=40)
    with monkeypatch.context() as earlier:
        earlier.setattr(published, "DEFAULT_PREPROCESSING", _FIRST)
        assert shop.first_build().status == 0
    before, scores = shop.data.current_id(), shop.hits()
    assert _preprocessing(shop) == _FIRST

    done = shop.build()
    assert (done.status, done.json["embedded"], done.json["snapshot_id"]) == (0, 0, before)

    shop.picture("discs", 12, shade=0.95, side=600)
    shop.write([*shop.rows(), shop.row("discs", 12)])
    done = shop.build("--dry-run")
    assert done.json["images_to_embed"] == 1
    done = shop.build()
    assert (done.status, done.json["embedded"], done.json["published"]) == (0, 2, True)  # the picture and its copy
    assert _preprocessing(shop) == _FIRST
    after = shop.hits()
    assert {item: after[item][item] for item in scores} == {item: scores[item][item] for item in scores}


def test_a_new_data_directory_gets_the_newest_preprocessing(quick_shop: Shop) -> None:
    assert _preprocessing(quick_shop) == _NEWEST


def test_a_snapshot_of_an_earlier_version_is_served_reindexed_and_replaced(
    quick_shop: Shop, quick_stages_called: list[str]
) -> None:
    """It has a head that was validated on a random split, and no folds; its accuracy flatters it."""
    paths = quick_shop.current()
    Heads.open(paths).of_folds[0].save(paths.validated_classifier)
    paths.fold_classifiers.unlink()
    paths.folds.unlink()
    manifest = Manifest.read(paths.manifest)
    new = {"groups", "folds", "category_accuracy_margin", "random_split_accuracy"}
    figures = {name: value for name, value in manifest.classifier.items() if name not in new}
    figures |= {"category_accuracy": 5.0, "images": 500}
    replace(manifest, checksums=paths.checksums(), classifier=figures).write(paths.manifest)
    assert quick_shop.run("verify").status == 0
    hits = quick_shop.hits()

    done = quick_shop.build()
    assert (done.status, done.json["published"], done.json["embedded"]) == (0, True, 0), done.err
    assert "evaluated on a random split, by an earlier version" in done.err
    assert "category_accuracy is not compared" in done.err
    assert quick_stages_called == ["train"]
    assert quick_shop.hits() == hits
    after = quick_shop.current()
    assert new <= set(Manifest.read(after.manifest).classifier)
    assert after.folds.exists()
    assert not after.validated_classifier.exists()
    assert "nothing has changed" in quick_shop.build().err


def test_a_seed_or_another_training_changes_no_fold(quick_shop: Shop) -> None:
    before = StoredFolds.open(quick_shop.current().folds)
    done = quick_shop.build("--retrain", "--seed", 5, "--force")
    assert done.status == 0, done.err
    after = StoredFolds.open(quick_shop.current().folds)
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(after.keys, before.keys)
    np.testing.assert_array_equal(after.folds, before.folds)


def test_a_misspelt_column_is_told_before_anything_is_embedded(quick_shop: Shop) -> None:
    quick_shop.picture("discs", 12, shade=0.95)
    quick_shop.write([*quick_shop.rows(), quick_shop.row("discs", 12)])
    done = quick_shop.build("--words", "titel")
    assert (done.status, done.json["error"]["code"]) == (2, "invalid_setting")
    assert "'titel'" in done.json["error"]["message"]
    assert quick_shop.build("--dry-run", "--words", "none").json["images_to_embed"] == 1
