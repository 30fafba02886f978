"""Arrays in `.npy` files, read only where they are what they have to be: dtype, dimensions, and as long as they say."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.files.regular_file import open_regular

_MAPPED_FROM_BYTES = 1 << 20


def read_vector(path: Path, dtypes: tuple[type[np.generic], ...], inside: Path | None = None) -> NDArray[Any]:
    """The one-dimensional array in a file.

    It is mapped where it is large: a mapped array keeps its file open, and there may be many.

    Args:
        path: of the file.
        dtypes: those that it may have.
        inside: the directory that it must lie in; see `shared.files.regular_file`.

    Returns:
        `(n,)`, of one of `dtypes`.

    Raises:
        SnapshotError: another type or shape, or more or fewer bytes than its header says.
        ValueError: it has no header that NumPy reads.
        OSError: it can't be read.
    """
    with open_regular(path, inside) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise SnapshotError(f"{path} has another version of NumPy's format; expected 1.0")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
        expected = [np.dtype(one) for one in dtypes]
        if len(shape) != 1 or is_fortran or dtype not in expected:
            found = f"an array of shape {shape} and type {dtype}"
            names = " or ".join(str(one) for one in expected)
            raise SnapshotError(f"{path} has {found}; expected one dimension of {names}")
        start, size = file.tell(), file.seek(0, 2)
        if size - start != shape[0] * dtype.itemsize:
            raise SnapshotError(f"{path} has {size - start} bytes of values; its header says {shape[0]} of {dtype}")
        if size > _MAPPED_FROM_BYTES:
            # A plain array over the mapped file: quicker to take rows of.
            return np.asarray(np.memmap(file, dtype=dtype, mode="r", offset=start, shape=shape))
        file.seek(start)
        return np.frombuffer(file.read(), dtype=dtype)
