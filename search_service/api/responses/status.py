"""The JSON body of the snapshot's description: `GET /v1/status`."""

from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from search_service.api.responses.fields import Count, Probability, SnapshotId, exactly
from shared.manifest import Manifest


@exactly
class PartitionJson(TypedDict):
    """A category and the index over its images."""

    category: str
    items: Count
    images: Count
    index_kind: Annotated[
        str, Field(description="`exact` (`IndexFlatIP` in older snapshots), or the approximate index.")
    ]
    ann_recall_at_10: Annotated[Probability, Field(description="Against exact search, measured when it was built.")]


@exactly
class StatusJson(TypedDict):
    """The served snapshot."""

    snapshot_id: SnapshotId
    created_at: Annotated[str, Field(description="When it was built: ISO 8601, UTC.")]
    parecido_version: Annotated[str, Field(description="The version that built it.")]
    backbone: str
    tuned: Annotated[bool, Field(description="True if the backbone was fine-tuned on the catalogue.")]
    items: Count
    images: Count
    skipped: Annotated[int, Field(ge=0, description="Catalogue entries that were skipped.")]
    categories: list[PartitionJson]
    text_search: Annotated[bool, Field(description="True if it can be searched by text.")]
    classifier: Annotated[dict[str, Any], Field(description="Figures on held-out items, as in the manifest.")]


def status_json(manifest: Manifest, has_words: bool) -> StatusJson:
    """Return the description of a snapshot; `has_words` if it can be searched by text."""
    return {
        "snapshot_id": manifest.snapshot_id,
        "created_at": manifest.created_at,
        "parecido_version": manifest.parecido_version,
        "backbone": manifest.backbone,
        "tuned": bool((manifest.tuning or {}).get("improved")),
        "items": manifest.items,
        "images": manifest.images,
        "skipped": manifest.skipped,
        "categories": [
            {
                "category": entry.name,
                "items": entry.items,
                "images": entry.images,
                "index_kind": entry.index_kind,
                "ann_recall_at_10": entry.ann_recall_at_10,
            }
            for entry in manifest.categories
        ],
        "text_search": has_words,
        "classifier": dict(manifest.classifier),
    }
