"""Tune a base's last blocks on a catalogue's own categories.

1. Compute the trunk's features of all pictures, and of strongly_augmented copies of those that are learned.
2. Fit a head on the frozen base's embeddings, and judge both on the held-out pictures.
3. Train the tail and that head: an epoch shows each learned picture once, every time another copy.
4. Judge again. Where tuning did not clearly help, the base gets its weights back.
5. Export the whole.

The head that was trained along comes with the base: one that is trained on a tuned base's embeddings afterwards does
worse (benchmarks/quality/fine_tuning.py), since the tail has made the very pictures that it would learn from too easy.
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

from indexer.backbone.export import export_embedder
from indexer.backbone.fine_tuning import strong_augmentation, trainer
from indexer.backbone.fine_tuning.checkpoint import TuningCheckpoint
from indexer.backbone.fine_tuning.trainer import TailTrainer, TuningRun
from indexer.backbone.fine_tuning.trunk import Features, Picture, compute_features, split_backbone
from indexer.backbone.load import Backbone
from indexer.console.progress import Stage

# Chosen by held-out pictures of the clothing photos; benchmarks/quality/fine_tuning.py measures what tuning brings.
_VIEWS = 31_000
_MAX_EPOCHS = 24
_COPIES = 6
_MAX_JUDGED = 3_000


@dataclass(frozen=True)
class TuningFigures:
    """How tuning went; accuracies and losses are None where nothing could be held out.

    Attributes:
        improved: whether the base is another one than before.
        learned: pictures that were learned.
        held_out: pictures that were judged.
        epochs: trained, those of an earlier run that was killed included.
        frozen_accuracy: category accuracy of the base as it was, with the head fitted on it.
        tuned_accuracy: …of the tuned base with its own head; None if it was not tuned.
        seconds: all of it.
        reason: why the base was left as it was; empty if it was tuned.
    """

    improved: bool
    learned: int
    held_out: int
    epochs: int
    frozen_accuracy: float | None
    tuned_accuracy: float | None
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
    """A base, tuned if that helped.

    Attributes:
        model: the exported base, as `export_embedder` gives it.
        head: the head that was trained with it; None where the base is not tuned.
        figures: how tuning went.
    """

    model: bytes
    head: TunedHead | None
    figures: TuningFigures


def fine_tune(
    base: Backbone,
    pictures: Sequence[Picture],
    labels: NDArray[np.int64],
    held: NDArray[np.bool_],
    seed: int,
    stage: Stage,
    resume: Path | None = None,
    say: Callable[[str], None] = print,
) -> TunedBackbone:
    """Tune a base's last blocks, in place; the same pictures and seed give the same base.

    Args:
        base: as pretrained. It is left as it was if tuning does not help.
        pictures: each is taken once at most, from any thread; those that can't be read are left out.
        labels: `(n,)`: categories from 0.
        held: `(n,)`: pictures to judge by, all those of an item or none.
        seed: of the copies, their order and the dropout.
        stage: is told of each picture and of each view learned: `tuning_steps` in all.
        resume: a file for the state after each epoch, to go on from after a kill; it goes when tuning ends. The
            features, 44 kB a view, lie in an unnamed file beside it, else in the directory for temporary files.
        say: takes a line for a person.

    Raises:
        WeightsError: the exported base differs from the base itself.
        OSError: there is no room for the features or the checkpoint.
    """
    started = time.monotonic()
    plan = _plan(labels, held, seed)
    if isinstance(plan, str):
        return _as_it_was(base, plan, started)
    trunk, tail = split_backbone(base)
    scratch = resume.parent if resume is not None else None
    features, places = compute_features(trunk, pictures, plan.chosen, plan.copies, seed, scratch, stage)
    features, known, columns = _with_known_labels(features, labels[places])
    if len(known) < 2 or not len(features.judged):
        return _as_it_was(base, "too few of the pictures can be read", started)
    run = TuningRun(features, columns, plan.epochs, seed)
    checkpoint = TuningCheckpoint(resume, _key(base, run), say)
    frozen_weights = tail.get_weights()
    tail_trainer = TailTrainer(tail, run)
    frozen = tail_trainer.correct()
    tail_trainer.train(checkpoint, stage, say)
    tuned = tail_trainer.correct()
    improved = clearly_better(tuned, frozen)
    if not improved:
        tail.set_weights(frozen_weights)
    model = export_embedder(base.model)
    checkpoint.delete()
    accuracies = float(frozen.mean()), float(tuned.mean())
    reason = "" if improved else "held-out category accuracy is {:.4f} frozen, {:.4f} tuned".format(*accuracies)
    figures = TuningFigures(
        improved,
        len(features.learned),
        len(features.judged),
        plan.epochs,
        *accuracies,
        time.monotonic() - started,
        reason,
    )
    return TunedBackbone(model, TunedHead(known, *tail_trainer.head()) if improved else None, figures)


def clearly_better(tuned: NDArray[np.bool_], frozen: NDArray[np.bool_]) -> bool:
    """Whether the difference of two classifiers on the same pictures is more than chance would give.

    More than one standard deviation of it, as counted from the pictures that only one of them gets right (McNemar,
    1947). A photo more of two hundred is chance; tuning would then only have cost the time of embedding anew.

    Args:
        tuned: `(n,)`: which are right with the one.
        frozen: `(n,)`: …with the other.
    """
    won, lost = int((tuned & ~frozen).sum()), int((frozen & ~tuned).sum())
    return won - lost > math.sqrt(won + lost)


def _as_it_was(base: Backbone, reason: str, started: float) -> TunedBackbone:
    figures = TuningFigures(False, 0, 0, 0, None, None, time.monotonic() - started, reason)
    return TunedBackbone(export_embedder(base.model), None, figures)


def _with_known_labels(
    features: Features, labels: NDArray[np.int64]
) -> tuple[Features, NDArray[np.int64], NDArray[np.int64]]:
    """Leave out what is judged but of a label that nothing is learned of.

    Returns:
        The features left, the labels that are learned, and of each picture left the place of its label among them.
    """
    n_learned = len(features.learned)
    known = np.unique(labels[:n_learned])
    kept = np.isin(labels, known)
    digests = tuple(itertools.compress(features.digests, kept))
    left = replace(features, judged=features.judged[kept[n_learned:]], digests=digests)
    return left, known, np.searchsorted(known, labels[kept])


def tuning_steps(labels: NDArray[np.int64], held: NDArray[np.bool_], seed: int) -> int:
    """How often `fine_tune` advances its stage; see there."""
    plan = _plan(labels, held, seed)
    return 0 if isinstance(plan, str) else len(plan.learned) * (1 + plan.epochs) + len(plan.judged)


@dataclass(frozen=True)
class _Plan:
    """Places of the pictures that are learned and judged, and how often each of the former is shown."""

    learned: NDArray[np.int64]
    judged: NDArray[np.int64]
    epochs: int

    @property
    def chosen(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self.learned, self.judged

    @property
    def copies(self) -> int:
        return min(_COPIES, self.epochs - 1)


def _plan(labels: NDArray[np.int64], held: NDArray[np.bool_], seed: int) -> _Plan | str:
    """A plan, or why there is none."""
    if len(np.unique(labels)) < 2:
        return "there is only one category"
    if not held.any():
        return "too few pictures to hold any out"
    learned = _some_of_each(np.flatnonzero(~held), labels, _VIEWS, seed)
    judged = _some_of_each(np.flatnonzero(held), labels, _MAX_JUDGED, seed)
    return _Plan(learned, judged, max(1, min(_MAX_EPOCHS, round(_VIEWS / len(learned)))))


def _some_of_each(places: NDArray[np.int64], labels: NDArray[np.int64], limit: int, seed: int) -> NDArray[np.int64]:
    """About `limit` of the places: the same share of each category's, and at least one."""
    if len(places) <= limit:
        return places
    random = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels[places]):
        members = random.permutation(places[labels[places] == label])
        chosen.append(members[: max(1, len(members) * limit // len(places))])
    return np.sort(np.concatenate(chosen))


def _key(base: Backbone, run: TuningRun) -> str:
    """Names everything that the weights after an epoch depend on."""
    settings = (tf.__version__, base.name, strong_augmentation.RECIPE, trainer.RECIPE, run.epochs, run.seed)
    digest = hashlib.sha256(repr(settings).encode())
    for array in (*base.model.get_weights(), run.labels):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(b"".join(run.features.digests))
    return digest.hexdigest()
