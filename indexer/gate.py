"""Whether a candidate may be published: not when it is worse than the published snapshot by more than this."""

from shared.manifest import Manifest

MAX_ACCURACY_LOSS = 0.03
MIN_ANN_RECALL_AT_10 = 0.99
_MIN_JUDGED_IMAGES = 100


def objections(candidate: Manifest, published: Manifest | None) -> list[str]:
    """Why a candidate should not be published; empty where it may be.

    Args:
        candidate: measured on held-out items, and its indexes against exact search.
        published: what it would replace; None where there is nothing.
    """
    found = [
        f"ann_recall_at_10 of {entry.name!r} is {entry.ann_recall_at_10:.4f}; wanted {MIN_ANN_RECALL_AT_10}"
        for entry in candidate.categories
        if entry.ann_recall_at_10 < MIN_ANN_RECALL_AT_10
    ]
    if published is None:
        return found
    now, before = _accuracy(candidate), _accuracy(published)
    if now is not None and before is not None and now < before - MAX_ACCURACY_LOSS:
        found.append(
            f"category_accuracy on held-out items is {now:.4f}, {before:.4f} for the published snapshot; "
            f"wanted no less than {before - MAX_ACCURACY_LOSS:.4f}"
        )
    return found


def _accuracy(manifest: Manifest) -> float | None:
    """On held-out items; None where they are too few to tell anything."""
    figures = manifest.classifier
    if figures["images"] < _MIN_JUDGED_IMAGES or figures["category_accuracy"] is None:
        return None
    return float(figures["category_accuracy"])
