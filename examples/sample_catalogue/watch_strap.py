"""The two halves of a watch strap: leather, rubber, or a metal bracelet."""

from dataclasses import dataclass

import numpy as np

from examples.sample_catalogue.camera import Array
from examples.sample_catalogue.colours import Colour, darker, lighter
from examples.sample_catalogue.painter import Painter

_ROWS = 54
_LINK_ROWS = 80
_LINK = 5


@dataclass(frozen=True)
class Strap:
    """Material and shape of a strap; bend 0 is flat on the table."""

    material: str
    colour: Colour
    second: Colour
    width: float
    taper: float
    bend: float

    def length(self, side: int) -> float:
        """Return the length of the upper (1) or the lower (-1) half."""
        if self.bend > 0.0:
            return 2.3
        return 2.1 if side > 0 else 2.7

    def path(self, side: int, start: float, rows: int = _ROWS) -> Array:
        """Return the middle line, from the case outwards, as rows of (y, z)."""
        step = self.length(side) / rows
        travelled = np.arange(rows + 1) * step
        slope = 0.1 + self.bend * travelled if self.bend else np.full(rows + 1, 0.0)
        y = start + np.concatenate([[0.0], np.cumsum(np.cos(slope[:-1]) * step)])
        z = -0.06 - np.concatenate([[0.0], np.cumsum(np.sin(slope[:-1]) * step)])
        return np.stack([side * y, z], axis=1)

    def half_widths(self, rows: int = _ROWS) -> Array:
        """Return the half width at each row; straps narrow away from the case."""
        share = np.linspace(0.0, 1.0, rows + 1)
        widths: Array = self.width * (1.0 - self.taper * np.clip(share * 1.6, 0.0, 1.0))
        if not self.bend and self.material != "steel":
            widths *= np.sqrt(1.0 - np.clip((share - 0.93) / 0.085, 0.0, 1.0) ** 2)
        return widths


def strap_outline(strap: Strap, side: int, start: float) -> Array:
    """Return the outline of one half in the world."""
    path, half = strap.path(side, start), strap.half_widths()
    left = np.column_stack([-half, path])
    right = np.column_stack([half, path])
    return np.concatenate([left, right[::-1]])


def paint_strap(painter: Painter, strap: Strap, side: int, start: float) -> None:
    """Paint one half of the strap, the far end first."""
    if strap.material == "steel":
        _paint_links(painter, strap, side, start)
    else:
        _paint_band(painter, strap, side, start)


def _surface(painter: Painter, strap: Strap, place: tuple[int, float], columns: Array) -> tuple[Array, Array]:
    """Return the part of a half that is seen, far end first, and where each row looks."""
    rows = _LINK_ROWS if strap.material == "steel" else _ROWS
    path, half = strap.path(*place, rows)[::-1], strap.half_widths(rows)[::-1]
    bulge = 0.07 * (1.0 - columns**2)
    level = np.broadcast_to(path[:, :1], (len(path), len(columns)))
    grid = np.stack([half[:, None] * columns, level, path[:, 1:] + bulge], axis=-1)
    along = -np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    normals = np.stack([np.zeros(len(along)), -along[:, 1], along[:, 0]], axis=1) * place[0]
    seen = painter.camera.facing(normals)[:, 2] > 0.12
    first = int(np.argmax(seen))
    if strap.material == "steel":
        # Only whole links are left out.
        first = -(-first // _LINK) * _LINK
    return grid[first:], normals[first:]


def _paint_band(painter: Painter, strap: Strap, side: int, start: float) -> None:
    columns = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 13))
    grid, normals = _surface(painter, strap, (side, start), columns)
    middle = (columns[1:] + columns[:-1]) / 2
    # Leather is padded: the band curves strongly towards its edges.
    tilt = middle * (0.75 if strap.material == "leather" else 0.35)
    facing = normals[:-1, None, :] * np.sqrt(1 - tilt**2)[:, None]
    facing = facing + tilt[:, None] * np.array([1.0, 0.0, 0.0])
    amount = painter.lit(facing, 0.34) ** 1.15
    grain = np.random.default_rng(7).normal(1.0, 0.012, amount.shape)
    amount = amount * (grain if strap.material == "leather" else 1.0)
    colours = amount[..., None] * np.array(strap.colour) * 1.08 + 14.0 * amount[..., None] ** 3
    painter.mesh(grid, colours)
    if strap.material == "leather":
        _paint_stitches(painter, strap, grid)
    else:
        _paint_grooves(painter, strap, grid)
    if not strap.bend and side < 0:
        _paint_holes(painter, strap, grid)
    elif not strap.bend:
        _paint_buckle(painter, strap, grid)


