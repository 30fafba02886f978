"""An entry's fields, checked and made into an item."""

import json
import sys
import unicodedata
from pathlib import Path
from typing import Any

from indexer.catalogue.image_references import image_references, inside_root
from indexer.catalogue.model import Entry, EntryError
from shared.catalogue.items import Item
from shared.catalogue.items_database import MAX_METADATA_BYTES
from shared.text.shorten import quoted

_ITEM_FIELDS = ("item_id", "category", "image", "images")
_MAX_NAME_CHARS = 500


def item_of(entry: Entry, root: Path) -> tuple[Item, list[str]]:
    """The item of an entry, and why images that it names were left out.

    Raises:
        EntryError: the entry can't be used.
    """
    fields = _readable_fields(entry)
    item_id, category = _name(fields, "item_id"), _category(fields)
    images: list[str] = []
    failures: list[str] = []
    for reference in image_references(fields, root):
        try:
            image = inside_root(reference, root)
            if image in images:
                raise EntryError(f"the image {reference!r} is named twice in this item")
            images.append(image)
        except EntryError as error:
            failures.append(str(error))
    if not images:
        raise EntryError("; ".join(failures) or "names no image; expected `image` or `images`")
    return Item(item_id, category, tuple(images), _metadata(fields)), failures


def item_of_row(entry: Entry, row: int) -> Item:
    """The item of one row of precomputed embeddings; the image that it names, if any, need not exist.

    Raises:
        EntryError: the entry can't be used.
    """
    fields = _readable_fields(entry)
    image = text_or_none(fields.get("image")) or f"row {row}"
    return Item(_name(fields, "item_id"), _category(fields), (image,), _metadata(fields))


def text_or_none(value: Any) -> str | None:
    """A text or number as stripped text; None for anything else, or where nothing is left."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value).strip() or None


def _readable_fields(entry: Entry) -> dict[str, Any]:
    if entry.error is not None:
        raise EntryError(entry.error)
    return entry.fields


def _metadata(fields: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in fields.items() if key not in _ITEM_FIELDS and value is not None}
    n_bytes = len(json.dumps(metadata))
    if n_bytes > MAX_METADATA_BYTES:
        longest = max(metadata, key=lambda key: len(json.dumps(metadata[key])))
        raise EntryError(
            f"its metadata have {n_bytes:,} bytes as JSON, most of them in {quoted(longest)}; at most"
            f" {MAX_METADATA_BYTES:,} are allowed"
        )
    return metadata


def _category(fields: dict[str, Any]) -> str:
    """One object in memory for all items of the category."""
    return sys.intern(unicodedata.normalize("NFC", _name(fields, "category")))


def _name(fields: dict[str, Any], field: str) -> str:
    text = text_or_none(fields.get(field))
    if text is None:
        raise EntryError(f"`{field}` is missing or empty")
    if len(text) > _MAX_NAME_CHARS:
        raise EntryError(f"`{field}` has {len(text)} characters; at most {_MAX_NAME_CHARS} are allowed")
    if not text.isprintable():
        raise EntryError(f"`{field}` has characters that can't be shown: {text!r}")
    return text
