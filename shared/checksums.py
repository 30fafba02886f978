"""What tells that a file is as it was written: the SHA-256 of all of it, or of samples of a large one."""

import hashlib
from pathlib import Path

import numpy as np

_BLOCK_BYTES = 64 << 10
_BLOCKS = 64


def sample_of(path: Path) -> str:
    """The SHA-256 of a large file's size and of blocks of it, the first and the last among them, in hexadecimal."""
    size = path.stat().st_size
    digest = hashlib.sha256(size.to_bytes(8, "little"))
    with path.open("rb") as file:
        for start in np.linspace(0, max(0, size - _BLOCK_BYTES), _BLOCKS).astype(int).tolist():
            file.seek(start)
            digest.update(file.read(_BLOCK_BYTES))
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
