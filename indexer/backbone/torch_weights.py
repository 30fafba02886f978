"""Read the tensors of a legacy PyTorch file (the format before the zip one) without PyTorch and without trusting it.

Such a file is four pickles (magic number, protocol version, system information, the state dict) and a fifth with the
keys of the storages, whose raw bytes follow. A pickle may name any callable, so ours admits just the four names that
a state dict of floats and counters needs, and maps three of them to harmless stand-ins.
"""

import pickle
import struct
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from shared.errors import WeightsError

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001


@dataclass(frozen=True)
class _TensorRecord:
    """Where in which storage a tensor lies; counted in elements."""

    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(
    storage: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _TensorRecord:
    return _TensorRecord(storage, offset, shape, strides)


_ADMITTED: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class _RestrictedUnpickler(pickle.Unpickler):
    """Admits only what `_ADMITTED` names, and remembers each storage's dtype and length."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, tuple[np.dtype[Any], int]] = {}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise WeightsError(f"it names {module}.{name}, which a file of weights has no need for") from None

    def persistent_load(self, pid: Any) -> str:
        kind, dtype, key, _device, length, _view = pid
        if kind != "storage":
            raise WeightsError(f"it refers to a {kind!r}; wanted only storages")
        self.storages[key] = (np.dtype(dtype), int(length))
        return str(key)


def read_torch_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Read every tensor of a legacy PyTorch state dict.

    Returns:
        name → array, float32 or int64.

    Raises:
        WeightsError: no such file, another format, truncated, or a pickle that names anything not needed.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except WeightsError as error:
        raise WeightsError(f"the weights file {path} is refused: {error}") from error
    except OSError as error:
        raise WeightsError(f"the weights file {path} can't be read: {error.strerror}") from error
    except Exception as error:  # a damaged pickle fails in any way that it likes
        raise WeightsError(f"the weights file {path} is no legacy PyTorch state dict: {error}") from error


def _read(file: BinaryIO) -> dict[str, NDArray[Any]]:
    magic, version = _RestrictedUnpickler(file).load(), _RestrictedUnpickler(file).load()
    if (magic, version) != (_MAGIC_NUMBER, _PROTOCOL_VERSION):
        raise WeightsError(f"its magic number and version are {magic!r} and {version!r}")
    _RestrictedUnpickler(file).load()
    unpickler = _RestrictedUnpickler(file)
    records = unpickler.load()
    keys = _RestrictedUnpickler(file).load()
    storages = {key: _read_storage(file, *unpickler.storages[key]) for key in keys}
    if file.read(1):
        raise WeightsError("it goes on after the last storage")
    return {name: _tensor(storages[record.storage], record) for name, record in records.items()}


def _read_storage(file: BinaryIO, dtype: np.dtype[Any], length: int) -> NDArray[Any]:
    (found,) = struct.unpack("<q", file.read(8))
    data = file.read(length * dtype.itemsize)
    if found != length or len(data) != length * dtype.itemsize:
        raise WeightsError(f"a storage has {found} elements and {len(data)} bytes; wanted {length} elements")
    return np.frombuffer(data, dtype)


def _tensor(storage: NDArray[Any], record: _TensorRecord) -> NDArray[Any]:
    last = record.offset + sum((size - 1) * step for size, step in zip(record.shape, record.strides, strict=True))
    if record.offset < 0 or min(record.strides, default=0) < 0 or last >= len(storage):
        raise WeightsError(f"a tensor of shape {record.shape} reaches outside its storage")
    strides = tuple(step * storage.itemsize for step in record.strides)
    view = np.lib.stride_tricks.as_strided(storage[record.offset :], record.shape, strides, writeable=False)
    return np.array(view)
