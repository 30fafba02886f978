"""The plan of fine-tuning: training and held-out pictures, copies, and epochs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Chosen by held-out pictures of the clothing photos; benchmarks/quality/fine_tuning.py measures what tuning brings.
_VIEWS = 31_000
_MAX_EPOCHS = 24
_MAX_COPIES = 6
_MAX_HELD_OUT = 3_000


@dataclass(frozen=True)
class TuningPlan:
    """The pictures to use, and how often to show each.

    Attributes:
        learned: `(n_learned,)` int64, the indices of the training pictures.
        held_out: `(n_held_out,)` int64, the indices of the pictures to evaluate on.
        epochs: the number of times that each training picture is shown.
    """

    learned: NDArray[np.int64]
    held_out: NDArray[np.int64]
    epochs: int

    @property
    def copies(self) -> int:
        """The number of augmented copies of each training picture."""
        return min(_MAX_COPIES, self.epochs - 1)


def plan_tuning(labels: NDArray[np.int64], held: NDArray[np.bool_], seed: int) -> TuningPlan | str:
    """Plan the fine-tuning, or return the reason why it is not possible.

    Args:
        labels: `(n,)`, the category of each picture, from 0.
        held: `(n,)`, True for held-out pictures.
        seed: of the choice where there are too many pictures.
    """
    if len(np.unique(labels)) < 2:
        return "there is only one category"
    if not held.any():
        return "too few pictures to hold any out"
    learned = _sample(np.flatnonzero(~held), labels, _VIEWS, seed)
    held_out = _sample(np.flatnonzero(held), labels, _MAX_HELD_OUT, seed)
    return TuningPlan(learned, held_out, max(1, min(_MAX_EPOCHS, round(_VIEWS / len(learned)))))


def tuning_steps(labels: NDArray[np.int64], held: NDArray[np.bool_], seed: int) -> int:
    """Return the number of times that `fine_tune` advances its stage; arguments as of `plan_tuning`."""
    plan = plan_tuning(labels, held, seed)
    return 0 if isinstance(plan, str) else len(plan.learned) * (1 + plan.epochs) + len(plan.held_out)


def feature_bytes(side_px: int) -> int:
    """Return the size of a view's features, `(side_px / 16, side_px / 16, 112)` float16: 44 kB at 224 px."""
    return (side_px // 16) ** 2 * 112 * np.dtype(np.float16).itemsize


def _sample(pictures: NDArray[np.int64], labels: NDArray[np.int64], limit: int, seed: int) -> NDArray[np.int64]:
    """Choose about `limit` pictures: the same share of each category, and at least one."""
    if len(pictures) <= limit:
        return pictures
    random = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels[pictures]):
        members = random.permutation(pictures[labels[pictures] == label])
        chosen.append(members[: max(1, len(members) * limit // len(pictures))])
    return np.sort(np.concatenate(chosen))
