"""The real EfficientNet-Lite0 in LiteRT: what it gives, that neighbours and threads change no bit."""

import io
import re
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.errors import SnapshotError
from shared.images.decode import decode_image
from shared.images.limits import ImageLimits
from shared.images.preprocessing import DEFAULT_SIDE_PX, to_pixels
from shared.model.embedder import Embedder, LiteRtEmbedder, embedder_id
from shared.model.golden import golden_image
from shared.vectors import Pixels
from tests.support.fakes import FakeEmbedder, encoded, picture

_DIM = 1280


@pytest.fixture(scope="module")
def lite0(lite0_tflite: Path) -> LiteRtEmbedder:
    return LiteRtEmbedder.open(lite0_tflite, interpreters=2)


@pytest.fixture(scope="module")
def pictures() -> Pixels:
    """`(6, 224, 224, 3)` uint8."""
    return np.random.default_rng(0).integers(0, 256, size=(6, DEFAULT_SIDE_PX, DEFAULT_SIDE_PX, 3), dtype=np.uint8)


def test_an_embedder_is_named_by_its_bytes() -> None:
    assert embedder_id(b"model") == "9372c470eeadd5ec"
    assert embedder_id(b"another") != embedder_id(b"model")


def test_the_fake_puts_similar_colours_near() -> None:
    fake: Embedder = FakeEmbedder()
    files = [picture(colour) for colour in ("red", (230, 30, 10), "blue")]
    red, reddish, blue = fake.embed(np.stack([to_pixels(decode_image(file, ImageLimits())) for file in files]))
    assert red.shape == (fake.dim,)
    assert red @ reddish > 0.95
    assert red @ blue < 0.6


@pytest.mark.tensorflow
def test_embeddings_are_unit_rows(lite0: LiteRtEmbedder, pictures: Pixels) -> None:
    found = lite0.embed(pictures)
    assert lite0.dim == _DIM
    assert found.shape == (len(pictures), _DIM)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found.astype(np.float64), axis=1), 1, atol=1e-6)


@pytest.mark.tensorflow
def test_no_pictures_give_no_embeddings(lite0: LiteRtEmbedder) -> None:
    found = lite0.embed(np.empty((0, DEFAULT_SIDE_PX, DEFAULT_SIDE_PX, 3), np.uint8))
    assert found.shape == (0, _DIM)
    assert found.dtype == np.float32


@pytest.mark.tensorflow
def test_different_pictures_lie_apart_and_similar_ones_near(lite0: LiteRtEmbedder) -> None:
    golden = golden_image()
    darker = (golden * 0.9).astype(np.uint8)
    other = np.full_like(golden, 128)
    own, near, far = lite0.embed(np.concatenate([golden, darker, other]))
    assert own @ near > 0.9
    assert own @ far < 0.7


@pytest.mark.tensorflow
def test_a_picture_has_the_same_bits_alone_and_among_others(lite0: LiteRtEmbedder, pictures: Pixels) -> None:
    together = lite0.embed(pictures)
    for number in range(len(pictures)):
        np.testing.assert_array_equal(lite0.embed(pictures[number : number + 1])[0], together[number])
    np.testing.assert_array_equal(lite0.embed(pictures[::-1])[::-1], together)


@pytest.mark.tensorflow
@pytest.mark.parametrize("interpreters", [1, 2, 4])
def test_four_threads_get_the_same_bits(lite0_tflite: Path, pictures: Pixels, interpreters: int) -> None:
    embedder = LiteRtEmbedder.open(lite0_tflite, interpreters)
    expected = embedder.embed(pictures)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: embedder.embed(pictures[number : number + 1])[0], [*range(6)] * 4))
    np.testing.assert_array_equal(found, np.concatenate([expected] * 4))


@pytest.mark.tensorflow
def test_embedding_does_not_change_the_pictures(lite0: LiteRtEmbedder, pictures: Pixels) -> None:
    before = pictures.copy()
    lite0.embed(pictures)
    np.testing.assert_array_equal(pictures, before)


