"""Locations of catalogues and images: paths, or URLs that fsspec opens, such as `s3://bucket/items.parquet`.

A URL becomes universal-pathlib's `UPath`, which has `pathlib`'s methods; only then is that library imported.
"""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple, cast

from shared.errors import SettingsError
from shared.images.limits import ImageLimits

_LOCAL = ("file", "local")
_EXTRA = "install Parecido with the extra `parquet`: pip install 'parecido[parquet]'"


class FileStatus(NamedTuple):
    """Size and time of change; if they are the same, a file is taken to be unchanged.

    Attributes:
        st_size: bytes.
        st_mtime_ns: nanoseconds since 1970; for a URL, a hash of everything that the store says of the object, its
            ETag included.
    """

    st_size: int
    st_mtime_ns: int


def location(text: str) -> Path:
    """A path, or a `UPath` if the text is a URL.

    Raises:
        SettingsError: no installed library opens such a URL.
    """
    scheme, is_a_url, rest = text.partition("://")
    if not is_a_url:
        return Path(text)
    if scheme in _LOCAL:
        raise SettingsError(f"{text!r} is a file on this machine: give its path, {rest}")
    try:
        from upath import UPath
    except ImportError as error:
        raise SettingsError(f"{text!r} can't be opened: {_EXTRA}") from error
    try:
        path = UPath(text)
        _ = path.fs  # looks for the library that speaks the scheme
    except (ImportError, ValueError) as error:
        raise SettingsError(f"{text!r} can't be opened: {error}") from error
    return cast(Path, path)


def is_url(path: Path) -> bool:
    """True if `location` made it from a URL."""
    return not isinstance(path, Path)


def absolute(path: Path) -> str:
    """An absolute path or URL, as `location` takes it."""
    return str(path if is_url(path) else path.resolve())


def exists(path: Path) -> bool:
    """True if a file, directory or object is there.

    Raises:
        OSError: the store can't be reached.
    """
    try:
        return path.exists()
    except Exception as error:
        raise as_os_error(error) from error


def status_of(path: Path) -> FileStatus:
    """Size and time of change.

    Raises:
        OSError: there is no such file, or the store can't be reached.
    """
    try:
        status = path.stat()
    except Exception as error:
        raise as_os_error(error) from error
    if isinstance(status, os.stat_result):
        return FileStatus(status.st_size, status.st_mtime_ns)
    info = repr(sorted(status.as_info().items(), key=lambda pair: pair[0])).encode()
    return FileStatus(status.st_size, int.from_bytes(hashlib.sha256(info).digest()[:7]))


def read_limited(path: Path, limits: ImageLimits) -> bytes:
    """A file's bytes, at most one more than `limits` allow.

    Raises:
        OSError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(limits.max_bytes + 1)
    except Exception as error:
        if is_url(path):
            raise as_os_error(error) from error
        raise


def as_os_error(error: Exception) -> OSError:
    """Turn any error of a store's library into an OSError with a message."""
    if isinstance(error, OSError) and error.strerror:
        return error
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(2, "No such file or directory")
    return OSError(5, f"{type(error).__name__}: {error}")
