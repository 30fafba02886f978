"""Held-out images of a catalogue, as a first build divides it."""

from indexer.classifier.held_out import HeldOut
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.groups.catalogue_folds import CatalogueFolds
from indexer.snapshots.stored_folds import StoredFolds


def hold_out(
    embedded: EmbeddedCatalogue, seed: int = 0, known: StoredFolds | None = None, is_tuned: bool = False
) -> HeldOut:
    """All five folds, or the first alone."""
    return HeldOut.of(CatalogueFolds(embedded, known, seed), is_tuned)