@pytest.mark.tensorflow
@pytest.mark.parametrize("threads", [2, 4])
def test_an_inference_alone_on_several_threads_gives_the_same_bits(
    lite0_tflite: Path, pictures: Pixels, threads: int
) -> None:
    embedder = LiteRtEmbedder.open(lite0_tflite, interpreters=1, lone_threads=threads)
    np.testing.assert_array_equal(embedder.embed(pictures, is_alone=True), embedder.embed(pictures))


@pytest.mark.tensorflow
def test_the_id_is_that_of_the_file(lite0_tflite: Path, lite0: LiteRtEmbedder) -> None:
    assert lite0.embedder_id == embedder_id(lite0_tflite.read_bytes())
    assert LiteRtEmbedder.open(lite0_tflite).embedder_id == lite0.embedder_id


@pytest.mark.parametrize("model", [b"", b"garbage" * 100, b"\x1c\0\0\0TFL3" + b"\0" * 100])
def test_bytes_that_are_no_model_are_rejected(model: bytes) -> None:
    with pytest.raises(SnapshotError, match="the embedder is not a LiteRT model"):
        LiteRtEmbedder(model)


@pytest.mark.tensorflow
@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_a_truncated_model_is_rejected(lite0_tflite: Path, share: float) -> None:
    model = lite0_tflite.read_bytes()
    with pytest.raises(SnapshotError, match="the embedder is not a LiteRT model"):
        LiteRtEmbedder(model[: int(len(model) * share)])


@pytest.mark.tensorflow
def test_a_model_for_another_size_is_rejected(lite0_tflite: Path) -> None:
    model = lite0_tflite.read_bytes()
    usual = struct.pack("<4i", 1, DEFAULT_SIDE_PX, DEFAULT_SIDE_PX, 3)
    assert usual in model
    for other in ((1, 96, 96, 3), (1, 256, 224, 3), (1, 250, 250, 3)):
        takes = re.escape(f"takes {other} uint8; expected (1, side, side, 3) uint8, with a side of 128 to 352 px")
        with pytest.raises(SnapshotError, match=takes):
            LiteRtEmbedder(model.replace(usual, struct.pack("<4i", *other)))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"embedder\.tflite can't be read: No such file"):
        LiteRtEmbedder.open(tmp_path / "embedder.tflite")


@pytest.mark.tensorflow
@pytest.mark.clothing
def test_decoding_at_a_smaller_scale_keeps_embeddings_of_photos(lite0: LiteRtEmbedder, clothing: Path) -> None:
    for path in sorted(clothing.glob("validation/*/*.jpg"))[::60]:
        with Image.open(path) as image:
            whole = to_pixels(image.convert("RGB"))
        small = to_pixels(decode_image(path.read_bytes(), ImageLimits()))
        one, other = lite0.embed(np.stack([whole, small]))
        assert one @ other > 0.95


@pytest.mark.tensorflow
@pytest.mark.clothing
def test_a_photo_has_the_same_embedding_as_a_jpeg_and_as_a_png(lite0: LiteRtEmbedder, clothing: Path) -> None:
    for path in sorted(clothing.glob("validation/*/*.jpg"))[::12]:
        data = path.read_bytes()
        png = encoded(Image.open(io.BytesIO(data)).convert("RGB"), "PNG")
        one, other = lite0.embed(np.stack([to_pixels(decode_image(file, ImageLimits())) for file in (data, png)]))
        assert one @ other >= 0.98, path


@pytest.mark.tensorflow
@pytest.mark.parametrize("is_alone", [False, True])
def test_inference_runs_on_the_threads_that_are_given(
    lite0: LiteRtEmbedder, lite0_tflite: Path, pictures: Pixels, is_alone: bool
) -> None:
    with ThreadPoolExecutor(1) as threads:
        embedder = LiteRtEmbedder.open(lite0_tflite, interpreters=1, lone_threads=2, threads=threads)
        np.testing.assert_array_equal(embedder.embed(pictures, is_alone), lite0.embed(pictures))
    with pytest.raises(RuntimeError, match="shutdown"):  # so it ran nowhere else
        embedder.embed(pictures, is_alone)
