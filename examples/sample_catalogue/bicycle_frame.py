"""The geometry of each kind of bicycle: where its wheels, tubes and seats are."""

from dataclasses import dataclass, replace

import numpy as np

from examples.sample_catalogue.camera import Array

Spot = tuple[float, float]


@dataclass(frozen=True)
class Geometry:
    """Side view in metres: x forwards, y upwards, the ground at 0."""

    rear: Spot
    front: Spot
    rear_radius: float
    front_radius: float
    crank: Spot
    seat: Spot
    saddle: Spot
    head_low: Spot
    head_high: Spot
    stem: Spot
    top: tuple[Spot, Spot]
    down: tuple[Spot, Spot]
    second_crank: Spot | None = None
    second_seat: Spot | None = None
    second_saddle: Spot | None = None

    @property
    def seats(self) -> list[tuple[Spot, Spot, Spot]]:
        """Return crank, top of the seat tube and saddle for each rider."""
        seats = [(self.crank, self.seat, self.saddle)]
        if self.second_crank and self.second_seat and self.second_saddle:
            seats.append((self.second_crank, self.second_seat, self.second_saddle))
        return seats


_ROAD = Geometry(
    rear=(-0.41, 0.34),
    front=(0.59, 0.34),
    rear_radius=0.34,
    front_radius=0.34,
    crank=(0.0, 0.27),
    seat=(-0.16, 0.77),
    saddle=(-0.2, 0.95),
    head_low=(0.435, 0.70),
    head_high=(0.4, 0.83),
    stem=(0.47, 0.93),
    top=((-0.15, 0.755), (0.405, 0.805)),
    down=((0.0, 0.27), (0.428, 0.725)),
)

GEOMETRIES: dict[str, Geometry] = {
    "racing": _ROAD,
    "single": _ROAD,
    "city": replace(
        _ROAD,
        rear=(-0.46, 0.34),
        front=(0.64, 0.34),
        saddle=(-0.23, 0.96),
        head_low=(0.44, 0.68),
        head_high=(0.395, 0.86),
        stem=(0.36, 1.04),
        top=((-0.14, 0.71), (0.41, 0.8)),
    ),
    "step-through": replace(
        _ROAD,
        rear=(-0.47, 0.34),
        front=(0.66, 0.34),
        saddle=(-0.23, 0.94),
        seat=(-0.155, 0.76),
        head_low=(0.45, 0.66),
        head_high=(0.39, 0.9),
        stem=(0.35, 1.08),
        top=((-0.07, 0.49), (0.41, 0.79)),
        down=((0.0, 0.27), (0.44, 0.69)),
    ),
    "mountain": replace(
        _ROAD,
        rear=(-0.43, 0.36),
        front=(0.69, 0.36),
        rear_radius=0.36,
        front_radius=0.36,
        crank=(0.0, 0.32),
        seat=(-0.15, 0.70),
        saddle=(-0.23, 0.95),
        head_low=(0.43, 0.76),
        head_high=(0.39, 0.88),
        stem=(0.42, 0.96),
        top=((-0.14, 0.66), (0.4, 0.85)),
        down=((0.0, 0.32), (0.425, 0.78)),
    ),
    "bmx": replace(
        _ROAD,
        rear=(-0.36, 0.27),
        front=(0.56, 0.27),
        rear_radius=0.27,
        front_radius=0.27,
        crank=(0.0, 0.29),
        seat=(-0.1, 0.54),
        saddle=(-0.13, 0.63),
        head_low=(0.42, 0.6),
        head_high=(0.39, 0.71),
        stem=(0.37, 0.95),
        top=((-0.095, 0.52), (0.395, 0.68)),
        down=((0.0, 0.29), (0.415, 0.62)),
    ),
    "tandem": replace(
        _ROAD,
        rear=(-0.42, 0.34),
        front=(1.32, 0.34),
        saddle=(-0.2, 0.92),
        seat=(-0.15, 0.72),
        head_low=(1.16, 0.7),
        head_high=(1.12, 0.86),
        stem=(1.13, 1.0),
        top=((-0.14, 0.7), (1.13, 0.83)),
        down=((0.72, 0.27), (1.155, 0.73)),
        second_crank=(0.72, 0.27),
        second_seat=(0.57, 0.79),
        second_saddle=(0.53, 0.97),
    ),
    "cargo": replace(
        _ROAD,
        rear=(-0.47, 0.34),
        front=(1.42, 0.26),
        front_radius=0.26,
        saddle=(-0.23, 0.96),
        head_low=(0.42, 0.52),
        head_high=(0.35, 0.86),
        stem=(0.3, 1.04),
        top=((-0.09, 0.52), (0.39, 0.68)),
        down=((0.0, 0.27), (0.43, 0.5)),
    ),
}


def spatial(spots: list[Spot] | Array, side: float = 0.0) -> Array:
    """Place side-view spots in the world, a distance towards the viewer."""
    flat = np.asarray(spots, dtype=np.float64)
    return np.column_stack([flat, np.full(len(flat), side)])


def along(first: Spot, second: Spot, share: float) -> Spot:
    """Return the spot between two others; a share beyond 1 prolongs the line."""
    return (first[0] + (second[0] - first[0]) * share, first[1] + (second[1] - first[1]) * share)


def curve(first: Spot, middle: Spot, last: Spot, steps: int = 14) -> Array:
    """Return a smooth bow from the first spot to the last, drawn towards the middle one."""
    share = np.linspace(0.0, 1.0, steps)[:, None]
    bow: Array = (
        np.array(first) * (1 - share) ** 2 + 2 * np.array(middle) * share * (1 - share) + np.array(last) * share**2
    )
    return bow
