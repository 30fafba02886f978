"""The tree of errors against the drawing of it, and what `__main__` and the service read from the classes."""

import inspect
import re

import pytest

from shared import errors
from shared.errors import ImageError, ParecidoError, UsageError

_CLASSES = [found for _, found in inspect.getmembers(errors, inspect.isclass) if issubclass(found, ParecidoError)]


def _drawn_parents() -> dict[str, str]:
    """Class → parent, as the module's docstring draws it: four characters further right is one level deeper."""
    parents: dict[str, str] = {}
    branch: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if drawn := re.fullmatch(r"    ([ │├└─]*)(ParecidoError|[A-Z]\w+)(  .*)?", line):
            branch = [*branch[: len(drawn[1]) // 4], drawn[2]]
            parents[drawn[2]] = branch[-2] if len(branch) > 1 else "Exception"
    return parents


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    assert len(_CLASSES) > 10
    assert _drawn_parents() == {found.__name__: found.__base__.__name__ for found in _CLASSES}


def test_codes_are_unique_names() -> None:
    codes = [found.code for found in _CLASSES]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("error", _CLASSES)
def test_bad_input_ends_with_2_and_anything_else_with_1(error: type[ParecidoError]) -> None:
    assert error.exit_status == (2 if issubclass(error, UsageError | ImageError) else 1)


@pytest.mark.parametrize("error", _CLASSES)
def test_the_message_is_kept_as_it_is(error: type[ParecidoError]) -> None:
    assert str(error("`top_k` is 0; expected 1 to 100")) == "`top_k` is 0; expected 1 to 100"
