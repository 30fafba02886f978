"""What the page says when it is unsure, when nothing is found, when something fails, and when the service is busy."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

_QUERY = "watch"


def _answer_searches(page: Any, answer: Any = None, status: int = 200, headers: dict[str, str] | None = None) -> None:
    page.unroute("**/v1/search")
    page.route("**/v1/search", lambda route: route.fulfill(status=status, headers=headers or {}, json=answer))


def _error(code: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": f"what is said of {code}", "request_id": "1"}}


@pytest.fixture
def answer(web_shop) -> Any:
    return web_shop.similar("watch-0001")


def test_it_says_so_where_it_is_unsure(open_page, web_shop, answer) -> None:
    answer["searched"] = ["watch", "mouse"]
    page = open_page()
    _answer_searches(page, answer)
    page.set_input_files("#file", web_shop.query(_QUERY))
    page.wait_for_selector(".warning")
    assert page.locator(".warning").inner_text().startswith("Not sure what this is")
    assert "2 most probable categories" in page.locator(".warning").inner_text()


def test_it_says_so_where_the_photo_shows_none_of_the_categories(open_page, web_shop, answer) -> None:
    answer["query"]["known"] = False
    page = open_page()
    _answer_searches(page, answer)
    page.set_input_files("#file", web_shop.query(_QUERY))
    page.wait_for_selector(".warning")
    assert "any category of the catalogue" in page.locator(".warning").inner_text()
    assert page.locator("a.card").count() == len(answer["hits"])


def test_it_says_so_where_nothing_is_found(open_page, web_shop, answer) -> None:
    page = open_page()
    _answer_searches(page, answer | {"hits": []})
    page.set_input_files("#file", web_shop.query(_QUERY))
    page.wait_for_selector(".none")
    assert page.locator(".none").inner_text().startswith("No similar products found")


def test_while_it_searches_it_says_so(open_page, web_shop) -> None:
    page = open_page()
    page.route("**/v1/search", lambda route: None)
    page.set_input_files("#file", web_shop.query(_QUERY))
    page.wait_for_selector(".bone")
    assert page.locator("#results").get_attribute("aria-busy") == "true"
    assert page.locator("#said").inner_text() == "Searching…"


@pytest.mark.parametrize(("code", "status"), [("overloaded", 503), ("not_ready", 503), ("rate_limited", 429)])
def test_a_busy_service_is_asked_again_when_it_wants(open_page, web_shop, answer, code: str, status: int) -> None:
    page = open_page(fails=True)
    _answer_searches(page, _error(code), status, {"Retry-After": "1"})
    page.set_input_files("#file", web_shop.query(_QUERY))
    page.wait_for_selector(".notice.busy")
    assert "Trying again in 1\u00a0s." in page.locator(".notice").inner_text()
    _answer_searches(page, answer)
    page.wait_for_selector("a.card")
    assert page.locator(".notice").count() == 0


def test_a_service_that_does_not_answer_is_asked_again_by_hand(open_page, web_shop) -> None:
    page = open_page(fails=True)
    page.route("**/v1/search", lambda route: route.abort())
    page.set_input_files("#file", web_shop.query(_QUERY))
    page.wait_for_selector(".notice.error")
    assert page.locator(".notice h3").inner_text() == "The service can’t be reached"
    page.unroute("**/v1/search")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector("a.card")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no image at all", "This file is not a supported image"),
        (b"\xff\xd8\xff\xe0 half a JPEG", "is"),
    ],
)
def test_a_file_that_is_no_image_is_refused_with_a_reason(
    open_page, web_shop, tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "file.jpg"
    file.write_bytes(content)
    page = open_page(fails=True)
    page.set_input_files("#file", file)
    page.wait_for_selector(".notice.error")
    assert said in page.locator(".notice h3").inner_text()
    page.set_input_files("#file", web_shop.query(_QUERY))
    page.wait_for_selector("a.card")
    assert page.locator(".notice").count() == 0


@pytest.mark.parametrize(
    ("path", "said"),
    [("/?item=gone", "This product is no longer in the catalogue"), ("/?show=gone", "This product is no longer")],
)
def test_an_old_link_is_told(open_page, path: str, said: str) -> None:
    page = open_page(path, fails=True)
    page.wait_for_selector(".notice.error")
    assert said in page.locator(".notice h3").inner_text()


def test_a_key_is_asked_for_once_and_sent_with_images_too(open_page, web_shop) -> None:
    page = open_page(fails=True)
    asked: list[tuple[str, str | None]] = []

    def require_key(route: Any) -> None:
        key = route.request.headers.get("authorization")
        asked.append((route.request.url, key))
        if key == "Bearer open sesame":
            route.continue_()
        else:
            route.fulfill(status=401, body=json.dumps(_error("key_required")))

    page.route("**/v1/**", require_key)
    page.goto(f"{web_shop.url}/?item=watch-0001")
    page.wait_for_selector("#key[open]")
    page.keyboard.type("open sesame")
    page.keyboard.press("Enter")
    page.wait_for_selector("a.card .picture img")
    loaded = "[...document.querySelectorAll('a.card img')].some((image) => image.naturalWidth > 0)"
    for _ in range(100):  # the page's policy forbids `wait_for_function` to look twice
        if page.evaluate(loaded):
            break
        page.wait_for_timeout(100)
    assert page.evaluate(loaded)
    images = [key for url, key in asked if "/image" in url and key]
    assert set(images) == {"Bearer open sesame"}
    page.reload()
    page.wait_for_selector("a.card")
    assert not page.locator("#key").is_visible()


def test_a_key_that_is_not_given_is_told(open_page, web_shop) -> None:
    page = open_page(fails=True)
    page.route("**/v1/**", lambda route: route.fulfill(status=401, body=json.dumps(_error("key_required"))))
    page.goto(f"{web_shop.url}/?item=watch-0001")
    page.wait_for_selector("#key[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector(".notice.error")
    assert page.locator(".notice h3").inner_text() == "API key required"


def test_a_photo_that_the_classifier_is_unsure_of_is_searched_in_several_categories(
    open_page, web_shop, tmp_path: Path
) -> None:
    both = tmp_path / "both.jpg"
    picture = Image.new("RGB", (960, 480))
    for place, category in enumerate(("watch", "bicycle")):
        picture.paste(Image.open(web_shop.query(category)).resize((480, 480)), (480 * place, 0))
    picture.save(both)
    page = open_page()
    with page.expect_response("**/v1/search") as found:
        page.set_input_files("#file", both)
    answer = found.value.json()
    auto = web_shop.ask("/v1/search", {"image_base64": base64.b64encode(both.read_bytes()).decode(), "probe": "auto"})
    assert answer["searched"] == auto["searched"]
