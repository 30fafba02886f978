"""Storage of the embeddings of a catalogue's views: in memory, or in the cache on disk.

An array of `(n_images, n_views, dim)` is enough for a few thousand photos. A build reads from the cache only the images
that it needs at a time, so that its memory does not grow with the catalogue.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.embedding.cache import EmbeddingCache
from shared.model.projection import Projection
from shared.vectors import Vectors


class Views(Protocol):
    """Embeddings of `(n_images, n_views, dim)` float32, read for some images at a time."""

    @property
    def shape(self) -> tuple[int, ...]:
        """`(n_images, n_views, dim)`."""
        ...

    def __getitem__(self, images: NDArray[np.int64], /) -> NDArray[np.float32]:
        """`(n,)` image indices → `(n, n_views, dim)` float32."""
        ...


class CachedViews:
    """Views that are read from the cache on access."""

    def __init__(
        self,
        cache: EmbeddingCache,
        digests: Sequence[bytes],
        shape: tuple[int, int, int],
        embed_again: Callable[[int], Vectors],
    ) -> None:
        """Prepare access; nothing is read yet.

        Args:
            cache: open for as long as this is used.
            digests: the SHA-256 of each image's file.
            shape: `(n_images, n_views, dim)`.
            embed_again: returns `(n_views, dim)` for the index of an image whose cache entry is damaged.
        """
        self._cache = cache
        self._digests = digests
        self._embed_again = embed_again
        self.shape: tuple[int, ...] = shape

    def __getitem__(self, images: NDArray[np.int64], /) -> NDArray[np.float32]:
        """`(n,)` image indices → `(n, n_views, dim)` float32."""
        result = np.empty((len(images), *self.shape[1:]), dtype=np.float32)
        for row, image in enumerate(images):
            views = self._cache.views(self._digests[image])
            result[row] = self._embed_again(int(image)) if views is None else views
        return result


class ProjectedViews:
    """Views that are projected on access."""

    def __init__(self, base: Views, projection: Projection) -> None:
        """Project the views of `base`."""
        self._base, self._projection = base, projection

    @property
    def shape(self) -> tuple[int, ...]:
        """`(n_images, n_views, dim)`."""
        return self._base.shape

    def __getitem__(self, images: NDArray[np.int64], /) -> NDArray[np.float32]:
        """`(n,)` image indices → `(n, n_views, dim)` float32, unit rows."""
        base = self._base[images]
        return self._projection.apply(base.reshape(-1, base.shape[2])).reshape(base.shape)
