"""A bicycle as it is photographed: frame, fork, wheels and what is mounted on it."""

from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image

from examples.sample_catalogue.bicycle_frame import (
    Geometry,
    Spot,
    along,
    curve,
    spatial,
)
from examples.sample_catalogue.bicycle_parts import (
    handlebar,
    paint_basket,
    paint_box,
    paint_handlebar,
    paint_lamp,
    paint_mudguard,
    paint_rack,
    paint_saddle,
)
from examples.sample_catalogue.bicycle_wheel import (
    Wheel,
    circle,
    paint_drive,
    paint_far_crank,
    paint_wheel,
)
from examples.sample_catalogue.camera import Array, turned
from examples.sample_catalogue.colours import PALETTE, Colour, darker, lighter
from examples.sample_catalogue.painter import Painter
from examples.sample_catalogue.products import Label, Pose
from examples.sample_catalogue.scene import Scene


@dataclass(frozen=True)
class Bicycle:
    """One bicycle."""

    kind: str
    label: Label
    geometry: Geometry
    frame: Colour
    wheel: Wheel
    leather: Colour
    bar: str
    tube: float
    crank_turn: float
    basket: bool
    mudguards: bool
    rack: bool

    def pose(self, rng: Random) -> Pose:
        """Choose an angle and a picture format."""
        turn = turned("x", rng.uniform(3, 12)) @ turned("y", rng.uniform(-28, 28))
        long = self.kind in ("cargo", "tandem")
        sizes = [(640, 400), (640, 440)] if long else [(640, 480), (600, 480), (560, 480)]
        return Pose(
            turn,
            rng.uniform(4.0, 7.0),
            rng.choice(sizes),
            rng.uniform(0.06, 0.11),
            standing=True,
            mirrored=rng.random() < 0.35,
        )

    def extent(self) -> Array:
        """Return points around the product, which the picture must show."""
        g = self.geometry
        wheels = [circle(g.rear, g.rear_radius), circle(g.front, g.front_radius)]
        saddles = [spatial([(spot[0] - 0.1, spot[1] + 0.05)]) for _, _, spot in g.seats]
        return np.concatenate([*wheels, *saddles, handlebar(self.bar, g.stem)])

    def paint(self, scene: Scene) -> Image.Image:
        """Cast the shadows, paint the product and give the enlarged picture."""
        self._cast_shadows(scene)
        painter = scene.painter()
        g = self.geometry
        for crank, _, _ in g.seats:
            paint_far_crank(painter, crank, self.crank_turn)
        paint_wheel(painter, g.rear, g.rear_radius, self.wheel)
        paint_wheel(painter, g.front, g.front_radius, self.wheel)
        self._paint_mudguards(painter)
        if self.rack:
            paint_rack(painter, g)
        self._paint_frame(painter)
        self._paint_fork(painter)
        paint_drive(painter, g.crank, g.rear, self.crank_turn, self.bar != "high")
        if g.second_crank:
            paint_drive(painter, g.second_crank, g.crank, self.crank_turn, False)
        for _, seat, saddle in g.seats:
            self._paint_seat(painter, seat, saddle)
        self._paint_front(painter)
        return painter.image

    def _cast_shadows(self, scene: Scene) -> None:
        g = self.geometry
        side = 0.35 if scene.light.direction[0] < 0 else -0.35
        lines = [
            circle(g.rear, g.rear_radius - 0.01),
            circle(g.front, g.front_radius - 0.01),
            spatial([g.rear, g.seat, g.crank, g.rear]),
            spatial([g.crank, g.head_low, g.seat]),
            spatial([g.stem, g.front]),
            spatial([g.saddle, g.crank]),
        ]
        # The shadow lies on the floor, behind the bicycle and away from the lamp.
        fallen = [
            np.column_stack([line[:, 0] + side * line[:, 1], 0 * line[:, 1], -0.55 * line[:, 1]]) for line in lines
        ]
        scene.ring_shadow(fallen, 0.05, 0.02, 0.34)
        for x, _ in (g.rear, g.front):
            patch = circle((x, 0.0), 1.0, steps=24)[:, [0, 2, 1]] - np.array([x, 0.0, 0.0])
            patch = patch * np.array([0.2, 1.0, 0.05]) + np.array([x, 0.0, 0.0])
            scene.shadow([patch], 0.035, 0.75)

    def _paint_mudguards(self, painter: Painter) -> None:
        if not self.mudguards:
            return
        g = self.geometry
        paint_mudguard(painter, g.rear, g.rear_radius, (20, 196), self.frame)
        paint_mudguard(painter, g.front, g.front_radius, (30, 184), self.frame)

    def _bar(self, painter: Painter, path: list[Spot] | Array, share: float = 1.0, side: float = 0.0) -> None:
        painter.tube(spatial(path, side), self.tube * share, self.frame, 0.7)

    def _paint_frame(self, painter: Painter) -> None:
        g = self.geometry
        for side in (-0.045, 0.045):
            self._bar(painter, [g.rear, g.crank], 0.55, side)
            self._bar(painter, [g.rear, along(g.crank, g.seat, 0.93)], 0.5, side)
        if self.kind == "cargo":
            self._bar(
                painter,
                [
                    g.crank,
                    (g.head_low[0], 0.25),
                    (g.front[0] - 0.3, 0.25),
                    (g.front[0] - 0.16, 0.5),
                ],
                1.1,
            )
        if g.second_crank:
            self._bar(painter, [g.crank, g.second_crank], 1.1)
            self._bar(painter, [along(g.crank, g.seat, 0.8), g.second_crank], 0.8)
        for crank, seat, _ in g.seats:
            self._bar(painter, [crank, seat], 0.95)
        if self.kind == "step-through":
            low, high = g.top
            self._bar(painter, curve(low, (low[0] + 0.22, low[1] - 0.02), high), 0.9)
            self._bar(painter, curve(g.down[0], (0.27, 0.33), g.down[1]), 1.1)
        else:
            self._bar(painter, list(g.top))
            self._bar(painter, list(g.down), 1.2)
        self._bar(painter, [g.head_low, g.head_high], 1.25)
        for crank, _, _ in g.seats:
            painter.ball(spatial([crank], 0.03)[0], 0.032, self.frame)
        self._paint_name(painter)

    def _paint_name(self, painter: Painter) -> None:
        """Paint a stripe on the down tube, where makers put their name."""
        first, last = self.geometry.down
        light = sum(self.frame) < 380
        ink = lighter(self.frame, 0.75) if light else darker(self.frame, 0.6)
        if self.kind != "step-through":
            ends = [along(first, last, 0.34), along(first, last, 0.66)]
            painter.line(spatial(ends, self.tube), ink, self.tube * 0.5)

    def _paint_fork(self, painter: Painter) -> None:
        g = self.geometry
        crown = along(g.head_high, g.head_low, 1.06)
        if self.kind == "cargo":
            # The front wheel is far ahead and has a short fork of its own.
            crown = (g.front[0] - 0.13, g.front[1] + 0.3)
        for side in (-0.05, 0.05):
            if self.kind == "mountain":
                middle = along(crown, g.front, 0.45)
                painter.tube(spatial([crown, middle], side), 0.015, PALETTE["gold"], 0.8)
                painter.tube(spatial([middle, g.front], side), 0.023, (52, 53, 57), 0.6)
            else:
                bow = curve(crown, along(crown, g.front, 0.72), g.front)
                bow[:, 0] -= np.sin(np.linspace(0, np.pi, len(bow))) * 0.012
                self._bar(painter, bow, 0.75, side)
        self._bar(painter, [along(crown, g.front, -0.05), along(crown, g.front, 0.06)], 1.4)

    def _paint_seat(self, painter: Painter, seat: Spot, saddle: Spot) -> None:
        low = (saddle[0] + 0.02, saddle[1] - 0.03)
        painter.tube(spatial([seat, low]), 0.013, PALETTE["silver"], 0.9)
        painter.ball(spatial([seat])[0], self.tube * 1.15, darker(self.frame, 0.3))
        paint_saddle(painter, saddle, self.leather, self.bar in ("drop", "flat", "high"))

    def _paint_front(self, painter: Painter) -> None:
        g = self.geometry
        if self.kind == "cargo":
            paint_box(painter, g, (186, 140, 88))
        if self.mudguards and self.kind != "cargo":
            paint_lamp(painter, g)
        if self.basket:
            paint_basket(painter, g.stem)
        stem_colour = PALETTE["silver"] if self.mudguards else (48, 49, 52)
        painter.tube(spatial([g.head_high, g.stem]), 0.015, stem_colour, 0.8)
        paint_handlebar(painter, self.bar, g.stem, (stem_colour, self.leather))
        if g.second_saddle:
            rear_stem = (g.second_saddle[0] - 0.06, g.second_saddle[1] + 0.02)
            lower = along(g.second_seat or g.seat, g.second_saddle, 0.55)
            painter.tube(spatial([lower, rear_stem]), 0.013, stem_colour, 0.8)
            paint_handlebar(painter, self.bar, rear_stem, (stem_colour, self.leather))
