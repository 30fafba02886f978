"""What an augmented copy costs: Keras's layers and ImageDataGenerator against `indexer.embedding.augmentation`.

All rotate by up to 15°, zoom by up to 15 % and mirror half of the copies of the same 224 px photos. Beside them the
forward pass of LiteRT with one thread, which an augmented copy needs anyway. Our augmentation uses one thread;
TensorFlow takes what it gets, so processor time tells more than the clock.
"""

import math
import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

# TensorFlow's start-up notes are no result.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from numpy.typing import NDArray

from benchmarks.harness.contest import time_in_turns
from benchmarks.harness.options import option_parser
from benchmarks.harness.own_process import export_lite0
from benchmarks.harness.photos import list_photos, sample
from benchmarks.harness.rows import print_records, store
from indexer.embedding.augmentation import Augmentation
from shared.images.decode import ImageLimits, decode_image, to_pixels
from shared.model.embedder import LiteRtEmbedder

_BATCHES = (1, 16, 64)
_PHOTOS = max(_BATCHES)
_AUGMENT = "indexer.embedding.augmentation"
_FORWARD = "LiteRT forward pass, 1 thread"

Ways = dict[str, tuple[int, Callable[[], object]]]
"""By name, how many images a call handles, and the call."""


def main() -> None:
    """Measure, print and store."""
    options = option_parser("augmentation", __doc__).parse_args()
    photos = sample(list_photos(options.photos, "train"), _PHOTOS)
    pixels = np.stack([to_pixels(decode_image(photo.path.read_bytes(), ImageLimits())) for photo in photos])
    count = len(pixels)
    embedder = LiteRtEmbedder(export_lite0(), interpreters=1)
    ways: Ways = {
        _AUGMENT: (count, lambda: _ours(pixels)),
        _FORWARD: (count, lambda: embedder.embed(pixels)),
        "ImageDataGenerator": (count, lambda: _generator(pixels)),
        **_layers(pixels),
    }
    timed = time_in_turns(ways, rounds=3 if options.smoke else 25)
    by_way = {one.way: one for one in timed}
    rows: list[dict[str, Any]] = [
        {
            **asdict(one),
            "times_our_cpu": one.cpu_ms / by_way[_AUGMENT].cpu_ms,
            "share_of_forward_cpu": one.cpu_ms / by_way[_FORWARD].cpu_ms,
        }
        for one in timed
    ]
    print_records("An image", rows)
    store("augmentation", options.smoke, {"ways": rows})


def _ours(pixels: NDArray[np.uint8]) -> None:
    augmentation = Augmentation(copies=1)
    for number, image in enumerate(pixels):
        augmentation.views(image, number.to_bytes(4, "big"))


def _generator(pixels: NDArray[np.uint8]) -> None:
    ours = Augmentation()
    generator = ImageDataGenerator(
        rotation_range=ours.rotation_degrees, zoom_range=ours.zoom, horizontal_flip=ours.flip
    )
    for image in pixels:
        generator.random_transform(image.astype(np.float32))


def _layers(pixels: NDArray[np.uint8]) -> Ways:
    """Keras's layers, eager and compiled, for each size of batch; every call handles all images."""
    ours = Augmentation()
    turn = math.radians(ours.rotation_degrees) / (2 * math.pi)
    layers = keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomRotation(turn, fill_mode="nearest"),
            keras.layers.RandomZoom(ours.zoom, fill_mode="nearest"),
        ]
    )
    images = tf.constant(pixels, tf.float32)
    compiled = tf.function(lambda batch: layers(batch, training=True))

    def eager(batch: Any) -> Any:
        for layer in layers.layers:
            batch = layer(batch, training=True)
        return batch

    def run(call: Callable[[Any], Any], batch: int) -> None:
        for start in range(0, len(pixels), batch):
            call(images[start : start + batch]).numpy()

    def way(call: Callable[[Any], Any], batch: int) -> tuple[int, Callable[[], object]]:
        return len(pixels), lambda: run(call, batch)

    calls = {"eager": eager, "tf.function": compiled}
    return {
        f"Keras layers, {name}, batches of {batch}": way(call, batch)
        for name, call in calls.items()
        for batch in _BATCHES
    }


if __name__ == "__main__":
    main()
