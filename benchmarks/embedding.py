"""Embedding in batches and with threads: LiteRT's forward pass against Keras's `predict`.

One interpreter with batches of 1, 4 and 16 (the exported base takes one image; it is resized) and 1 or 2 threads; and
two threads that each feed an interpreter of its own with one thread, as the indexer does on two cores. All alternate.
`model.predict`, an image at a time, is measured afterwards in a process of its own.
"""

import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from benchmarks.harness.contest import Timed, time_in_turns
from benchmarks.harness.options import option_parser
from benchmarks.harness.own_process import export_lite0, run_apart
from benchmarks.harness.photos import list_photos, sample
from benchmarks.harness.raw_limit import forward
from benchmarks.harness.rows import print_records, store
from shared.images.decode import ImageLimits, decode_image, to_pixels

_BATCHES = (1, 4, 16)
_THREADS = (1, 2)
_PHOTOS = 2 * max(_BATCHES)
_SINGLE = "LiteRT, batches of 1, 1 thread"


def main() -> None:
    """Measure, print and store."""
    options = option_parser("embedding", __doc__).parse_args()
    paths = [photo.path for photo in sample(list_photos(options.photos, "train"), _PHOTOS)]
    pixels, rounds = _pixels(paths), 2 if options.smoke else 25
    timed = _time_litert(run_apart(export_lite0), pixels, rounds)
    timed += run_apart(time_predict, paths, rounds)
    single_ms = next(one.wall_ms for one in timed if one.way == _SINGLE)
    rows = [{**asdict(one), "images_per_s": 1000 / one.wall_ms, "speed": single_ms / one.wall_ms} for one in timed]
    print_records(f"An image; speed 1 is {_SINGLE}", rows)
    store("embedding", options.smoke, {"ways": rows})


def _pixels(paths: Sequence[Path]) -> NDArray[np.uint8]:
    return np.stack([to_pixels(decode_image(path.read_bytes(), ImageLimits())) for path in paths])


def _time_litert(model: bytes, pixels: NDArray[np.uint8], rounds: int) -> list[Timed]:
    ways = {}
    for threads in _THREADS:
        for batch in _BATCHES:
            litert = _resized(model, batch, threads)
            name = f"LiteRT, batches of {batch}, {threads} thread{'s' if threads > 1 else ''}"
            ways[name] = (len(pixels), _bind(litert, pixels, batch))
    pair = [_resized(model, 1, 1), _resized(model, 1, 1)]
    ways["LiteRT, 2 interpreters with 1 thread each"] = (len(pixels), lambda: _run_side_by_side(pair, pixels))
    return time_in_turns(ways, rounds)


def _resized(model: bytes, batch: int, threads: int) -> Any:
    litert = Interpreter(model_content=model, num_threads=threads)
    taken = litert.get_input_details()[0]
    litert.resize_tensor_input(taken["index"], (batch, *taken["shape"][1:]), strict=False)
    litert.allocate_tensors()
    return litert


def _bind(litert: Any, pixels: NDArray[np.uint8], batch: int) -> Any:
    return lambda: _run(litert, pixels, batch)


def _run(litert: Any, pixels: NDArray[np.uint8], batch: int) -> None:
    for start in range(0, len(pixels), batch):
        forward(litert, pixels[start : start + batch])


def _run_side_by_side(interpreters: Sequence[Any], pixels: NDArray[np.uint8]) -> None:
    parts = np.array_split(pixels, len(interpreters))
    threads = [
        threading.Thread(target=_run, args=(litert, part, 1)) for litert, part in zip(interpreters, parts, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def time_predict(paths: Sequence[Path], rounds: int) -> list[Timed]:
    """Time Keras's `predict` an image; call it through `run_apart`."""
    from indexer.backbone.load import load_backbone

    model = load_backbone("efficientnet_lite0", None, print).model
    images = _pixels(paths).astype(np.float32)

    def predict() -> None:
        for image in images:
            model.predict(image[np.newaxis], verbose=0)

    return time_in_turns({"Keras predict, an image at a time": (len(images), predict)}, rounds)


if __name__ == "__main__":
    main()
