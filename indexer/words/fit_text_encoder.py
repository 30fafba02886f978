"""Fitting of the text encoder: a ridge regression from the features of words to base embeddings."""

import numpy as np
from numpy.typing import NDArray

from indexer.words.normal_equations import LearnedImages
from shared.words.text_encoder import TextEncoder

RIDGE = 0.3


def fit_text_encoder(images: LearnedImages, idf: NDArray[np.float32]) -> TextEncoder:
    """Fit the encoder of texts on images and what is said of them.

    Args:
        images: with texts as short as queries.
        idf: `(n_features,)`, the weights of their features.
    """
    n_features, dim = images.texts.shape[1], images.views.shape[2]
    products, embedding_sum = np.zeros((n_features, dim)), np.zeros(dim)
    for positions, embeddings in images.blocks():
        products += images.texts[positions].T @ embeddings
        embedding_sum += embeddings.sum(axis=0, dtype=np.float64)
    squares = (images.texts.T @ images.texts).toarray().astype(np.float64)
    n = len(images.images)
    text_mean = np.asarray(images.texts.sum(axis=0)).ravel() / n
    embedding_mean = embedding_sum / n
    squares -= n * np.outer(text_mean, text_mean)
    products -= n * np.outer(text_mean, embedding_mean)
    weights = np.linalg.solve(squares + RIDGE * np.eye(n_features), products)
    offset = embedding_mean - text_mean @ weights
    return TextEncoder(idf, weights.astype(np.float16), offset.astype(np.float32))
