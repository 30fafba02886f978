"""Reading of `.npz` files that somebody else may have written: only stored members, of bounded size."""

import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.files.regular_file import open_regular


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
