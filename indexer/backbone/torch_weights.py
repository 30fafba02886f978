"""Reader of legacy PyTorch files (the format before the zip one) that needs no PyTorch and does not trust the file.

Such a file is four pickles (magic number, protocol version, system information, the state dict) and a fifth with the
keys of the storages, whose raw bytes follow. A pickle may name any callable, so this unpickler allows only the four
names that a state dict of floats and counters needs, and maps three of them to harmless substitutes.
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
    """The position of a tensor in a storage, in elements."""

    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(
    storage: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _TensorRecord:
    return _TensorRecord(storage, offset, shape, strides)


_ALLOWED: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class _RestrictedUnpickler(pickle.Unpickler):
    """Allows only the names of `_ALLOWED`, and records each storage's dtype and length."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, tuple[np.dtype[Any], int]] = {}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise WeightsError(f"it names {module}.{name}, which a file of weights does not need") from None

    def persistent_load(self, pid: Any) -> str:
        kind, dtype, key, _device, length, _view = pid
        if kind != "storage":
            raise WeightsError(f"it refers to a {kind!r}; expected only storages")
        self.storages[key] = (np.dtype(dtype), int(length))
        return str(key)


def read_torch_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Read all tensors of a legacy PyTorch state dict.

    Returns:
        Arrays by name, float32 or int64.

    Raises:
        WeightsError: the file does not exist, has another format, is truncated, or its pickle names anything else.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except WeightsError as error:
        raise WeightsError(f"the weights file {path} is rejected: {error}") from error
    except OSError as error:
        raise WeightsError(f"the weights file {path} can't be read: {error.strerror}") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise WeightsError(f"the weights file {path} is not a legacy PyTorch state dict: {error}") from error


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
        raise WeightsError("it continues after the last storage")
    return {name: _tensor(storages[record.storage], record) for name, record in records.items()}


def _read_storage(file: BinaryIO, dtype: np.dtype[Any], length: int) -> NDArray[Any]:
    (n_elements,) = struct.unpack("<q", file.read(8))
    data = file.read(length * dtype.itemsize)
    if n_elements != length or len(data) != length * dtype.itemsize:
        raise WeightsError(f"a storage has {n_elements} elements and {len(data)} bytes; expected {length} elements")
    return np.frombuffer(data, dtype)


def _tensor(storage: NDArray[Any], record: _TensorRecord) -> NDArray[Any]:
    last = record.offset + sum((size - 1) * step for size, step in zip(record.shape, record.strides, strict=True))
    if record.offset < 0 or min(record.strides, default=0) < 0 or last >= len(storage):
        raise WeightsError(f"a tensor of shape {record.shape} reaches outside its storage")
    strides = tuple(step * storage.itemsize for step in record.strides)
    view = np.lib.stride_tricks.as_strided(storage[record.offset :], record.shape, strides, writeable=False)
    return np.array(view)
