from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from search_service.admission.controller import AdmissionController
from search_service.engine.query_decoder import QueryDecoder
from search_service.engine.query_embedding import QueryEmbedder
from search_service.engine.timing import Timing
from shared.errors import ImageError, InvalidEmbedding
from shared.images.decode import decode_image
from shared.images.decode_pool.template import template_of_process
from shared.images.limits import ImageLimits
from shared.images.preprocessing import Preprocessing, to_pixels
from tests.support.fakes import encoded, fake_manifest


@pytest.fixture
def vectors(catalogue):
    return lambda n_views=1: QueryEmbedder(
        catalogue.snapshot, QueryDecoder(template_of_process(ImageLimits()), 1), AdmissionController(1), n_views
    )


@pytest.mark.parametrize("n_views", [1, 2])
def test_an_image_and_its_mirror_image(catalogue, vectors, n_views) -> None:
    data = catalogue.image("mug-1")
    pixels = to_pixels(decode_image(data, ImageLimits()))
    wanted = catalogue.snapshot.embedder.embed(np.stack([pixels, pixels[:, ::-1]][:n_views]))
    timing = Timing()
    assert np.array_equal(vectors(n_views).of_image(data, timing), wanted)
    assert timing.as_ms()["decode"] > 0


@pytest.mark.parametrize("preprocessing", [Preprocessing(224, 1), Preprocessing(224, 2), Preprocessing(160)])
def test_an_image_is_decoded_as_the_snapshots_images_were(catalogue, preprocessing: Preprocessing) -> None:
    snapshot = replace(catalogue.snapshot, manifest=fake_manifest(preprocessing=preprocessing.name))
    decoder = QueryDecoder(template_of_process(ImageLimits()), 1)
    found = QueryEmbedder(snapshot, decoder, AdmissionController(1), n_views=1)
    noise = np.random.default_rng(1).integers(0, 256, (500, 700, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), "PNG")
    pixels = to_pixels(decode_image(data, ImageLimits(), preprocessing=preprocessing), preprocessing.side_px)
    assert np.array_equal(found.of_image(data, Timing()), snapshot.embedder.embed(pixels[np.newaxis]))


def test_an_image_that_is_none_gives_its_turn_back(catalogue, vectors) -> None:
    found = vectors()
    for _ in range(3):  # there is one slot
        with pytest.raises(ImageError):
            found.of_image(b"no image", Timing())
    assert found.of_image(catalogue.image("mug-1"), Timing()).shape == (1, catalogue.snapshot.embedder.dim)


def test_an_embedding_has_the_length_of_the_snapshots(catalogue, vectors) -> None:
    dim = catalogue.snapshot.embedder.dim
    assert np.allclose(vectors().of_embedding([3.0] * dim), np.full((1, dim), dim**-0.5))
    with pytest.raises(InvalidEmbedding, match=rf"expected \({dim},\)"):
        vectors().of_embedding([1.0] * (dim + 1))
