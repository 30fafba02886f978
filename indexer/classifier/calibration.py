"""Calibration on held-out images, by the heads of their folds.

1. The temperature (Guo et al., 2017, "On Calibration of Modern Neural Networks").
2. The probabilities of the images' true categories, by which `probe: auto` decides.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from indexer.classifier.held_out import HeldOut
from indexer.snapshots.classifier_heads import Heads
from shared.model.classifier import Classifier, softmax


@dataclass(frozen=True)
class Calibration:
    """The parameters fitted to held-out images.

    Attributes:
        temperature: divides the logits.
        own_probabilities: `(n,)` float32, ascending: of the images' true categories.
        n_groups: the number of groups that the images are of.
        log_loss: mean negative log likelihood of the images' true categories.
    """

    temperature: float = 1.0
    own_probabilities: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    n_groups: int = 0
    log_loss: float = 0.0

    @classmethod
    def fitted(cls, logits: NDArray[np.float32], held_out: HeldOut, categories: tuple[str, ...]) -> "Calibration":
        """Fit to the logits of held-out images; without images the temperature is 1.

        Args:
            logits: `(n_images, n_categories)`, of each image by the head of its fold.
            held_out: the images.
            categories: the names of the columns.
        """
        if not held_out.n_images:
            return cls()
        labels = held_out.columns(categories)
        temperature = fit_temperature(logits, labels)
        own = softmax(logits / np.float32(temperature))[np.arange(len(labels)), labels]
        return cls(temperature, np.sort(own), held_out.n_groups, float(-np.log(own + 1e-12).mean()))

    def of(self, classifier: Classifier) -> Classifier:
        """The classifier with this calibration."""
        return replace(
            classifier,
            temperature=self.temperature,
            own_probabilities=self.own_probabilities,
            n_groups=self.n_groups,
        )


def calibrated(heads: Heads, held_out: HeldOut) -> Heads:
    """Return the heads, calibrated on held-out images."""
    calibration = Calibration.fitted(held_out.logits(heads.linear()), held_out, heads.served.categories)
    if heads.is_single:
        return Heads.single(calibration.of(heads.served))
    return Heads(calibration.of(heads.served), tuple(calibration.of(head) for head in heads.of_folds))


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the temperature that minimises the negative log likelihood.

    Args:
        logits: `(n, n_categories)` of held-out images.
        labels: `(n,)` columns.
    """
    from scipy.optimize import minimize_scalar  # slow to import, and most commands train nothing

    def loss(log_temperature: float) -> float:
        probabilities = softmax(logits / np.float32(np.exp(log_temperature)))
        return float(-np.log(probabilities[np.arange(len(labels)), labels] + 1e-12).mean())

    optimum = minimize_scalar(loss, bounds=(np.log(0.2), np.log(20.0)), method="bounded")
    return float(np.exp(optimum.x))
