"""The field of words: alone, beside a photo and a product, with words that the catalogue does not use, and without."""

import json
import re
from typing import Any

from playwright.sync_api import Page, Route

WATCH, BICYCLE = "watch", "bicycle"


def _searched(page: Page, act: Any) -> Any:
    """The answer to the search that `act` makes, when the page shows it."""
    with page.expect_response(re.compile("/v1/search|/similar")) as found:
        act()
    answer = found.value.json()
    page.wait_for_function(
        """([count, first]) => document.querySelectorAll('a.card').length === count
            && document.querySelector('a.card').href.includes(encodeURIComponent(first))""",
        arg=[len(answer["hits"]), answer["hits"][0]["item_id"]],
    )
    return answer


def _write(page: Page, words: str) -> Any:
    page.fill("#text", words)
    return _searched(page, lambda: page.keyboard.press("Enter"))


def test_words_alone_find_products(open_page, web_shop) -> None:
    page = open_page()
    answer = _write(page, "Watch")
    assert answer["query"]["category"] == WATCH
    assert page.locator(".shows").inner_text() == WATCH
    assert page.locator(".eyebrow").inner_text() == "Your words speak of"
    assert page.locator("#results-title").inner_text() == f"{len(answer['hits'])} products"
    assert "text=Watch" in page.url
    assert not page.locator("#shown").is_visible()
    assert page.locator("#understood").inner_text() == ""
    page.reload()
    page.wait_for_selector("a.card")
    assert page.locator("#text").input_value() == "Watch"


def test_it_says_how_words_were_understood(open_page, web_shop) -> None:
    page = open_page()
    answer = _write(page, "watc zzzzzz")
    assert (answer["query"]["text"], answer["query"]["unknown_words"]) == ("watch", ["zzzzzz"])
    said = page.locator("#understood").inner_text()
    assert "“watch”" in said
    assert "Not used in this catalogue: zzzzzz." in said


def test_it_says_nothing_of_case_and_accents(open_page, web_shop) -> None:
    page = open_page()
    assert _write(page, "WÁTCH, watch zzzzzz")["query"]["text"] == "watch"
    assert page.locator("#understood").inner_text() == "Not used in this catalogue: zzzzzz."


def test_words_narrow_a_photo_and_are_cleared(open_page, web_shop) -> None:
    page = open_page()
    alone = _searched(page, lambda: page.set_input_files("#file", web_shop.query(BICYCLE)))
    assert page.locator("#text-label").inner_text() == "Narrow it by words"
    word = alone["hits"][-1]["metadata"]["title"].split()[0]
    both = _write(page, word)
    assert both["query"]["category"] == BICYCLE
    assert both["query"]["text"] == word.lower()
    assert both["hits"][0]["metadata"]["title"].split()[0] == word
    assert page.locator("#shown").is_visible()
    again = _searched(page, lambda: page.click("#clear-text"))
    assert again["hits"] == alone["hits"]
    assert page.locator("#text").input_value() == ""
    assert _searched(page, page.go_back)["hits"] == both["hits"]
    assert page.locator("#text").input_value() == word
    words_alone = _searched(page, lambda: page.click("#words-alone"))
    assert words_alone["query"]["text"] == word.lower()
    assert not page.locator("#shown").is_visible()
    assert page.evaluate("document.activeElement.id") == "results"  # the button has disappeared


def test_words_narrow_a_product_and_go_with_a_new_one(open_page, web_shop) -> None:
    page = open_page("/?item=watch-0001")
    page.wait_for_selector("a.card")
    answer = _write(page, "watch")
    assert answer["searched"] == [WATCH]
    assert "watch-0001" not in [hit["item_id"] for hit in answer["hits"]]
    page.click("a.card")
    _searched(page, lambda: page.click("#details .primary"))
    assert page.locator("#text").input_value() == ""


def test_unknown_words_alone_are_told(open_page, web_shop) -> None:
    page = open_page("/?text=zzzzzz&lang=pt", fails=True)
    page.wait_for_selector(".notice[data-code=unknown_words]")
    assert page.locator(".notice h3").inner_text() == "O catálogo não usa nenhuma destas palavras"
    assert page.locator("#clear-text").get_attribute("aria-label") == "Limpar as palavras"


def test_signs_alone_are_not_searched_by(open_page, web_shop) -> None:
    page = open_page()
    address = page.url
    page.fill("#text", "👟 !?")
    page.keyboard.press("Enter")
    assert page.evaluate("document.getElementById('text').validationMessage") == "Type at least one word."
    assert page.url == address
    assert _write(page, "👟 watch")["query"]["text"] == "watch"


def test_without_words_in_the_catalogue_there_is_no_field(open_page, web_shop) -> None:
    page = open_page()
    page.wait_for_selector("#words", state="visible")

    def without_words(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=json.dumps(answer.json() | {"text_search": False}))

    page.route("**/v1/categories*", without_words)
    page.reload()
    page.wait_for_selector(".shelf")
    assert not page.locator("#words").is_visible()
