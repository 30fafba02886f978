"""Where the embeddings of a catalogue's views lie: in memory, or in the cache on the disk.

An array of `(n_images, n_views, dim)` will do for a few thousand photos. A build takes no more than it needs at a time
from the cache, so that its memory does not grow with the catalogue.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.embedding.cache import EmbeddingCache
from shared.vectors import Vectors


class Views(Protocol):
    """An array of embeddings, `(n_images, n_views, dim)` float32, of which some images are taken at a time."""

    @property
    def shape(self) -> tuple[int, ...]:
        """`(n_images, n_views, dim)`."""
        ...

    def __getitem__(self, images: NDArray[np.int64], /) -> NDArray[np.float32]:
        """`(n,)` places of images → `(n, n_views, dim)` float32."""
        ...


class CachedViews:
    """The views of images that were embedded, now or before, read from the cache when they are wanted."""

    def __init__(
        self,
        cache: EmbeddingCache,
        digests: Sequence[bytes],
        shape: tuple[int, int, int],
        embed_again: Callable[[int], Vectors],
    ) -> None:
        """Nothing is read yet.

        Args:
            cache: open for as long as this is used.
            digests: the SHA-256 of each image's file.
            shape: `(n_images, n_views, dim)`.
            embed_again: gives `(n_views, dim)` of the image in a place whose entry turns out to be damaged.
        """
        self._cache = cache
        self._digests = digests
        self._embed_again = embed_again
        self.shape: tuple[int, ...] = shape

    def __getitem__(self, images: NDArray[np.int64], /) -> NDArray[np.float32]:
        """`(n,)` places of images → `(n, n_views, dim)` float32."""
        found = np.empty((len(images), *self.shape[1:]), dtype=np.float32)
        for place, image in enumerate(images):
            views = self._cache.views(self._digests[image])
            found[place] = self._embed_again(int(image)) if views is None else views
        return found
