"""A wrist watch as it is photographed: strap, case, crown and face."""

from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image

from examples.sample_catalogue.camera import Array, Plane, points, turned
from examples.sample_catalogue.colours import STEEL, darker, lighter
from examples.sample_catalogue.flat_picture import FlatPicture, rounded
from examples.sample_catalogue.painter import Painter
from examples.sample_catalogue.products import Label, Pose
from examples.sample_catalogue.scene import Scene
from examples.sample_catalogue.watch_dial import Face, draw_dial
from examples.sample_catalogue.watch_screen import draw_digital, draw_smart
from examples.sample_catalogue.watch_strap import Strap, paint_strap, strap_outline

# The flat drawing of the face reaches a little beyond the case, whose radius is 1.
_REACH = 1.12
_THICKNESS = 0.26
_LIFT = 0.1


@dataclass(frozen=True)
class Watch:
    """One wrist watch."""

    kind: str
    label: Label
    face: Face
    strap: Strap

    def pose(self, rng: Random) -> Pose:
        """Choose an angle and a picture format."""
        spin = rng.uniform(-12, 12) if rng.random() < 0.6 else rng.uniform(-38, 38)
        turn = turned("x", -rng.uniform(0, 24)) @ turned("y", rng.uniform(-16, 16))
        flat = not self.strap.bend
        sizes = (
            [(480, 600), (480, 640), (500, 620)]
            if flat
            else [(480, 480), (480, 560), (520, 520), (560, 560), (600, 520)]
        )
        margin = rng.uniform(0.05, 0.08) if flat else rng.uniform(0.05, 0.13)
        return Pose(turn @ turned("z", spin), rng.uniform(8.0, 12.0), rng.choice(sizes), margin)

    def _start(self) -> float:
        return self.face.half[1] * 0.9

    def extent(self) -> Array:
        """Return points around the product, which the picture must show."""
        parts = [strap_outline(self.strap, side, self._start()) for side in (1, -1)]
        corners = points((-1.1, 0, 0), (1.15, 0, 0))
        return np.concatenate([*parts, corners])

    def paint(self, scene: Scene) -> Image.Image:
        """Cast the shadows, paint the product and give the enlarged picture."""
        self._cast_shadows(scene)
        painter = scene.painter()
        for side in (1, -1):
            paint_strap(painter, self.strap, side, self._start())
        self._paint_lugs(painter)
        self._paint_crown(painter)
        case = rounded(self.face.half, self.face.corner)
        painter.slab(case * 0.97, -_THICKNESS + _LIFT, _LIFT * 0.4, darker(self.face.metal, 0.1))
        painter.slab(case, -0.08, _LIFT, self.face.metal)
        self._paint_face(painter)
        return painter.image

    def _cast_shadows(self, scene: Scene) -> None:
        light = np.array(scene.light.direction)
        away = scene.camera.turn.T @ -light
        case = rounded(self.face.half, self.face.corner)
        outlines = [strap_outline(self.strap, side, self._start()) for side in (1, -1)]
        outlines.append(np.column_stack([case, np.zeros(len(case))]))
        floor = min(float(outline[:, 2].min()) for outline in outlines[:2]) if self.strap.bend else -0.12
        fallen = []
        for outline in outlines:
            height = np.maximum(outline[:, 2:] - max(floor, -1.0), 0.0)
            fallen.append(outline + np.array([away[0], away[1], 0.0]) * (height * 0.5 + 0.06))
        scene.shadow(fallen, 0.16 if self.strap.bend else 0.08, 0.5)
        scene.shadow(outlines, 0.05, 0.35)

    def _paint_lugs(self, painter: Painter) -> None:
        if self.kind in ("digital", "smart"):
            return
        wide, limit = self.strap.width, self.face.half[0] * 0.97
        tip = self.face.half[1] * 1.13
        corner = np.array(
            [
                [wide + 0.01, 0.4],
                [min(wide + 0.32, limit), 0.5],
                [min(wide + 0.24, limit), 0.86],
                [wide + 0.15, tip - 0.02],
                [wide + 0.1, tip],
                [wide + 0.01, tip],
            ]
        )
        for x, y in ((-1, 1), (1, 1), (-1, -1), (1, -1)):
            lug = corner[:: x * y] * np.array([x, y])
            painter.slab(lug, -0.2, -0.03, self.face.metal)
            painter.polygon(np.column_stack([lug, np.full(6, -0.03)]), self.face.metal)
            shine = np.column_stack([lug * np.array([0.985, 0.99]), np.full(6, -0.01)])
            painter.polygon(shine[1:5], lighter(self.face.metal, 0.35), 150)

    def _paint_crown(self, painter: Painter) -> None:
        edge = self.face.half[0]
        if self.kind == "digital":
            for x, y in ((-1, 0.45), (-1, -0.45), (1, 0.45), (1, -0.45)):
                ends = points((x * (edge - 0.05), y, -0.05), (x * (edge + 0.06), y, -0.05))
                painter.tube(ends, 0.08, STEEL, 0.6)
            return
        if self.kind == "smart":
            ends = points((edge - 0.05, 0.36, -0.05), (edge + 0.06, 0.36, -0.05))
            painter.tube(ends, 0.12, self.face.metal, 0.6)
            return
        for place in (0.0,) if self.kind != "chronograph" else (0.0, 0.42, -0.42):
            reach = edge * float(np.sqrt(1 - (place * 0.9) ** 2)) if place else edge
            tall = 0.11 if place == 0.0 else 0.075
            ends = points((reach - 0.05, place, -0.02), (reach + 0.11, place, -0.02))
            painter.tube(ends, tall, self.face.metal, 0.7)
            for share in (-0.6, -0.2, 0.2, 0.6):
                rib = points(
                    (reach - 0.02, place + share * tall, 0.05),
                    (reach + 0.13, place + share * tall, 0.05),
                )
                painter.line(rib, darker(self.face.metal, 0.5), 0.014)

    def _paint_face(self, painter: Painter) -> None:
        pixels = int(min(2.0 * _REACH * painter.camera.scale * 1.25, 680))
        picture = FlatPicture(pixels, _REACH, self.face.metal)
        picture.image.paste(picture.sheen(self.face.metal, 0.26))
        if self.kind == "digital":
            draw_digital(picture, self.face)
        elif self.kind == "smart":
            draw_smart(picture, self.face)
        else:
            draw_dial(picture, self.face)
        picture.reflection(self.face.inset(0.14), 20)
        step = 2.0 * _REACH / pixels
        plane = Plane((-_REACH, _REACH, _LIFT), (step, 0, 0), (0, -step, 0))
        rim = rounded(self.face.half, self.face.corner)
        outline = np.column_stack([rim, np.full(len(rim), _LIFT)])
        painter.picture(picture.image, outline, plane)
