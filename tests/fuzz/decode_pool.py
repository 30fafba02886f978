"""Decode mutated images in a pool for some seconds, in a process that stands for a worker: only decoders may die.

`python tests/fuzz/decode_pool.py SECONDS [SEED]` prints what became of them, and fails where the worker has died, or an
image has taken longer than it may.
"""

import io
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))

from shared.errors import ImageError
from shared.images.decode_pool.pool import CPU_S, DecodePool
from shared.images.decode_pool.template import DecodeTemplate
from shared.images.limits import ImageLimits

_THREADS = 2
_MOST_WALL_S = 10 * CPU_S + 5
_FORMS = (
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("JPEG", {"subsampling": 0, "restart_marker_rows": 1}),
    ("PNG", {}),
    ("PNG", {"save_all": True}),
    ("WEBP", {"lossless": True}),
    ("WEBP", {"quality": 50}),
    ("GIF", {}),
    ("BMP", {}),
    ("AVIF", {"speed": 10}),
    ("TIFF", {}),
    *(("TIFF", {"compression": name}) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")),
)
_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


class _Replaced(Counter[str]):
    """Counts the decoders that have died, by why."""

    def decoder_replaced(self, reason: str) -> None:
        self[reason] += 1


def seeds() -> list[bytes]:
    """Small images in each format and mode."""
    found = []
    for mode in ("RGB", "L", "P", "RGBA"):
        image = Image.effect_noise((160, 120), 60).convert(mode)
        for form, options in _FORMS:
            file = io.BytesIO()
            try:
                image.save(file, form, **options)
            except (OSError, ValueError, KeyError):  # not in this mode
                continue
            found.append(file.getvalue())
    return found


def mutated(images: list[bytes], draw: random.Random) -> Iterator[bytes]:
    """Images with a few changes each: bytes, numbers, pieces left out, doubled, or of another image."""
    while True:
        data = bytearray(draw.choice(images))
        for _ in range(draw.choice((1, 1, 2, 4, 16))):
            at = min(int(draw.expovariate(8) * len(data)), len(data))  # mostly in front, where the structure is
            length = draw.choice((1, 2, 4, 8, 64, 512))
            data[at : at + draw.choice((0, length))] = _piece(bytes(data[at : at + length]), length, images, draw)
        yield bytes(data)


def _piece(old: bytes, length: int, images: list[bytes], draw: random.Random) -> bytes:
    """Return bytes that replace others, or are inserted before them."""
    size = draw.choice((1, 2, 4))
    number = draw.choice(_NUMBERS) & (256**size - 1)
    other = draw.choice(images)
    start = draw.randrange(len(other))
    bit = 1 << draw.randrange(8)
    pieces = (
        bytes((old[0] ^ bit,)) + old[1:] if old else b"",
        number.to_bytes(size, draw.choice(("big", "little"))),
        b"",
        old * draw.choice((1, 2, 100)),
        other[start : start + length],
        draw.randbytes(length),
    )
    return draw.choice(pieces)


def work(seconds: float, seed: int) -> None:
    """Be the worker."""
    replaced, outcomes = _Replaced(), Counter[str]()
    template = DecodeTemplate(ImageLimits())
    pool = DecodePool(template, _THREADS, observer=replaced)
    until_s = time.monotonic() + seconds

    def decode(number: int) -> float:
        slowest_s = 0.0
        images = mutated(seeds(), random.Random(f"{seed} {number}"))
        while time.monotonic() < until_s:
            began_s = time.monotonic()
            try:
                pool.decode(next(images))
                outcomes["decoded"] += 1
            except ImageError as error:
                outcomes[error.code] += 1
            slowest_s = max(slowest_s, time.monotonic() - began_s)
        return slowest_s

    with ThreadPoolExecutor(_THREADS) as threads:
        slowest_s = max(threads.map(decode, range(_THREADS)))
    template.close()
    print(
        f"{outcomes.total():,} images: {dict(outcomes)}; decoders replaced: {dict(replaced)}; slowest {slowest_s:.1f} s"
    )
    if slowest_s > _MOST_WALL_S:
        sys.exit(f"an image took {slowest_s:.1f} s; at most {_MOST_WALL_S:g} s are allowed")


def main() -> int:
    """Run the worker, and say whether it lives."""
    seconds, seed = float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    worker = multiprocessing.get_context("spawn").Process(target=work, args=(seconds, seed))
    worker.start()
    worker.join()
    print(f"workers dead: {int(worker.exitcode != 0)} (exit status {worker.exitcode})")
    return int(worker.exitcode != 0)


if __name__ == "__main__":
    sys.exit(main())
