"""What `GET /v1/status` tells of a snapshot. Knows nothing of the web."""

from typing import Any

from shared.manifest import Manifest


def status_json(manifest: Manifest) -> dict[str, Any]:
    """What is served, and how good it was found to be when it was built."""
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
        "classifier": dict(manifest.classifier),
    }
