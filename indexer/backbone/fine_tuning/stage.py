"""Fine-tune a base on a catalogue: which of its images, whether these are enough, and what comes of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexer.catalogue.model import Catalogue
from indexer.classifier.held_out import held_out_items
from indexer.console.progress import Reporter
from indexer.embedding.decoding import decode_pixels
from indexer.embedding.exported_backbone import ExportedBackbone
from indexer.files.durable_write import storage_error
from indexer.files.location import read_limited
from indexer.settings import BuildSettings
from indexer.snapshots.published import preprocessing_of
from shared.images.limits import ImageLimits
from shared.model.classifier import Classifier
from shared.snapshot.data_directory import DataDirectory

if TYPE_CHECKING:
    from indexer.backbone.load import Backbone

MIN_LEARNED = 1_000
MIN_JUDGED = 150


@dataclass(frozen=True)
class LabelledImages:
    """A catalogue's images with their labels.

    Attributes:
        catalogue: whose images.
        items: `(n_images,)` int64: the number of each image's item.
        categories: the labels' names.
        labels: `(n_images,)` int64.
        held: `(n_images,)` bool: those of held-out items. Bad images, which are still among these, can shift by one in
            a category which items will judge the classifier: what was learned may be judged then, but hardly ever.
    """

    catalogue: Catalogue
    items: NDArray[np.int64]
    categories: tuple[str, ...]
    labels: NDArray[np.int64]
    held: NDArray[np.bool_]

    @classmethod
    def of(cls, catalogue: Catalogue, settings: BuildSettings) -> "LabelledImages":
        """All of a catalogue."""
        categories = tuple(sorted({item.category for item in catalogue.items}))
        column = {category: place for place, category in enumerate(categories)}
        items = np.repeat(np.arange(len(catalogue.items)), [len(item.images) for item in catalogue.items])
        labels = np.array([column[item.category] for item in catalogue.items], dtype=np.int64)
        held = held_out_items(catalogue.items, settings.seed)
        return cls(catalogue, items, categories, labels[items], held[items])

    def objection(self, settings: BuildSettings) -> str | None:
        """Why it is not to be learned; None if it is."""
        learned, judged = int((~self.held).sum()), int(self.held.sum())
        if len(self.categories) < 2:
            return "there is only one category"
        if settings.fine_tune == "auto" and (learned < MIN_LEARNED or judged < MIN_JUDGED):
            return (
                f"{learned} images to learn and {judged} to judge by are too few for it to be sure to pay"
                f" (auto wants {MIN_LEARNED} and {MIN_JUDGED}; --fine-tune on tries it)"
            )
        return None


def tune_backbone(
    backbone: "Backbone", images: LabelledImages, settings: BuildSettings, reporter: Reporter
) -> ExportedBackbone:
    """Tune and export a base; it stays as it is where that does not help.

    Killed in the middle, the next build goes on from the last epoch that was finished.

    Raises:
        StorageError: there is no room for the features or the checkpoint.
    """
    from indexer.backbone.fine_tuning.fine_tune import fine_tune, tuning_steps

    labels, held, seed = images.labels, images.held, settings.seed
    steps = tuning_steps(labels, held, seed)
    reporter.say(f"fine-tuning the base: {steps} pictures and views; --fine-tune off does without")
    checkpoint = DataDirectory(settings.data).tuning
    with reporter.stage("fine-tune", steps) as stage:
        pictures = _Pictures(images, settings.image_limits, preprocessing_of(DataDirectory(settings.data)))
        try:
            found = fine_tune(backbone, pictures, labels, held, seed, stage, checkpoint, reporter.say)
        except OSError as error:
            what = f"fine-tuning can't keep its features, 44 KB a view, or {checkpoint.name}"
            raise storage_error(what, checkpoint.parent, error) from error
    figures = found.figures
    if not figures.improved:
        reporter.say(f"the base stays as it was: {figures.reason}")
    else:
        reporter.say(
            f"the base is tuned: category_accuracy {figures.tuned_accuracy:.4f} on {figures.held_out} held-out images,"
            f" {figures.frozen_accuracy:.4f} before"
        )
    head = None
    if found.head is not None:
        names = tuple(images.categories[label] for label in found.head.labels)
        head = Classifier(names, found.head.weights, found.head.bias)
    return ExportedBackbone(backbone.name, backbone.weights, found.model, figures.as_dict(), head)


class _Pictures(Sequence[Any]):
    """A catalogue's images as the embedder sees them, decoded when they are asked for."""

    def __init__(self, images: LabelledImages, limits: ImageLimits, preprocessing: str) -> None:
        self._root, self._limits, self._preprocessing = images.catalogue.image_root, limits, preprocessing
        self._images = [image for item in images.catalogue.items for image in item.images]

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, place: Any) -> Any:
        """A `Picture`.

        Raises:
            ImageError: it can't be used.
            OSError: it can't be read.
        """
        from indexer.backbone.fine_tuning.trunk import Picture

        name = self._images[place]
        data = read_limited(self._root / name, self._limits)
        pixels = decode_pixels(data, self._limits, name, self._preprocessing)
        return Picture(pixels, sha256(data).digest())
