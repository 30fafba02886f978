"""A catalogue whose photos come in series: shoot after shoot of one category, photo after photo of one shoot."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from shared.catalogue.items import Item
from shared.vectors import Vectors, unit_rows

DIM = 48


@dataclass(frozen=True)
class Series:
    """The catalogue, the shoot of each image, and photos of other shoots with their columns."""

    embedded: EmbeddedCatalogue
    shoots: NDArray[np.int64]
    unseen: Vectors
    unseen_columns: NDArray[np.int64]


def make_series(
    n_categories: int = 4,
    n_shoots: int = 12,
    n_photos: int = 8,
    shoot_spread: float = 1.0,
    photo_spread: float = 0.25,
    seed: int = 0,
    n_views: int = 1,
) -> Series:
    """An item per photo; the centres of shoots lie around that of their category, photos around that of their shoot."""
    random = np.random.default_rng(seed)
    centres = unit_rows(random.normal(size=(n_categories, DIM)))

    def photos(n_shoots: int) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        columns = np.repeat(np.arange(n_categories), n_shoots)
        shoots = centres[columns] + shoot_spread * unit_rows(random.normal(size=(len(columns), DIM)))
        numbers = np.repeat(np.arange(len(columns)), n_photos)
        noise = unit_rows(random.normal(size=(len(numbers), DIM)))
        return shoots[numbers] + photo_spread * noise, columns[numbers], numbers

    rows, columns, shoots = photos(n_shoots)
    order = random.permutation(len(rows))  # the photos of a shoot are not always adjacent
    rows, columns, shoots = rows[order], columns[order], shoots[order]
    others, unseen_columns, _ = photos(n_shoots)
    noise = unit_rows(random.normal(size=(len(rows), n_views, DIM)).reshape(-1, DIM)).reshape(len(rows), n_views, DIM)
    noise[:, 0] = 0
    views = unit_rows((rows[:, np.newaxis] + photo_spread * noise).reshape(-1, DIM)).reshape(noise.shape)
    items = tuple(Item(f"item {n:04}", f"category {column}", (f"{n}.jpg",)) for n, column in enumerate(columns))
    digests = tuple(f"{seed} {n}".encode() for n in range(len(rows)))
    embedded = EmbeddedCatalogue(items, np.arange(len(items)), digests, views, (), len(items))
    return Series(embedded, shoots, unit_rows(others), unseen_columns)


def keep(series: Series, images: NDArray[np.int64]) -> EmbeddedCatalogue:
    """The catalogue of these images alone."""
    embedded = series.embedded
    return EmbeddedCatalogue(
        tuple(embedded.items[image] for image in images),
        np.arange(len(images)),
        tuple(embedded.digests[image] for image in images),
        embedded.views[images],
        (),
        len(images),
    )
