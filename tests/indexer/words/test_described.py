import time

import pytest

from indexer.words.described import DescribedColumns, described_columns, described_text
from shared.catalogue.items import Item
from shared.errors import SettingsError
from tests.support.builders.described import make_described


def test_texts_with_repeated_words_describe_and_addresses_and_codes_do_not() -> None:
    embedded, _ = make_described()
    assert described_columns(embedded.items, "auto") == DescribedColumns(("colour", "title"), ("colour", "title"))


def test_long_columns_are_not_short() -> None:
    items = [
        Item(f"{number}", "fruit", ("x",), {"title": "ripe apple", "description": "a ripe apple for a pie " * 4})
        for number in range(4)
    ]
    assert described_columns(items, "auto") == DescribedColumns(("description", "title"), ("title",))
    assert described_columns(items, "description") == DescribedColumns(("description",), ("description",))


def test_a_catalogue_without_words_has_none() -> None:
    embedded, _ = make_described(with_words=False)
    assert described_columns(embedded.items, "auto") is None
    assert described_columns(make_described()[0].items, "none") is None


def test_an_unknown_column_is_an_error_that_names_those_that_exist() -> None:
    embedded, _ = make_described()
    with pytest.raises(SettingsError, match=r"'brand'.*colour, photo, sku, title, url"):
        described_columns(embedded.items, "title,brand")


def test_a_column_that_is_named_twice_counts_once() -> None:
    embedded, _ = make_described()
    assert described_columns(embedded.items, "title, title") == DescribedColumns(("title",), ("title",))


def test_the_text_of_an_item_has_lists_and_the_category() -> None:
    item = Item("1", "t_shirt", ("x",), {"tags": ["blue", 3, "cotton"], "price": 3.0, "title": "Shirt"})
    assert described_text(item, ("tags", "title", "brand")) == "blue cotton\nShirt\nt shirt"


def test_html_says_what_a_browser_shows() -> None:
    html = "<p class='lead'>R&ouml;d <b>stol</b><br/>&lt; 5 &amp; > 3<!-- <i>hidden --></p>"
    item = Item("1", "chair", ("x",), {"description": html, "code": "<hr><br>", "plain": "a < b, c<d"})
    assert described_text(item, ("description", "code", "plain")).split() == (
        ["Röd", "stol", "<", "5", "&", ">", "3", "a", "<", "b,", "c<d", "chair"]
    )


def test_hostile_markup_takes_no_longer_than_other_text() -> None:
    started = time.process_time()
    for text in ("<" * 10**6, "<a" * 10**6, "<!--" * 10**6, "&#" * 10**6, "<a " + "a" * 10**6):
        described_text(Item("1", "chair", ("x",), {"title": text}), ("title",))
    assert time.process_time() - started < 2
