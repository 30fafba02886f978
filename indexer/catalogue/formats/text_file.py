"""Opening text files, of which catalogues are read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from shared.errors import CatalogueError


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a file in UTF-8, with or without a byte order mark.

    Raises:
        CatalogueError: it can't be opened, or what is read of it is not UTF-8.
    """
    try:
        file = path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise CatalogueError(f"the catalogue {path} can't be read: {error.strerror}") from error
    with file:
        try:
            yield file
        except UnicodeDecodeError as error:
            raise CatalogueError(f"the catalogue {path} is not in UTF-8: {error}") from error
