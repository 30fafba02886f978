"""Decoding in processes that may die: with real processes, real signals and images that are too costly."""

import errno
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.errors import BrokenImage, ImageTooCostly, ImageTooLarge, Overloaded, UnsupportedImage
from shared.images.decode import decode_image
from shared.images.decode_pool.pool import DecodePool
from shared.images.decode_pool.template import DecodeTemplate, memory_budget
from shared.images.limits import ImageLimits
from shared.images.preprocessing import DEFAULT_SIDE_PX, Preprocessing, to_pixels
from tests.support.fakes import encoded, picture
from tests.support.hostile_images import jpeg_of_scans, png

_ROOT = Path(__file__).parents[4]
_LIMITS = ImageLimits(max_bytes=4_000_000, max_pixels=4_000_000, max_memory_bytes=32_000_000)
_SLOW = jpeg_of_scans(1900, 1900, 20_000)  # minutes, at any scale
_DIES_S = 10
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


class _Replaced(list[str]):
    def decoder_replaced(self, reason: str) -> None:
        self.append(reason)


@pytest.fixture(scope="module")
def template() -> Iterator[DecodeTemplate]:
    made = DecodeTemplate(_LIMITS)
    yield made
    made.close()


@pytest.fixture
def replaced() -> _Replaced:
    return _Replaced()


@pytest.fixture
def pool(template, replaced) -> Iterator[DecodePool]:
    made = DecodePool(template, 2, observer=replaced)
    yield made
    made.close()


def _processes(pool: DecodePool) -> list[int]:
    """Those that have been forked and are idle."""
    return [decoder.process for decoder in pool._slots.queue if decoder is not None]


def _narrow_png() -> bytes:
    """One pixel wide: a pointer a row is more than its pixels."""
    return png(1, 3_900_000, bytes(2 * 3_900_000), colour=0)


def _is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def _wait_until(is_so: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + _DIES_S
    while not is_so():
        assert time.monotonic() < ends_s
        time.sleep(0.01)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_the_pixels_are_those_of_this_process(pool, file_format: str) -> None:
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 256, (300, 410, 3), dtype=np.uint8))
    data = encoded(noise, file_format)
    pixels = pool.decode(data)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, to_pixels(decode_image(data, _LIMITS)))


@pytest.mark.parametrize("preprocessing", [Preprocessing(128), Preprocessing(224, 1), Preprocessing(352)])
def test_at_every_side_the_pixels_are_those_of_this_process(pool, preprocessing: Preprocessing) -> None:
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 256, (600, 810, 3), dtype=np.uint8))
    for data in (encoded(noise, "JPEG"), encoded(noise, "PNG")):
        image = decode_image(data, _LIMITS, preprocessing=preprocessing)
        expected = to_pixels(image, preprocessing.side_px)
        np.testing.assert_array_equal(pool.decode(data, preprocessing=preprocessing), expected)


@pytest.mark.parametrize(("size", "expected"), [((900, 600), (180, 120)), ((60, 600), (18, 180)), ((50, 40), (50, 40))])
def test_a_small_picture_keeps_its_aspect(pool, size: tuple[int, int], expected: tuple[int, int]) -> None:
    data = encoded(Image.fromarray(np.random.default_rng(3).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)), "PNG")
    image = decode_image(data, _LIMITS)
    image.thumbnail((180, 180))
    assert image.size == expected
    np.testing.assert_array_equal(pool.decode_small(data, 180), np.asarray(image))


@pytest.mark.parametrize("side_px", [-1, 0, 361, 100_000])
def test_a_small_picture_has_a_size_that_there_is_room_for(pool, side_px: int) -> None:
    with pytest.raises(ValueError, match=f"side_px is {side_px}; expected 1 to 360"):
        pool.decode_small(picture("red"), side_px)


def test_pixels_are_the_callers_own(pool) -> None:
    red = pool.decode(picture("red"))
    before = red.copy()
    red_too = pool.decode(picture("blue"))
    assert np.array_equal(red, before)
    assert not np.array_equal(red, red_too)
    red[...] = 0


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", UnsupportedImage),
        (b"no image", UnsupportedImage),
        (bytes(_LIMITS.max_bytes + 1), ImageTooLarge),
        (png(3000, 3000, b""), ImageTooLarge),
        (encoded(Image.new("RGB", (300, 300)), "JPEG")[:700], BrokenImage),
    ],
)
def test_errors_are_those_of_this_process(pool, replaced, data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error) as here:
        decode_image(data, _LIMITS, "schuh-é.jpg")
    with pytest.raises(error) as there:
        pool.decode(data, "schuh-é.jpg")
    assert str(there.value) == str(here.value)
    assert replaced == []


