"""The two parts of a backbone: a trunk that stays frozen, and a tail of the last blocks, to be tuned.

1. `split_backbone` cuts it.
2. `compute_features` runs the trunk once per view, in LiteRT, which is several times as fast as TensorFlow.
3. `foldable_tail` returns the tail in a form that trains faster, on the same variables.
"""

import os
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from indexer.backbone.export import to_litert
from indexer.backbone.fine_tuning.plan import TuningPlan
from indexer.backbone.fine_tuning.strong_augmentation import strongly_augmented
from indexer.backbone.load import Backbone
from indexer.console.progress import Stage
from shared.errors import ImageError

# The end of block 8, counted from 0: 112 maps of a 16th of the input's side, and no shortcut leads past it.
_CUTS = {"efficientnet_b0": "block5a_project_bn", "efficientnet_lite0": "blocks.8._bn2"}


class Picture(NamedTuple):
    """The embedder's input for an image, `(side_px, side_px, 3)` uint8, and the SHA-256 of the image's file."""

    pixels: NDArray[np.uint8]
    digest: bytes


def split_backbone(backbone: Backbone) -> tuple[keras.Model, keras.Model]:
    """Cut a backbone after its block 8; the parts share its layers.

    Returns:
        The trunk, `(n, side_px, side_px, 3)` → `(n, side_px / 16, side_px / 16, 112)`, and the tail, from there to
        `(n, 1280)`.
    """
    cut = backbone.model.get_layer(_CUTS[backbone.name]).output
    return keras.Model(backbone.model.input, cut), keras.Model(cut, backbone.model.output)


@dataclass(frozen=True)
class Features:
    """Trunk features of the training pictures and their strongly augmented copies, and of the held-out pictures.

    Attributes:
        rows: `(n_rows, side_px / 16, side_px / 16, 112)` float16, memory-mapped.
        learned: `(n_learned, 1 + copies)` int64: the rows of each training picture, the original first.
        held_out: `(n_held_out,)` int64: the row of each held-out picture.
        digests: of the training, then of the held-out pictures' files.
    """

    rows: NDArray[np.float16]
    learned: NDArray[np.int64]
    held_out: NDArray[np.int64]
    digests: tuple[bytes, ...]


def compute_features(
    trunk: keras.Model,
    pictures: Sequence[Picture],
    plan: TuningPlan,
    seed: int,
    scratch: Path | None,
    stage: Stage,
) -> tuple[Features, NDArray[np.int64]]:
    """Run the trunk on all cores.

    Args:
        trunk: the lower part of a backbone.
        pictures: the planned ones are read once each, from any thread; unreadable ones are left out.
        plan: the indices of the pictures, and the number of copies.
        seed: of the copies.
        scratch: a directory for the features, which may exceed the memory; None for the temporary directory. The file
            has no name there, so that it disappears with the process, however that ends.
        stage: advanced once per picture.

    Raises:
        OSError: the disk is too full for the features.

    Returns:
        The features, and the indices of their pictures: training, then held-out ones.
    """
    n_learned, n_held_out = len(plan.learned), len(plan.held_out)
    runner = _Runner(to_litert(trunk))
    learned = np.arange(n_learned * (1 + plan.copies)).reshape(n_learned, 1 + plan.copies)
    held_out = np.arange(n_held_out) + learned.size
    with tempfile.TemporaryFile(dir=scratch) as file:
        shape = (learned.size + n_held_out, *runner.shape)
        # Reserved, not just sparse: on a full disk, writing to a mapped hole would end the process.
        os.posix_fallocate(file.fileno(), 0, int(np.prod(shape)) * np.dtype(np.float16).itemsize)
        rows = np.memmap(file, np.float16, "r+", shape=shape)

    def compute(own_rows: NDArray[np.int64], index: int) -> bytes | None:
        try:
            pixels, digest = pictures[index]
        except (ImageError, OSError):
            return None  # embedding the catalogue will report it
        finally:
            stage.advance()
        rows[own_rows[0]] = runner.run(pixels)
        for copy, row in enumerate(own_rows[1:]):
            rows[row] = runner.run(strongly_augmented(pixels, [seed, copy, *digest]))
        return digest

    indices = np.concatenate([plan.learned, plan.held_out])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(compute, [*learned, *held_out[:, np.newaxis]], indices.tolist()))
    good = np.array([digest is not None for digest in results], dtype=np.bool_)
    digests = tuple(digest for digest in results if digest is not None)
    return Features(rows, learned[good[:n_learned]], held_out[good[n_learned:]], digests), indices[good]


