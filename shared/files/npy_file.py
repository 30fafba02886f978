"""Reading of one-dimensional arrays in `.npy` files, with validation of header and length."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.files.regular_file import open_regular

_MAPPED_FROM_BYTES = 1 << 20


def read_vector(path: Path, dtypes: tuple[type[np.generic], ...], inside: Path | None = None) -> NDArray[Any]:
    """Read a one-dimensional array.

    Only a large array is mapped: a mapped array keeps its file open, and there may be many.

    Args:
        path: of the file.
        dtypes: the accepted dtypes.
        inside: the directory that must contain it; see `shared.files.regular_file`.

    Returns:
        `(n,)`, of one of `dtypes`.

    Raises:
        SnapshotError: it has another dtype or shape, or another number of bytes than its header declares.
        ValueError: it has no valid header.
        OSError: it can't be read.
    """
    with open_regular(path, inside) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise SnapshotError(f"{path} is not in version 1.0 of NumPy's format; expected that version")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
        expected = [np.dtype(accepted) for accepted in dtypes]
        if len(shape) != 1 or is_fortran or dtype not in expected:
            names = " or ".join(map(str, expected))
            raise SnapshotError(
                f"{path} has an array of shape {shape} and dtype {dtype}; expected one dimension of {names}"
            )
        start, size = file.tell(), file.seek(0, 2)
        if size - start != shape[0] * dtype.itemsize:
            raise SnapshotError(f"{path} has {size - start} bytes of values; its header declares {shape[0]} of {dtype}")
        if size > _MAPPED_FROM_BYTES:
            # A plain array over the mapped file is quicker to index.
            return np.asarray(np.memmap(file, dtype=dtype, mode="r", offset=start, shape=shape))
        file.seek(start)
        return np.frombuffer(file.read(), dtype=dtype)
