"""The models learned from a catalogue's words, and their files in a snapshot."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.embedding.views import ProjectedViews
from indexer.snapshots.published import PublishedSnapshot
from indexer.words.described import DescribedColumns
from shared.errors import SnapshotError
from shared.files.npz_file import read_arrays, typed_array
from shared.model.projection import Projection
from shared.snapshot.data_directory import SnapshotPaths
from shared.words.text_encoder import TextEncoder


@dataclass(frozen=True)
class LearnedWords:
    """The models learned from words.

    Attributes:
        columns: that describe the items.
        projection: None if it would not bring images with the same words nearer.
        fold_projections: for each evaluated fold, learned without its images; empty without a projection.
        text_encoder: learned from all images.
        keys: `(n_items,)` uint64, ascending: of the items that it was learned from, see `word_keys`.
        figures: for the manifest.
        is_new: True if it was learned in this build.
    """

    columns: DescribedColumns
    projection: Projection | None
    fold_projections: tuple[Projection, ...]
    text_encoder: TextEncoder
    keys: NDArray[np.uint64]
    figures: Mapping[str, Any]
    is_new: bool = True

    def projected(self, embedded: EmbeddedCatalogue) -> EmbeddedCatalogue:
        """The catalogue with the embeddings that partitions hold."""
        if self.projection is None:
            return embedded
        recipe = f"{embedded.recipe} | words {self.projection.digest}"
        return replace(embedded, views=ProjectedViews(embedded.views, self.projection), recipe=recipe)

    def write(self, paths: SnapshotPaths) -> None:
        """Write the files into a snapshot."""
        self.text_encoder.save(paths.text_encoder)
        if self.projection is not None:
            self.projection.save(paths.projection)
        parts: dict[str, Any] = {
            f"{name}_{fold}": array
            for fold, projection in enumerate(self.fold_projections)
            for name, array in (("basis", projection.basis), ("gains", projection.gains))
        }
        np.savez(paths.learned_words, keys=self.keys, n_folds=np.int64(len(self.fold_projections)), **parts)

    @classmethod
    def published(cls, published: PublishedSnapshot) -> "LearnedWords | None":
        """Read what the published snapshot has learned; None if it has nothing of the kind.

        Raises:
            SnapshotError: a file is missing or damaged.
        """
        paths, figures = published.paths, published.manifest.words
        if figures is None:
            return None
        keys, folds = _keys_and_folds(paths)
        projection = Projection.open(paths.projection) if paths.projection.exists() else None
        encoder, dim = TextEncoder.open(paths.text_encoder), published.manifest.dim
        dims = {encoder.dim, *(each.dim for each in (*folds, projection) if each is not None)}
        if dims != {dim}:
            raise SnapshotError(f"what {paths.root} learned from words is not of {dim} dimensions, as in its manifest")
        columns = DescribedColumns(_names(figures, "columns"), _names(figures, "short_columns"))
        return cls(columns, projection, folds, encoder, keys, figures, is_new=False)

    def n_changed(self, keys: NDArray[np.uint64]) -> int:
        """The number of items whose words or images are not those that were learned.

        Args:
            keys: of the catalogue's items now.
        """
        same = len(np.intersect1d(self.keys, keys, assume_unique=True))
        return max(len(self.keys), len(keys)) - same


def _keys_and_folds(paths: SnapshotPaths) -> tuple[NDArray[np.uint64], tuple[Projection, ...]]:
    path = paths.learned_words
    arrays = read_arrays(path, "the learned words")
    try:
        keys, n_folds = typed_array(arrays, "keys", np.uint64), typed_array(arrays, "n_folds", np.int64)
        if keys.ndim != 1 or (keys[1:] <= keys[:-1]).any() or n_folds.size != 1:
            raise SnapshotError("its keys are invalid; expected ascending ones, and one number of folds")
        folds = tuple(Projection.of_arrays(arrays, f"_{fold}") for fold in range(n_folds.item()))
    except SnapshotError as error:
        raise SnapshotError(f"the learned words {path} can't be read: {error}") from error
    return keys, folds


def _names(figures: Mapping[str, Any], key: str) -> tuple[str, ...]:
    names = figures.get(key)
    return tuple(map(str, names)) if isinstance(names, (list, tuple)) else ()
