"""The classifier head that is served, and those of the folds.

Accuracy, temperature and the out-of-distribution rule can be measured only on images that a head has not learned. So
there is a head for each fold that has learned all but that, and one that has learned everything and is served
(docs/decisions/0033-groups.md). What was fitted on the images by the heads of their folds stays with the one that is
served. The others are kept, since the next build compares its own with them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.files.npz_file import read_arrays
from shared.model.classifier import Classifier
from shared.model.ood_rule import OodRule
from shared.model.projection import Projection
from shared.snapshot.data_directory import SnapshotPaths

LinearHead: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Weights `(dim, n_categories)` and bias `(n_categories,)`."""


@dataclass(frozen=True)
class Heads:
    """All heads; they differ in weights and bias alone.

    Attributes:
        served: has learned everything.
        of_folds: each has not learned the images of one fold, the first those of fold 0; at least one. It is the one
            that is served where nothing is held out, or where that has not learned the images of fold 0 either.
    """

    served: Classifier
    of_folds: tuple[Classifier, ...]

    @classmethod
    def single(cls, classifier: Classifier) -> "Heads":
        """One head for both."""
        return cls(classifier, (classifier,))

    @classmethod
    def of_arrays(cls, served: Classifier, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> "Heads":
        """Heads of the folds with these weights, `(n_folds, dim, n_categories)`, and bias, `(n_folds, n_categories)`.

        Raises:
            SnapshotError: the shapes don't fit.
        """
        return cls(served, tuple(replace(served, weights=own, bias=of) for own, of in zip(weights, bias, strict=True)))

    @classmethod
    def open(cls, paths: SnapshotPaths) -> "Heads":
        """Read the heads of a snapshot; those of earlier versions have one that was validated, or none.

        Raises:
            SnapshotError: a file is missing or damaged.
        """
        served = Classifier.open(paths.classifier)
        if paths.fold_classifiers.exists():
            return _with_fold_heads(served, paths)
        if paths.validated_classifier.exists():
            return cls(served, (replace(Classifier.open(paths.validated_classifier), ood_rule=served.ood_rule),))
        return cls.single(served)

    def write(self, paths: SnapshotPaths) -> None:
        """Write the heads into a snapshot."""
        self.served.save(paths.classifier)
        if not self.is_single:
            weights, bias = (np.stack([getattr(head, name) for head in self.of_folds]) for name in ("weights", "bias"))
            np.savez(paths.fold_classifiers, weights=weights, bias=bias)

    def with_ood_rule(self, rule: OodRule | None) -> "Heads":
        """The same heads with another OOD rule."""
        served = replace(self.served, ood_rule=rule)
        if self.is_single:
            return Heads.single(served)
        return Heads(served, tuple(replace(head, ood_rule=rule) for head in self.of_folds))

    def projected(self, projection: Projection | None, of_folds: Sequence[Projection]) -> "Heads":
        """The same heads for projected embeddings.

        Args:
            projection: of the one that is served.
            of_folds: of those of the folds; the first ones, if there are fewer heads.
        """
        if projection is None:
            return self
        served = replace(self.served, projection=projection)
        heads = tuple(replace(head, projection=own) for head, own in zip(self.of_folds, of_folds, strict=False))
        return Heads(served, heads or (served,))

    def first_plus(self, other: Classifier) -> "Heads":
        """The head that is served and that of fold 0, each with another linear head added; of the same categories."""

        def plus(head: Classifier) -> Classifier:
            return replace(head, weights=head.weights + other.weights, bias=head.bias + other.bias)

        if self.is_single:
            return Heads.single(plus(self.served))
        return Heads(plus(self.served), (plus(self.of_folds[0]),))

    def linear(self) -> list[LinearHead]:
        """Weights and bias of the head of each fold."""
        return [(head.weights, head.bias) for head in self.of_folds]

    @property
    def is_single(self) -> bool:
        """True if there is one head for both."""
        return len(self.of_folds) == 1 and self.of_folds[0] is self.served


def _with_fold_heads(served: Classifier, paths: SnapshotPaths) -> Heads:
    path = paths.fold_classifiers
    arrays = read_arrays(path, "the classifiers of the folds")
    try:
        weights, bias = (arrays[name].astype(np.float32) for name in ("weights", "bias"))
        if not len(weights):
            raise SnapshotError("it has no heads; expected one per fold")
        return Heads.of_arrays(served, weights, bias)
    except (KeyError, ValueError, SnapshotError) as error:
        raise SnapshotError(f"the classifiers of the folds {path} can't be read: {error}") from error
