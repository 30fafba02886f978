"""A perspective camera: turns three-dimensional points into picture positions.

Every product is described in its own three-dimensional units, so one description
can be photographed from any angle.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.float32]
Size = tuple[int, int]

_AXES = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}


def turned(axis: str, degrees: float) -> Array:
    """Build the matrix of a rotation about one axis."""
    first, second = _AXES[axis]
    angle = np.radians(degrees)
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second] = -np.sin(angle)
    matrix[second, first] = np.sin(angle)
    return matrix


def points(*rows: tuple[float, float, float]) -> Array:
    """Gather three-dimensional points into one array."""
    return np.array(rows, dtype=np.float64)


@dataclass(frozen=True)
class Plane:
    """A flat patch of the world: an origin and two directions along it."""

    origin: tuple[float, float, float]
    across: tuple[float, float, float] = (1.0, 0.0, 0.0)
    along: tuple[float, float, float] = (0.0, 1.0, 0.0)

    def at(self, flat: Array) -> Array:
        """Place two-dimensional positions of the patch in the world."""
        lifted = flat[:, :1] * np.array(self.across) + flat[:, 1:2] * np.array(self.along)
        placed: Array = np.array(self.origin) + lifted
        return placed


@dataclass(frozen=True)
class Camera:
    """A camera that looks down its own z axis at the turned world."""

    turn: Array
    distance: float
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    def project(self, world: Array) -> Array:
        """Return the picture position of each point, in pixels from the top left."""
        seen = world @ self.turn.T
        nearness = self.scale / (1.0 - seen[..., 2] / self.distance)
        across = seen[..., 0] * nearness + self.shift[0]
        down = -seen[..., 1] * nearness + self.shift[1]
        return np.stack([across, down], axis=-1)

    def depth(self, world: Array) -> Array:
        """Return the nearness of each point: larger is nearer."""
        nearness: Array = world @ self.turn[2]
        return nearness

    def facing(self, normals: Array) -> Array:
        """Turn world directions into directions as the camera sees them."""
        seen: Array = normals @ self.turn.T
        return seen

    def fitted(self, extent: Array, size: Size, margin: float) -> "Camera":
        """Aim and zoom so that the extent fills the picture up to the margin."""
        flat = replace(self, scale=1.0, shift=(0.0, 0.0)).project(extent)
        low, high = flat.min(axis=0), flat.max(axis=0)
        room = np.array(size) * (1.0 - 2.0 * margin)
        scale = float((room / (high - low)).min())
        middle = (low + high) / 2.0 * scale
        shift = (size[0] / 2.0 - float(middle[0]), size[1] / 2.0 - float(middle[1]))
        return replace(self, scale=scale, shift=shift)

    def enlarged(self, factor: float) -> "Camera":
        """Return the camera for the same picture with more pixels."""
        shift = (self.shift[0] * factor, self.shift[1] * factor)
        return replace(self, scale=self.scale * factor, shift=shift)

    def homography(self, plane: Plane) -> Array:
        """Return the matrix that takes positions on a plane to picture positions."""
        columns = np.array([plane.across, plane.along, plane.origin]).T
        seen = self.turn @ columns
        weight = np.array([0.0, 0.0, 1.0]) - seen[2] / self.distance
        return np.stack(
            [
                self.scale * seen[0] + self.shift[0] * weight,
                -self.scale * seen[1] + self.shift[1] * weight,
                weight,
            ]
        )

    def on_plane(self, plane: Plane, size: Size) -> tuple[Pixels, Pixels]:
        """Give, for each pixel, the position on the plane that it shows."""
        inverse = np.linalg.inv(self.homography(plane)).astype(np.float32)
        column = np.arange(size[0], dtype=np.float32)[None, :]
        row = np.arange(size[1], dtype=np.float32)[:, None]
        across, along, weight = (line[0] * column + line[1] * row + line[2] for line in inverse)
        # Pixels above the horizon have no position; push them far away instead.
        weight = np.maximum(weight, np.float32(1e-6))
        far = np.float32(1e5)
        return np.clip(across / weight, -far, far), np.clip(along / weight, -far, far)
