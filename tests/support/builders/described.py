"""A catalogue whose embeddings depend on colour and kind, drowned in directions that no word describes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from shared.catalogue.items import Item
from shared.vectors import Vectors, unit_rows

COLOURS = ("red", "green", "blue", "black", "white", "yellow")
KINDS = ("racing bicycle", "folding bicycle", "diver's watch", "pocket watch")
_DIM = 48


def make_described(
    n: int = 300, seed: int = 0, with_words: bool = True, shuffled: bool = False
) -> tuple[EmbeddedCatalogue, list[str]]:
    """Return a catalogue of one-image items, and their titles.

    Args:
        n: number of items.
        seed: of everything random; the directions of colours and kinds are the same for all seeds.
        with_words: give the items metadata.
        shuffled: give them the metadata of others.
    """
    directions = np.random.default_rng(99).standard_normal((len(COLOURS) + len(KINDS), _DIM))
    nuisance = np.random.default_rng(98).standard_normal((6, _DIM))
    random = np.random.default_rng(seed)
    colours, kinds = random.integers(len(COLOURS), size=n), random.integers(len(KINDS), size=n)
    rows = directions[colours] + directions[len(COLOURS) + kinds] + 2 * random.standard_normal((n, 6)) @ nuisance
    embeddings = unit_rows(rows + 0.5 * random.standard_normal((n, _DIM)))
    titles = [f"{COLOURS[colour].capitalize()} {KINDS[kind]}" for colour, kind in zip(colours, kinds, strict=True)]
    said = [titles[number] for number in random.permutation(n)] if shuffled else titles
    items = tuple(
        Item(
            f"item-{number}",
            KINDS[kind].split()[-1],
            (f"{number}.jpg",),
            _metadata(title, number) if with_words else {},
        )
        for number, (kind, title) in enumerate(zip(kinds.tolist(), said, strict=True))
    )
    digests = tuple(row.tobytes() for row in embeddings)
    views = embeddings[:, np.newaxis]
    return EmbeddedCatalogue(items, np.arange(n), digests, views, (), n, f"recipe of {n}"), titles


def _metadata(title: str, number: int) -> Mapping[str, Any]:
    return {
        "title": title,
        "colour": title.split()[0].lower(),
        "price": 9.9 + number,
        "sku": f"SKU{number}X",
        "url": f"https://shop.example/bicycle/red/{number % 3}",
        "photo": f"photos/red/{number % 3}.jpg",
    }


def nearest(queries: Vectors, gallery: Vectors) -> list[int]:
    """The index of each query's nearest row of the gallery."""
    return [int(row) for row in (queries @ gallery.T).argmax(axis=1)]
