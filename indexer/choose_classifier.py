"""Whether the published classifier still fits, or has to be trained again.

It is kept while the embeddings are the same kind, the categories are the same, and of the images at most
`MAX_CHANGED_SHARE` came, went or moved since it was trained. `--retrain` trains it whatever has changed.
"""

from collections.abc import Mapping
from typing import Any

from indexer.embed import EmbeddedCatalogue
from indexer.published import Published
from indexer.report import Stage
from indexer.settings import BuildSettings
from shared.classifier import Classifier

MAX_CHANGED_SHARE = 0.05
CHANGED = "images_changed_since_training"


def choose_classifier(
    settings: BuildSettings, published: Published | None, embedded: EmbeddedCatalogue, stage: Stage
) -> tuple[Classifier, Mapping[str, Any]]:
    """The published classifier where it still fits, else a newly trained one.

    Args:
        settings: `seed`, and `retrain` to train in any case.
        published: the snapshot that is being replaced.
        embedded: the catalogue as it is now.
        stage: is told of each epoch.

    Returns:
        The classifier, and its figures on held-out items for the manifest.
    """
    kept = None if settings.retrain else _published_classifier(published, embedded)
    if kept is not None:
        return kept
    from indexer.train_classifier import train_classifier

    classifier, held_out = train_classifier(embedded, settings.seed, stage)
    return classifier, {**held_out.as_dict(), CHANGED: 0}


def _published_classifier(
    published: Published | None, embedded: EmbeddedCatalogue
) -> tuple[Classifier, Mapping[str, Any]] | None:
    if published is None or published.manifest.recipe != embedded.recipe:
        return None
    now = {
        (embedded.items[number].category, digest)
        for number, digest in zip(embedded.image_items, embedded.digests, strict=True)
    }
    if {category for category, _ in now} != {entry.name for entry in published.manifest.categories}:
        return None
    figures = published.manifest.classifier
    before = published.images()
    # One that was edited or moved has both come and gone: it counts once.
    changed = int(figures.get(CHANGED, 0)) + max(len(now - before), len(before - now))
    if changed > MAX_CHANGED_SHARE * len(now):
        return None
    return published.classifier(), {**figures, CHANGED: changed}
