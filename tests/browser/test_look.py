"""Every view at two widths, in light and dark: nothing is cut off or moves, axe-core finds nothing serious."""

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

_SIZES = {"narrow": (360, 740), "wide": (1440, 900)}


def _first_view(page: Any, web_shop: Any) -> None:
    page.wait_for_selector(".shelf")


def _found(page: Any, web_shop: Any) -> None:
    page.set_input_files("#file", web_shop.query("watch"))
    page.wait_for_selector("a.card")


def _details(page: Any, web_shop: Any) -> None:
    page.goto(f"{web_shop.url}/?item=watch-0001&show=watch-0006")
    page.wait_for_selector("#details[open]")


def _error(page: Any, web_shop: Any) -> None:
    page.goto(f"{web_shop.url}/?item=gone")
    page.wait_for_selector(".notice")


def _unsure(page: Any, web_shop: Any) -> None:
    answer = web_shop.similar("watch-0001")
    answer["query"]["known"] = False
    page.route("**/v1/search", lambda route: route.fulfill(json=answer))
    page.set_input_files("#file", web_shop.query("watch"))
    page.wait_for_selector(".warning")


def _status(page: Any, web_shop: Any) -> None:
    page.goto(f"{web_shop.url}/status")
    page.wait_for_selector("table")


_VIEWS = {view.__name__.strip("_"): view for view in (_first_view, _found, _details, _error, _unsure, _status)}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", _SIZES)
@pytest.mark.parametrize("view", _VIEWS)
def test_a_view_fits_and_is_accessible(open_page, web_shop, view: str, size: str, scheme: str) -> None:
    width, height = _SIZES[size]
    page = open_page(width=width, height=height, color_scheme=scheme, fails=view == "error")
    _VIEWS[view](page, web_shop)
    page.wait_for_timeout(300)  # the transitions
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    violations = [one for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in violations] == []


@pytest.mark.parametrize(("width", "height"), [*_SIZES.values(), (1024, 500)])
def test_a_high_photo_is_shown_whole(open_page, web_shop, tmp_path: Path, width: int, height: int) -> None:
    """Also where photo and verdict are higher together than the window."""
    with Image.open(web_shop.query("watch")) as photo:
        photo.resize((500, 1500)).save(tmp_path / "high.png")
    page = open_page(width=width, height=height)
    page.set_input_files("#file", tmp_path / "high.png")
    page.wait_for_selector("a.card")
    hidden = page.locator("#shown").evaluate("shown => shown.scrollHeight - shown.clientHeight")
    assert hidden == 0
    assert page.locator("#shown figcaption .hint").bounding_box()["height"] > 10


@pytest.mark.parametrize("size", _SIZES)
def test_nothing_moves_when_images_come(open_page, web_shop, size: str) -> None:
    width, height = _SIZES[size]
    page = open_page("/?item=watch-0001&probe=4&hits=48", width=width, height=height)
    page.wait_for_selector("a.card")
    before = page.locator("a.card").evaluate_all("cards => cards.map((card) => card.getBoundingClientRect().height)")
    page.wait_for_load_state("networkidle")
    assert before == page.locator("a.card").evaluate_all(
        "cards => cards.map((card) => card.getBoundingClientRect().height)"
    )
    lazy = page.locator("a.card img").evaluate_all("images => images.map((image) => image.loading)")
    assert set(lazy[8:]) == {"lazy"}
    assert page.locator("a.card img:not([width][height])").count() == 0


def test_the_page_marks_when_it_is_ready_and_when_an_answer_is_shown(open_page, web_shop) -> None:
    """`python -m benchmarks.serving.page` measures the time that this takes."""
    page = open_page()
    page.set_input_files("#file", web_shop.query("watch"))
    page.wait_for_selector("a.card")
    marks = dict(page.evaluate("performance.getEntriesByType('mark').map((mark) => [mark.name, mark.startTime])"))
    assert 0 < marks["ready"] < marks["answered"] < marks["shown"]
