"""Fine-tuning of a backbone's last blocks on a catalogue's categories.

1. Compute the trunk's features of all pictures, and of strongly augmented copies of the training pictures.
2. Fit a head on the frozen backbone's embeddings, and evaluate both on the held-out pictures.
3. Train the tail and the head: an epoch shows each training picture once, every time another copy. What the catalogue
   says of the pictures is a second target.
4. Evaluate again. If tuning did not clearly help, restore the backbone's weights.
5. Export the backbone.

The result includes the head that was trained with the backbone: a head trained afterwards on the tuned backbone's
embeddings does worse (benchmarks/quality/fine_tuning.py), because tuning has made its training pictures too easy.
"""

import hashlib
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.sparse import csr_array

from indexer.backbone.export import export_embedder
from indexer.backbone.fine_tuning import strong_augmentation, trainer
from indexer.backbone.fine_tuning.checkpoint import TuningCheckpoint
from indexer.backbone.fine_tuning.plan import plan_tuning
from indexer.backbone.fine_tuning.trainer import TailTrainer, TuningRun
from indexer.backbone.fine_tuning.trunk import Features, Picture, compute_features, split_backbone
from indexer.backbone.load import Backbone
from indexer.console.progress import Stage


@dataclass(frozen=True)
class TuningFigures:
    """The figures of a fine-tuning; accuracies are None if it was not possible.

    Attributes:
        improved: True if the tuned backbone was kept.
        learned: number of training pictures.
        held_out: number of pictures that it was evaluated on.
        epochs: number of epochs, including those of an earlier run that was killed.
        frozen_accuracy: category accuracy of the backbone as it was, with a head fitted on its embeddings.
        tuned_accuracy: category accuracy of the tuned backbone with its own head.
        words: True if what the catalogue says was a second target.
        seconds: total time.
        reason: why the backbone was left as it was; empty if it was tuned.
    """

    improved: bool
    learned: int
    held_out: int
    epochs: int
    frozen_accuracy: float | None
    tuned_accuracy: float | None
    words: bool
    seconds: float
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class TunedHead:
    """A linear head for unit embeddings.

    Attributes:
        labels: `(n_categories,)` int64: the label of each column, ascending.
        weights: `(dim, n_categories)` float32.
        bias: `(n_categories,)` float32.
    """

    labels: NDArray[np.int64]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True)
class TunedBackbone:
    """A backbone, tuned if that helped.

    Attributes:
        model: the exported backbone, as by `export_embedder`.
        head: the head that was trained with it; None if the backbone is not tuned.
        figures: the figures of the fine-tuning.
    """

    model: bytes
    head: TunedHead | None
    figures: TuningFigures


def fine_tune(
    backbone: Backbone,
    pictures: Sequence[Picture],
    labels: NDArray[np.int64],
    held: NDArray[np.bool_],
    groups: NDArray[np.int64],
    seed: int,
    stage: Stage,
    resume: Path | None = None,
    say: Callable[[str], None] = print,
    texts: csr_array | None = None,
) -> TunedBackbone:
    """Tune a backbone's last blocks, in place; the same pictures and seed give the same backbone.

    Args:
        backbone: as pretrained; left as it was if tuning does not help.
        pictures: each is read once at most, from any thread; unreadable ones are left out.
        labels: `(n,)`: categories from 0.
        held: `(n,)`: pictures to evaluate on, all those of a group or none.
        groups: `(n,)`: the same number for pictures of one group.
        seed: of the copies, their order and the dropout.
        stage: advanced once per picture and per view shown: `tuning_steps` in all.
        resume: a file for the state after each epoch, to resume from after a kill; deleted when tuning ends. The
            features, `feature_bytes` per view, are in an unnamed file in its directory, else in the temporary
            directory.
        say: receives messages for the user.
        texts: `(n_learned, n_features)`, the features of the words of each picture that `plan_tuning` chooses to learn,
            in its order; None without words.

    Raises:
        WeightsError: the exported backbone differs from the original.
        OSError: the features or the checkpoint can't be written.
    """
    started = time.monotonic()
    plan = plan_tuning(labels, held, seed)
    if isinstance(plan, str):
        return _untuned(backbone, plan, started)
    trunk, tail = split_backbone(backbone)
    scratch = resume.parent if resume is not None else None
    features, indices = compute_features(trunk, pictures, plan, seed, scratch, stage)
    held_groups = groups[indices][_is_learned(labels[indices], len(features.learned))][len(features.learned) :]
    features, learned_labels, columns = _with_learned_labels(features, labels[indices])
    if len(learned_labels) < 2 or not len(features.held_out):
        return _untuned(backbone, "too few of the pictures can be read", started)
    if texts is not None:
        texts = texts[np.isin(plan.learned, indices[: len(features.learned)])]
    run = TuningRun(features, columns, plan.epochs, seed, texts)
    checkpoint = TuningCheckpoint(resume, _key(backbone, run), say)
    frozen_weights = tail.get_weights()
    tail_trainer = TailTrainer(tail, run)
    frozen = tail_trainer.correct()
    tail_trainer.train(checkpoint, stage, say)
    tuned = tail_trainer.correct()
    improved = clearly_better(tuned, frozen, held_groups)
    if not improved:
        tail.set_weights(frozen_weights)
    model = export_embedder(backbone.model)
    checkpoint.delete()
    accuracies = float(frozen.mean()), float(tuned.mean())
    reason = "" if improved else "held-out category accuracy is {:.4f} frozen, {:.4f} tuned".format(*accuracies)
    figures = TuningFigures(
        improved,
        len(features.learned),
        len(features.held_out),
        plan.epochs,
        *accuracies,
        texts is not None,
        time.monotonic() - started,
        reason,
    )
    return TunedBackbone(model, TunedHead(learned_labels, *tail_trainer.head()) if improved else None, figures)


