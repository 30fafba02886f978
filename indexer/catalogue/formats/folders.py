"""Catalogues as directories: one folder per category, one item per image."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from indexer.catalogue.model import Entry
from indexer.catalogue.names import is_valid_utf8, printable
from shared.errors import CatalogueError
from shared.images.formats import SUFFIXES

# Pictures that a shop may well have, but that can't be decoded here: reported, not ignored like other files.
_FOREIGN_SUFFIXES = frozenset({".heic", ".heif", ".jp2", ".jxl", ".psd", ".svg", ".raw", ".cr2", ".nef", ".dng"})


def folder_entries(path: Path) -> Iterator[Entry]:
    """An entry for each image below a category's folder; other files and hidden ones are ignored.

    Raises:
        CatalogueError: a folder can't be read.
    """
    for directory, folders, files in os.walk(path, onerror=_raise_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for folder in (Path(directory, name) for name in folders):
            if folder.is_symlink():
                reason = "is a link to a folder, which is not followed: copy the folder"
                yield Entry(printable(folder), None, {}, reason)
        for name in sorted(files):
            suffix = Path(name).suffix.lower()
            if name.startswith(".") or suffix not in SUFFIXES | _FOREIGN_SUFFIXES:
                continue
            file = Path(directory, name)
            relative = file.relative_to(path).as_posix()
            category = PurePosixPath(relative).parts[0]
            fields = {"item_id": relative, "category": category, "images": [relative]}
            yield Entry(printable(file), None, fields, _error(relative, suffix))


def _raise_unreadable(error: OSError) -> None:
    raise CatalogueError(f"the folder {error.filename} can't be read: {error.strerror}") from error


def _error(relative: str, suffix: str) -> str | None:
    if suffix in _FOREIGN_SUFFIXES:
        return f"{suffix} images can't be read: convert it to JPEG, PNG or WebP"
    if not is_valid_utf8(relative):
        return "the file's name is not valid UTF-8: rename it"
    if "/" not in relative:
        return "lies beside the category folders: move it into one"
    return None
