"""The dial of a watch with hands: bezel, marks, numerals and hands."""

from dataclasses import dataclass

import numpy as np

from examples.sample_catalogue.camera import Array
from examples.sample_catalogue.colours import INK, Colour, darker, is_dark, lighter, mix
from examples.sample_catalogue.flat_picture import FlatPicture, rounded, spoke

_ROMAN = ("XII", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI")


@dataclass(frozen=True)
class Face:
    """Appearance of the front of a watch; half is its half width and half height."""

    style: str
    metal: Colour
    dial: Colour
    bezel: Colour | None
    accent: Colour
    numerals: str
    time: tuple[int, int, int]
    half: tuple[float, float]
    corner: float

    @property
    def ink(self) -> Colour:
        """The colour of marks that read well on the dial."""
        return (238, 238, 234) if is_dark(self.dial) else INK

    def inset(self, share: float) -> Array:
        """Return the outline of the face moved inwards."""
        half = (self.half[0] - share, self.half[1] - share)
        return rounded(half, max(self.corner - share, 0.06))

    def edge(self, turn: float, reach: Array) -> Array:
        """Return the point at the dial's border for a turn; a circle or a rectangle."""
        direction = spoke(turn, 0.0, 1.0)[1]
        if self.corner > 0.8:
            return direction * reach
        scale = float(np.min(reach / np.maximum(np.abs(direction), 1e-9)))
        # The corners are rounded, so a mark there sits a little further in.
        square: Array = direction * scale
        return square * (1.0 - 0.14 * float(np.prod(np.abs(square) / reach)) ** 6)


def draw_dial(picture: FlatPicture, face: Face) -> None:
    """Draw the face of an analogue watch inside its metal rim."""
    inset = 0.1 if face.bezel is None else 0.27
    if face.bezel:
        _draw_bezel(picture, face, face.bezel)
    picture.fill(face.inset(inset - 0.035), darker(face.metal, 0.5))
    picture.fill(face.inset(inset - 0.018), lighter(face.metal, 0.35))
    sheen = picture.sheen(face.dial, 0.12 if is_dark(face.dial) else 0.03)
    picture.paste(sheen, face.inset(inset))
    reach = np.array(face.half) - inset
    _draw_minutes(picture, face, reach)
    _draw_hours(picture, face, reach)
    picture.text(np.array([0.0, reach[1] * 0.42]), "MERIDIAN", 0.1, face.ink)
    if face.style == "chronograph":
        _draw_subdials(picture, face, float(reach.min()))
    elif face.numerals in ("bars", "dots"):
        _draw_date(picture, face, reach)
    _draw_hands(picture, face, float(reach.min()))


def _draw_bezel(picture: FlatPicture, face: Face, bezel: Colour) -> None:
    picture.fill(face.inset(0.04), darker(face.metal, 0.45))
    picture.paste(picture.sheen(bezel, 0.12), face.inset(0.06))
    ink = (240, 240, 236) if is_dark(bezel) else INK
    for step in range(60):
        long = step % 5 == 0
        first, second = spoke(step / 60, 0.78 if long else 0.84, 0.9)
        picture.bar(first, second, 0.035 if long else 0.012, ink)
    picture.disc(np.array([0.0, 0.84]), 0.055, (244, 240, 214))


def _draw_minutes(picture: FlatPicture, face: Face, reach: Array) -> None:
    colour = mix(face.dial, face.ink, 0.75)
    for step in range(60):
        outer = face.edge(step / 60, reach * 0.97)
        picture.bar(outer, outer * 0.955, 0.011, colour)


def _draw_hours(picture: FlatPicture, face: Face, reach: Array) -> None:
    for hour in range(12):
        outer = face.edge(hour / 12, reach * 0.91)
        if face.numerals == "roman":
            picture.text(outer * 0.86, _ROMAN[hour], 0.17, face.ink)
        elif face.numerals == "arabic":
            picture.text(outer * 0.86, str(hour or 12), 0.22, face.ink)
        elif face.numerals == "dots":
            picture.disc(outer * 0.92, 0.068, lighter(face.metal, 0.2))
            picture.disc(outer * 0.92, 0.05, (236, 240, 222))
        else:
            wide = 0.07 if hour % 3 == 0 else 0.042
            picture.bar(outer, outer * 0.8, wide, lighter(face.metal, 0.25))
            picture.bar(outer, outer * 0.8, wide * 0.4, mix(face.metal, face.ink, 0.6))


def _draw_subdials(picture: FlatPicture, face: Face, reach: float) -> None:
    ring = lighter(face.dial, 0.22) if is_dark(face.dial) else darker(face.dial, 0.12)
    for x, y in ((-0.44, 0.0), (0.44, 0.0), (0.0, -0.44)):
        middle = np.array([x, y]) * reach
        picture.disc(middle, 0.27 * reach, darker(face.metal, 0.15))
        picture.disc(middle, 0.25 * reach, ring)
        for step in range(12):
            first, second = spoke(step / 12, 0.19 * reach, 0.235 * reach)
            picture.bar(middle + first, middle + second, 0.012, face.ink)
        hand = spoke(0.13 + x, 0.0, 0.19 * reach)[1]
        picture.bar(middle - hand * 0.2, middle + hand, 0.024, face.accent)


def _draw_date(picture: FlatPicture, face: Face, reach: Array) -> None:
    middle = np.array([reach[0] * 0.6, 0.0])
    box = rounded((0.105, 0.08), 0.02, 3)
    picture.fill(box * 1.14 + middle, darker(face.metal, 0.2))
    picture.fill(box + middle, (248, 248, 244))
    picture.text(middle, str(face.time[2] % 28 + 1), 0.13, INK)


def _draw_hands(picture: FlatPicture, face: Face, reach: float) -> None:
    hour, minute, second = face.time
    metal = lighter(face.metal, 0.3) if is_dark(face.dial) else darker(face.metal, 0.6)
    drop = np.array([0.018, -0.03])
    for turn, length, width in (
        ((hour + minute / 60) / 12, 0.54 * reach, 0.09),
        (minute / 60, 0.82 * reach, 0.066),
    ):
        tail, tip = spoke(turn, -0.12 * reach, length)
        picture.fill(_hand(tail + drop, tip + drop, width), (0, 0, 0), 70)
        picture.fill(_hand(tail, tip, width), metal)
        picture.fill(_hand(tail * 0.2, tip * 0.92, width * 0.36), lighter(metal, 0.5))
    tail, tip = spoke(second / 60, -0.2 * reach, 0.86 * reach)
    picture.bar(tail + drop, tip + drop, 0.016, darker(face.dial, 0.35))
    picture.bar(tail, tip, 0.02, face.accent)
    picture.disc(np.zeros(2), 0.06, metal)
    picture.disc(np.zeros(2), 0.032, face.accent)


def _hand(tail: Array, tip: Array, width: float) -> Array:
    """Return a hand's outline: widest at three quarters, then pointed."""
    along = tip - tail
    side = np.array([along[1], -along[0]]) / max(float(np.hypot(*along)), 1e-9) * width / 2
    wide = tail + along * 0.72
    return np.stack([tail + side * 0.7, wide + side, tip, wide - side, tail - side * 0.7])