def _row_point(grid: Array, row: int, column: float) -> Array:
    """Return the point of a row at a position from -1 (left edge) to 1 (right edge)."""
    line = grid[row]
    middle = line[len(line) // 2]
    edge = line[-1] if column > 0 else line[0]
    point: Array = middle + (edge - middle) * abs(column) + np.array([0.0, 0.0, 0.01])
    return point


def _paint_stitches(painter: Painter, strap: Strap, grid: Array) -> None:
    for row in range(3 if not strap.bend else 1, len(grid) - 1, 2):
        for column in (-0.84, 0.84):
            ends = np.stack([_row_point(grid, row, column), _row_point(grid, row + 1, column)])
            ends[1] = ends[0] + (ends[1] - ends[0]) * 1.2
            painter.line(ends + np.array([0.008, -0.01, 0.0]), darker(strap.colour, 0.55), 0.03)
            painter.line(ends, strap.second, 0.024)


def _paint_grooves(painter: Painter, strap: Strap, grid: Array) -> None:
    if strap.second == strap.colour:
        return
    for column in (-0.5, 0.5):
        path = np.stack([_row_point(grid, row, column) for row in range(0, len(grid), 2)])
        painter.line(path, strap.second, 0.035)


def _paint_holes(painter: Painter, strap: Strap, grid: Array) -> None:
    angles = np.linspace(0.0, 2.0 * np.pi, 12)
    for row in range(6, 30, 4):
        middle = _row_point(grid, row, 0.0)
        along = grid[row + 1, 6] - grid[row, 6]
        along = along / np.linalg.norm(along) * 0.034
        hole = middle + np.cos(angles)[:, None] * np.array([0.034, 0, 0])
        hole = hole + np.sin(angles)[:, None] * along
        painter.polygon(hole, darker(strap.colour, 0.75))


def _paint_buckle(painter: Painter, strap: Strap, grid: Array) -> None:
    end = grid[0]
    half = strap.width * (1.0 - strap.taper) * 1.22
    y = float(end[0, 1])
    frame = np.array(
        [
            [-half, y - 0.12, 0.03],
            [-half, y + 0.22, 0.03],
            [half, y + 0.22, 0.03],
            [half, y - 0.12, 0.03],
        ]
    )
    painter.tube(frame, 0.045, (196, 200, 206), 0.9)
    pin = np.array([[0.0, y - 0.1, 0.06], [0.0, y + 0.24, 0.06]])
    painter.tube(pin, 0.03, (206, 210, 216), 0.9)


def _paint_links(painter: Painter, strap: Strap, side: int, start: float) -> None:
    columns = np.array([-1.0, -0.93, -0.42, -0.36, 0.36, 0.42, 0.93, 1.0])
    grid, normals = _surface(painter, strap, (side, start), columns)
    steps = np.arange(len(grid) - 1) % _LINK
    # Each link is rounded along the strap, with a dark gap to the next one.
    curve = np.array([-0.6, -0.2, 0.15, 0.5, 0.0])[steps]
    gap = np.where(steps == _LINK - 1, 0.42, 1.0)
    facing = normals[:-1] + np.stack([0 * curve, curve * side, 0 * curve], axis=1)
    facing /= np.linalg.norm(facing, axis=1, keepdims=True)
    amount = (painter.lit(facing, 0.45) * gap)[:, None] * np.array([0.72, 0.96, 0.55, 1.08, 0.55, 0.92, 0.66])
    middle = np.array([0, 0, 0, 1, 0, 0, 0])[:, None] == 1
    base = np.where(middle, np.array(strap.second), np.array(strap.colour))
    painter.mesh(grid, amount[..., None] * base * 1.06)
    for row in range(1, len(grid), _LINK):
        for left, right in ((-0.9, -0.46), (-0.34, 0.34), (0.46, 0.9)):
            ends = np.stack([_row_point(grid, row, left), _row_point(grid, row, right)])
            painter.line(ends, lighter(strap.colour, 0.6), 0.018, 130)