def clearly_better(tuned: NDArray[np.bool_], frozen: NDArray[np.bool_], groups: NDArray[np.int64]) -> bool:
    """Return True if one classifier beats another on the same pictures by more than chance.

    By more than one standard deviation of the difference, estimated from the differences of groups: pictures of one
    group are right or wrong together. Where each is a group of its own, that is the test of McNemar (1947). One photo
    more of two hundred is chance; tuning would then only cost embedding everything anew.

    Args:
        tuned: `(n,)`: True for the pictures that the one gets right.
        frozen: `(n,)`: the same for the other.
        groups: `(n,)`: the same number for pictures of one group.
    """
    _, numbers = np.unique(groups, return_inverse=True)
    differences = np.bincount(numbers, weights=tuned.astype(np.float64) - frozen)
    return float(differences.sum()) > math.sqrt(float((differences**2).sum()))


def _untuned(backbone: Backbone, reason: str, started: float) -> TunedBackbone:
    figures = TuningFigures(False, 0, 0, 0, None, None, False, time.monotonic() - started, reason)
    return TunedBackbone(export_embedder(backbone.model), None, figures)


def _with_learned_labels(
    features: Features, labels: NDArray[np.int64]
) -> tuple[Features, NDArray[np.int64], NDArray[np.int64]]:
    """Leave out held-out pictures whose label has no training picture.

    Returns:
        The remaining features, the labels that are learned, and the column of each remaining picture's label.
    """
    n_learned = len(features.learned)
    learned_labels = np.unique(labels[:n_learned])
    kept = _is_learned(labels, n_learned)
    digests = tuple(itertools.compress(features.digests, kept))
    remaining = replace(features, held_out=features.held_out[kept[n_learned:]], digests=digests)
    return remaining, learned_labels, np.searchsorted(learned_labels, labels[kept])


def _is_learned(labels: NDArray[np.int64], n_learned: int) -> NDArray[np.bool_]:
    """`(n,)` bool: True for pictures whose label is among those of the first `n_learned`."""
    return np.isin(labels, labels[:n_learned])


def _key(backbone: Backbone, run: TuningRun) -> str:
    """A digest of everything that the weights after an epoch depend on."""
    side_px = backbone.model.input_shape[1]
    recipes = (strong_augmentation.RECIPE, trainer.RECIPE)
    settings = (tf.__version__, backbone.name, side_px, *recipes, run.epochs, run.seed)
    digest = hashlib.sha256(repr(settings).encode())
    for array in (*backbone.model.get_weights(), run.labels):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(b"".join(run.features.digests))
    if run.texts is not None:
        for part in (run.texts.data, run.texts.indices, run.texts.indptr):
            digest.update(part.tobytes())
    return digest.hexdigest()