def test_many_threads_get_their_own_pixels(pool) -> None:
    colours = ["red", "green", "blue", "white"] * 10
    files = [picture(colour, (300, 200)) for colour in colours]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(pool.decode, files))
    for data, pixels in zip(files, found, strict=True):
        np.testing.assert_array_equal(pixels, to_pixels(decode_image(data, _LIMITS)))
    assert len(_processes(pool)) == 2


def test_no_more_processes_are_forked_than_are_needed_at_once(pool) -> None:
    for _ in range(5):
        pool.decode(picture("red"))
    assert len(_processes(pool)) == 1


def test_an_image_that_takes_long_costs_its_decoder_and_no_other_image(pool, replaced) -> None:
    pool.decode(picture("red"))
    before = _processes(pool)
    with pytest.raises(ImageTooCostly, match=r"^slow\.jpg takes more than 0.1 s of processor time to decode") as raised:
        pool.decode(_SLOW, "slow.jpg", cpu_s=0.1)
    assert raised.value.reason == "time"
    assert replaced == ["time"]
    assert pool.decode(picture("red")).shape == (DEFAULT_SIDE_PX, DEFAULT_SIDE_PX, 3)
    assert not set(before) & set(_processes(pool))


def test_the_time_of_one_image_is_not_counted_for_the_next(pool, replaced) -> None:
    data = encoded(Image.fromarray(np.zeros((1900, 1900, 3), np.uint8)), "PNG")
    for _ in range(30):
        pool.decode(data, cpu_s=0.5)
    assert replaced == []


@linux
def test_an_image_that_takes_much_memory(pool, replaced) -> None:
    with pytest.raises(ImageTooCostly, match=r"^thin\.png takes more than [\d,]+ bytes of memory to decode") as raised:
        pool.decode(_narrow_png(), "thin.png")
    assert raised.value.reason == "memory"
    assert f"{memory_budget(_LIMITS):,} bytes" in str(raised.value)
    assert replaced == ["memory"]
    pool.decode(picture("red"))


@linux
def test_memory_that_a_native_decoder_lacks(pool, replaced) -> None:
    tile = zlib.compress(bytes(1000), 9)
    tags = {256: 8, 257: 8, 258: 8, 259: 8, 262: 1, 277: 1, 322: 32_000, 323: 32_000, 324: 8, 325: len(tile)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    body = tile + b"\0" * (len(tile) % 2)
    tiff = b"II*\0" + struct.pack("<I", 8 + len(body)) + body + struct.pack("<H", len(tags)) + entries + bytes(4)
    with pytest.raises(ImageTooCostly) as raised:
        pool.decode(tiff)
    assert raised.value.reason == "memory"


@linux
def test_everything_within_the_limit_of_memory_is_decoded() -> None:
    limits = ImageLimits()
    template = DecodeTemplate(limits)
    pool = DecodePool(template, 1)
    try:
        for name, data in _nearly_too_large():
            assert pool.decode(data, name).shape == (DEFAULT_SIDE_PX, DEFAULT_SIDE_PX, 3)
    finally:
        pool.close()
        template.close()


def _nearly_too_large() -> Iterator[tuple[str, bytes]]:
    yield "RGB", png(8192, 4000, bytes(1 + 3 * 8192) * 4000)
    yield "RGBA", png(4000, 4000, bytes(1 + 4 * 4000) * 4000, colour=6)
    yield "WebP", encoded(Image.new("RGB", (3600, 2300), "red"), "WEBP", quality=1, method=0)
    yield "progressive", encoded(Image.new("RGB", (7900, 5500), "red"), "JPEG", progressive=True, quality=20)


def _stalled(pool: DecodePool) -> int:
    pool.decode(picture("red"))
    (process,) = _processes(pool)
    os.kill(process, signal.SIGSTOP)
    return process


@linux
def test_a_decoder_that_stands_still_is_killed(pool, replaced) -> None:
    process = _stalled(pool)
    with pytest.raises(ImageTooCostly) as raised:
        pool.decode(picture("red"), cpu_s=0.02)
    assert raised.value.reason == "stalled"
    assert replaced == ["time"]
    assert not _is_alive(process)
    pool.decode(picture("red"))


@linux
def test_a_crash_is_a_broken_image(pool, replaced) -> None:
    process = _stalled(pool)
    with ThreadPoolExecutor(1) as thread:
        failing = thread.submit(pool.decode, picture("red"), "crash.jpg")
        os.kill(process, signal.SIGSEGV)
        os.kill(process, signal.SIGCONT)
        with pytest.raises(BrokenImage, match=r"^crash\.jpg can't be decoded: the decoder crashed"):
            failing.result()
    assert replaced == ["crash"]
    pool.decode(picture("red"))


@linux
def test_a_decoder_killed_by_somebody_else_costs_nobody_an_image(pool) -> None:
    for _ in range(3):
        pool.decode(picture("red"))
        (process,) = _processes(pool)
        os.kill(process, signal.SIGKILL)
        assert pool.decode(picture("red")).shape == (DEFAULT_SIDE_PX, DEFAULT_SIDE_PX, 3)
        assert not _is_alive(process)


@linux
def test_a_template_killed_by_somebody_else_is_started_again(pool, template) -> None:
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(pool.decode, [picture("red")] * 20))
    running = template._running._process.pid
    decoders = _processes(pool)
    os.kill(running, signal.SIGKILL)
    _wait_until(lambda: not any(map(_is_alive, decoders)))
    for _ in range(4):
        pool.decode(picture("red"))
    assert template._running._process.pid != running


