"""Computer keyboards: office, gaming, 60 %, split, slim, retro and typewriter ones."""

from dataclasses import dataclass
from random import Random

from examples.sample_catalogue.colours import (
    PALETTE,
    Colour,
    darker,
    is_dark,
    lighter,
)
from examples.sample_catalogue.keyboard_keys import Caps
from examples.sample_catalogue.keyboard_layout import blocks
from examples.sample_catalogue.keyboard_model import Keyboard
from examples.sample_catalogue.products import Label, shop_price, titled


@dataclass(frozen=True)
class _Kind:
    words: str
    layouts: tuple[str, ...]
    colours: tuple[str, ...]
    prices: tuple[float, float]


_KINDS: dict[str, _Kind] = {
    "office": _Kind("office keyboard", ("full",), ("black", "white", "grey"), (15, 60)),
    "gaming": _Kind(
        "gaming keyboard with RGB light",
        ("tenkeyless", "full", "sixty"),
        ("black", "black", "white"),
        (60, 180),
    ),
    "mechanical": _Kind(
        "mechanical keyboard",
        ("sixty", "tenkeyless"),
        ("pink", "mint", "purple", "yellow", "blue", "red"),
        (70, 190),
    ),
    "split": _Kind("split ergonomic keyboard", ("split",), ("black", "white", "grey"), (90, 260)),
    "slim": _Kind("slim aluminium keyboard", ("compact", "full"), ("silver", "black", "rose"), (50, 140)),
    "retro": _Kind("retro keyboard", ("full", "tenkeyless"), ("beige",), (60, 160)),
    "typewriter": _Kind(
        "typewriter keyboard with round keys",
        ("typewriter",),
        ("green", "red", "black", "cream"),
        (80, 200),
    ),
}
_ORDER = (
    "mechanical",
    "office",
    "gaming",
    "slim",
    "mechanical",
    "split",
    "typewriter",
    "gaming",
    "retro",
    "office",
    "mechanical",
)
_LAYOUT_WORDS = {
    "full": "full-size",
    "tenkeyless": "tenkeyless",
    "sixty": "60 %",
    "compact": "compact",
}


def _caps(kind: str, colour: str, rng: Random) -> Caps:
    base = PALETTE[colour]
    accent = PALETTE[rng.choice(["red", "orange", "turquoise", "yellow"])]
    if kind == "gaming":
        dark = is_dark(base)
        caps = (40, 41, 45) if dark else (236, 236, 236)
        return Caps(caps, caps, caps, 0.42, 0.12)
    if kind == "mechanical":
        soft = lighter(base, 0.3)
        letters, others = rng.choice(
            [
                (PALETTE["white"], soft),
                (soft, base),
                (PALETTE["cream"], base),
                (base, darker(base, 0.35)),
            ]
        )
        return Caps(letters, others, accent, 0.46, 0.13)
    if kind == "slim":
        caps = rng.choice([PALETTE["white"], (46, 47, 50)]) if colour != "black" else (40, 41, 44)
        return Caps(caps, caps, caps, 0.12, 0.015)
    if kind == "retro":
        return Caps(
            (238, 230, 208),
            (176, 168, 150),
            rng.choice([(176, 168, 150), PALETTE["orange"]]),
            0.5,
            0.15,
        )
    if kind == "typewriter":
        tops = rng.choice([(40, 40, 42), (240, 234, 216)])
        return Caps(tops, tops, tops, 0.42, 0.05, round=True)
    caps = lighter(base, 0.06) if is_dark(base) else base
    others = caps if rng.random() < 0.5 else darker(caps, 0.16)
    return Caps(caps, others, others, 0.24, 0.06)


def _body(kind: str, colour: str, rng: Random) -> tuple[Colour, Colour]:
    """Choose the colours of the body and of the deck between the keys."""
    base = PALETTE[colour]
    if kind == "mechanical":
        body = rng.choice([PALETTE["white"], base, darker(base, 0.2), (52, 54, 60)])
        return body, darker(body, 0.45)
    if kind == "retro":
        return base, darker(base, 0.4)
    if kind in ("slim", "typewriter", "split"):
        return base, base
    if kind == "gaming":
        # Coloured light needs a dark deck to show, also under white keys.
        return base, (34, 35, 40)
    return base, darker(base, 0.5 if is_dark(base) else 0.25)


def design(rng: Random, number: int) -> Keyboard:
    """Invent a keyboard; the number spreads the kinds evenly."""
    kind = _ORDER[number % len(_ORDER)]
    rule = _KINDS[kind]
    colour = rng.choice(rule.colours)
    layout = rng.choice(rule.layouts)
    body, deck = _body(kind, colour, rng)
    words = f"{_LAYOUT_WORDS.get(layout, '')} {rule.words}".strip()
    wired = kind in ("office", "gaming", "retro") and rng.random() < 0.6
    return Keyboard(
        kind=kind,
        label=Label(titled(colour, words), colour, shop_price(rng, *rule.prices)),
        blocks=tuple(blocks(layout)),
        body=body,
        deck=deck,
        caps=_caps(kind, colour, rng),
        thickness={"slim": 0.22, "office": 0.4, "typewriter": 0.8}.get(kind, 0.55),
        cable=rng.uniform(-3.0, 3.0) if wired else None,
        glow=rng.random() if kind == "gaming" else None,
    )
