"""Export of all embeddings with their image paths, as the baseline notebook has them."""

import json
from pathlib import Path

import numpy as np

from indexer.files.location import location
from shared.snapshot.snapshot import Snapshot


def export(snapshot: Snapshot, out: Path) -> int:
    """Write `embeddings.npy` and `paths.json`; row i of one and path i of the other are the same image.

    `embeddings.npy` is `(n_images, dim)` float32, unit rows: the original images, in the catalogue's order,
    as queries' `embedding` takes them.
    `paths.json` is a list of `n_images` absolute paths.

    Returns:
        The number of images.
    """
    items = list(snapshot.items.without_metadata())
    rows = [snapshot.partition(indexed.item.category).embeddings(indexed.rows) for indexed in items]
    root = location(snapshot.manifest.image_root)
    paths = [str(root / image) for indexed in items for image in indexed.item.images]
    out.mkdir(parents=True, exist_ok=True)
    embeddings = np.concatenate(rows)
    if snapshot.has_given_embeddings:
        embeddings = snapshot.base_embeddings(embeddings)
    np.save(out / "embeddings.npy", embeddings)
    (out / "paths.json").write_text(json.dumps(paths, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return len(paths)