class _Runner:
    """The trunk in LiteRT, with one interpreter per thread."""

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._own = threading.local()
        self.shape = tuple(self._interpreter().get_output_details()[0]["shape"].tolist()[1:])

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """`(side_px, side_px, 3)` uint8 → `(side_px / 16, side_px / 16, 112)` float32."""
        litert = self._interpreter()
        litert.set_tensor(litert.get_input_details()[0]["index"], pixels[np.newaxis])
        litert.invoke()
        features: NDArray[np.float32] = litert.get_tensor(litert.get_output_details()[0]["index"])[0]
        return features

    def _interpreter(self) -> Any:
        if not hasattr(self._own, "litert"):
            self._own.litert = Interpreter(model_content=self._model, num_threads=1)
            self._own.litert.allocate_tensors()
        return self._own.litert


def foldable_tail(tail: keras.Model) -> keras.Model:
    """Return the same function of the same variables, in a form whose training steps take three quarters of the time.

    A normalisation with fixed statistics only scales and shifts: the scale is folded into the kernel of the convolution
    before it. And a 1 × 1 convolution is a product of matrices, whose gradients TensorFlow computes faster as such.
    """
    before = {id(layer.output): layer for layer in tail.layers if _is_foldable(layer)}
    followed = {}
    for layer in tail.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and id(layer.input) in before:
            followed[before[id(layer.input)].name] = layer
    folded = {layer.name for layer in followed.values()}

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        if layer.name in followed:
            return _ScaledConvolution(layer, followed[layer.name])
        return _Shift(layer) if layer.name in folded else layer

    return keras.models.clone_model(tail, clone_function=clone)


def _is_foldable(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return not layer.use_bias
    pointwise = isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (1, 1) and layer.strides == (1, 1)
    return pointwise and not layer.use_bias


class _ScaledConvolution(keras.layers.Layer):  # type: ignore[misc]  # Keras comes without types
    """A convolution with the scale of the normalisation after it."""

    def __init__(self, convolution: keras.layers.Layer, normalisation: keras.layers.BatchNormalization) -> None:
        super().__init__(name=f"{convolution.name}.scaled")
        self.convolution, self.normalisation = convolution, normalisation
        self.built = True

    def call(self, x: Any, mask: Any = None) -> Any:
        kernel, scale = self.convolution.kernel, _scale(self.normalisation)
        if isinstance(self.convolution, keras.layers.DepthwiseConv2D):
            steps = [1, *self.convolution.strides, 1]
            return tf.nn.depthwise_conv2d(x, kernel * scale[:, tf.newaxis], steps, self.convolution.padding.upper())
        return tf.tensordot(x, kernel[0, 0] * scale, 1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.convolution.compute_output_shape(input_shape)


class _Shift(keras.layers.Layer):  # type: ignore[misc]  # likewise
    """The shift of a normalisation whose scale is folded into the convolution."""

    def __init__(self, normalisation: keras.layers.BatchNormalization) -> None:
        super().__init__(name=f"{normalisation.name}.shift")
        self.normalisation = normalisation
        self.built = True

    def call(self, x: Any, mask: Any = None) -> Any:
        shift = self.normalisation.beta - self.normalisation.moving_mean * _scale(self.normalisation)
        return tf.nn.bias_add(x, shift)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


def _scale(normalisation: keras.layers.BatchNormalization) -> Any:
    return normalisation.gamma * tf.math.rsqrt(normalisation.moving_variance + normalisation.epsilon)
