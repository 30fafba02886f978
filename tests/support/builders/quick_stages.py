"""Stand-ins for what needs TensorFlow or a model, so that a whole build takes a tenth of a second.

`install` puts them into this process; a test's own child process calls it before it imports the indexer's command line.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexer.classifier.calibration import calibrated
from indexer.classifier.held_out import HeldOut
from indexer.classifier.lda import lda_head
from indexer.snapshots.classifier_heads import Heads
from shared.images.preprocessing import DEFAULT_SIDE_PX
from shared.model import embedder
from shared.model.classifier import Classifier
from shared.model.energy_score import EnergyScore
from shared.vectors import unit_rows
from tests.support.fakes import FakeEmbedder


class TrainedHeads(NamedTuple):
    """In the place of that of `indexer.classifier.train`, whose module imports TensorFlow."""

    heads: Heads
    epochs: int
    random_split_accuracy: float | None


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


def train_nearest_means(held_out: HeldOut, *_: object, sharpness: float = 20.0) -> TrainedHeads:
    """Heads that prefer the category whose mean embedding is nearest, without each fold and with all."""
    called.append("train")
    categories, labels, originals = held_out.embedded.categories, held_out.folds.columns, held_out.embedded.originals

    def head(learned: NDArray[np.bool_]) -> Classifier:
        means = np.stack([originals[(labels == place) & learned].mean(axis=0) for place in range(len(categories))])
        weights = np.ascontiguousarray(unit_rows(means).T * np.float32(sharpness))
        return Classifier(categories, weights, np.zeros(len(categories), np.float32))

    return TrainedHeads(_heads(held_out, head), 1, 1.0)


def _heads(held_out: HeldOut, head: Callable[[NDArray[np.bool_]], Classifier]) -> Heads:
    """A head for each fold that is held out, if any, and one for all images."""
    served = head(np.ones(len(held_out.embedded.digests), np.bool_))
    if not held_out.n_images:
        return Heads.single(served)
    return Heads(served, tuple(head(held_out.folds.numbers != fold) for fold in range(held_out.n_folds)))


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


def train_discriminant(held_out: HeldOut, *_: object) -> TrainedHeads:
    """Heads of the discriminant analysis alone, calibrated: for real embeddings, whose means lie close together."""
    called.append("train")
    embedded = held_out.embedded
    categories = embedded.categories

    def head(images: NDArray[np.bool_]) -> Classifier:
        learned = np.flatnonzero(images)
        views = embedded.views[learned]
        labels = np.repeat(embedded.columns(learned, categories), views.shape[1])
        return Classifier(categories, *lda_head(views.reshape(len(labels), -1), labels, len(categories)))

    return TrainedHeads(calibrated(_heads(held_out, head), held_out), 1, 1.0)


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
