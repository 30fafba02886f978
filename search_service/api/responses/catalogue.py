"""The JSON bodies of items and categories."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from search_service.api.responses.fields import Count, ImageUrl, Metadata, SnapshotId, exactly, image_url, metadata_json
from shared.catalogue.items import Item
from shared.manifest import CategoryEntry


@exactly
class ItemJson(TypedDict):
    """An item of the catalogue."""

    snapshot_id: SnapshotId
    item_id: str
    category: str
    image_url: ImageUrl
    image_urls: list[ImageUrl]
    metadata: Metadata


@exactly
class ExampleJson(TypedDict):
    """An example item of a category."""

    item_id: str
    image_url: ImageUrl
    metadata: Metadata


@exactly
class CategoryJson(TypedDict):
    """A category and its numbers of items and images."""

    category: str
    items: Count
    images: Count
    examples: Annotated[NotRequired[list[ExampleJson]], Field(description="At most as many as requested.")]


@exactly
class CategoriesJson(TypedDict):
    """Every category."""

    snapshot_id: SnapshotId
    text_search: Annotated[bool, Field(description="True if the catalogue can be searched by text.")]
    categories: list[CategoryJson]


def item_json(snapshot_id: str, item: Item, fields: Collection[str] | None = None, prefix: str = "") -> ItemJson:
    """Return an item with these metadata fields, or all; `prefix` is the path below which the service is reached."""
    url = image_url(item.item_id, prefix)
    return {
        "snapshot_id": snapshot_id,
        "item_id": item.item_id,
        "category": item.category,
        "image_url": url,
        "image_urls": [url, *(f"{url}?position={position}" for position in range(1, len(item.images)))],
        "metadata": metadata_json(item, fields),
    }


def categories_json(
    snapshot_id: str,
    entries: tuple[CategoryEntry, ...],
    has_words: bool,
    examples: Mapping[str, Sequence[Item]] | None = None,
    prefix: str = "",
) -> CategoriesJson:
    """Return the categories with their examples; `prefix` is the path below which the service is reached."""
    return {
        "snapshot_id": snapshot_id,
        "text_search": has_words,
        "categories": [_category_json(entry, (examples or {}).get(entry.name), prefix) for entry in entries],
    }


def _category_json(entry: CategoryEntry, examples: Sequence[Item] | None, prefix: str) -> CategoryJson:
    body: CategoryJson = {"category": entry.name, "items": entry.items, "images": entry.images}
    if examples is not None:
        body["examples"] = [
            {"item_id": item.item_id, "image_url": image_url(item.item_id, prefix), "metadata": dict(item.metadata)}
            for item in examples
        ]
    return body
