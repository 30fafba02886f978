"""Builds over the published snapshot of an earlier version."""

from pathlib import Path

import pytest

from indexer.snapshots import published
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
