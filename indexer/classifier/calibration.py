"""Temperature scaling on held-out items (Guo et al., 2017, "On Calibration of Modern Neural Networks")."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from indexer.classifier.held_out import HeldOut
from shared.model.classifier import Classifier, softmax


def calibrated(classifier: Classifier, held_out: HeldOut) -> Classifier:
    """Return the classifier with the temperature fitted to held-out items, and their true categories' probabilities.

    Without held-out items the temperature is 1.
    """
    if not held_out.n_images:
        return replace(classifier, temperature=1.0, own_probabilities=np.zeros(0, np.float32))
    logits, labels = classifier.logits(held_out.originals), held_out.columns(classifier.categories)
    scaled = replace(classifier, temperature=fit_temperature(logits, labels))
    return replace(scaled, own_probabilities=np.sort(held_out.own_probabilities(scaled)))


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

    optimum = minimize_scalar(loss, bounds=(np.log(0.2), np.log(5.0)), method="bounded")
    return float(np.exp(optimum.x))
