"""Parts mounted on a bicycle: saddle, handlebar, mudguards, rack, basket, box, lights."""

import numpy as np

from examples.sample_catalogue.bicycle_frame import Geometry, Spot, spatial
from examples.sample_catalogue.camera import Array, points
from examples.sample_catalogue.colours import Colour, darker, lighter
from examples.sample_catalogue.painter import Painter

_METAL: Colour = (186, 190, 196)
_WICKER: Colour = (176, 126, 72)


def paint_saddle(painter: Painter, spot: Spot, colour: Colour, slim: bool) -> None:
    """Paint a saddle, wide and sprung or slim."""
    depth = 0.016 if slim else 0.03
    shape = np.array(
        [
            (-0.13, 0.022),
            (-0.1, 0.035),
            (0.0, 0.022),
            (0.1, 0.012),
            (0.15, 0.0),
            (0.15, -0.012),
            (0.06, -depth),
            (-0.08, -depth - 0.018),
            (-0.135, -0.02),
        ]
    ) + np.array(spot)
    half = 0.055 if slim else 0.085
    for share in np.linspace(-1.0, 1.0, 9):
        # The saddle is wide behind and narrow in front.
        wide = np.interp(shape[:, 0] - spot[0], [-0.13, -0.03, 0.08, 0.15], [1, 0.75, 0.25, 0.2])
        layer = np.column_stack([shape, wide * half * share])
        painter.polygon(layer, darker(colour, 0.35 - 0.3 * max(share, 0.0)))
    shine = spatial(shape[[0, 1, 2, 3]] - np.array([0.0, 0.008]), half * 0.6)
    painter.line(shine, lighter(colour, 0.4), 0.008)
    if not slim:
        for x in (-0.08, -0.04):
            ends = [(spot[0] + x, spot[1] - 0.03), (spot[0] + x, spot[1] - 0.075)]
            painter.tube(spatial(ends, 0.05), 0.014, (120, 122, 126), 0.6)


def handlebar(kind: str, stem: Spot) -> Array:
    """Return the bar from its far end to its near end."""
    x, y = stem
    if kind == "drop":
        side = [
            (0.0, 0.0, 0.0),
            (0.0, 0.0, 0.15),
            (0.04, 0.0, 0.2),
            (0.1, -0.01, 0.205),
            (0.125, -0.05, 0.21),
            (0.11, -0.1, 0.21),
            (0.06, -0.13, 0.215),
            (0.0, -0.13, 0.22),
        ]
    elif kind == "swept":
        side = [
            (0.0, 0.0, 0.0),
            (0.03, 0.01, 0.08),
            (0.03, 0.03, 0.18),
            (-0.03, 0.03, 0.25),
            (-0.11, 0.015, 0.275),
            (-0.18, 0.0, 0.28),
        ]
    elif kind == "high":
        side = [
            (0.0, -0.14, 0.0),
            (0.0, -0.14, 0.06),
            (0.01, 0.0, 0.17),
            (0.0, 0.02, 0.22),
            (-0.05, 0.02, 0.33),
        ]
    else:
        side = [(0.0, 0.0, 0.0), (0.0, 0.015, 0.12), (-0.02, 0.02, 0.3)]
    near = points(*side) + np.array([x, y, 0.0])
    far = near * np.array([1.0, 1.0, -1.0])
    return np.concatenate([far[:0:-1], near])


def paint_handlebar(painter: Painter, kind: str, stem: Spot, colours: tuple[Colour, Colour]) -> None:
    """Paint the bar and its grips; colours are those of bar and grips."""
    bar_colour, grip = colours
    bar = handlebar(kind, stem)
    half = len(bar) // 2
    painter.tube(bar, 0.013, bar_colour, 0.8)
    count = 6 if kind == "drop" else 2
    for end in (bar[:count], bar[-count:]):
        path = end if kind == "drop" else _outer_part(end)
        painter.tube(path, 0.018 if kind != "drop" else 0.0145, grip, 0.3)
    if kind == "drop":
        for hood in (bar[half - 3], bar[half + 3]):
            grip_path = hood + points((-0.01, 0.0, 0.0), (0.045, 0.018, 0.0))
            painter.tube(grip_path, 0.015, grip, 0.3)
            lever = hood + points((0.045, 0.015, 0), (0.055, -0.045, 0), (0.03, -0.1, 0))
            painter.tube(lever, 0.006, _METAL, 0.8)
    elif kind != "high":
        for end, side in ((bar[0], 1.0), (bar[-1], -1.0)):
            inner = (0.15, 0.005, 0.0) if kind == "swept" else (0.02, -0.012, 0.17 * side)
            outer = (0.03, -0.045, 0.0) if kind == "swept" else (0.05, -0.035, 0.02 * side)
            painter.tube(end + points(inner, outer), 0.006, _METAL, 0.8)


def _outer_part(end: Array) -> Array:
    """Return the outer part of the last stretch of a bar, towards its open end."""
    outer, inner = (end[-1], end[0]) if abs(end[-1, 2]) > abs(end[0, 2]) else (end[0], end[-1])
    return np.stack([outer, outer + (inner - outer) * min(1.0, 0.12 / _length(inner - outer))])


