"""Stand-ins for the slow parts, and tiny pictures."""

import io
from typing import Any

import numpy as np
from PIL import Image

from shared.images.preprocessing import DEFAULT_PREPROCESSING, DEFAULT_SIDE_PX
from shared.manifest import FORMAT_VERSION, Manifest
from shared.snapshot.data_directory import SnapshotPaths
from shared.snapshot.lease import unleased
from shared.vectors import Pixels, Vectors, unit_rows


class FakeEmbedder:
    """Maps the mean colour of a picture to a direction: the more alike two colours, the nearer their embeddings."""

    dim = 8
    side_px = DEFAULT_SIDE_PX
    embedder_id = "fake"

    def embed(self, pixels: Pixels, is_alone: bool = False) -> Vectors:
        colours = pixels.reshape(len(pixels), -1, 3).mean(axis=1) / 255
        return unit_rows(np.hstack([colours, 1 - colours, np.full((len(pixels), 2), 0.5)]))


def fake_manifest(**fields: Any) -> Manifest:
    """The manifest of an empty snapshot made with `FakeEmbedder`, but for the fields that are given."""
    empty: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "snapshot_id": "20260101T000000-abcdef",
        "created_at": "2026-01-01T00:00:00+00:00",
        "parecido_version": "0",
        "backbone": "fake",
        "weights": "none",
        "embedder_id": FakeEmbedder.embedder_id,
        "dim": FakeEmbedder.dim,
        "metric": "inner_product",
        "preprocessing": DEFAULT_PREPROCESSING.name,
        "recipe": "r/1",
        "index_views": "original",
        "categories": (),
        "items": 0,
        "images": 0,
        "skipped": 0,
        "image_root": "/photos",
        "content": "c",
        "golden": (),
        "classifier": {},
        "settings": {},
        "checksums": {},
    }
    return Manifest(**(empty | fields))


def picture(colour: str | tuple[int, int, int], size: tuple[int, int] = (32, 32), file_format: str = "JPEG") -> bytes:
    """The bytes of an image file of one colour; `size` is (width, height)."""
    return encoded(Image.new("RGB", size, colour), file_format)


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    """The bytes of `image` as a file; `options` are those of Pillow's `save`."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def is_leased(paths: SnapshotPaths) -> bool:
    """Whether retention would leave a snapshot alone."""
    with unleased(paths) as free:
        return not free
