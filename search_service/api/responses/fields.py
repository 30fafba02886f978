"""Field types and values of several responses."""

from collections.abc import Collection
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import ConfigDict, Field, with_config

from shared.catalogue.items import Item
from shared.text.unicode_forms import unicode_forms

SnapshotId = Annotated[str, Field(description="The snapshot that was searched.")]
Probability = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
ImageUrl = Annotated[str, Field(description="Path of the image on this service, percent-encoded.")]
Metadata = Annotated[dict[str, Any], Field(description="The catalogue's further columns.")]

exactly = with_config(ConfigDict(extra="forbid"))
"""Mark a typed dictionary as having no other fields."""


def image_url(item_id: str, prefix: str = "") -> str:
    """Return the path of an item's first image; `prefix` is the path below which the service is reached."""
    return f"{prefix}/v1/items/{quote(item_id, safe='')}/image"


def metadata_json(item: Item, fields: Collection[str] | None) -> dict[str, Any]:
    """Return these metadata fields of an item; all if `fields` is None."""
    if fields is None:
        return dict(item.metadata)
    return {name: value for name, value in item.metadata.items() if _is_among(name, fields)}


def _is_among(name: str, fields: Collection[str]) -> bool:
    return name in fields or any(form in fields for form in unicode_forms(name))
