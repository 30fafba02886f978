"""Exporting the base to LiteRT: `indexer.backbone.load.export_embedder` against Keras's own `model.export`.

Seconds, size, and the largest difference from the base itself in any coordinate of the unit embeddings. EfficientNetB0
has random weights here, which are as many and need no download. Every export runs in a fresh process, since the first
one in a process pays for TensorFlow's warming up. Ours includes its check of the result. A smoke run leaves
EfficientNetB0 out.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from benchmarks.harness.options import option_parser
from benchmarks.harness.own_process import run_apart
from benchmarks.harness.photos import list_photos, sample
from benchmarks.harness.raw_limit import forward
from benchmarks.harness.rows import print_records, store
from shared.images.decode import SIDE_PX, ImageLimits, decode_image, to_pixels
from shared.vectors import unit_rows

_BASES = ("efficientnet_lite0", "efficientnet_b0")
_PHOTOS = 8


@dataclass(frozen=True)
class Export:
    """One way of exporting one base.

    Attributes:
        way: `ours` or `keras`.
        base: its name.
        seconds: median over the runs.
        size_mb: of the `.tflite` file.
        largest_difference: of any coordinate of the unit embeddings of some photos, from those of the base.
        error: why it can't be exported in this way; the figures are None then.
    """

    way: str
    base: str
    seconds: float | None
    size_mb: float | None
    largest_difference: float | None
    error: str | None = None


def main() -> None:
    """Export in every way, print and store."""
    options = option_parser("export", __doc__).parse_args()
    paths = [photo.path for photo in sample(list_photos(options.photos, "train"), _PHOTOS)]
    runs, bases = (1, _BASES[:1]) if options.smoke else (3, _BASES)
    found = [_median([run_apart(export_once, way, base, paths) for _ in range(runs)]) for base in bases for way in WAYS]
    print_records(f"Exports, {runs} of each", [asdict(one) for one in found])
    store("export", options.smoke, {"runs": runs, "exports": [asdict(one) for one in found]})


def export_once(way: str, base: str, paths: Sequence[Path]) -> Export:
    """Export a base and compare it on some photos; call it through `run_apart`."""
    import keras

    from indexer.backbone.load import load_backbone

    if base == "efficientnet_lite0":
        model = load_backbone(base, None, print).model
    else:
        keras.utils.set_random_seed(0)
        model = keras.applications.EfficientNetB0(include_top=False, weights=None, pooling="avg")
    pixels = np.stack([to_pixels(decode_image(path.read_bytes(), ImageLimits())) for path in paths])
    started = time.perf_counter()
    try:
        exported = WAYS[way](model)
    except Exception as error:  # the converter and Keras fail in many ways, and that is a result here
        return Export(way, base, None, None, None, f"{type(error).__name__}: {error}"[:200])
    seconds = time.perf_counter() - started
    wanted = unit_rows(np.asarray(model(pixels.astype(np.float32), training=False)))
    difference = float(np.abs(unit_rows(_embed(exported, pixels)) - wanted).max())
    return Export(way, base, seconds, len(exported) / 1e6, difference)


def _embed(exported: bytes, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    litert: Any = Interpreter(model_content=exported)
    taken = litert.get_input_details()[0]
    litert.resize_tensor_input(taken["index"], (1, SIDE_PX, SIDE_PX, 3), strict=False)
    litert.allocate_tensors()
    images = pixels.astype(taken["dtype"])  # ours takes uint8, Keras's float32
    return np.concatenate([forward(litert, image[np.newaxis]).copy() for image in images])


def _ours(model: Any) -> bytes:
    from indexer.backbone.load import export_embedder

    return export_embedder(model)


def _keras(model: Any) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "model.tflite")
        model.export(path, format="litert", verbose=False)
        return path.read_bytes()


WAYS: dict[str, Callable[[Any], bytes]] = {"ours": _ours, "keras": _keras}


def _median(exports: Sequence[Export]) -> Export:
    first, seconds = exports[0], [one.seconds for one in exports if one.seconds is not None]
    return Export(**{**asdict(first), "seconds": statistics.median(seconds) if seconds else None})


if __name__ == "__main__":
    main()
