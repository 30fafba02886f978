"""The images that an entry names, as paths inside the image root."""

import json
import os
import posixpath
import re
from pathlib import Path
from typing import Any

from indexer.catalogue.model import EntryError
from indexer.catalogue.names import is_valid_utf8
from indexer.files.location import is_url


def image_references(fields: dict[str, Any], root: Path) -> list[str]:
    """Return the images that an entry's `image` or `images` names, as spelled there; empty if it names none.

    Raises:
        EntryError: it has both fields, or one that is neither a path nor a list of paths.
    """
    given = [fields[name] for name in ("image", "images") if fields.get(name) not in (None, "", [])]
    if len(given) > 1:
        raise EntryError("has both `image` and `images`; expected one of them")
    if not given:
        return []
    references = _split(given[0], root) if isinstance(given[0], str) else given[0]
    if not isinstance(references, list) or not all(isinstance(name, str) and name.strip() for name in references):
        raise EntryError(f"`image` or `images` is neither a path nor a list of paths: {given[0]!r}")
    return [name.strip() for name in references]


def _split(text: str, root: Path) -> list[Any]:
    """Several images in one CSV cell: a JSON list, or separated by `|` or `;`, unless a file has just that name."""
    if text.lstrip().startswith("["):
        try:
            names = json.loads(text)
        except ValueError:
            names = None
        if isinstance(names, list):
            return names
    if not re.search(r"[|;]", text) or (not is_url(root) and os.path.lexists(root / text.strip())):
        return [text]
    return [part for part in re.split(r"[|;]", text) if part.strip()]


def inside_root(reference: str, root: Path) -> str:
    """The path of an image relative to the root; nothing outside may be read, since the service hands images out.

    Raises:
        EntryError: the image lies outside, does not exist, or has a name that is not valid.
    """
    if "\0" in reference or not is_valid_utf8(reference):
        raise EntryError(f"the image name {reference!r} is not valid UTF-8: rename the file")
    if is_url(root):
        return _below_url(reference, str(root))
    if "://" in reference:
        raise EntryError(
            f"the image {reference!r} is a URL: download it and give its path, or give the URL that all images lie"
            " below with --image-root"
        )
    joined = Path(os.path.normpath(root / reference))
    if not os.path.isfile(joined):  # unlike Path.is_file, False for a name that is too long
        raise EntryError(f"the image {reference!r} does not exist in {root}")
    if not joined.resolve().is_relative_to(root) or not joined.is_relative_to(root):
        raise EntryError(f"the image {reference!r} lies outside {root}: give a higher directory with --image-root")
    return joined.relative_to(root).as_posix()


def _below_url(reference: str, root: str) -> str:
    """The path of an image relative to a URL; that it exists shows only when it is fetched."""
    root = f"{root.rstrip('/')}/"
    below = reference.removeprefix(root)
    image = posixpath.normpath(below)
    if "://" in below or below.startswith("/") or image == ".." or image.startswith("../"):
        raise EntryError(f"the image {reference!r} lies outside {root}: give a higher URL with --image-root")
    return image