@linux
def test_an_interrupt_in_the_middle_of_an_image_costs_the_decoder(pool, replaced) -> None:
    process = _stalled(pool)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            pool.decode(picture("blue"), cpu_s=60)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not _is_alive(process)
    red = picture("red")
    np.testing.assert_array_equal(pool.decode(red), to_pixels(decode_image(red, _LIMITS)))


def test_no_room_for_a_process_is_a_matter_of_asking_again(monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(Overloaded, match="no process can be started"):
        DecodePool(DecodeTemplate(_LIMITS), 1).decode(picture("red"))


@linux
def test_no_files_left_is_a_matter_of_asking_again(template, replaced) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    pool = DecodePool(template, 1, observer=replaced)
    pool.decode(picture("red"))
    pool.close()
    with ExitStack() as gaps:  # the limit is one of numbers, so that gaps between them would count
        highest = max(map(int, os.listdir("/proc/self/fd")))
        while (first_free := os.dup(0)) < highest:
            gaps.callback(os.close, first_free)
        os.close(first_free)
        opened = len(os.listdir("/proc/self/fd"))
        for n_free in range(3):  # of the three that it takes
            resource.setrlimit(resource.RLIMIT_NOFILE, (first_free + n_free, hard))
            try:
                with pytest.raises(Overloaded, match="no process can be started"):
                    pool.decode(picture("red"))
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert len(os.listdir("/proc/self/fd")) == opened
    assert pool.decode(picture("red")).shape == (DEFAULT_SIDE_PX, DEFAULT_SIDE_PX, 3)
    pool.close()


def test_a_template_that_there_is_no_room_for_is_started_later(monkeypatch) -> None:
    made = DecodeTemplate(_LIMITS)
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", _no_process)
        made.start()
    try:
        assert DecodePool(made, 1).decode(picture("red")).shape == (DEFAULT_SIDE_PX, DEFAULT_SIDE_PX, 3)
    finally:
        made.close()


def _no_process(*_args: object, **_kwargs: object) -> None:
    raise OSError(errno.EAGAIN, "no room")


@linux
def test_a_decoder_can_do_little_and_knows_little(pool, monkeypatch) -> None:
    monkeypatch.setenv("PARECIDO_API_SECRET", "s3cret")
    template = DecodeTemplate(_LIMITS)
    pool = DecodePool(template, 1)
    try:
        pool.decode(picture("red"))
        (process,) = _processes(pool)
        limits = Path(f"/proc/{process}/limits").read_text()
        assert b"s3cret" not in Path(f"/proc/{process}/environ").read_bytes()
        rows = {line[:25].strip(): line[25:].split() for line in limits.splitlines()}
        assert rows["Max core file size"][:2] == ["0", "0"]
        assert rows["Max file size"][:2] == ["0", "0"]
        assert int(rows["Max open files"][1]) <= 16
        assert int(rows["Max address space"][1]) < 600_000_000
        assert Path(f"/proc/{process}/oom_score_adj").read_text().strip() == "500"
    finally:
        pool.close()
        template.close()


_PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from shared.images.decode_pool.pool import DecodePool
from shared.images.decode_pool.template import DecodeTemplate
from shared.images.limits import ImageLimits
from tests.support.fakes import picture
template = DecodeTemplate(ImageLimits())
pool = DecodePool(template, 1)
pool.decode(picture("red"))
print(template._running._process.pid, pool._slots.queue[-1].process, flush=True)
{then}
"""


def _program(then: str) -> "subprocess.Popen[str]":
    program = _PROGRAM.format(root=str(_ROOT), then=textwrap.dedent(then))
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


@linux
def test_nothing_is_left_behind_when_the_process_is_killed() -> None:
    with _program("import time; time.sleep(60)") as program:
        template, decoder = map(int, program.stdout.readline().split())
        assert _is_alive(template)
        assert _is_alive(decoder)
        program.kill()
    _wait_until(lambda: not (_is_alive(template) or _is_alive(decoder)))


@linux
def test_nothing_is_left_behind_while_an_image_is_decoded() -> None:
    then = """
        from tests.support.hostile_images import jpeg_of_scans
        pool.decode(jpeg_of_scans(6000, 6000, 20_000), cpu_s=300)
    """
    with _program(then) as program:
        template, decoder = map(int, program.stdout.readline().split())
        time.sleep(0.5)
        assert _is_alive(template)
        assert _is_alive(decoder)
        program.kill()
    _wait_until(lambda: not (_is_alive(template) or _is_alive(decoder)))


@linux
def test_nothing_is_left_behind_when_the_program_ends() -> None:
    with _program("") as program:
        template, decoder = map(int, program.stdout.readline().split())
        assert program.wait() == 0
    _wait_until(lambda: not (_is_alive(template) or _is_alive(decoder)))


@linux
def test_signals_of_a_terminal_or_a_stop_are_left_to_the_program(pool, template, replaced) -> None:
    pool.decode(picture("red"))
    (process,) = _processes(pool)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(process, number)
        os.kill(template._running._process.pid, number)
    pool.decode(picture("red"))
    assert _processes(pool) == [process]
    assert replaced == []


@linux
def test_only_what_decoding_needs_is_imported(pool) -> None:
    module = "shared.images.decode_pool.decoder_process"
    program = f"import sys, {module}; print([name for name in sys.modules if '.' not in name])"
    done = subprocess.run([sys.executable, "-c", program], cwd=_ROOT, capture_output=True, text=True, check=True)
    unwanted = ("faiss", "flask", "gunicorn", "indexer", "search_service", "tensorflow", "ai_edge_litert", "sklearn")
    assert not [name for name in unwanted if f"'{name}'" in done.stdout]
    pool.decode(picture("red"))
    (process,) = _processes(pool)
    rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    assert next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) < 50_000


def _answering(pool: DecodePool, answer: bytes) -> threading.Thread:
    """A decoder that hostile bytes control, and that answers anything."""
    pool.decode(picture("red"))
    decoder = pool._slots.queue[-1]
    ours, theirs = socket.socketpair()
    decoder._connection = ours

    def serve() -> None:
        with theirs:
            theirs.recv(1_000_000)
            theirs.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"\xff" * 66_000, BrokenImage),
        (b"\x80\0\0\0\0\x02\0cos\nsystem\n", BrokenImage),
        (struct.pack("=BHHH", 1, 0, 0, 3) + b"\xff\xfe\0", ImageTooLarge),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_a_decoder_answers_is_text_whatever_it_is(pool, answer: bytes, error: type[Exception]) -> None:
    thread = _answering(pool, answer)
    with pytest.raises(error):
        pool.decode(picture("red"))
    thread.join()


@pytest.mark.parametrize(
    "answer",
    [b"", b"\0", struct.pack("=BHHH", 1, 0, 0, 300) + b"short", struct.pack("=BHHH", 0, 9000, 9000, 0)],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_answer_that_is_none_is_as_that_of_a_decoder_that_was_killed(pool, answer: bytes) -> None:
    thread = _answering(pool, answer)
    assert pool.decode(picture("red")).shape == (DEFAULT_SIDE_PX, DEFAULT_SIDE_PX, 3)
    thread.join()
