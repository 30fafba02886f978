"""Where the images of the catalogue lie that the service hands out."""

from pathlib import Path

from shared.catalogue import Item
from shared.errors import ImageNotFound


def image_path(root: Path, item: Item, position: int) -> Path:
    """An image of an item: always inside the image root, also behind links.

    Args:
        root: the image root, resolved.
        item: of the catalogue.
        position: which of its images, from 0.

    Raises:
        ImageNotFound: it has fewer images, or the file is gone.
    """
    images = item.images
    if not 0 <= position < len(images):
        raise ImageNotFound(f"the item {item.item_id!r} has {len(images)} images; there is no image {position}")
    lost = ImageNotFound(f"the image {images[position]!r} of item {item.item_id!r} is not where the catalogue had it")
    try:
        path = (root / images[position]).resolve(strict=True)
    except (OSError, RuntimeError):  # until Python 3.12, a link to itself is a RuntimeError
        raise lost from None
    if not path.is_relative_to(root) or not path.is_file():
        raise lost
    return path
