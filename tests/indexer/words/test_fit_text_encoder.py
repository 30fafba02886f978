import numpy as np

from indexer.words.described import described_text
from indexer.words.fit_projection import Choice, fit_projection
from indexer.words.fit_text_encoder import fit_text_encoder
from indexer.words.normal_equations import LearnedImages, sums_by_fold
from indexer.words.text_matrix import count_matrix, inverse_document_frequency, tf_idf
from tests.support.builders.described import COLOURS, make_described, nearest


def test_a_text_finds_images_that_were_never_seen_with_it() -> None:
    embedded, _ = make_described(400)
    counts = count_matrix(described_text(item, ("title",)) for item in embedded.items)
    idf = inverse_document_frequency(counts)
    images = LearnedImages(embedded.views, np.arange(400), np.zeros(400, np.int64), tf_idf(counts, idf))
    encoder = fit_text_encoder(images, idf)
    projection = fit_projection(sums_by_fold(images, 1)[0], Choice(0.1, 2.0, 0.0, 0.0, 0.0))
    unseen, titles = make_described(200, seed=5)
    gallery = projection.apply(unseen.views[:, 0])
    texts = sorted(set(titles))
    hits = nearest(projection.apply(np.concatenate([encoder.embed(text) for text in texts])), gallery)
    assert np.mean([titles[hit] == text for hit, text in zip(hits, texts, strict=True)]) > 0.7
    of_colours = nearest(projection.apply(np.concatenate([encoder.embed(colour) for colour in COLOURS])), gallery)
    assert np.mean([titles[hit].lower().startswith(c) for hit, c in zip(of_colours, COLOURS, strict=True)]) > 0.8
