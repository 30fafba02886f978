"""Probabilities that are as sure as they are right on held-out items, and what these say of the right categories.

Guo et al., 2017, "On Calibration of Modern Neural Networks".
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from indexer.classifier.held_out import HeldOut
from shared.model.classifier import Classifier, softmax


def calibrated(classifier: Classifier, held_out: HeldOut) -> Classifier:
    """The same with the temperature that fits held-out items, and their own categories' probabilities by that.

    Where there are none, the temperature is 1.
    """
    if not held_out.n_images:
        return replace(classifier, temperature=1.0, own_probabilities=np.zeros(0, np.float32))
    logits, labels = classifier.logits(held_out.originals), held_out.columns(classifier.categories)
    found = replace(classifier, temperature=fit_temperature(logits, labels))
    return replace(found, own_probabilities=np.sort(held_out.own_probabilities(found)))


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature of the smallest negative log likelihood.

    Args:
        logits: `(n, n_categories)` of held-out images.
        labels: `(n,)` columns.
    """
    from scipy.optimize import minimize_scalar  # most commands train nothing, and it takes long to import

    def loss(log_temperature: float) -> float:
        probabilities = softmax(logits / np.float32(np.exp(log_temperature)))
        return float(-np.log(probabilities[np.arange(len(labels)), labels] + 1e-12).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.2), np.log(5.0)), method="bounded")
    return float(np.exp(found.x))
