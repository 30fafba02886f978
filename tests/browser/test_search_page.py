"""Searching in the browser: by file, drop, paste and box; other categories; details; the address."""

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.fakes import encoded

WATCH, MOUSE, BICYCLE = "watch", "mouse", "bicycle"


def _searched(page: Any, act: Any) -> Any:
    """The answer to the search that `act` makes, when the page shows it."""
    with page.expect_response(re.compile("/v1/search|/similar")) as found:
        act()
    answer = found.value.json()
    _wait_for_hits(page, answer)
    return answer


def _wait_for_hits(page: Any, answer: Any) -> None:
    page.wait_for_function(
        """([count, first]) => document.querySelectorAll('a.card').length === count
            && document.querySelector('a.card').href.includes(encodeURIComponent(first))""",
        arg=[len(answer["hits"]), answer["hits"][0]["item_id"]],
    )


def _choose(page: Any, photo: Path) -> Any:
    return _searched(page, lambda: page.set_input_files("#file", photo))


def _give(page: Any, photo: Path, event: str, kind: str, field: str) -> None:
    """Let an event bring a file onto the page, as a drop or a paste does."""
    page.evaluate(
        """([content, event, kind, field]) => {
          const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], "photo.jpg", { type: "image/jpeg" }));
          const options = { bubbles: true, cancelable: true, [field]: transfer };
          document.body.dispatchEvent(new window[kind](event, options));
        }""",
        [base64.b64encode(photo.read_bytes()).decode(), event, kind, field],
    )


