"""Tune a base's last blocks on a catalogue's own categories.

1. Compute the trunk's features of all pictures, and of distorted copies of those that are learned.
2. Fit a head on the frozen base's embeddings, and judge both on the held-out pictures.
3. Train the tail and that head: an epoch shows each learned picture once, every time another copy.
4. Judge again. Where tuning did not help, the base gets its weights back.
5. Export the whole.

The head that was trained along comes with the base: `train_classifier` can be measured against it.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from indexer import distortion, tuner
from indexer.backbone import Backbone, export_embedder
from indexer.report import Stage
from indexer.trunk import Picture, compute_features, split_base
from indexer.tuner import Lesson, Tuner
from indexer.tuning_checkpoint import TuningCheckpoint

# Chosen by held-out pictures of the clothing photos; benchmarks/fine_tuning.py measures what tuning brings.
_VIEWS = 26_000
_MAX_EPOCHS = 24
_COPIES = 6
_MAX_JUDGED = 3_000


@dataclass(frozen=True)
class TuningFigures:
    """How tuning went; accuracies and losses are None where nothing could be held out.

    Attributes:
        learned: pictures that were learned.
        held_out: pictures that were judged.
        epochs: trained, those of an earlier run that was killed included.
        frozen_accuracy: category accuracy of the base as it was, with the head fitted on it.
        tuned_accuracy: …of the tuned base with its own head; None if it was not tuned.
        seconds: all of it.
        reason: why the base was left as it was; empty if it was tuned.
    """

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
class TunedBase:
    """A base, tuned if that helped.

    Attributes:
        model: the exported base, as `export_embedder` gives it.
        improved: whether it is another one than before.
        weights: `(dim, n_categories)` float32, of the head that was trained with it, for unit embeddings; None where
            it is not tuned.
        bias: `(n_categories,)` float32, likewise.
        figures: how tuning went.
    """

    model: bytes
    improved: bool
    weights: NDArray[np.float32] | None
    bias: NDArray[np.float32] | None
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
) -> TunedBase:
    """Tune a base's last blocks, in place; the same pictures and seed give the same base.

    Args:
        base: as pretrained. It is left as it was if tuning does not help.
        pictures: each is taken once at most, from any thread.
        labels: `(n,)`: categories from 0, each of them also among the pictures that are not held out.
        held: `(n,)`: pictures to judge by, all those of an item or none, as `hold_out` chooses them.
        seed: of the copies, their order and the dropout.
        stage: is told of each picture and of each view learned: `tuning_steps` in all.
        resume: a file for the state after each epoch, to go on from after a kill; it goes when tuning ends. The
            features, 44 kB a view, lie in an unnamed file beside it, else in the directory for temporary files.
        say: takes a line for a person.

    Raises:
        WeightsError: the exported base differs from the base itself.
    """
    started = time.monotonic()
    plan = _plan(labels, held, seed)
    if isinstance(plan, str):
        figures = TuningFigures(0, 0, 0, None, None, time.monotonic() - started, plan)
        return TunedBase(export_embedder(base.model), False, None, None, figures)
    trunk, tail = split_base(base)
    features = compute_features(
        trunk, pictures, plan.chosen, plan.copies, seed, resume.parent if resume is not None else None, stage
    )
    lesson = Lesson(features, labels[np.concatenate(plan.chosen)], plan.epochs, seed)
    checkpoint = TuningCheckpoint(resume, _key(base, lesson), say)
    frozen_weights = tail.get_weights()
    training = Tuner(tail, lesson)
    frozen = training.accuracy()
    training.train(checkpoint, stage)
    tuned = training.accuracy()
    if tuned <= frozen:
        tail.set_weights(frozen_weights)
    model = export_embedder(base.model)
    checkpoint.delete()
    reason = "" if tuned > frozen else f"held-out category accuracy is {tuned:.4f} tuned, {frozen:.4f} frozen"
    seconds = time.monotonic() - started
    figures = TuningFigures(features.n_learned, features.n_judged, plan.epochs, frozen, tuned, seconds, reason)
    weights, bias = training.head() if tuned > frozen else (None, None)
    return TunedBase(model, tuned > frozen, weights, bias, figures)


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


def _key(base: Backbone, lesson: Lesson) -> str:
    """Names everything that the weights after an epoch depend on."""
    settings = (tf.__version__, base.name, distortion.RECIPE, tuner.RECIPE, lesson.epochs, lesson.seed)
    digest = hashlib.sha256(repr(settings).encode())
    for array in (*base.model.get_weights(), lesson.labels):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(b"".join(lesson.features.digests))
    return digest.hexdigest()
