"""The fine-tuning stage of a build: select the images, decide whether they are enough, tune, and report."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from indexer.backbone.fine_tuning.plan import feature_bytes, plan_tuning, tuning_steps
from indexer.catalogue.model import Catalogue
from indexer.console.progress import Reporter
from indexer.embedding.decoding import decode_pixels
from indexer.embedding.exported_backbone import ExportedBackbone
from indexer.files.durable_write import storage_error
from indexer.files.location import read_limited
from indexer.groups.catalogue_folds import CatalogueFolds
from indexer.settings import BuildSettings
from indexer.snapshots.published import preprocessing_of
from indexer.snapshots.stored_folds import StoredFolds
from indexer.words.image_texts import text_targets
from shared.images.limits import ImageLimits
from shared.images.preprocessing import Preprocessing
from shared.model.classifier import Classifier
from shared.snapshot.data_directory import DataDirectory

if TYPE_CHECKING:
    from indexer.backbone.load import Backbone

MIN_LEARNED = 1_000
MIN_HELD_OUT = 150


def objection_to_catalogue(catalogue: Catalogue, settings: BuildSettings) -> str | None:
    """Return a reason against fine-tuning on a catalogue, whichever images are held out; None if there is none."""
    if len({item.category for item in catalogue.items}) < 2:
        return "there is only one category"
    if settings.fine_tune == "auto" and catalogue.n_images < MIN_LEARNED + MIN_HELD_OUT:
        return _too_few(f"{catalogue.n_images} images")
    return None


def _too_few(images: str) -> str:
    return (
        f"{images} are too few to expect a gain (auto needs {MIN_LEARNED} training and {MIN_HELD_OUT} held-out images;"
        " --fine-tune on tries it anyway)"
    )


@dataclass(frozen=True)
class LabelledImages:
    """A catalogue's good images with their labels.

    Attributes:
        names: their paths, relative to `root`.
        root: the directory that paths are relative to.
        categories: the names of the labels.
        labels: `(n_images,)` int64.
        held: `(n_images,)` bool: True for the images of fold 0.
        groups: `(n_images,)` int64: the same number for images of one group.
        folds: those of all images, for the snapshot.
        texts: `(n_learned, n_features)`: the features of the words of each image that `plan_tuning` chooses to learn;
            None without words.
    """

    names: tuple[str, ...]
    root: Path
    categories: tuple[str, ...]
    labels: NDArray[np.int64]
    held: NDArray[np.bool_]
    groups: NDArray[np.int64]
    folds: StoredFolds
    texts: csr_array | None

    @classmethod
    def of(cls, folds: CatalogueFolds, root: Path, settings: BuildSettings) -> "LabelledImages":
        """Label all images of an embedded catalogue, and hold out those of fold 0.

        Raises:
            SettingsError: `--words` names a column that does not exist.
        """
        embedded = folds.embedded
        names = tuple(name for item in embedded.items for name in item.images)
        held = folds.numbers == 0
        plan = plan_tuning(folds.columns, held, settings.seed)
        texts = None if isinstance(plan, str) else text_targets(embedded, plan.learned, settings.words)
        groups = folds.groups.numbers
        return cls(names, root, embedded.categories, folds.columns, held, groups, folds.stored(), texts)

    def objection(self, settings: BuildSettings) -> str | None:
        """Return a reason against fine-tuning on these images; None if there is none."""
        n_learned, n_held_out = int((~self.held).sum()), int(self.held.sum())
        if len(self.categories) < 2:
            return "there is only one category"
        if settings.fine_tune == "auto" and (n_learned < MIN_LEARNED or n_held_out < MIN_HELD_OUT):
            return _too_few(f"{n_learned} training and {n_held_out} held-out images")
        return None


def tune_backbone(
    backbone: "Backbone", images: LabelledImages, settings: BuildSettings, reporter: Reporter
) -> ExportedBackbone:
    """Tune and export a backbone; it is left as it was if that does not help.

    If killed, the next build resumes after the last finished epoch.

    Raises:
        StorageError: the features or the checkpoint can't be written.
    """
    from indexer.backbone.fine_tuning.fine_tune import fine_tune

    labels, held, groups, seed = images.labels, images.held, images.groups, settings.seed
    steps = tuning_steps(labels, held, seed)
    targets = "categories" if images.texts is None else "categories and words"
    reporter.say(f"fine-tuning the backbone to {targets}, on {steps} pictures and views; --fine-tune off skips this")
    checkpoint = DataDirectory(settings.data).tuning
    with reporter.stage("fine-tune", steps) as stage:
        preprocessing = preprocessing_of(DataDirectory(settings.data), settings.side)
        pictures = _Pictures(images, settings.image_limits, preprocessing)
        try:
            tuned = fine_tune(
                backbone, pictures, labels, held, groups, seed, stage, checkpoint, reporter.say, images.texts
            )
        except OSError as error:
            size = f"{feature_bytes(preprocessing.side_px) / 1000:.0f} kB per view"
            what = f"fine-tuning can't write its features, {size}, or {checkpoint.name}"
            raise storage_error(what, checkpoint.parent, error) from error
    figures = tuned.figures
    if not figures.improved:
        reporter.say(f"the backbone is left as it was: {figures.reason}")
    else:
        reporter.say(
            f"the backbone is tuned: category_accuracy {figures.tuned_accuracy:.4f} on {figures.held_out} held-out"
            f" images, {figures.frozen_accuracy:.4f} before"
        )
    head = None
    if tuned.head is not None:
        names = tuple(images.categories[label] for label in tuned.head.labels)
        head = Classifier(names, tuned.head.weights, tuned.head.bias)
    return ExportedBackbone(backbone.name, backbone.weights, tuned.model, figures.as_dict(), head, images.folds)


class _Pictures(Sequence[Any]):
    """A catalogue's images as the embedder's input, decoded on access."""

    def __init__(self, images: LabelledImages, limits: ImageLimits, preprocessing: Preprocessing) -> None:
        self._root, self._limits, self._preprocessing = images.root, limits, preprocessing
        self._names = images.names

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: Any) -> Any:
        """Return a `Picture`.

        Raises:
            ImageError: it can't be decoded, or exceeds the limits.
            OSError: it can't be read.
        """
        from indexer.backbone.fine_tuning.trunk import Picture

        name = self._names[index]
        data = read_limited(self._root / name, self._limits)
        pixels = decode_pixels(data, self._limits, name, self._preprocessing)
        return Picture(pixels, sha256(data).digest())
