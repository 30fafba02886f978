"""Wrist watches: classic, diving, chronograph, square, dress, digital and smart ones."""

from dataclasses import dataclass, replace
from random import Random

from examples.sample_catalogue.colours import PALETTE, STEEL, Colour, darker, lighter, mix
from examples.sample_catalogue.products import Label, shop_price, titled
from examples.sample_catalogue.watch_dial import Face
from examples.sample_catalogue.watch_model import Watch
from examples.sample_catalogue.watch_strap import Strap


@dataclass(frozen=True)
class _Kind:
    words: str
    colours: tuple[str, ...]
    materials: tuple[str, ...]
    prices: tuple[float, float]
    numerals: tuple[str, ...]
    half: tuple[float, float] = (1.0, 1.0)
    corner: float = 1.0


_KINDS: dict[str, _Kind] = {
    "classic": _Kind(
        "round watch",
        ("red", "blue", "brown", "black", "green"),
        ("leather",),
        (60, 220),
        ("arabic", "roman", "bars"),
    ),
    "diver": _Kind(
        "diving watch",
        ("blue", "black", "green", "orange"),
        ("steel", "rubber"),
        (150, 600),
        ("dots",),
    ),
    "chronograph": _Kind(
        "chronograph",
        ("black", "blue", "white", "brown"),
        ("steel", "leather"),
        (140, 480),
        ("bars",),
    ),
    "square": _Kind(
        "square watch",
        ("black", "brown", "red", "blue"),
        ("leather",),
        (70, 190),
        ("bars", "roman", "arabic"),
        (0.92, 0.92),
        0.22,
    ),
    "dress": _Kind(
        "rectangular dress watch",
        ("brown", "black", "red", "navy"),
        ("leather",),
        (90, 320),
        ("roman", "bars"),
        (0.72, 0.98),
        0.16,
    ),
    "bracelet": _Kind("bracelet watch", ("gold", "silver", "rose"), ("steel",), (90, 350), ("bars", "roman")),
    "digital": _Kind(
        "digital watch",
        ("black", "yellow", "red", "blue", "white"),
        ("rubber",),
        (20, 90),
        ("digits",),
        (0.98, 1.04),
        0.36,
    ),
    "smart": _Kind(
        "smart watch",
        ("black", "white", "pink", "blue", "orange", "mint"),
        ("rubber",),
        (90, 420),
        ("rings", "icons", "digits"),
        (0.86, 1.02),
        0.36,
    ),
}
_ORDER = (
    "classic",
    "diver",
    "smart",
    "chronograph",
    "classic",
    "digital",
    "square",
    "bracelet",
    "classic",
    "dress",
    "smart",
    "diver",
)


def _metal(kind: str, colour: str, rng: Random) -> Colour:
    if kind == "bracelet":
        return PALETTE[colour]
    if kind == "digital":
        return PALETTE[colour]
    if kind == "smart":
        return rng.choice([(52, 54, 58), STEEL])
    if kind in ("dress", "classic", "square") and rng.random() < 0.45:
        return PALETTE[rng.choice(["gold", "rose"])]
    return STEEL


def _dial(kind: str, colour: str, rng: Random) -> Colour:
    light = [(246, 246, 242), (250, 244, 228)]
    if kind == "diver":
        return darker(PALETTE[colour], 0.25) if colour != "orange" else PALETTE["black"]
    if kind == "chronograph":
        return PALETTE["white"] if colour in ("white", "brown") else darker(PALETTE[colour], 0.2)
    if kind == "digital":
        return (178, 188, 168)
    if kind == "bracelet":
        return rng.choice([*light, mix(PALETTE[colour], (255, 255, 255), 0.35), PALETTE["navy"]])
    if kind == "classic" and rng.random() < 0.3:
        return darker(PALETTE[colour], 0.15)
    return rng.choice(light)


def _strap(kind: str, colour: str, material: str, rng: Random) -> Strap:
    own = PALETTE[colour]
    bend = rng.choice([0.62, 0.75, 0.85, 0.0])
    width = 0.55 if kind not in ("smart", "digital") else 0.66
    second = own
    if material == "steel":
        own = PALETTE[colour] if kind == "bracelet" else STEEL
        second = rng.choice([lighter(own, 0.1), lighter(own, 0.1), PALETTE["gold"]])
    elif material == "leather":
        own = PALETTE["brown"] if colour == "white" else own
        second = rng.choice([(236, 226, 204), lighter(own, 0.25)])
    elif kind == "diver":
        second = darker(own, 0.4)
    return Strap(material, own, second, width, 0.18 if kind != "smart" else 0.08, bend)


def design(rng: Random, number: int) -> Watch:
    """Invent a watch; the number spreads the kinds evenly."""
    kind = _ORDER[number % len(_ORDER)]
    rule = _KINDS[kind]
    colour = rng.choice(rule.colours)
    material = rng.choice(rule.materials)
    accent = PALETTE[rng.choice(["red", "orange", "turquoise", "yellow"])]
    face = Face(
        style=kind,
        metal=_metal(kind, colour, rng),
        dial=_dial(kind, colour, rng),
        bezel=PALETTE[colour] if kind == "diver" else None,
        accent=accent,
        numerals=rng.choice(rule.numerals),
        time=(10, rng.randrange(7, 13), rng.randrange(24, 50)),
        half=rule.half,
        corner=rule.corner,
    )
    if kind == "chronograph" and rng.random() < 0.4:
        face = replace(face, bezel=PALETTE["black"])
    words = f"{rule.words} with {material} {'bracelet' if material == 'steel' else 'strap'}"
    if kind == "bracelet":
        words = "round " + rule.words
    return Watch(
        kind=kind,
        label=Label(titled(colour, words), colour, shop_price(rng, *rule.prices)),
        face=face,
        strap=_strap(kind, colour, material, rng),
    )
