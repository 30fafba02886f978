"""Wheels, chain and cranks of a bicycle."""

from dataclasses import dataclass

import numpy as np

from examples.sample_catalogue.bicycle_frame import Spot, spatial
from examples.sample_catalogue.camera import Array
from examples.sample_catalogue.colours import Colour, darker, lighter
from examples.sample_catalogue.painter import Painter

_CHAIN_SIDE = 0.05
_METAL: Colour = (178, 182, 188)


@dataclass(frozen=True)
class Wheel:
    """Appearance of the wheels of a bicycle; tyre and rim are widths in metres."""

    tyre: float
    tyre_colour: Colour
    rim: float
    rim_colour: Colour
    spokes: int
    knobs: bool = False
    disc: bool = False


def circle(middle: Spot, radius: float, side: float = 0.0, steps: int = 72) -> Array:
    """Return an upright circle, as world points."""
    angles = np.linspace(0.0, 2.0 * np.pi, steps)
    flat = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius + np.array(middle)
    return spatial(flat, side)


def _ring(painter: Painter, middle: Spot, radii: tuple[float, float], side: float, colour: Colour) -> None:
    """Fill the ring between two radii."""
    outer = circle(middle, radii[0], side)
    inner = circle(middle, radii[1], side)[::-1]
    painter.polygon(np.concatenate([outer, inner]), colour)


def paint_wheel(painter: Painter, middle: Spot, radius: float, wheel: Wheel) -> None:
    """Paint one wheel: tyre, rim, spokes and hub."""
    half = wheel.tyre * 0.45
    inner = radius - wheel.tyre
    # Several rings side by side give the tyre its width when seen at an angle.
    for side in np.linspace(-half, half, 5):
        bulge = (1.0 - (side / half) ** 2) * wheel.tyre * 0.12
        tone = darker(wheel.tyre_colour, 0.25 if side < half * 0.6 else 0.0)
        _ring(painter, middle, (radius + bulge - wheel.tyre * 0.1, inner), float(side), tone)
    if wheel.knobs:
        _paint_knobs(painter, middle, radius, wheel)
    shine = (radius - wheel.tyre * 0.32, radius - wheel.tyre * 0.5)
    _ring(painter, middle, shine, half, lighter(wheel.tyre_colour, 0.2))
    _paint_spokes(painter, middle, inner - wheel.rim * 0.5, wheel)
    for side in (-0.012, 0.012):
        _ring(
            painter,
            middle,
            (inner + 0.002, inner - wheel.rim),
            side,
            darker(wheel.rim_colour, 0.3 if side < 0 else 0.0),
        )
    _ring(
        painter,
        middle,
        (inner - wheel.rim * 0.25, inner - wheel.rim * 0.5),
        0.013,
        lighter(wheel.rim_colour, 0.4),
    )
    if wheel.disc:
        _ring(painter, middle, (0.085, 0.058), -0.03, (150, 154, 160))
    hub = np.array([[*middle, -0.05], [*middle, 0.05]])
    painter.tube(hub, 0.022, _METAL, 0.8)
    painter.ball(hub[1], 0.017, darker(_METAL, 0.35))


def _paint_knobs(painter: Painter, middle: Spot, radius: float, wheel: Wheel) -> None:
    for angle in np.linspace(0.0, 2.0 * np.pi, 60, endpoint=False):
        direction = np.array([np.cos(angle), np.sin(angle)])
        ends = np.stack([np.array(middle) + direction * radius * share for share in (0.97, 1.02)])
        painter.line(spatial(ends, 0.01), wheel.tyre_colour, 0.016)


def _paint_spokes(painter: Painter, middle: Spot, reach: float, wheel: Wheel) -> None:
    turns = np.arange(wheel.spokes) / wheel.spokes * 2.0 * np.pi
    for number, angle in enumerate(turns.tolist()):
        # Neighbouring spokes leave the hub in opposite directions and cross.
        lean = 0.9 if number % 4 < 2 else -0.9
        side = 0.03 if number % 2 else -0.03
        start = np.array([np.cos(angle + lean), np.sin(angle + lean)]) * 0.024
        stop = np.array([np.cos(angle), np.sin(angle)]) * reach
        ends = np.array([[*(start + middle), side], [*(stop + middle), 0.0]])
        painter.line(ends, (150, 153, 158), 0.0042, 235)


def paint_far_crank(painter: Painter, crank: Spot, turn: float) -> None:
    """Paint the crank and the pedal behind the frame."""
    _paint_arm(painter, crank, turn + np.pi, -0.07)


def paint_drive(painter: Painter, crank: Spot, rear: Spot, turn: float, gears: bool) -> None:
    """Paint chain wheel, chain, sprockets and the near crank."""
    large, small = 0.088, 0.045 if gears else 0.035
    for radius in (small, small * 0.72) if gears else (small,):
        _ring(painter, rear, (radius, radius * 0.6), _CHAIN_SIDE, (128, 130, 134))
    for level in (1.0, -1.0):
        ends = [(crank[0], crank[1] + level * large * 0.96), (rear[0], rear[1] + level * small)]
        painter.line(spatial(ends, _CHAIN_SIDE), (58, 56, 54), 0.011)
    if gears:
        arm = [rear, (rear[0] + 0.03, rear[1] - 0.06), (rear[0] + 0.02, rear[1] - 0.115)]
        painter.tube(spatial(arm, _CHAIN_SIDE + 0.01), 0.011, (70, 72, 76), 0.6)
    _ring(painter, crank, (large, large * 0.74), _CHAIN_SIDE, (70, 72, 76))
    _ring(painter, crank, (large * 0.97, large * 0.88), _CHAIN_SIDE + 0.004, _METAL)
    for angle in turn + np.arange(5) * 2.0 * np.pi / 5.0:
        tip = (crank[0] + large * 0.8 * np.cos(angle), crank[1] + large * 0.8 * np.sin(angle))
        painter.line(spatial([crank, tip], _CHAIN_SIDE + 0.005), (96, 98, 104), 0.016)
    _paint_arm(painter, crank, turn, _CHAIN_SIDE + 0.03)


def _paint_arm(painter: Painter, crank: Spot, turn: float, side: float) -> None:
    end = (crank[0] + 0.17 * float(np.cos(turn)), crank[1] + 0.17 * float(np.sin(turn)))
    painter.tube(spatial([crank, end], side), 0.012, _METAL, 0.8)
    painter.ball(spatial([crank], side)[0], 0.02, darker(_METAL, 0.2))
    reach = 0.07 if side > 0 else -0.07
    pedal = np.array(
        [
            [end[0] - 0.045, end[1], side],
            [end[0] + 0.045, end[1], side],
            [end[0] + 0.045, end[1], side + reach],
            [end[0] - 0.045, end[1], side + reach],
        ]
    )
    painter.polygon(pedal, (60, 62, 66))
    painter.tube(pedal[2:] if reach > 0 else pedal[:2], 0.012, (40, 41, 44), 0.4)
