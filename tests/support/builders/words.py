"""The words of a tiny snapshot: a text encoder fitted by least squares, and the index of its items' texts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from indexer.words.lexical_writer import write_lexical_index
from shared.vectors import Vectors
from shared.words.catalogue_words import CatalogueWords
from shared.words.features import N_FEATURES, weighted
from shared.words.text_encoder import TextEncoder

ENCODER, INDEX = "text_encoder.npz", "words.sqlite"


def write_words(directory: Path, texts: Sequence[str], embeddings: Vectors) -> None:
    """Write the files of a snapshot's words into its directory.

    Args:
        directory: of the snapshot.
        texts: of each item, by number; an empty one for an item without.
        embeddings: `(n_items, dim)`, what each text shall be encoded to, nearly.
    """
    idf = np.ones(N_FEATURES, np.float32)
    features = weighted(texts, idf)
    dual = np.linalg.solve(features @ features.T + 0.1 * np.eye(len(texts), dtype=np.float32), embeddings)
    TextEncoder(idf, (features.T @ dual).astype(np.float16), np.zeros(embeddings.shape[1], np.float32)).save(
        directory / ENCODER
    )
    write_lexical_index(directory / INDEX, texts)


def catalogue_words(directory: Path, texts: Sequence[str], embeddings: Vectors) -> CatalogueWords:
    """Write the files, and open them."""
    write_words(directory, texts, embeddings)
    words = CatalogueWords.open(directory / ENCODER, directory / INDEX)
    assert words is not None
    return words
