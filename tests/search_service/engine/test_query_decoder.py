"""Images that take long hold up nobody: two attempts, a lane of their own, and a memory of what was too costly."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from search_service.admission.controller import AdmissionController
from search_service.engine import query_decoder
from search_service.engine.query_decoder import QueryDecoder
from search_service.engine.query_embedding import QueryEmbedder
from search_service.engine.timing import Timing
from shared.errors import BrokenImage, ImageTooCostly, ImageTooLarge, Overloaded
from shared.images.decode import decode_image
from shared.images.decode_pool.pool import DecodePool
from shared.images.decode_pool.template import DecodeTemplate
from shared.images.limits import ImageLimits
from shared.images.preprocessing import Preprocessing, to_pixels
from tests.support.fakes import encoded, picture
from tests.support.hostile_images import jpeg_of_scans, png

_LIMITS = ImageLimits(max_bytes=8_000_000, max_pixels=5_000_000, max_memory_bytes=32_000_000)
_ENDLESS = jpeg_of_scans(1900, 1900, 20_000)
_LONG_S = 60.0


@pytest.fixture(scope="module")
def template() -> Iterator[DecodeTemplate]:
    made = DecodeTemplate(_LIMITS)
    yield made
    made.close()


class _Replaced(list[str]):
    def decoder_replaced(self, reason: str) -> None:
        self.append(reason)


@pytest.fixture
def replaced() -> _Replaced:
    return _Replaced()


@pytest.fixture
def decoder(template, replaced) -> Iterator[QueryDecoder]:
    made = QueryDecoder(template, 1, replaced, quick_s=0.05, slow_s=0.1)
    yield made
    made.close()


@pytest.fixture
def patient(template, replaced) -> Iterator[QueryDecoder]:
    """One whose second attempt has all the time that it needs."""
    made = QueryDecoder(template, 1, replaced, quick_s=0.05, slow_s=60)
    yield made
    made.close()


def _slow_but_good() -> bytes:
    noise = np.random.default_rng(5).integers(0, 256, (1500, 1500, 3), dtype=np.uint8)
    return encoded(Image.fromarray(noise), "JPEG", progressive=True, quality=95)


def test_an_ordinary_photo_needs_one_attempt(decoder, replaced) -> None:
    data = picture("red", (400, 300))
    assert np.array_equal(decoder.decode_quickly(data), to_pixels(decode_image(data, _LIMITS)))
    assert replaced == []


def test_one_that_takes_longer_is_decoded_by_the_second_attempt(patient, replaced) -> None:
    data = _slow_but_good()
    while patient.decode_quickly(data) is not None:  # on a machine this quick, a shorter attempt
        patient._quick_s /= 2
    assert replaced == ["time"]
    assert np.array_equal(patient.decode_slowly(data), to_pixels(decode_image(data, _LIMITS)))
    assert patient.is_known_slow(data)
    assert not patient.is_known_slow(data + b"\0")
    assert replaced == ["time"]


def test_one_that_is_too_costly_is_refused_at_once_the_next_time(decoder, replaced) -> None:
    assert decoder.decode_quickly(_ENDLESS) is None
    with pytest.raises(ImageTooCostly) as first:
        decoder.decode_slowly(_ENDLESS)
    assert replaced == ["time", "time"]
    for _ in range(2):
        with pytest.raises(ImageTooCostly) as later:
            decoder.is_known_slow(_ENDLESS)
        assert (str(later.value), later.value.reason) == (str(first.value), first.value.reason)
    decoder.is_known_slow(_ENDLESS + b"\0")
    with pytest.raises(ImageTooCostly):
        decoder.decode_slowly(_ENDLESS)  # where another request has just found it out
    assert replaced == ["time", "time"]


def test_what_takes_too_much_memory_has_no_second_attempt(decoder, replaced) -> None:
    decoder._quick_s = 60
    thin = png(1, 4_900_000, bytes(2 * 4_900_000), colour=0)
    with pytest.raises(ImageTooCostly):
        decoder.decode_quickly(thin)
    with pytest.raises(ImageTooCostly):
        decoder.is_known_slow(thin)
    assert replaced == ["memory"]


@pytest.mark.parametrize(
    ("data", "error"),
    [(png(9000, 9000, b""), ImageTooLarge), (png(20, 20, b""), BrokenImage)],
)
def test_other_errors_are_not_remembered(decoder, data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        decoder.decode_quickly(data)
    decoder.is_known_slow(data)


def test_the_memory_is_bounded(decoder, monkeypatch) -> None:
    monkeypatch.setattr(query_decoder, "_MAX_COSTLY_IMAGES", 2)
    for number in range(3):
        decoder._costly_images.add(bytes([number]), ImageTooCostly("too costly"))
    decoder.is_known_slow(b"\0")
    for number in (1, 2):
        with pytest.raises(ImageTooCostly):
            decoder.is_known_slow(bytes([number]))


class _Held:
    """A pool whose decoding waits until it may go on."""

    def __init__(self, pool: DecodePool) -> None:
        self._pool = pool
        self.began, self.may_end = threading.Event(), threading.Event()

    def decode(self, data: bytes, cpu_s: float, preprocessing: Preprocessing) -> np.ndarray:
        self.began.set()
        assert self.may_end.wait(_LONG_S)
        return self._pool.decode(data, cpu_s=cpu_s, preprocessing=preprocessing)

    def close(self) -> None:
        self._pool.close()


def test_ordinary_photos_pass_one_in_the_slow_lane(catalogue, decoder) -> None:
    decoder._slow = held = _Held(decoder._slow)
    vectors = QueryEmbedder(catalogue.snapshot, decoder, AdmissionController(1), 1)
    refused: list[Exception] = []

    def search() -> None:
        try:
            vectors.of_image(_ENDLESS, Timing())
        except ImageTooCostly as error:
            refused.append(error)

    slow = threading.Thread(target=search)
    slow.start()
    assert held.began.wait(_LONG_S)
    for _ in range(3):  # there is one slot, and it is free
        assert vectors.of_image(catalogue.image("mug-1"), Timing()).shape == (1, catalogue.snapshot.embedder.dim)
    held.may_end.set()
    slow.join()
    assert len(refused) == 1


def test_the_slow_lane_has_an_end(decoder) -> None:
    decoder._slow = held = _Held(decoder._slow)
    images = [_slow_but_good() + bytes([number]) for number in range(6)]
    found: list[str] = []

    def decode(data: bytes) -> None:
        try:
            decoder.decode_slowly(data)
        except (Overloaded, ImageTooCostly) as error:
            found.append(error.code)
        else:
            found.append("decoded")

    threads = [threading.Thread(target=decode, args=[data]) for data in images]
    for thread in threads:
        thread.start()
    until_s = time.monotonic() + _LONG_S
    while "overloaded" not in found and time.monotonic() < until_s:  # one has the turn, four wait
        time.sleep(0.001)
    held.may_end.set()
    for thread in threads:
        thread.join()
    assert found.count("overloaded") == 1


def test_an_image_that_is_decoded_slowly_is_embedded_as_any_other(catalogue, template) -> None:
    data = _slow_but_good()
    decoder = QueryDecoder(template, 1, quick_s=0.02, slow_s=60)
    timing = Timing()
    vectors = QueryEmbedder(catalogue.snapshot, decoder, AdmissionController(1), 1).of_image(data, timing)
    wanted = catalogue.snapshot.embedder.embed(to_pixels(decode_image(data, _LIMITS))[np.newaxis])
    assert np.array_equal(vectors, wanted)
    assert timing.as_ms()["decode"] > 0
    decoder.close()
