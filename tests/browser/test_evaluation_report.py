"""The report in a snapshot, opened as a file: nothing is fetched, nothing runs, and everybody can read it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from shared.snapshot.data_directory import DataDirectory


@pytest.fixture
def open_report(playwright_browser: Any, web_data: tuple[Path, DataDirectory]) -> Callable[..., Any]:
    _, data = web_data
    page_file = data.paths(data.current_id()).report / "evaluation.html"

    def make(width: int = 1200, **context: Any) -> Any:
        page = playwright_browser.new_context(viewport={"width": width, "height": 900}, **context).new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file.as_uri())
        assert [url for url in asked if not url.startswith("data:")] == [page_file.as_uri()]
        return page

    return make


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("dark", 360)])
def test_axe_finds_no_serious_violation(open_report: Callable[..., Any], scheme: str, width: int) -> None:
    found = Axe().run(open_report(width, color_scheme=scheme)).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []


def test_it_needs_no_script_and_fits_a_phone(open_report: Callable[..., Any]) -> None:
    page = open_report(width=360, offline=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    widths = page.locator(".drawing svg").evaluate_all("all => all.map((one) => one.getBoundingClientRect().width)")
    assert min(widths) >= 400  # letters that can be read; the drawing is moved sideways
    page = open_report(java_script_enabled=False)
    assert page.locator("h2").count() >= 6
    for place in range(page.locator(".drawing svg").count()):
        box = page.locator(".drawing svg").nth(place).bounding_box()
        assert box["width"] > 300
        assert box["height"] > 100
