"""A small catalogue of random images that changes at random."""

import json
import random
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

_CATEGORIES = ("ellipse", "line", "rectangle")
_SIDE_PX = 120


class RandomCatalogue:
    """A JSON-lines catalogue with one image per item.

    Attributes:
        path: The catalogue file; its images are in the same directory.
        rows: Its entries.
    """

    def __init__(self, root: Path, images: int, rng: random.Random) -> None:
        """Generate the catalogue.

        Args:
            root: Directory of the catalogue.
            images: Number of images.
            rng: Source of images and changes.
        """
        self.path = root / "items.jsonl"
        self.rows: list[dict[str, Any]] = []
        self._root = root
        self._random = rng
        self._n_images = 0
        for _ in range(images):
            self._add()
        self._write()

    def change(self, times: int) -> None:
        """Add, remove, edit, move, rename or reprice an item, so many times."""
        for _ in range(times):
            self._random.choice([self._add, self._remove, self._edit, self._move, self._rename, self._reprice])()
        self._write()

    def _add(self) -> None:
        self._n_images += 1
        category = self._random.choice(_CATEGORIES)
        name = f"{self._n_images}.png"
        self._draw(name, category)
        self.rows.append({"item_id": f"item {self._n_images}", "category": category, "image": name, "price": 1})

    def _remove(self) -> None:
        self.rows.remove(self._any())

    def _edit(self) -> None:
        row = self._any()
        self._draw(row["image"], row["category"])

    def _move(self) -> None:
        self._any()["category"] = self._random.choice(_CATEGORIES)

    def _rename(self) -> None:
        self._n_images += 1
        row = self._any()
        (self._root / row["image"]).rename(self._root / f"{self._n_images}.png")
        row["image"] = f"{self._n_images}.png"

    def _reprice(self) -> None:
        self._any()["price"] += 1

    def _any(self) -> dict[str, Any]:
        return self._random.choice(self.rows)

    def _draw(self, name: str, shape: str) -> None:
        image = Image.new("RGB", (_SIDE_PX, _SIDE_PX), "white")
        draw = ImageDraw.Draw(image)
        for _ in range(3):
            left, top = (self._random.randrange(_SIDE_PX // 2) for _ in range(2))
            right, bottom = (side + self._random.randrange(20, _SIDE_PX // 2) for side in (left, top))
            colour = tuple(self._random.randrange(256) for _ in range(3))
            if shape == "line":
                draw.line((left, top, right, bottom), colour, width=9)
            else:
                getattr(draw, shape)((left, top, right, bottom), fill=colour)
        image.save(self._root / name)

    def _write(self) -> None:
        self.path.write_text("".join(json.dumps(row) + "\n" for row in self.rows), encoding="utf-8")
