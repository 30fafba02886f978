"""Bicycles: city, racing, mountain, BMX, step-through, single-speed, cargo and tandem."""

from dataclasses import dataclass
from random import Random

from examples.sample_catalogue.bicycle_frame import (
    GEOMETRIES,
)
from examples.sample_catalogue.bicycle_model import Bicycle
from examples.sample_catalogue.bicycle_wheel import (
    Wheel,
)
from examples.sample_catalogue.colours import PALETTE
from examples.sample_catalogue.products import Label, shop_price, titled


@dataclass(frozen=True)
class _Kind:
    words: str
    colours: tuple[str, ...]
    prices: tuple[float, float]
    bar: str
    tube: float = 0.018


_KINDS: dict[str, _Kind] = {
    "city": _Kind("city bicycle", ("red", "blue", "green", "black"), (290, 890), "swept"),
    "racing": _Kind("racing bicycle", ("red", "blue", "white", "black"), (590, 2900), "drop"),
    "mountain": _Kind("mountain bicycle", ("orange", "green", "black", "blue"), (490, 2400), "flat", 0.024),
    "bmx": _Kind("BMX bicycle", ("red", "black", "turquoise", "yellow"), (190, 590), "high"),
    "step-through": _Kind("step-through bicycle", ("mint", "cream", "red", "pink"), (290, 990), "swept"),
    "single": _Kind("single-speed bicycle", ("white", "yellow", "black", "purple"), (250, 790), "flat"),
    "cargo": _Kind("cargo bicycle", ("green", "blue", "black"), (1490, 4900), "swept", 0.022),
    "tandem": _Kind("tandem", ("red", "blue", "yellow"), (890, 2900), "flat"),
}
_ORDER = (
    "city",
    "racing",
    "mountain",
    "step-through",
    "bmx",
    "racing",
    "single",
    "city",
    "mountain",
    "cargo",
    "step-through",
    "tandem",
)


def _wheel(kind: str, rng: Random) -> Wheel:
    black = (36, 36, 39)
    silver = PALETTE["silver"]
    if kind == "racing":
        deep = rng.random() < 0.4
        return Wheel(
            0.024,
            black,
            0.05 if deep else 0.022,
            (48, 49, 53) if deep else silver,
            20 if deep else 28,
        )
    if kind == "mountain":
        return Wheel(0.058, black, 0.02, (48, 49, 53), 32, knobs=True, disc=True)
    if kind == "bmx":
        return Wheel(0.048, black, 0.024, rng.choice([silver, (48, 49, 53)]), 32)
    if kind == "single":
        rim = PALETTE[rng.choice(["red", "turquoise", "orange", "white"])]
        return Wheel(0.026, black, 0.034, rim, 28)
    tyre = rng.choice([black, black, (226, 212, 180)]) if kind == "step-through" else black
    return Wheel(0.036, tyre, 0.022, silver, 32)


def _words(kind: str, basket: bool, mudguards: bool) -> str:
    words = _KINDS[kind].words
    if basket:
        return f"{words} with basket"
    if kind == "city" and not mudguards:
        return f"sporty {words}"
    return f"{words} with wooden box" if kind == "cargo" else words


def design(rng: Random, number: int) -> Bicycle:
    """Invent a bicycle; the number spreads the kinds evenly."""
    kind = _ORDER[number % len(_ORDER)]
    rule = _KINDS[kind]
    colour = rng.choice(rule.colours)
    everyday = kind in ("city", "step-through", "cargo")
    mudguards = everyday and (kind != "city" or rng.random() < 0.8)
    basket = kind in ("city", "step-through") and rng.random() < 0.5
    leather = rng.choice([(40, 40, 43), PALETTE["brown"]]) if everyday else (40, 40, 43)
    return Bicycle(
        kind=kind,
        label=Label(titled(colour, _words(kind, basket, mudguards)), colour, shop_price(rng, *rule.prices)),
        geometry=GEOMETRIES[kind],
        frame=PALETTE[colour],
        wheel=_wheel(kind, rng),
        leather=leather,
        bar=rule.bar,
        tube=rule.tube,
        crank_turn=rng.uniform(-0.7, 0.5),
        basket=basket,
        mudguards=mudguards,
        rack=mudguards and rng.random() < 0.6,
    )
