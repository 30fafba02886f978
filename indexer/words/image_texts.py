"""The texts of a catalogue's images, and their features as targets to learn."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.words.described import described_columns, described_text
from indexer.words.text_matrix import count_matrix, inverse_document_frequency, tf_idf


def image_texts(embedded: EmbeddedCatalogue, images: NDArray[np.int64], columns: Sequence[str]) -> Iterator[str]:
    """Yield what these columns say of each image's item; images of an item are adjacent."""
    last, text = -1, ""
    for number in embedded.image_items[images].tolist():
        if number != last:
            last, text = number, described_text(embedded.items[number], columns)
        yield text


def text_targets(embedded: EmbeddedCatalogue, images: NDArray[np.int64], requested: str) -> csr_array | None:
    """Return the TF-IDF features of what is said of images; None if no metadata describe the items.

    Args:
        embedded: the catalogue.
        images: `(n,)` int64, indices of its images.
        requested: the option `--words`.

    Returns:
        `(n, N_FEATURES)` float32, unit rows.

    Raises:
        SettingsError: `requested` names a column that does not exist.
    """
    columns = described_columns(embedded.items, requested)
    if columns is None:
        return None
    counts = count_matrix(image_texts(embedded, images, columns.all))
    return tf_idf(counts, inverse_document_frequency(counts))
