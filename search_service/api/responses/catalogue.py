"""What is told of the catalogue's items and categories, as typed JSON."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from search_service.api.responses.search import Count, ImageUrl, Metadata, SnapshotId, exactly, image_url, metadata_json
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
    """An item of a category."""

    item_id: str
    image_url: ImageUrl
    metadata: Metadata


@exactly
class CategoryJson(TypedDict):
    """A category and its numbers of items and images."""

    category: str
    items: Count
    images: Count
    examples: Annotated[NotRequired[list[ExampleJson]], Field(description="So many as were asked for.")]


@exactly
class CategoriesJson(TypedDict):
    """Every category."""

    snapshot_id: SnapshotId
    categories: list[CategoryJson]


def item_json(snapshot_id: str, item: Item, fields: Collection[str] | None = None, prefix: str = "") -> ItemJson:
    """An item; of its metadata, these fields, or all. `prefix` is the path that the service is found below."""
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
    examples: Mapping[str, Sequence[Item]] | None = None,
    prefix: str = "",
) -> CategoriesJson:
    """Every category, with its examples where it has any; `prefix` is the path that the service is found below."""
    return {
        "snapshot_id": snapshot_id,
        "categories": [_category_json(one, (examples or {}).get(one.name), prefix) for one in entries],
    }


def _category_json(entry: CategoryEntry, examples: Sequence[Item] | None, prefix: str) -> CategoryJson:
    told: CategoryJson = {"category": entry.name, "items": entry.items, "images": entry.images}
    if examples is not None:
        told["examples"] = [
            {"item_id": item.item_id, "image_url": image_url(item.item_id, prefix), "metadata": dict(item.metadata)}
            for item in examples
        ]
    return told
