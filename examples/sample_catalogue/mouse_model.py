"""A computer mouse as it is photographed: shell, buttons, wheel, lamps and cable."""

from dataclasses import dataclass
from itertools import pairwise
from random import Random

import numpy as np
from PIL import Image

from examples.sample_catalogue.camera import Array, Plane, turned
from examples.sample_catalogue.colours import Colour, darker, is_dark, lighter, mix
from examples.sample_catalogue.mouse_body import Shell, light_up, silhouette
from examples.sample_catalogue.painter import Painter
from examples.sample_catalogue.products import Label, Pose
from examples.sample_catalogue.scene import Scene


@dataclass(frozen=True)
class Mouse:
    """One computer mouse."""

    kind: str
    label: Label
    shell: Shell
    body: Colour
    trim: Colour
    accent: Colour
    cable: tuple[float, float] | None
    glow: Colour | None

    def pose(self, rng: Random) -> Pose:
        """Choose an angle and a picture format."""
        tilt = rng.uniform(8, 34) if self.kind != "vertical" else rng.uniform(46, 58)
        # A vertical mouse is shown from the side of its buttons.
        spin = rng.uniform(-48, 48) if self.kind != "vertical" else rng.uniform(-66, -30)
        size = rng.choice([(480, 480), (560, 480), (480, 560), (600, 500), (640, 480)])
        turn = turned("x", -tilt) @ turned("z", spin)
        return Pose(
            turn,
            rng.uniform(5.0, 8.0),
            size,
            rng.uniform(0.1, 0.18),
            mirrored=self.kind != "vertical" and rng.random() < 0.3,
        )

    def extent(self) -> Array:
        """Return points around the product, which the picture must show."""
        return self.shell.grid(12, 12).reshape(-1, 3)

    def paint(self, scene: Scene) -> Image.Image:
        """Cast the shadows, paint the product and give the enlarged picture."""
        grid = self.shell.grid()
        self._cast_shadows(scene, grid)
        painter = scene.painter()
        if self.glow:
            self._paint_ground_glow(painter)
        if self.cable:
            self._paint_cable(painter, self.cable)
        mask = silhouette(grid, painter.camera, painter.image.size)
        box = mask.getbbox() or (0, 0, 1, 1)
        painter.image.paste(self.body, box, mask.crop(box))
        self._paint_panels(painter)
        light_up(painter, self.shell, grid, mask)
        self._paint_details(painter)
        return painter.image

    def _cast_shadows(self, scene: Scene, grid: Array) -> None:
        away = scene.camera.turn.T @ np.array([*(-np.array(scene.light.direction))])
        rows = grid[:, ::4]
        fall = rows - away / min(float(away[2]), -0.35) * rows[..., 2:3]
        strips = [np.concatenate([a, b[::-1]]) for a, b in pairwise(fall)]
        rim = np.concatenate([grid[:, 0], grid[::-1, -1]])
        scene.shadow(strips, 0.1, 0.5)
        scene.shadow([rim * np.array([1.03, 1.03, 0.0])], 0.03, 0.36)

    def _paint_ground_glow(self, painter: Painter) -> None:
        along = np.linspace(-1.0, 1.0, 40)
        edges = [self.shell.at(along, np.full(40, side)) for side in (0.0, 1.0)]
        glow = mix(self.glow or self.body, (0, 0, 0), 0.35)
        painter.glow([(edge * np.array([1.04, 1.02, 1.0]), glow) for edge in edges], 0.09, 0.09)

    def _paint_cable(self, painter: Painter, bend: tuple[float, float]) -> None:
        share = np.linspace(0.0, 1.0, 28)[:, None]
        stops = [
            np.array(stop)
            for stop in (
                (0.0, 0.9, 0.06),
                (0.0, 1.6, 0.03),
                (bend[0], 1.9, 0.03),
                (bend[1], 3.4, 0.03),
            )
        ]
        path = sum(
            weight * share**power * (1 - share) ** (3 - power) * stop
            for weight, power, stop in zip((1, 3, 3, 1), range(4), stops, strict=True)
        )
        colour = self.trim if is_dark(self.trim) else darker(self.trim, 0.12)
        painter.tube(np.asarray(path), 0.034, colour, 0.3)
        painter.tube(np.asarray(path)[:4], 0.06, darker(colour, 0.2), 0.2)

    def _patch(self, painter: Painter, corners: tuple[float, float, float, float], colour: Colour) -> None:
        """Fill a patch of the shell: from and to along, then from and to around."""
        start, stop, right, left = corners
        along, around = np.meshgrid(
            np.sin(np.linspace(np.arcsin(start), np.arcsin(stop), 22)),
            np.linspace(right, left, 7),
            indexing="ij",
        )
        grid = self.shell.at(along, around)
        # Cells that turn away a little still reach the outline; leaning shells hide them.
        limit = -0.2 if self.shell.lean == 0.0 else 0.0
        seen = painter.camera.facing(self.shell.frame(along, around)[2])[..., 2] > limit
        painter.patch(grid, seen[:-1, :-1] & seen[1:, 1:], colour)

    def _seam(self, painter: Painter, along: Array, around: Array, width: float = 0.014) -> None:
        path = self.shell.at(along, around)
        seen = painter.camera.facing(self.shell.frame(along, around)[2])[:, 2] > 0.02
        if not seen.any():
            return
        # What is seen of a seam on a rounded shell is always one unbroken stretch.
        path = path[np.argmax(seen) : len(seen) - np.argmax(seen[::-1])]
        painter.line(path + np.array([0.011, -0.008, 0.0]), lighter(self.body, 0.3), width * 0.6)
        painter.line(path, darker(self.body, 0.62), width)

    def _paint_panels(self, painter: Painter) -> None:
        if self.kind == "flat":
            return
        middle, low, high = self._button_lines()
        if self.trim != self.body:
            for right, left in ((0.0, low), (high, 1.0)):
                self._patch(painter, (-0.998, 0.998, right, left), self.trim)
        if self.kind == "gaming":
            self._patch(painter, (0.02, 0.96, 0.44, 0.56), self.trim)
        # The two buttons: one line between them and a curved one behind them.
        self._seam(painter, np.linspace(0.02, 0.985, 24), np.full(24, middle))
        around = np.linspace(low, high, 24)
        curve = (around - middle) / max(middle - low, high - middle)
        self._seam(painter, 0.02 + 0.28 * curve**2, around)
        for side in (low, high):
            self._seam(painter, np.linspace(-0.97, 0.97, 40), np.full(40, side), 0.01)

    def _button_lines(self) -> tuple[float, float, float]:
        """Return the positions, around the shell, at which the buttons meet and end."""
        return (0.3, 0.1, 0.52) if self.kind == "vertical" else (0.5, 0.16, 0.84)

    def _paint_details(self, painter: Painter) -> None:
        if self.kind == "flat":
            self._paint_mark(painter, -0.62, 0.07)
            return
        self._paint_wheel(painter)
        if self.kind in ("gaming", "office") and self.accent != self.body:
            self._paint_side_buttons(painter)
        if self.glow:
            self._paint_lamps(painter, self.glow)
        else:
            self._paint_mark(painter, -0.52, 0.09)

    def _paint_side_buttons(self, painter: Painter) -> None:
        for start in (-0.12, 0.2):
            self._patch(painter, (start - 0.02, start + 0.3, 0.8, 0.87), darker(self.trim, 0.7))
            self._patch(painter, (start, start + 0.28, 0.805, 0.86), self.accent)
            self._patch(painter, (start, start + 0.28, 0.805, 0.822), lighter(self.accent, 0.3))

    def _paint_wheel(self, painter: Painter) -> None:
        along = np.array([0.42 if self.kind == "vertical" else 0.56])
        around = np.array([self._button_lines()[0]])
        middle = self.shell.at(along, around)[0]
        left, front, out = (side[0] for side in self.shell.frame(along, around))
        turn = np.linspace(0.0, 2.0 * np.pi, 28)[:, None]
        slot = middle + left * 0.085 * np.cos(turn) + front * 0.19 * np.sin(turn)
        painter.polygon(slot, darker(self.body, 0.85))
        radius, half, ribs = 0.17, 0.05, 24
        angles = np.radians(np.linspace(-66, 66, ribs + 1))[:, None]
        rim = middle - out * radius * 0.66 + radius * (front * np.sin(angles) + out * np.cos(angles))
        sides = np.array([half, half * 0.6, -half * 0.6, -half])
        grid = rim[:, None, :] + sides[None, :, None] * left
        normals = front * np.sin(angles[1:]) + out * np.cos(angles[1:])
        amount = painter.lit(normals, 0.35) * np.where(np.arange(ribs) % 2, 1.0, 0.55)
        rubber = np.array((58, 60, 64)) if self.glow is None else np.array(self.glow) * 0.5
        colours = amount[:, None, None] * rubber * np.array([0.7, 1.15, 0.7])[:, None]
        painter.mesh(grid, colours)

    def _paint_lamps(self, painter: Painter, glow: Colour) -> None:
        strips = [self.shell.at(np.linspace(-0.72, 0.2, 20), np.full(20, side)) for side in (0.2, 0.8)]
        angles = np.linspace(0, 2 * np.pi, 24)
        strips.append(self.shell.at(-0.5 + 0.1 * np.sin(angles), 0.5 + 0.05 * np.cos(angles)))
        painter.glow([(strip, glow) for strip in strips], 0.05, 0.05)
        for strip in strips:
            painter.line(strip, lighter(glow, 0.45), 0.022)

    def _paint_mark(self, painter: Painter, along: float, size: float) -> None:
        angles = np.linspace(0, 2 * np.pi, 32)
        ink = lighter(self.body, 0.5) if is_dark(self.body) else darker(self.body, 0.3)
        middle = self.shell.at(np.array([along]), np.array([0.5]))[0]
        plane = Plane((float(middle[0]), float(middle[1]), float(middle[2])))
        for share, alpha in ((1.0, 150), (0.62, 255)):
            ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * size * share
            painter.polygon(plane.at(ring), ink if share == 1.0 else self.body, alpha)