def _drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Over the photo, from and to shares of its width and height."""
    frame = page.locator(".frame").bounding_box()
    (x, y), (to_x, to_y) = (
        (frame["x"] + right * frame["width"], frame["y"] + down * frame["height"]) for right, down in (start, end)
    )
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(to_x, to_y, steps=5)
    page.mouse.up()


def _box(page: Any) -> list[float]:
    """Left, top, width and height of the box, as shares of the photo."""
    names = ["--x", "--y", "--width", "--height"]
    return page.locator(".box").evaluate(
        "(box, names) => names.map((name) => +box.style.getPropertyValue(name))", names
    )


def _base64(image: Image.Image) -> str:
    return base64.b64encode(encoded(image, "PNG")).decode()


def _scores(answer: Any) -> dict[str, float]:
    return {hit["item_id"]: hit["score"] for hit in answer["hits"]}


def test_the_first_view_shows_the_catalogue_and_leads_into_it(open_page, web_shop) -> None:
    page = open_page()
    page.wait_for_selector(".shelf")
    assert page.locator("h1").inner_text() == "Find what looks like this"
    shelves = page.locator(".shelf h3").all_inner_texts()
    assert [text.split()[0] for text in shelves] == [
        one["category"] for one in web_shop.ask("/v1/categories")["categories"]
    ]
    answer = _searched(page, lambda: page.locator(".examples a").first.click())
    assert answer["hits"]
    assert "item=" in page.url


def test_a_chosen_photo_finds_what_the_api_finds(open_page, web_shop) -> None:
    page = open_page()
    answer = _choose(page, web_shop.query(WATCH))
    assert answer["query"]["category"] == WATCH
    assert page.locator(".shows").inner_text() == WATCH
    names = page.locator("a.card .name").all_inner_texts()
    assert names == [hit["metadata"]["title"] for hit in answer["hits"]]
    prices = page.locator("a.card .price").all_inner_texts()
    assert prices[0].replace(",", "") == f"{answer['hits'][0]['metadata']['price']:.2f}"
    assert f"{answer['hits'][0]['score']:.2f}" in page.locator("a.card .score").first.inner_text()
    assert page.locator("#results-title").inner_text() == f"{len(names)} similar products"


def test_a_dropped_photo_is_searched(open_page, web_shop) -> None:
    page = open_page()
    _give(page, web_shop.query(WATCH), "dragover", "DragEvent", "dataTransfer")
    assert page.locator("#dropping").is_visible()
    answer = _searched(page, lambda: _give(page, web_shop.query(WATCH), "drop", "DragEvent", "dataTransfer"))
    assert answer["query"]["category"] == WATCH
    assert not page.locator("#dropping").is_visible()


def test_a_pasted_photo_is_searched(open_page, web_shop) -> None:
    page = open_page()
    answer = _searched(page, lambda: _give(page, web_shop.query(MOUSE), "paste", "ClipboardEvent", "clipboardData"))
    assert answer["query"]["category"] == MOUSE


def test_what_is_in_the_box_is_the_query(open_page, web_shop, tmp_path: Path) -> None:
    both = tmp_path / "both.png"
    picture = Image.new("RGB", (960, 480))
    for place, category in enumerate((WATCH, BICYCLE)):
        picture.paste(Image.open(web_shop.query(category)).resize((480, 480)), (480 * place, 0))
    picture.save(both)
    page = open_page()
    _choose(page, both)

    def assert_as_cut_by_pillow(answer: Any, left: float) -> None:
        x, y, width, height = _box(page)
        assert (x, width) == pytest.approx((left, 0.46), abs=0.01)
        cut = picture.crop((round(960 * x), round(480 * y), round(960 * (x + width)), round(480 * (y + height))))
        wanted = web_shop.ask("/v1/search", {"image_base64": _base64(cut), "probe": "auto", "top_k": 24})
        assert answer["searched"] == wanted["searched"]
        assert _scores(answer) == pytest.approx(_scores(wanted), abs=0.03)

    assert_as_cut_by_pillow(_searched(page, lambda: _drag(page, (0.03, 0.06), (0.49, 0.99))), 0.03)
    _searched(page, lambda: page.get_by_text("Search the full photo").click())
    assert_as_cut_by_pillow(_searched(page, lambda: _drag(page, (0.51, 0.06), (0.97, 0.94))), 0.51)
    assert_as_cut_by_pillow(_searched(page, lambda: _drag(page, (0.75, 0.5), (0.35, 0.5))), 0.11)  # moved


def test_the_box_obeys_the_keys(open_page, web_shop) -> None:
    page = open_page()
    _choose(page, web_shop.query(WATCH))
    box = page.locator(".box")
    box.focus()

    def shrink() -> None:
        for key in ("Shift+ArrowLeft", "Shift+ArrowLeft", "Shift+ArrowUp", "ArrowRight"):
            page.keyboard.press(key)

    _searched(page, shrink)
    sides = box.evaluate(
        "box => ['--x', '--y', '--width', '--height'].map((name) => +box.style.getPropertyValue(name))"
    )
    assert sides == pytest.approx([0.05, 0, 0.9, 0.95])


def test_a_huge_photo_is_made_small_and_finds_the_same(open_page, web_shop, tmp_path: Path) -> None:
    huge = tmp_path / "huge.jpg"
    Image.open(web_shop.query(WATCH)).resize((4000, 3468), Image.Resampling.BICUBIC).save(huge, quality=95)
    page = open_page()
    with page.expect_request("**/v1/search") as sent:
        answer = _choose(page, huge)
    assert int(sent.value.all_headers()["content-length"]) < huge.stat().st_size / 4
    whole = {"image_base64": base64.b64encode(huge.read_bytes()).decode(), "probe": "auto", "top_k": 24}
    found = [
        {hit["item_id"]: hit["score"] for hit in one["hits"]} for one in (answer, web_shop.ask("/v1/search", whole))
    ]
    assert list(found[0])[:2] == list(found[1])[:2]  # the scores of the third and fourth are close
    assert found[0] == pytest.approx(found[1], abs=0.03)


def _sent(page: Any, photo: Path) -> tuple[bytes, Any]:
    """The file that a search by a photo sends, and the answer."""
    page.evaluate(
        """() => {
          const send = window.fetch;
          window.fetch = (url, options) => {
            if (options?.body instanceof FormData) window.sent = options.body.get("image");
            return send(url, options);
          };
        }"""
    )
    answer = _choose(page, photo)
    return bytes(page.evaluate("async () => [...new Uint8Array(await window.sent.arrayBuffer())]")), answer


def _svg(photo: Image.Image) -> bytes:
    data = base64.b64encode(encoded(photo, "PNG")).decode()
    size = f'width="{photo.width}" height="{photo.height}"'
    picture = f'<image {size} href="data:image/png;base64,{data}"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{picture}</svg>'.encode()


@pytest.mark.parametrize("side", [240, 1200])
@pytest.mark.parametrize("name", ["photo.avif", "avif.jpg", "photo.ico", "photo.svg", "photo.bmp"])
def test_what_the_browser_shows_is_sent_as_a_jpeg_if_it_is_of_a_rare_format(
    open_page, web_shop, tmp_path: Path, name: str, side: int
) -> None:
    file_format = {".avif": "AVIF", ".jpg": "AVIF", ".ico": "ICO", ".bmp": "BMP"}.get(Path(name).suffix)
    size = (min(side, 256),) * 2 if file_format == "ICO" else (side, side)  # an icon has 256 pixels at most
    photo = Image.open(web_shop.query(WATCH)).convert("RGB").resize(size)
    file = tmp_path / name
    options = {"AVIF": {"quality": 95}, "ICO": {"sizes": [size]}}.get(file_format, {})
    file.write_bytes(encoded(photo, file_format, **options) if file_format else _svg(photo))
    content, answer = _sent(open_page(), file)
    assert content.startswith(b"\xff\xd8\xff")
    wanted = web_shop.ask("/v1/search", {"image_base64": _base64(photo), "probe": "auto", "top_k": 24})
    assert _scores(answer) == pytest.approx(_scores(wanted), abs=0.08)  # a small JPEG enlarged


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "WEBP"])
def test_a_small_photo_of_a_common_format_is_sent_as_it_is(
    open_page, web_shop, tmp_path: Path, file_format: str
) -> None:
    file = tmp_path / "photo.bin"
    file.write_bytes(encoded(Image.open(web_shop.query(WATCH)).resize((300, 300)), file_format))
    content, _ = _sent(open_page(), file)
    assert content == file.read_bytes()


def test_a_photo_is_upright(open_page, web_shop, tmp_path: Path) -> None:
    lying = tmp_path / "lying.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees to the right
    upright = Image.open(web_shop.query(WATCH)).resize((1200, 1600))
    upright.transpose(Image.Transpose.ROTATE_90).save(lying, exif=exif, quality=92)
    page = open_page()
    answer = _choose(page, lying)
    frame = page.locator(".frame").bounding_box()
    assert frame["height"] / frame["width"] == pytest.approx(4 / 3, rel=0.02)
    best = _choose(page, web_shop.query(WATCH))["hits"][0]["item_id"]
    assert best in [hit["item_id"] for hit in answer["hits"][:3]]


def test_one_click_searches_another_category_and_another_all_of_them(open_page, web_shop) -> None:
    page = open_page()
    _choose(page, web_shop.query(WATCH))
    other = page.locator(".candidate[aria-pressed=false]").first
    name = other.locator(".name").inner_text()
    answer = _searched(page, other.click)
    assert answer["searched"] == [name]
    assert f"category={name}" in page.url
    assert page.locator(".candidate[aria-pressed=true] .name").all_inner_texts() == [name]
    answer = _searched(page, lambda: page.get_by_text("All probable").click())
    assert len(answer["searched"]) == 4
    assert "probe=4" in page.url
    assert set(page.locator("a.card .tag").all_inner_texts()) == {hit["category"] for hit in answer["hits"]}
    assert len(_searched(page, lambda: page.get_by_text("Automatic").click())["searched"]) == 1


def test_details_and_more_like_this_and_back_again(open_page, web_shop) -> None:
    page = open_page()
    answer = _choose(page, web_shop.query(WATCH))
    second = answer["hits"][1]
    page.locator("a.card").nth(1).click()
    page.wait_for_selector("#details[open]")
    assert page.locator("#details h2").inner_text() == second["metadata"]["title"]
    assert second["metadata"]["colour"] in page.locator("#details dl").inner_text()
    assert f"show={second['item_id']}" in page.url
    more = _searched(page, lambda: page.get_by_role("button", name="More like this").click())
    assert not page.locator("#details").is_visible()
    assert second["item_id"] not in [hit["item_id"] for hit in more["hits"]]
    assert page.url.endswith(f"/?item={second['item_id']}")
    assert page.evaluate("document.activeElement.id") == "results"
    page.go_back()
    page.wait_for_selector("#details[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("#details", state="hidden")
    _wait_for_hits(page, answer)  # of the photo, which is still there
    page.wait_for_url(lambda url: "show=" not in url)  # changed by an event that follows the closing


def test_the_address_is_all_that_it_takes(open_page, web_shop) -> None:
    item = web_shop.ask("/v1/categories?examples=1")["categories"][0]["examples"][0]["item_id"]
    page = open_page(f"/?item={item}&category=watch&hits=12&show={item}")
    page.wait_for_selector("#details[open]")
    page.keyboard.press("Escape")
    assert page.locator(".shows").inner_text() == "watch"
    assert page.locator("#hits").input_value() == "12"
    page.reload()
    page.wait_for_selector("a.card")
    assert page.locator(".shows").inner_text() == "watch"


def test_so_many_hits(open_page, web_shop) -> None:
    page = open_page()
    _choose(page, web_shop.query(WATCH))
    with page.expect_request("**/v1/search") as sent:
        page.locator("#hits").select_option("48")
    assert sent.value.method == "POST"
    assert "hits=48" in page.url


def test_the_keys_are_enough(open_page, web_shop) -> None:
    page = open_page()
    page.wait_for_selector(".shelf")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "results"
    page.keyboard.press("Tab")
    _searched(page, lambda: page.keyboard.press("Enter"))
    page.locator("a.card").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#details[open]")
    assert page.evaluate("document.activeElement.textContent") == "More like this"
    page.keyboard.press("Escape")
    page.wait_for_selector("#details", state="hidden")


def test_it_speaks_portuguese_to_who_does(open_page, web_shop) -> None:
    page = open_page(locale="pt-BR")
    assert page.locator("h1").inner_text() == "Encontre o que é parecido"
    assert page.evaluate("document.documentElement.lang") == "pt-BR"
    _choose(page, web_shop.query(WATCH))
    assert page.locator("#results-title").inner_text().endswith("produtos parecidos")
    assert "," in page.locator("a.card .score").first.inner_text()
    page.goto(f"{web_shop.url}/?lang=en")
    assert page.locator("h1").inner_text() == "Find what looks like this"


def test_another_language_shows_the_same_hits(open_page, web_shop) -> None:
    page = open_page("/?item=watch-0001&hits=12")
    page.wait_for_selector("a.card")
    page.get_by_role("link", name="Português").click()
    page.wait_for_url("**/?item=watch-0001&hits=12&lang=pt")
    page.wait_for_selector("a.card")
    assert page.locator("html").get_attribute("lang") == "pt"


def test_both_languages_have_the_same_texts(open_page) -> None:
    texts = open_page().evaluate(
        """async () => Object.values((await import('/web/texts.js')).languages)
            .map((one) => Object.entries(one).map(([name, text]) => `${name} ${typeof text}`))"""
    )
    assert texts[0] == texts[1]
    assert len(texts[0]) > 50
