"""Whole builds with stand-ins for TensorFlow: which base is exported or tuned, and when the published one stays."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from indexer.backbone.fine_tuning import stage as tune_backbone
from indexer.snapshots import published
from indexer.snapshots.stored_folds import StoredFolds
from shared.images.preprocessing import DEFAULT_SIDE_PX, Preprocessing
from shared.manifest import Manifest
from shared.model.embedder import embedder_id
from tests.support.builders import quick_stages
from tests.support.builders.shop import Shop

_EXPORTED, _TUNED, _NOTHING = ["export", "train"], ["export", "tune", "train"], list[str]()


@pytest.fixture
def build(quick_shop: Shop, quick_stages_called: list[str]) -> Callable[..., list[str]]:
    """Build with some options; the stages that were run."""

    def build(*options: object) -> list[str]:
        quick_stages_called.clear()
        done = quick_shop.build(*options)
        assert done.status == 0, done.err
        return list(quick_stages_called)

    return build


@pytest.fixture
def enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """For `auto`, the small shop is large."""
    monkeypatch.setattr(tune_backbone, "MIN_LEARNED", 20)
    monkeypatch.setattr(tune_backbone, "MIN_HELD_OUT", 6)


def _manifest(shop: Shop) -> Manifest:
    return Manifest.read(shop.current().manifest)


def test_a_tuned_base_becomes_the_snapshots_one_embedder(quick_shop: Shop, build: Callable[..., list[str]]) -> None:
    before = _manifest(quick_shop)
    assert before.tuning is None
    assert build("--fine-tune", "on") == _TUNED
    after = _manifest(quick_shop)
    assert after.embedder_id == embedder_id(quick_stages.TUNED) != before.embedder_id
    assert quick_shop.current().embedder.read_bytes() == quick_stages.TUNED
    assert after.tuning is not None
    assert after.tuning["improved"] is True
    assert after.settings["fine_tune"] == "on"
    assert after.classifier["category_accuracy"] is not None


def test_of_both_bases_embeddings_stay_in_the_cache(quick_shop: Shop, quick_stages_called: list[str]) -> None:
    embedded = [
        quick_shop.build("--fine-tune", fine_tune, "--force").json["embedded"] for fine_tune in ("on", "off", "on")
    ]
    assert embedded == [72, 0, 0]


def test_a_reindex_keeps_the_tuned_base_until_retrain(quick_shop: Shop, build: Callable[..., list[str]]) -> None:
    build("--fine-tune", "on")
    tuning = _manifest(quick_shop).tuning
    assert build() == _NOTHING
    quick_shop.remove("discs 1")
    assert build() == _NOTHING
    assert _manifest(quick_shop).tuning == tuning
    assert build("--catalogue", quick_shop.catalogue, "--augmentations", 1) == _NOTHING  # as published
    assert build("--retrain") == _TUNED
    assert build("--retrain", "--fine-tune", "off", "--force") == _EXPORTED


@pytest.mark.usefixtures("enough")
@pytest.mark.parametrize(
    ("published", "wanted", "stages"),
    [
        ("off", "auto", _TUNED),
        ("auto", "auto", _NOTHING),
        ("auto", "on", _NOTHING),
        ("on", "auto", _NOTHING),
        ("on", "on", _NOTHING),
        ("on", "off", _EXPORTED),
    ],
)
def test_what_is_published_and_wanted_decides(
    build: Callable[..., list[str]], published: str, wanted: str, stages: list[str]
) -> None:
    build("--fine-tune", published)
    assert build("--fine-tune", wanted, "--force") == stages


def test_auto_leaves_a_small_catalogue_alone_once_and_for_all(
    quick_shop: Shop, build: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = quick_shop.build("--fine-tune", "auto", "--backbone", "efficientnet_b0")
    assert done.status == 0
    assert "36 images are too few" in done.err
    assert _manifest(quick_shop).tuning is None
    monkeypatch.setattr(tune_backbone, "MIN_LEARNED", 20)
    monkeypatch.setattr(tune_backbone, "MIN_HELD_OUT", 6)
    assert build() == _NOTHING
    assert build("--retrain") == _TUNED


def test_a_base_that_tuning_did_not_help_is_not_tried_again(
    quick_shop: Shop, build: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    helped = quick_stages.STAGES["indexer.backbone.fine_tuning.fine_tune"].fine_tune

    def not_helped(*arguments: Any) -> Any:
        found = helped(*arguments)
        found.model, found.head = quick_stages.MODEL, None
        told = {"improved": False, "reason": "it is worse"}
        found.figures.__dict__.update(**told, as_dict=lambda: told)
        return found

    monkeypatch.setattr(quick_stages.STAGES["indexer.backbone.fine_tuning.fine_tune"], "fine_tune", not_helped)
    done = quick_shop.build("--fine-tune", "on", "--backbone", "efficientnet_b0")
    assert "the backbone is left as it was: it is worse" in done.err
    assert _manifest(quick_shop).tuning == {"improved": False, "reason": "it is worse"}
    assert build() == _NOTHING
    assert build("--fine-tune", "off") == _NOTHING


def test_images_that_cannot_be_read_are_reported_as_ever(quick_shop: Shop, quick_stages_called: list[str]) -> None:
    quick_shop.picture("discs", 3, shade=0.1).write_bytes(b"no picture")

    stage = quick_stages.STAGES["indexer.backbone.fine_tuning.fine_tune"]
    tuned = stage.fine_tune
    unreadable: list[str] = []

    def fine_tune(base: object, pictures: Any, labels: Any, *others: object) -> Any:
        good = []
        for place in range(len(pictures)):
            try:
                good.append(pictures[place])
            except Exception as error:
                unreadable.append(str(error))
                good.append(pictures[place - 1])
        return tuned(base, good, labels, *others)

    stage.fine_tune = fine_tune
    try:
        done = quick_shop.build("--fine-tune", "on")
    finally:
        stage.fine_tune = tuned
    assert (done.status, done.json["skipped"]) == (0, 1), done.err
    assert unreadable == []  # embedding by the frozen base has left it out


def test_images_of_a_group_are_held_out_together_and_stay_in_their_folds(
    quick_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = quick_stages.STAGES["indexer.backbone.fine_tuning.fine_tune"]
    tuned, given = stage.fine_tune, []

    def fine_tune(base: object, pictures: Any, labels: Any, held: Any, groups: Any, *others: object) -> Any:
        given.append((held, groups))
        return tuned(base, pictures, labels, held, groups, *others)

    monkeypatch.setattr(stage, "fine_tune", fine_tune)
    before = StoredFolds.open(quick_shop.current().folds)
    assert before is not None
    done = quick_shop.build("--fine-tune", "on")
    assert done.status == 0, done.err
    ((held, groups),) = given
    assert (len(held), held.sum()) == (36, (before.folds == 0).sum())
    assert len(groups) == 36
    after = StoredFolds.open(quick_shop.current().folds)
    assert after is not None
    assert (after.keys.tolist(), after.folds.tolist()) == (before.keys.tolist(), before.folds.tolist())
    figures = _manifest(quick_shop).classifier
    assert (figures["folds"], figures["images"]) == (1, held.sum())


def test_a_dry_run_tells_that_everything_would_be_embedded(quick_shop: Shop, quick_stages_called: list[str]) -> None:
    assert quick_shop.build("--dry-run").json["images_to_embed"] == 0
    assert quick_shop.build("--dry-run", "--fine-tune", "on").json["images_to_embed"] == 36
    assert quick_stages_called == []


def test_a_full_disk_ends_tuning_and_leaves_what_is_published(
    quick_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = quick_shop.data.current_id()
    monkeypatch.setattr(quick_stages.STAGES["indexer.backbone.fine_tuning.fine_tune"], "fine_tune", full)
    done = quick_shop.build("--fine-tune", "on")
    assert (done.status, done.json["error"]["code"]) == (1, "storage")
    assert "fine-tuning can't write its features" in done.json["error"]["message"]
    assert quick_shop.data.current_id() == before


def _side(shop: Shop) -> int:
    return Preprocessing.parse(_manifest(shop).preprocessing).side_px


def test_a_reindex_keeps_the_side_until_another_is_asked_for(tmp_path: Path, quick_stages_called: list[str]) -> None:
    shop = Shop(tmp_path / "shop").draw(side=40)
    done = shop.first_build("--side", 128)
    assert (done.status, done.json["side_px"], done.json["embedded"], _side(shop)) == (0, 128, 72, 128)
    assert shop.current().embedder.read_bytes() == quick_stages.at_side(quick_stages.MODEL, 128)

    quick_stages_called.clear()
    assert shop.build().json["embedded"] == 0
    assert shop.build("--side", 128).json["embedded"] == 0
    assert quick_stages_called == []
    shop.remove("discs 1")
    again = shop.build("--catalogue", shop.catalogue, "--augmentations", 1, "--report", "off")
    assert (again.json["published"], again.json["embedded"], _side(shop)) == (True, 0, 128)
    assert "export" not in quick_stages_called

    quick_stages_called.clear()
    assert shop.build("--dry-run", "--side", 160).json["images_to_embed"] == 35
    done = shop.build("--side", 160)
    assert "the side of the input changes from 128 to 160 px: the backbone is exported again and every" in done.err
    assert (done.json["published"], done.json["embedded"], done.json["side_px"]) == (True, 70, 160)
    assert quick_stages_called == _EXPORTED
    assert shop.hits()  # opened: golden, sides and all
    assert shop.build().json["embedded"] == 0
    done = shop.build("--side", 128)
    assert (done.json["embedded"], done.json["side_px"]) == (0, 128)  # still cached


def test_a_data_directory_without_a_remembered_side_keeps_the_published_one(
    quick_shop: Shop, quick_stages_called: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As earlier versions leave it; the default may be another one by now."""
    remembered = json.loads(quick_shop.data.build_settings.read_text(encoding="utf-8"))
    assert remembered.pop("side") == _side(quick_shop) == DEFAULT_SIDE_PX
    quick_shop.data.build_settings.write_text(json.dumps(remembered), encoding="utf-8")
    monkeypatch.setattr(published, "DEFAULT_PREPROCESSING", Preprocessing(160))
    quick_stages_called.clear()
    quick_shop.remove("discs 1")
    done = quick_shop.build()
    assert (done.json["published"], done.json["embedded"], done.json["side_px"]) == (True, 0, DEFAULT_SIDE_PX)
    assert quick_stages_called == []


def test_another_side_tunes_a_tuned_base_anew(quick_shop: Shop, build: Callable[..., list[str]]) -> None:
    assert build("--fine-tune", "on") == _TUNED
    assert build("--side", DEFAULT_SIDE_PX) == _NOTHING
    done = quick_shop.build("--side", 160)
    assert "exported again, tuned anew if it still helps, and every image is embedded again" in done.err
    assert quick_shop.current().embedder.read_bytes() == quick_stages.at_side(quick_stages.TUNED, 160)
    assert build() == _NOTHING