def _length(step: Array) -> float:
    return max(float(np.linalg.norm(step)), 1e-6)


def paint_mudguard(painter: Painter, middle: Spot, radius: float, span: tuple[float, float], colour: Colour) -> None:
    """Paint a mudguard over the part of a wheel between two angles, in degrees."""
    angles = np.radians(np.linspace(*span, 26))
    arc = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (radius + 0.022) + np.array(middle)
    for side, tone in ((-0.026, 0.4), (0.0, 0.2), (0.026, 0.0)):
        painter.line(spatial(arc, side), darker(colour, tone), 0.017)
    painter.line(spatial(arc + np.array([0.0, 0.004]), 0.026), lighter(colour, 0.45), 0.005)
    stay = np.stack([np.array(middle), arc[-4]])
    painter.line(spatial(stay, 0.04), _METAL, 0.006)


def paint_rack(painter: Painter, geometry: Geometry) -> None:
    """Paint a luggage rack over the rear wheel."""
    x, y = geometry.rear
    top = y + geometry.rear_radius + 0.06
    for side in (-0.06, 0.06):
        deck = [(x - 0.2, top), (x + 0.2, top + 0.01)]
        painter.tube(spatial(deck, side), 0.008, (62, 64, 68), 0.5)
        for foot in (-0.1, 0.06):
            painter.tube(spatial([(x, y), (x + foot, top)], side), 0.006, (62, 64, 68), 0.5)


def paint_lamp(painter: Painter, geometry: Geometry) -> None:
    """Paint a round front lamp and a red rear light."""
    x, y = geometry.head_low
    painter.ball(np.array([x + 0.09, y + 0.07, 0.0]), 0.04, _METAL)
    painter.ball(np.array([x + 0.115, y + 0.07, 0.01]), 0.028, (250, 244, 210))
    back = (geometry.rear[0] - geometry.rear_radius - 0.0, geometry.rear[1] + 0.2)
    painter.ball(np.array([back[0] + 0.03, back[1], 0.02]), 0.02, (214, 30, 34))


def paint_basket(painter: Painter, stem: Spot) -> None:
    """Paint a wicker basket in front of the handlebar."""
    x, y = stem[0] + 0.08, stem[1] - 0.24
    low = points((x + 0.02, y, 0.11), (x + 0.22, y, 0.11), (x + 0.22, y, -0.11), (x + 0.02, y, -0.11))
    high = points(
        (x - 0.01, y + 0.21, 0.16),
        (x + 0.29, y + 0.21, 0.16),
        (x + 0.29, y + 0.21, -0.16),
        (x - 0.01, y + 0.21, -0.16),
    )
    painter.polygon(high, darker(_WICKER, 0.55))
    for first, second, tone in ((2, 3, 0.5), (3, 0, 0.35), (1, 2, 0.25), (0, 1, 0.0)):
        _paint_weave(painter, (low[first], low[second], high[second], high[first]), tone)
    painter.tube(high[[3, 2, 1, 0, 3]], 0.013, _WICKER, 0.3)


def _paint_weave(painter: Painter, corners: tuple[Array, Array, Array, Array], tone: float) -> None:
    a, b, c, d = corners
    base = darker(_WICKER, tone)
    painter.polygon(np.stack(corners), darker(base, 0.28))
    for share in np.linspace(0.06, 0.94, 8):
        ends = np.stack([a + (d - a) * share, b + (c - b) * share])
        painter.line(ends, base, 0.015)
        painter.line(ends + np.array([0.0, 0.004, 0.0]), lighter(base, 0.25), 0.004)
    for share in np.linspace(0.0, 1.0, 9):
        ends = np.stack([a + (b - a) * share, d + (c - d) * share])
        painter.line(ends, darker(base, 0.2), 0.008)


def paint_box(painter: Painter, geometry: Geometry, colour: Colour) -> None:
    """Paint the load box of a cargo bicycle, between the rider and the front wheel."""
    left, right = geometry.head_low[0] + 0.08, geometry.front[0] - 0.2
    low, high, half = 0.3, 0.66, 0.25
    bottom = points((left + 0.06, low, half), (right, low, half), (right, low, -half), (left + 0.06, low, -half))
    top = points(
        (left, high, half + 0.03),
        (right + 0.12, high - 0.02, half + 0.03),
        (right + 0.12, high - 0.02, -half - 0.03),
        (left, high, -half - 0.03),
    )
    painter.polygon(top, darker(colour, 0.6))
    for first, second, tone in ((2, 3, 0.5), (3, 0, 0.3), (1, 2, 0.3), (0, 1, 0.0)):
        face = np.stack([bottom[first], bottom[second], top[second], top[first]])
        painter.polygon(face, darker(colour, tone))
        for share in (0.25, 0.5, 0.75):
            ends = np.stack([face[0] + (face[3] - face[0]) * share, face[1] + (face[2] - face[1]) * share])
            painter.line(ends, darker(colour, tone * 0.6 + 0.3), 0.008)
    painter.tube(top[[3, 2, 1, 0, 3]], 0.014, lighter(colour, 0.15), 0.4)
