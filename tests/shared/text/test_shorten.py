"""Values in messages: short, whatever they are."""

import pytest

from shared.text.shorten import MAX_CHARS, quoted, shortened


@pytest.mark.parametrize("value", ["a", "é 👟", "", b"\x00", 3, -1.5, True, None, [1, "a"], {"a": [1]}, 10**20])
def test_a_short_value_is_as_python_spells_it(value) -> None:
    assert quoted(value) == repr(value)


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10_000_000,
        b"x" * 10_000_000,
        "\x00" * 1000,
        "\U0010ffff" * 50,
        ["x" * 1_000_000] * 1000,
        {"x" * 1_000_000: {"y" * 1_000_000: 1}},
        [[[[[[1]]]]]] * 100,
        10**4000,
        list(range(100_000)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_long_one_is_cut(value) -> None:
    assert len(quoted(value)) <= MAX_CHARS
    assert "…" in quoted(value) or "..." in quoted(value)


def test_text_is_cut_without_quotes() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "ab…"
