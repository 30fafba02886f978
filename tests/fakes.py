"""Stand-ins for the slow parts, and tiny pictures."""

import io

import numpy as np
from PIL import Image

from shared.vectors import Pixels, Vectors, unit_rows


class FakeEmbedder:
    """Maps the mean colour of a picture to a direction: the more alike two colours, the nearer their embeddings."""

    dim = 8
    embedder_id = "fake"

    def embed(self, pixels: Pixels) -> Vectors:
        colours = pixels.reshape(len(pixels), -1, 3).mean(axis=1) / 255
        return unit_rows(np.hstack([colours, 1 - colours, np.full((len(pixels), 2), 0.5)]))


def picture(colour: str | tuple[int, int, int], size: tuple[int, int] = (32, 32), file_format: str = "JPEG") -> bytes:
    """The bytes of an image file of one colour; `size` is (width, height)."""
    return encoded(Image.new("RGB", size, colour), file_format)


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    """The bytes of `image` as a file; `options` are those of Pillow's `save`."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()
