"""Stand-ins for what needs TensorFlow or a model, so that a whole build takes a tenth of a second.

`install` puts them into this process; a test's own child process calls it before it imports the indexer's command line.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexer.classifier.calibration import calibrated
from indexer.classifier.held_out import HeldOut
from indexer.classifier.lda import lda_head
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.snapshots.classifier_heads import Heads
from shared.images.preprocessing import DEFAULT_SIDE_PX
from shared.model import embedder
from shared.model.classifier import Classifier
from shared.model.energy_score import EnergyScore
from shared.vectors import unit_rows
from tests.support.fakes import FakeEmbedder

MODEL = b"no model, but a name for colours"
TUNED = b"another name for them"
_AT_SIDE = b", at a side of "

called: list[str] = []
"""What the stand-ins were called for, in order: `export`, `tune`, `train`."""


class Picture(NamedTuple):
    """In the place of `indexer.backbone.fine_tuning.trunk.Picture`, whose module imports TensorFlow."""

    pixels: NDArray[np.uint8]
    digest: bytes


class ColourInterpreter:
    """In the place of LiteRT's: embeds as `FakeEmbedder` does."""

    dim = FakeEmbedder.dim

    def __init__(self, model: bytes, threads: int) -> None:
        name, _, side_px = model.partition(_AT_SIDE)
        assert name in (MODEL, TUNED)
        self.side_px = int(side_px or DEFAULT_SIDE_PX)

    def run(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert image.shape == (self.side_px, self.side_px, 3)
        return FakeEmbedder().embed(image[np.newaxis])[0]


def at_side(model: bytes, side_px: int) -> bytes:
    """`MODEL` or `TUNED`, for images of a side."""
    return model if side_px == DEFAULT_SIDE_PX else model + _AT_SIDE + str(side_px).encode()


def _load_backbone(name: str, weights: object, say: object, side_px: int) -> Any:
    """A base whose `model` is the side of its input alone."""
    return SimpleNamespace(name="efficientnet_lite0" if name == "auto" else name, weights="none", model=side_px)


def _pretrained_classes(*_: object) -> EnergyScore:
    """Of colours, as the embeddings are."""
    return EnergyScore(np.eye(FakeEmbedder.dim, 5, dtype=np.float32), np.zeros(5, np.float32))


def _export_embedder(model: int) -> bytes:
    called.append("export")
    return at_side(MODEL, model)


def train_nearest_means(
    embedded: EmbeddedCatalogue, held_out: HeldOut, *_: object, sharpness: float = 20.0
) -> tuple[Heads, int]:
    """Heads that prefer the category whose mean embedding is nearest, without what is held out and with it."""
    called.append("train")
    categories = tuple(sorted({item.category for item in embedded.items}))
    column = {category: place for place, category in enumerate(categories)}
    labels = np.array([column[embedded.items[number].category] for number in embedded.image_items])
    learned = ~held_out.items[embedded.image_items]
    originals = embedded.originals

    def head(learned: NDArray[np.bool_]) -> Classifier:
        means = np.stack([originals[(labels == place) & learned].mean(axis=0) for place in range(len(categories))])
        weights = np.ascontiguousarray(unit_rows(means).T * np.float32(sharpness))
        return Classifier(categories, weights, np.zeros(len(categories), np.float32))

    return Heads(head(np.ones_like(learned)), head(learned)), 1


def _fine_tune(backbone: Any, pictures: Sequence[Any], labels: NDArray[np.int64], *_others: object) -> Any:
    """A head by nearest means, on a base of another name; it learns from every second picture."""
    called.append("tune")
    learned = range(0, len(pictures), 2)
    embeddings = FakeEmbedder().embed(np.stack([pictures[place].pixels for place in learned]))
    known = np.unique(labels[learned])
    means = np.stack([embeddings[labels[learned] == label].mean(axis=0) for label in known])
    head = SimpleNamespace(labels=known, weights=unit_rows(means).T * np.float32(40), bias=np.zeros(len(known), "f4"))
    told = {"improved": True, "tuned_accuracy": 1.0, "frozen_accuracy": 0.5, "held_out": 9}
    return SimpleNamespace(
        model=at_side(TUNED, backbone.model), head=head, figures=SimpleNamespace(**told, as_dict=lambda: told)
    )


STAGES: dict[str, Any] = {
    "indexer.backbone.load": SimpleNamespace(load_backbone=_load_backbone, pretrained_classes=_pretrained_classes),
    "indexer.backbone.export": SimpleNamespace(export_embedder=_export_embedder),
    "indexer.backbone.fine_tuning.fine_tune": SimpleNamespace(fine_tune=_fine_tune),
    "indexer.backbone.fine_tuning.trunk": SimpleNamespace(Picture=Picture),
    "indexer.classifier.train": SimpleNamespace(train_classifier=train_nearest_means),
}


def train_discriminant(embedded: EmbeddedCatalogue, held_out: HeldOut, *_: object) -> tuple[Heads, int]:
    """Heads of the discriminant analysis alone, calibrated: for real embeddings, whose means lie close together."""
    called.append("train")
    categories = embedded.categories

    def head(items: NDArray[np.bool_]) -> Classifier:
        learned = np.flatnonzero(items[embedded.image_items])
        views = embedded.views[learned]
        labels = np.repeat(embedded.columns(learned, categories), views.shape[1])
        return Classifier(categories, *lda_head(views.reshape(len(labels), -1), labels, len(categories)))

    judged, served = calibrated(head(~held_out.items), held_out), head(np.ones_like(held_out.items))
    return Heads(replace(judged, weights=served.weights, bias=served.bias), judged), 1


@contextmanager
def exported(model: bytes) -> Iterator[None]:
    """Builds in this process embed by a base that was exported before, so for real, but need no TensorFlow."""
    import pytest  # children that are killed again and again do without

    backbone = SimpleNamespace(load_backbone=_load_backbone, pretrained_classes=lambda *_: None)
    stages = {
        "indexer.backbone.load": backbone,
        "indexer.backbone.export": SimpleNamespace(export_embedder=lambda _: model),
        "indexer.classifier.train": SimpleNamespace(train_classifier=train_discriminant),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, stage in (STAGES | stages).items():
            patch.setitem(sys.modules, name, stage)
        yield


def install() -> None:
    """For this whole process."""
    sys.modules.update(STAGES)
    embedder._Interpreter = ColourInterpreter
