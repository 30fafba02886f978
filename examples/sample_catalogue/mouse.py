"""Computer mice: office, gaming, vertical, travel and flat ones."""

from dataclasses import dataclass
from random import Random

from examples.sample_catalogue.colours import PALETTE, Colour, darker, is_dark, lighter
from examples.sample_catalogue.mouse_body import Shell
from examples.sample_catalogue.mouse_model import Mouse
from examples.sample_catalogue.products import Label, shop_price, titled


@dataclass(frozen=True)
class _Kind:
    words: str
    colours: tuple[str, ...]
    prices: tuple[float, float]
    cable: float


_KINDS: dict[str, _Kind] = {
    "office": _Kind("office mouse", ("black", "white", "grey", "blue", "red"), (9, 35), 0.6),
    "gaming": _Kind("gaming mouse", ("black", "black", "white", "red"), (35, 120), 0.5),
    "vertical": _Kind("vertical ergonomic mouse", ("black", "grey", "white"), (30, 90), 0.2),
    "travel": _Kind("travel mouse", ("red", "blue", "pink", "turquoise", "yellow", "purple"), (9, 30), 0.0),
    "flat": _Kind("flat touch mouse", ("white", "silver", "black", "rose"), (40, 100), 0.0),
}
_ORDER = ("office", "gaming", "travel", "vertical", "office", "gaming", "flat", "travel")
_GLOWS: dict[str, Colour] = {
    "red": (255, 40, 40),
    "green": (60, 255, 90),
    "blue": (50, 130, 255),
    "purple": (190, 70, 255),
    "orange": (255, 140, 30),
}


def _shell(kind: str, rng: Random) -> Shell:
    wobble = rng.uniform(0.95, 1.06)
    if kind == "gaming":
        return Shell(0.6 * wobble, 0.62, 3.0, 2.7, waist=rng.uniform(0.1, 0.18), gloss=0.28)
    if kind == "vertical":
        return Shell(0.56 * wobble, 1.0, 2.7, 2.3, peak=-0.1, fall=1.15, lean=0.42, gloss=0.25)
    if kind == "travel":
        return Shell(0.62 * wobble, 0.48, 2.7, 2.5, peak=-0.3, gloss=rng.choice([0.4, 0.75]))
    if kind == "flat":
        return Shell(0.56 * wobble, 0.34, 3.4, 3.4, peak=-0.1, fall=1.5, gloss=0.8)
    return Shell(0.56 * wobble, 0.56, 2.6, 2.6, waist=rng.uniform(0.0, 0.07), gloss=rng.choice([0.3, 0.6]))


def _trim(kind: str, body: Colour, rng: Random) -> Colour:
    if kind == "travel":
        return PALETTE["black"] if rng.random() < 0.6 else PALETTE["silver"]
    if kind == "flat":
        return body
    if is_dark(body) and max(body) < 60:
        return rng.choice([(22, 22, 24), (70, 72, 76)])
    return rng.choice([PALETTE["black"], (92, 95, 100)])


def design(rng: Random, number: int) -> Mouse:
    """Invent a computer mouse; the number spreads the kinds evenly."""
    kind = _ORDER[number % len(_ORDER)]
    rule = _KINDS[kind]
    colour = rng.choice(rule.colours)
    cable = rng.random() < rule.cable
    glow_name = rng.choice(list(_GLOWS)) if kind == "gaming" else None
    body = PALETTE[colour]
    trim = _trim(kind, body, rng)
    words = rule.words
    if kind == "gaming":
        words += f" with {glow_name} light"
    elif kind in ("office", "vertical"):
        words = ("wired " if cable else "wireless ") + words
    return Mouse(
        kind=kind,
        label=Label(titled(colour, words), colour, shop_price(rng, *rule.prices)),
        shell=_shell(kind, rng),
        body=body,
        trim=trim,
        accent=darker(trim, 0.35) if max(trim) > 60 else lighter(trim, 0.22),
        cable=(rng.uniform(-0.9, 0.9), rng.uniform(-1.6, 1.6)) if cable else None,
        glow=_GLOWS[glow_name] if glow_name else None,
    )
