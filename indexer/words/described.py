"""The metadata that describe items: which columns, and the text that they say of an item.

A column describes if it holds texts whose words are also said of other items: titles, colours, brands, descriptions.
Numbers, addresses, paths and identifiers do not.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import unescape
from typing import Any

from shared.catalogue.items import Item
from shared.errors import SettingsError
from shared.text.shorten import quoted
from shared.words.tokens import MAX_CHARS, words

AUTO, NONE = "auto", "none"
_MAX_ITEMS = 20_000
_MIN_ITEM_SHARE = 0.3
_MIN_REPEATED_SHARE = 0.5
_MAX_SHORT_WORDS = 12
_MAX_MARKED_UP = 4 * MAX_CHARS
_TAG = re.compile(r"<!--.*?(?:-->|$)|</?[a-zA-Z][^<>]*>", re.DOTALL)
_ADDRESS = re.compile(r"\S*[/:@\\]\S*|\S+\.\S+")


@dataclass(frozen=True)
class DescribedColumns:
    """The columns that describe items.

    Attributes:
        all: in alphabetical order.
        short: those of them that are as short as a query, such as titles; all if none is.
    """

    all: tuple[str, ...]
    short: tuple[str, ...]


@dataclass
class _Column:
    n_items: int = 0
    n_addresses: int = 0
    n_words: int = 0
    n_items_of_word: Counter[str] = field(default_factory=Counter)

    def add(self, texts: Sequence[str]) -> None:
        self.n_items += 1
        self.n_addresses += all(_ADDRESS.fullmatch(text.strip()) for text in texts)
        found = [word for text in texts for word in words(text) if not word.isdecimal()]
        self.n_words += len(found)
        self.n_items_of_word.update(set(found))

    def describes(self, n_items: int) -> bool:
        counts = self.n_items_of_word
        if self.n_items < _MIN_ITEM_SHARE * n_items or self.n_addresses > self.n_items / 2 or len(counts) < 2:
            return False
        repeated = sum(count for count in counts.values() if count > 1)
        return repeated >= _MIN_REPEATED_SHARE * sum(counts.values())

    @property
    def is_short(self) -> bool:
        return self.n_words <= _MAX_SHORT_WORDS * self.n_items


def described_columns(items: Sequence[Item], requested: str) -> DescribedColumns | None:
    """Choose the columns that describe items; None if there are none.

    Args:
        items: of the catalogue; of very many, some spread evenly over it are looked at.
        requested: `auto`, `none`, or names of columns separated by commas.

    Raises:
        SettingsError: a named column does not exist, or holds no text.
    """
    if requested == NONE:
        return None
    chosen = items[:: max(1, len(items) // _MAX_ITEMS)]
    columns: dict[str, _Column] = {}
    for item in chosen:
        for name, value in item.metadata.items():
            if texts := _texts(value):
                columns.setdefault(name, _Column()).add(texts)
    if requested == AUTO:
        names = [name for name, column in columns.items() if column.describes(len(chosen))]
    else:
        names = list(dict.fromkeys(name.strip() for name in requested.split(",")))
        _require_columns(names, columns)
    short = tuple(sorted(name for name in names if columns[name].is_short))
    return DescribedColumns(tuple(sorted(names)), short or tuple(sorted(names))) if names else None


def check_requested(items: Sequence[Item], requested: str) -> None:
    """Reject names of columns that do not exist, before hours of embedding.

    Args:
        items: of the catalogue.
        requested: as `described_columns` takes it.

    Raises:
        SettingsError: a named column does not exist, or holds no text.
    """
    if requested not in (AUTO, NONE):
        described_columns(items, requested)


def _require_columns(names: Sequence[str], columns: Mapping[str, _Column]) -> None:
    missing = [name for name in names if name not in columns]
    if missing:
        raise SettingsError(
            f"--words names {', '.join(map(quoted, missing))}, which no item has as text; expected `auto`, `none` or"
            f" some of: {', '.join(sorted(columns)) or 'none, since no metadata are text'}"
        )


def described_text(item: Item, columns: Sequence[str]) -> str:
    """Return what columns and the category's name say of an item, one line each."""
    values = [" ".join(_texts(item.metadata[name])) for name in columns if name in item.metadata]
    return "\n".join([*values, item.category.replace("_", " ")])


def _texts(value: Any) -> list[str]:
    """The texts of a metadata value: a text with a letter, or a list of them, without HTML."""
    values = value if isinstance(value, (list, tuple)) else [value]
    texts = (_without_html(text[:_MAX_MARKED_UP]) for text in values if isinstance(text, str))
    return [text for text in texts if any(map(str.isalpha, text))]


def _without_html(text: str) -> str:
    """The text that a browser would show, since shops export descriptions as HTML."""
    return unescape(_TAG.sub(" ", text)) if "<" in text or "&" in text else text
