"""Features of texts: hashed TF-IDF of the character n-grams of their words.

n-grams of 2 to 4 characters, word boundaries included, make inflected and misspelt forms of a word similar in any
language. They are hashed into a fixed number of buckets with a sign (Weinberger et al., 2009, "Feature Hashing for
Large Scale Multitask Learning"), so that no vocabulary is needed, however large the catalogue.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shared.words.tokens import words

N_FEATURES = 2048
_SHORTEST, _LONGEST = 2, 4
_CACHED_WORDS = 20_000  # about 30 MB


@lru_cache(_CACHED_WORDS)
def word_features(word: str) -> tuple[tuple[int, int], ...]:
    """Return the n-grams of a word as pairs of bucket and signed count; buckets may repeat."""
    marked = f" {word} "
    grams = Counter(
        marked[start : start + length]
        for length in range(_SHORTEST, _LONGEST + 1)
        for start in range(max(1, len(marked) - length + 1))
    )
    hashes = ((zlib.crc32(gram.encode("utf-8", "surrogatepass")), count) for gram, count in grams.items())
    return tuple((number % N_FEATURES, -count if number >> 31 else count) for number, count in hashes)


def text_features(text_words: Iterable[str]) -> Mapping[int, int]:
    """Return the signed counts of words' n-grams by bucket, without zeros."""
    counts: dict[int, int] = {}
    for word in text_words:
        for bucket, count in word_features(word):
            counts[bucket] = counts.get(bucket, 0) + count
    return {bucket: count for bucket, count in counts.items() if count}


def weighted(texts: Sequence[str], idf: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return TF-IDF features of texts.

    Args:
        texts: any texts.
        idf: `(N_FEATURES,)` float32, the weight of each bucket.

    Returns:
        `(n_texts, N_FEATURES)` float32, unit rows, or zero where a text has no word.
    """
    rows = np.zeros((len(texts), N_FEATURES), dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        counts = text_features(words(text))
        row[list(counts)] = list(counts.values())
    rows *= idf
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(lengths > 0, lengths, np.float32(1))
    return rows
