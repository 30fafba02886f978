"""A first build by the real stages, in a process of its own, which several files' tests share: it takes long."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from shared.snapshot.data_directory import DataDirectory

_ROOT = Path(__file__).parents[3]
COLOURS = ("red", "green", "blue", "orange", "purple", "black")
KINDS = ("checks", "discs", "stripes")
OPTIONS = ("--backbone", "efficientnet_lite0", "--augmentations", "1")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out.splitlines()[-1])


def command(*arguments: object) -> list[str]:
    """`python -m indexer … --json`."""
    return [sys.executable, "-m", "indexer", *map(str, arguments), "--json"]


def run_alone(*arguments: object) -> Done:
    """The command in a process of its own."""
    done = subprocess.run(command(*arguments), cwd=_ROOT, capture_output=True, text=True, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


def succeed(*arguments: object) -> Any:
    """As `run_alone`, what the command prints at the end; it may not fail."""
    done = run_alone(*arguments)
    assert done.status == 0, done.err
    return done.json


def draw(kind: str, colour: str, side: int = 160) -> Image.Image:
    """A picture of one of `KINDS`."""
    image = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(image)
    step = side // 8
    if kind == "discs":
        pen.ellipse((step, step, side - step, side - step), fill=colour)
    for place in range(0, side, 2 * step) if kind != "discs" else ():
        if kind == "stripes":
            pen.rectangle((0, place, side, place + step), fill=colour)
        else:
            for row in range(8):
                left = place + step * (row % 2)
                pen.rectangle((left, row * step, left + step, (row + 1) * step), fill=colour)
    return image


def name_of(colour: str) -> str:
    """The file name of a picture of this colour."""
    return f"no. 1 {colour} é.jpg"


@dataclass(frozen=True)
class RealBuild:
    """A folder a kind with a picture a colour, and the data directory that it was built into; nobody changes either."""

    root: Path

    @property
    def catalogue(self) -> Path:
        return self.root / "shop"

    @property
    def data(self) -> DataDirectory:
        return DataDirectory(self.root / "data")

    @property
    def done(self) -> Done:
        """How the build ended."""
        out, err = ((self.root / name).read_text(encoding="utf-8") for name in ("stdout", "stderr"))
        return Done(0, out, err)

    def make(self) -> None:
        """Draw and build."""
        for kind in KINDS:
            (self.catalogue / kind).mkdir(parents=True)
            for colour in COLOURS:
                draw(kind, colour).save(self.catalogue / kind / name_of(colour), quality=95)
        done = run_alone("build", "--catalogue", self.catalogue, "--data", self.data.root, *OPTIONS)
        assert done.status == 0, done.err
        (self.root / "stdout").write_text(done.out, encoding="utf-8")
        (self.root / "stderr").write_text(done.err, encoding="utf-8")
