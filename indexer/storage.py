"""What to say when the data directory can't be written."""

import shutil
from pathlib import Path

from shared.errors import StorageError


def storage_error(what: str, where: Path, error: Exception) -> StorageError:
    """Name what can't be written, why, and how much room there is.

    Args:
        what: a sentence without its end, for example `the data directory X can't be written`.
        where: an existing directory on the disk in question.
        error: what the system or SQLite said.
    """
    reason = getattr(error, "strerror", None) or error
    free_mb = shutil.disk_usage(where).free / 1e6
    return StorageError(f"{what}: {reason}; {free_mb:,.0f} MB are free. What is published stays published")
