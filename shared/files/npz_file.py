"""Reading of `.npz` files that somebody else may have written: only stored members, of bounded size."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.files.regular_file import open_regular

_Scalar = TypeVar("_Scalar", bound=np.generic)


def read_arrays(path: Path, what: str) -> dict[str, NDArray[Any]]:
    """Read all arrays of a file in a snapshot's directory.

    Args:
        path: of a file that `numpy.savez` wrote.
        what: it is, for messages.

    Raises:
        SnapshotError: it is missing, damaged or compressed, or has objects.
    """
    try:
        with open_regular(path, path.parent.parent) as file:
            _require_stored(file)
            with np.load(file, allow_pickle=False) as arrays:
                return dict(arrays.items())
    except Exception as error:  # zipfile and NumPy raise exceptions of many types on damaged bytes
        raise SnapshotError(f"{what} {path} can't be read: {error}") from error


def typed_array(arrays: Mapping[str, NDArray[Any]], name: str, dtype: type[_Scalar]) -> NDArray[_Scalar]:
    """Return an array of a file, C-contiguous.

    Args:
        arrays: as `read_arrays` returned them.
        name: of the array.
        dtype: that it was written with; others are not converted, since they may be text, or too large.

    Raises:
        SnapshotError: there is none, or its dtype is another.
    """
    if name not in arrays:
        raise SnapshotError(f"it has no array {name!r}; expected one of {dtype.__name__}")
    if arrays[name].dtype != dtype:
        raise SnapshotError(f"its array {name!r} has the dtype {arrays[name].dtype}; expected {dtype.__name__}")
    return np.ascontiguousarray(arrays[name])


def _require_stored(file: BinaryIO) -> None:
    """Reject an archive whose members have more bytes than the file: `savez` does not compress."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    size = file.seek(0, 2)
    if any(member.compress_type != zipfile.ZIP_STORED for member in members) or (
        sum(member.file_size for member in members) > size
    ):
        raise SnapshotError("it is compressed, or its members are larger than the file; expected stored members")
    file.seek(0)
