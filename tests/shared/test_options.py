"""Options, as a declaration has them."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Literal

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from shared.errors import SettingsError
from shared.options import AtMost, Help, OneOf, Parse, check_options, options_of


@dataclass(frozen=True)
class _Declared:
    path: Annotated[Path, Help("a place")]
    count: Annotated[int, Field(ge=1, le=5), Help("so many")] = 2
    share: Annotated[float | None, Field(gt=0, lt=1), Help("a part", default="all")] = None
    kind: Annotated[str, OneOf(("a", "b"))] = "a"
    mode: Literal["on", "off"] = "on"
    pair: Annotated[tuple[str, ...] | None, Parse(lambda text: tuple(text.split("+")), "words")] = None
    top: Annotated[int, Field(ge=1), AtMost("max_top")] = 1


_OPTIONS = options_of(_Declared)


def test_an_option_has_what_is_declared() -> None:
    assert list(_OPTIONS) == ["path", "count", "share", "kind", "mode", "pair", "top"]
    assert _OPTIONS["path"].is_required
    assert _OPTIONS["path"].default_text is None
    assert (_OPTIONS["count"].type, _OPTIONS["count"].default, _OPTIONS["count"].help.text) == (int, 2, "so many")
    assert (_OPTIONS["share"].type, _OPTIONS["share"].default_text) == (float, "all")
    assert (_OPTIONS["kind"].choices, _OPTIONS["mode"].choices) == (("a", "b"), ("on", "off"))
    assert _OPTIONS["pair"].type is tuple


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("path", " a/b ", Path("a/b")),
        ("count", " 9 ", 9),
        ("share", "0.5", 0.5),
        ("kind", " B ", "b"),
        ("pair", "x+y", ("x", "y")),
    ],
)
def test_text_is_converted_by_the_type(name: str, text: str, value: object) -> None:
    assert _OPTIONS[name].parse(text) == value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("path", " ", "expected a path"),
        ("count", "1.0", "expected an integer from 1 to 5"),
        ("share", "x", "expected a number greater than 0 and less than 1"),
    ],
)
def test_other_text_is_rejected(name: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        _OPTIONS[name].parse(text)


def test_every_value_is_checked() -> None:
    check_options(_Declared(Path("a"), share=0.5), str.upper)
    for values, message in (
        ({"count": 6}, "COUNT is 6; expected an integer from 1 to 5"),
        ({"count": "2"}, "COUNT is '2'; expected an integer from 1 to 5"),
        ({"share": float("nan")}, "SHARE is nan; expected a number greater than 0 and less than 1"),
        ({"kind": "c"}, "KIND is 'c'; expected one of: a, b"),
        ({"pair": 3}, "PAIR is 3; expected words"),
    ):
        with pytest.raises(SettingsError, match=f"^{message}$"):
            check_options(_Declared(**{"path": Path("a"), **values}), str.upper)  # type: ignore[arg-type]


def test_a_limit_may_be_a_setting() -> None:
    settings, adapter = SimpleNamespace(max_top=3), TypeAdapter(_OPTIONS["top"].annotation)
    assert _OPTIONS["top"].expected(settings) == "an integer from 1 to 3"
    assert _OPTIONS["top"].expected() == "an integer of at least 1"
    assert adapter.validate_python(3, context=settings) == 3
    with pytest.raises(ValidationError):
        adapter.validate_python(4, context=settings)
