"""A shop of drawn pictures that is indexed in this process, and what builds in one of their own give."""

import colorsys
import contextlib
import io
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from indexer import __main__ as command_line
from shared.index.partition import Partition
from shared.snapshot.data_directory import DataDirectory, SnapshotPaths
from shared.snapshot.snapshot import Snapshot

KINDS = ("checks", "discs", "stripes")

Hits = dict[str, dict[str, float]]
"""Item id as the query → item id found → score."""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    json: dict[str, Any]
    err: str


def run(*arguments: object) -> Done:
    """`python -m indexer … --json` inside this process; whatever is raised fails the test."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = command_line.main([*map(str, arguments), "--json"])
    return Done(status, json.loads(out.getvalue().splitlines()[-1]), err.getvalue())


class Shop:
    """A catalogue of JSON lines, an image an item, and its data directory.

    Attributes:
        root: of catalogue and images, and of the data directory unless that is named.
        each: items of each kind at first.
    """

    def __init__(self, root: Path, each: int = 12, data: Path | None = None) -> None:
        self.root = root
        self.each = each
        self.catalogue = root / "items.jsonl"
        self.data = DataDirectory(data or root / "data")

    def draw(self, side: int = 120) -> "Shop":
        self.root.mkdir(parents=True, exist_ok=True)
        for kind in KINDS:
            for number in range(self.each):
                self.picture(kind, number, shade=number / self.each, side=side)
        self.write([self.row(kind, number) for kind in KINDS for number in range(self.each)])
        return self

    @staticmethod
    def row(kind: str, number: int) -> dict[str, Any]:
        return {"item_id": f"{kind} {number}", "category": kind, "image": f"{kind}-{number}.png", "price": number}

    def picture(self, kind: str, number: int, shade: float, age_s: float = 3600, side: int = 120) -> Path:
        """Draw a picture; all files have the same size in bytes, whatever they show."""
        path = self.root / f"{kind}-{number}.png"
        _drawing(kind, shade).resize((side, side)).save(path, compress_level=0)
        os.utime(path, (time.time() - age_s, time.time() - age_s))
        return path

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.catalogue.read_text(encoding="utf-8").splitlines()]

    def write(self, rows: list[dict[str, Any]]) -> None:
        self.catalogue.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def change(self, item_id: str, **fields: object) -> None:
        self.write([row | fields if row["item_id"] == item_id else row for row in self.rows()])

    def remove(self, *item_ids: str) -> None:
        self.write([row for row in self.rows() if row["item_id"] not in item_ids])

    def build(self, *options: object) -> Done:
        return run("build", "--data", self.data.root, *options)

    def first_build(self, *options: object) -> Done:
        """Without a report, which takes longer than all the rest; later builds remember that."""
        return self.build("--catalogue", self.catalogue, "--augmentations", 1, "--report", "off", *options)

    def run(self, *arguments: object) -> Done:
        return run(*arguments, "--data", self.data.root)

    def current(self) -> SnapshotPaths:
        return self.data.paths(self.data.current_id())

    def hits(self) -> Hits:
        """Of the published snapshot, which is verified."""
        return published_hits(self.current())


def _drawing(kind: str, shade: float) -> Image.Image:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(shade, 0.9, 0.8))
    image = Image.new("RGB", (120, 120), "white")
    draw = ImageDraw.Draw(image)
    step = 10 + round(shade * 20)
    for place in range(0, 120, 2 * step):
        if kind == "discs":
            draw.ellipse(
                (place // 2, place // 2, 119 - place // 2, 119 - place // 2), outline=(red, green, blue), width=4
            )
        elif kind == "stripes":
            draw.rectangle((0, place, 119, place + step), fill=(red, green, blue))
        else:
            for row in range(0, 120, step):
                left = place + row % (2 * step)
                draw.rectangle((left, row, left + step, row + step), fill=(red, green, blue))
    return image


def hits_of(partitions: dict[str, Partition], items: list[Any]) -> Hits:
    """For every item as the query, within its category: the items found and their scores."""
    ids = {indexed.number: indexed.item.item_id for indexed in items}
    found: Hits = {}
    for indexed in items:
        part = partitions[indexed.item.category]
        (hits,) = part.search(part.embeddings(indexed.rows[:1]), 100)
        found[indexed.item.item_id] = {ids[hit.item_number]: hit.score for hit in hits}
    return found


def published_hits(paths: SnapshotPaths) -> Hits:
    """Of a snapshot, which is verified."""
    snapshot = Snapshot.open(paths, interpreters=1)
    try:
        return hits_of(snapshot.partitions, list(snapshot.items))
    finally:
        snapshot.close()
