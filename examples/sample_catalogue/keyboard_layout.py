"""Layouts of each kind of keyboard: positions of keys, and their labels."""

from dataclasses import dataclass

import numpy as np

from examples.sample_catalogue.camera import Array, Plane

# One key a word: its print, then its width after a colon where that is not 1.
# A tilde is a gap, an underscore the space bar.
_MAIN = (
    "Esc 1 2 3 4 5 6 7 8 9 0 - = Back:2",
    "Tab:1.5 Q W E R T Y U I O P [ ] \\:1.5",
    "Caps:1.75 A S D F G H J K L ; ' Enter:2.25",
    "Shift:2.25 Z X C V B N M , . / Shift:2.75",
    "Ctrl:1.25 Win:1.25 Alt:1.25 _:6.25 Alt:1.25 Fn:1.25 Menu:1.25 Ctrl:1.25",
)
_FUNCTIONS = "Esc ~ F1 F2 F3 F4 ~:.5 F5 F6 F7 F8 ~:.5 F9 F10 F11 F12"
_NAVIGATION = ("Ins Home PgU", "Del End PgD", "", "~ ^", "< v >")
_NUMBERS = ("Num / * -", "7 8 9", "4 5 6", "1 2 3", "0:2 .")
_LEFT = (
    "Esc 1 2 3 4 5",
    "Tab:1.5 Q W E R T",
    "Caps:1.75 A S D F G",
    "Shift:2.25 Z X C V B",
    "Ctrl:1.25 Win:1.25 Alt:1.25 _:2.75",
)
_RIGHT = (
    "6 7 8 9 0 - = Back:1.5",
    "Y U I O P [ ] \\:1.5",
    "H J K L ; ' Enter:2.25",
    "N M , . / Shift:2.75",
    "_:2.5 Alt:1.25 Fn:1.25 Ctrl:1.5",
)
_TYPEWRITER = (
    "1 2 3 4 5 6 7 8 9 0 - =",
    "Q W E R T Y U I O P [ ]",
    "~:.5 A S D F G H J K L ; '",
    "~ Z X C V B N M , . /",
    "~:2.5 _:7",
)


@dataclass(frozen=True)
class Key:
    """A key: the middle and size of its place in the block, in key widths."""

    label: str
    x: float
    y: float
    width: float
    height: float = 1.0

    @property
    def role(self) -> str:
        """Return the kind of the key: a letter, an accent, or another."""
        if self.label in ("Esc", "Enter", "Ent"):
            return "accent"
        return "letter" if len(self.label) == 1 and self.label != "_" else "other"


@dataclass(frozen=True)
class Block:
    """A group of keys on a body of its own, turned and moved on the table."""

    keys: tuple[Key, ...]
    half: tuple[float, float]
    middle: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.0

    def plane(self, height: float) -> Plane:
        """Return the plane, parallel to the table, on which the block's places lie."""
        cosine, sine = float(np.cos(self.turn)), float(np.sin(self.turn))
        return Plane((*self.middle, height), (cosine, sine, 0.0), (-sine, cosine, 0.0))

    def at(self, flat: Array, height: float) -> Array:
        """Return world points for places of the block."""
        return self.plane(height).at(flat)


def _row(words: str, x: float, y: float) -> list[Key]:
    keys = []
    for word in words.split():
        label, _, wide = word.partition(":")
        width = float(wide or 1.0)
        if label != "~":
            keys.append(Key(label, x + width / 2.0, y, width))
        x += width
    return keys


def _rows(rows: tuple[str, ...], x: float, y: float) -> list[Key]:
    return [key for place, words in enumerate(rows) for key in _row(words, x, y - place)]


def _block(keys: list[Key], border: tuple[float, float, float] = (0.35, 0.35, 0.35)) -> Block:
    """Centre keys on a body that leaves a border at the sides, the back and the front."""
    side, back, front = border
    left = min(key.x - key.width / 2 for key in keys) - side
    right = max(key.x + key.width / 2 for key in keys) + side
    low = min(key.y - key.height / 2 for key in keys) - front
    high = max(key.y + key.height / 2 for key in keys) + back
    x, y = (left + right) / 2, (low + high) / 2
    moved = (Key(k.label, k.x - x, k.y - y, k.width, k.height) for k in keys)
    ordered = sorted(moved, key=lambda key: -key.y)
    return Block(tuple(ordered), ((right - left) / 2, (high - low) / 2))


def _desktop(*parts: str) -> list[Key]:
    keys = _rows(_MAIN, 0.0, 0.0)
    if "functions" in parts:
        keys = [key for key in keys if key.label != "Esc"] + [Key("`", 0.5, 0.0, 1.0)]
        keys += _row(_FUNCTIONS, 0.0, 1.3)
    if "navigation" in parts:
        keys += _rows(_NAVIGATION, 15.3, 0.0) + _row("Prt Scr Pau", 15.3, 1.3)
    if "numbers" in parts:
        keys += _rows(_NUMBERS, 18.6, 0.0)
        keys += [Key("+", 22.1, -1.5, 1.0, 2.0), Key("Ent", 22.1, -3.5, 1.0, 2.0)]
    return keys


def blocks(layout: str) -> list[Block]:
    """Lay out a keyboard by the name of its layout."""
    if layout == "full":
        return [_block(_desktop("functions", "navigation", "numbers"), (0.4, 0.5, 0.45))]
    if layout == "tenkeyless":
        return [_block(_desktop("functions", "navigation"))]
    if layout == "sixty":
        return [_block(_desktop())]
    if layout == "compact":
        return [_block(_desktop("functions"), (0.3, 0.3, 0.3))]
    if layout == "typewriter":
        return [_block(_rows(_TYPEWRITER, 0.0, 0.0), (0.7, 1.5, 0.6))]
    return _split_blocks()


def _split_blocks() -> list[Block]:
    halves = []
    for rows, side in ((_LEFT, -1), (_RIGHT, 1)):
        block = _block(_rows(rows, 0.0, 0.0), (0.4, 0.4, 0.9))
        middle = (side * (block.half[0] + 0.75), 0.0)
        halves.append(Block(block.keys, block.half, middle, side * float(np.radians(10))))
    return halves
