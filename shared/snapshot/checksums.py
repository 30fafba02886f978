"""Checksums of files: the SHA-256 of all bytes, or of samples of a large file."""

import hashlib
from pathlib import Path

import numpy as np

from shared.deadline import NO_DEADLINE, Deadline
from shared.files.regular_file import open_regular

_SAMPLE_BYTES = 64 << 10
_SAMPLES = 64
_READ_BYTES = 1 << 20


def sampled_sha256_of(path: Path, inside: Path | None = None) -> str:
    """The SHA-256 of a large file's size and of samples of its bytes, including first and last, in hexadecimal."""
    with open_regular(path, inside) as file:
        size = file.seek(0, 2)
        digest = hashlib.sha256(size.to_bytes(8, "little"))
        for start in np.linspace(0, max(0, size - _SAMPLE_BYTES), _SAMPLES).astype(int).tolist():
            file.seek(start)
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def sha256_of(path: Path, inside: Path | None = None, deadline: Deadline = NO_DEADLINE) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Args:
        path: a regular file.
        inside: the directory that it must lie in; see `shared.files.regular_file`.
        deadline: for reading it, since a sparse file may have terabytes.

    Raises:
        SnapshotError: it is not a regular file, or the deadline has passed.
        OSError: it can't be read.
    """
    digest, block = hashlib.sha256(), bytearray(_READ_BYTES)
    with open_regular(path, inside) as file:
        while n_read := file.raw.readinto(block):  # type: ignore[attr-defined]
            digest.update(memoryview(block)[:n_read])
            deadline.check(f"reading {path}")
    return digest.hexdigest()
