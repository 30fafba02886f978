"""The interface of products to the renderer, and the wording of their titles and prices."""

from dataclasses import dataclass
from random import Random
from typing import Protocol

from PIL import Image

from examples.sample_catalogue.camera import Array, Size
from examples.sample_catalogue.scene import Scene


@dataclass(frozen=True)
class Label:
    """The words and the number a shop shows beside the picture."""

    title: str
    colour: str
    price: float


@dataclass(frozen=True)
class Pose:
    """Angle and format of one picture of a product."""

    turn: Array
    distance: float
    size: Size
    margin: float = 0.08
    standing: bool = False
    mirrored: bool = False


class Product(Protocol):
    """A product that can be photographed."""

    @property
    def label(self) -> Label:
        """The title, colour and price."""

    def pose(self, rng: Random) -> Pose:
        """Choose an angle and a picture format."""

    def extent(self) -> Array:
        """Return points around the product, which the picture must show."""

    def paint(self, scene: Scene) -> Image.Image:
        """Cast the shadows, paint the product and give the enlarged picture."""


def titled(colour: str, words: str) -> str:
    """Put a colour before the words of a title."""
    return f"{colour.capitalize()} {words}"


def shop_price(rng: Random, low: float, high: float) -> float:
    """Choose a price as shops write it: just below a round number."""
    step = 5 if high < 200 else 10
    return round(rng.randrange(int(low), int(high), step) + step - 0.1, 2)
