"""Decode what a coverage-guided fuzzer makes of the hostile uploads: it finds any end but a picture or an `ImageError`.

`python tests/fuzz/decoding.py CORPUS_DIRECTORY [options of libFuzzer]`: a find is written to the working directory.
A signal, more than 5 seconds or more than 1 GB are finds too, so what is in C is watched as well.
"""

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

# Pillow reads the structure of a file in Python: there coverage leads on.
with atheris.instrument_imports(
    include=[
        "PIL",
        "shared.images.decode_cost",
        "shared.images.formats",
        "shared.images.repair",
        "shared.images.decode",
    ]
):
    from PIL import Image

    Image.init()  # imports the plugins
    from shared.images.decode import decode_image
    from shared.images.limits import ImageLimits
    from shared.images.preprocessing import DEFAULT_SIDE_PX, to_pixels

from shared.errors import ImageError
from tests.support.hostile_images import hostile_images

_SEED_BYTES = 4096
_LIMITS = ImageLimits(max_memory_bytes=32 * 1024 * 1024)


def _decode(data: bytes) -> None:
    try:
        image = decode_image(data, _LIMITS)
    except ImageError:
        return
    assert image.mode == "RGB"
    assert to_pixels(image).shape == (DEFAULT_SIDE_PX, DEFAULT_SIDE_PX, 3)


def main() -> None:
    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, (_, data) in enumerate(hostile_images()):
        if len(data) <= _SEED_BYTES:
            (corpus / f"seed-{number}").write_bytes(data)
    atheris.Setup([*sys.argv, f"-max_len={_SEED_BYTES}", "-timeout=5", "-rss_limit_mb=1024"], _decode)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
