"""A computer keyboard as it is photographed: body, keys, light and cable."""

from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image

from examples.sample_catalogue.camera import Array, points, turned
from examples.sample_catalogue.colours import (
    PALETTE,
    Colour,
    hue,
    is_dark,
    lighter,
    mix,
)
from examples.sample_catalogue.flat_picture import rounded
from examples.sample_catalogue.keyboard_keys import Caps, paint_keys
from examples.sample_catalogue.keyboard_layout import Block
from examples.sample_catalogue.painter import Painter
from examples.sample_catalogue.products import Label, Pose
from examples.sample_catalogue.scene import Scene


@dataclass(frozen=True)
class Keyboard:
    """One computer keyboard."""

    kind: str
    label: Label
    blocks: tuple[Block, ...]
    body: Colour
    deck: Colour
    caps: Caps
    thickness: float
    cable: float | None
    glow: float | None

    def pose(self, rng: Random) -> Pose:
        """Choose an angle and a picture format."""
        spin = rng.choice([rng.uniform(-9, 9), rng.uniform(-32, 32)])
        turn = turned("x", -rng.uniform(4, 42)) @ turned("z", spin)
        wide = self.blocks[0].half[0] * 2
        sizes = [(640, 400), (640, 420), (600, 400)]
        if abs(spin) > 15 or wide < 15:
            sizes = [(640, 480), (560, 480), (600, 480)]
        return Pose(turn, wide * rng.uniform(1.6, 2.6), rng.choice(sizes), rng.uniform(0.04, 0.09))

    def extent(self) -> Array:
        """Return points around the product, which the picture must show."""
        return np.concatenate(
            [
                self._outline(block, height)
                for block in self.blocks
                for height in (0.0, self.thickness + self.caps.height)
            ]
        )

    def _outline(self, block: Block, height: float, grow: float = 0.0) -> Array:
        corner = 0.6 if self.kind in ("slim", "typewriter", "split") else 0.28
        half = (block.half[0] + grow, block.half[1] + grow)
        return block.at(rounded(half, corner, 6), height)

    def paint(self, scene: Scene) -> Image.Image:
        """Cast the shadows, paint the product and give the enlarged picture."""
        away = scene.camera.turn.T @ -np.array(scene.light.direction)
        fall = np.array([away[0], away[1], 0.0]) * (self.thickness + 0.3) * 1.3
        scene.shadow([self._outline(block, 0.0) + fall for block in self.blocks], 0.35, 0.45)
        scene.shadow([self._outline(block, 0.0, 0.06) for block in self.blocks], 0.12, 0.5)
        painter = scene.painter()
        if self.cable is not None:
            self._paint_cable(painter, self.cable)
        if self.glow is not None:
            self._paint_halo(painter, self.glow)
        for block in sorted(self.blocks, key=lambda each: each.middle[0] * each.turn):
            self._paint_block(painter, block)
        return painter.image

    def _paint_cable(self, painter: Painter, bend: float) -> None:
        back = self.blocks[0].half[1]
        share = np.linspace(0.0, 1.0, 20)
        path = np.stack([bend * (0.3 + share**2 * 1.2), back - 0.2 + share * 4.0, 0.15 + 0 * share], axis=1)
        painter.tube(path, 0.12, (44, 45, 48) if is_dark(self.body) else (206, 206, 204), 0.3)

    def _paint_halo(self, painter: Painter, start: float) -> None:
        strokes = []
        for block in self.blocks:
            rim = self._outline(block, 0.0, 0.05)
            for place in range(len(rim)):
                piece = rim[[place, (place + 1) % len(rim)]]
                turn = start + 0.5 * float(piece[0, 0] / block.half[0]) * 0.5
                strokes.append((piece, mix(hue(turn), (0, 0, 0), 0.4)))
        painter.glow(strokes, 0.35, 0.3)

    def _paint_block(self, painter: Painter, block: Block) -> None:
        outline = self._outline(block, 0.0)[:, :2]
        painter.slab(outline, 0.0, self.thickness, self.body)
        painter.polygon(self._outline(block, self.thickness), lighter(self.body, 0.18))
        painter.polygon(self._outline(block, self.thickness, -0.05), self.body)
        if self.kind == "typewriter":
            self._paint_carriage(painter, block)
        else:
            self._paint_well(painter, block)
        paint_keys(painter, block, self.caps, self.thickness)

    def _paint_well(self, painter: Painter, block: Block) -> None:
        """Paint the sunken deck between the keys, and the light that comes out of it."""
        if self.deck != self.body:
            left = min(key.x - key.width / 2 for key in block.keys)
            right = max(key.x + key.width / 2 for key in block.keys)
            low = min(key.y - key.height / 2 for key in block.keys)
            high = max(key.y + key.height / 2 for key in block.keys)
            well = rounded(((right - left) / 2 + 0.06, (high - low) / 2 + 0.06), 0.12, 4)
            well = well + np.array([(left + right) / 2, (low + high) / 2])
            painter.polygon(block.at(well, self.thickness), self.deck)
        if self.glow is None:
            return
        strokes = []
        for key in block.keys:
            ends = np.array([[key.x - key.width / 2, key.y], [key.x + key.width / 2, key.y]])
            turn = self.glow + 0.5 * key.x / block.half[0] * 0.5 + key.y * 0.04
            strokes.append((block.at(ends, self.thickness), hue(turn, 0.85)))
        painter.glow(strokes, 1.0, 0.12)

    def _paint_carriage(self, painter: Painter, block: Block) -> None:
        """Paint the roller and the levers at the back of a typewriter."""
        wide, back, top = block.half[0], block.half[1] - 0.75, self.thickness + 0.25
        bar = points((-wide * 0.93, back, top), (wide * 0.93, back, top))
        painter.tube(bar, 0.42, (44, 44, 48), 0.6)
        for side in (-1, 1):
            knob = points((side * wide * 0.94, back, top), (side * (wide + 0.35), back, top))
            painter.tube(knob, 0.3, PALETTE["silver"], 0.9)
        rail = bar + np.array([0.0, -0.62, -0.1])
        painter.tube(rail, 0.08, PALETTE["silver"], 0.9)
