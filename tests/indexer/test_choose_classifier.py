import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from indexer.choose_classifier import CHANGED, choose_classifier
from indexer.embed import EmbeddedCatalogue
from indexer.settings import BuildSettings
from shared.catalogue import Item

_RECIPE = "r"
_NAMES = [("cold" if number % 2 else "warm", f"{number}".encode()) for number in range(100)]
_TRAINED = ("trained", {"images": 7, CHANGED: 0})


class _Figures:
    def as_dict(self) -> dict[str, Any]:
        return {"images": 7}


@pytest.fixture(autouse=True)
def _trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training stands in for itself: what is tested is whether it is called."""
    trainer = SimpleNamespace(train_classifier=lambda *_: ("trained", _Figures()))
    monkeypatch.setitem(sys.modules, "indexer.train_classifier", trainer)


def _published(changed: int = 0, recipe: str = _RECIPE) -> Any:
    manifest = SimpleNamespace(
        recipe=recipe,
        categories=[SimpleNamespace(name="cold"), SimpleNamespace(name="warm")],
        classifier={"category_accuracy": 0.9, CHANGED: changed},
    )
    return SimpleNamespace(manifest=manifest, images=lambda: set(_NAMES), classifier=lambda: "kept")


def _embedded(images: list[tuple[str, bytes]]) -> EmbeddedCatalogue:
    items = tuple(Item(str(number), category, ("x.png",)) for number, (category, _) in enumerate(images))
    digests = tuple(digest for _, digest in images)
    views = np.ones((len(images), 1, 1), np.float32)
    return EmbeddedCatalogue(items, np.arange(len(images)), digests, views, (), len(images), _RECIPE)


def _choose(images: list[tuple[str, bytes]], published: Any, retrain: bool = False) -> Any:
    settings = BuildSettings(Path("c"), Path("d"), retrain=retrain)
    return choose_classifier(settings, published, _embedded(images), SimpleNamespace(advance=lambda: None))


def _edited(count: int) -> list[tuple[str, bytes]]:
    return [(category, b"new " + digest) for category, digest in _NAMES[:count]] + _NAMES[count:]


def _moved(count: int) -> list[tuple[str, bytes]]:
    other = {"cold": "warm", "warm": "cold"}
    return [(other[category], digest) for category, digest in _NAMES[:count]] + _NAMES[count:]


def test_the_first_build_trains() -> None:
    assert _choose(_NAMES, None) == _TRAINED


def test_nothing_changed_keeps_the_classifier_and_its_figures() -> None:
    assert _choose(_NAMES, _published(changed=3)) == ("kept", {"category_accuracy": 0.9, CHANGED: 3})


def test_retrain_trains_whatever_has_changed() -> None:
    assert _choose(_NAMES, _published(), retrain=True) == _TRAINED


def test_another_recipe_trains() -> None:
    assert _choose(_NAMES, _published(recipe="another")) == _TRAINED


@pytest.mark.parametrize("change", [_edited, _moved])
def test_an_image_that_was_edited_or_moved_counts_once(change: Any) -> None:
    assert _choose(change(5), _published()) == ("kept", {"category_accuracy": 0.9, CHANGED: 5})
    assert _choose(change(6), _published()) == _TRAINED


def test_images_that_came_or_went_count() -> None:
    came = [*_NAMES, *[("cold", f"new {number}".encode()) for number in range(5)]]
    assert _choose(came, _published())[1][CHANGED] == 5
    assert _choose(_NAMES[4:], _published())[1][CHANGED] == 4
    assert _choose(_NAMES[5:], _published()) == _TRAINED  # 5 of 95 are over 5 %


def test_changes_add_up_until_it_is_trained_again() -> None:
    assert _choose(_edited(2), _published(changed=3))[1][CHANGED] == 5
    assert _choose(_edited(2), _published(changed=4)) == _TRAINED


def test_a_category_that_came_or_went_trains() -> None:
    assert _choose([*_NAMES, ("hats", b"hat")], _published()) == _TRAINED
    assert _choose([one for one in _NAMES if one[0] == "cold"], _published()) == _TRAINED


def test_choosing_does_not_import_tensorflow() -> None:
    code = "import indexer.choose_classifier, indexer.choose_base, sys; sys.exit('tensorflow' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
