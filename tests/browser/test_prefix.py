"""The pages below a path of a larger site, behind a proxy of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.snapshot.data_directory import DataDirectory
from tests.support.processes.prefix_proxy import proxied
from tests.support.processes.swapping import running, wait_until

_PREFIX = "/site/parecido"
_SIZES = {"wide": (1280, 860), "narrow": (390, 844)}


@pytest.fixture(scope="module", params=["strip", "pass"])
def site(request, web_data: tuple[Path, DataDirectory]) -> Iterator[str]:
    """The address of the site's part that is the service's."""
    _, data = web_data
    with running(data, trusted_proxies=1) as service:
        wait_until("ready", service.is_ready)
        with proxied(service.port, _PREFIX, request.param, f"X-Forwarded-Prefix:{_PREFIX}") as port:
            yield f"http://127.0.0.1:{port}{_PREFIX}"


@pytest.fixture
def page(playwright_browser: Any, site: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page that asks for nothing outside its part of the site, and for nothing that is not there."""
    width, height = _SIZES[getattr(request, "param", "wide")]
    context = playwright_browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.set_default_timeout(20_000)
    told: list[str] = []
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("console", lambda message: told.append(message.text) if message.type in ("error", "warning") else None)
    page.on("response", lambda answer: told.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    page.on("request", lambda asked: None if asked.url.startswith((f"{site}/", "blob:")) else told.append(asked.url))
    yield page
    context.close()
    assert told == []


def _all_pictures_are_there(page: Any) -> bool:
    return page.evaluate(
        """async () => {
            const all = [...document.querySelectorAll("img")].filter((one) => one.loading !== "lazy");
            await Promise.all(all.map((one) => one.decode().catch(() => {})));
            return all.length > 0 && all.every((one) => one.naturalWidth > 0);
        }"""
    )


@pytest.mark.parametrize("page", _SIZES, indirect=True)
def test_a_search_works_and_stays_below_the_path(page: Any, site: str, web_data, tmp_path: Path) -> None:
    catalogue, _ = web_data
    page.goto(f"{site}/")
    page.wait_for_selector(".shelf img")
    assert _all_pictures_are_there(page)
    page.set_input_files("#file", catalogue / "queries" / "watch" / "query-01.jpg")
    page.wait_for_selector("a.card")
    assert _all_pictures_are_there(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("a.card").first.click()
    page.wait_for_selector("#details[open]")
    assert page.url.startswith(f"{site}/?")
    assert page.locator("a.card").first.get_attribute("href").startswith(f"{_PREFIX}/?")
    page.reload()
    page.wait_for_selector("#details[open] img")
    assert _all_pictures_are_there(page)


def test_the_links_lead_from_page_to_page(page: Any, site: str) -> None:
    page.goto(f"{site}/")
    page.click("nav a[href=status]")
    page.wait_for_selector("table")
    assert page.url == f"{site}/status"
    page.click("a[hreflang=pt]")
    page.wait_for_url(f"{site}/status?lang=pt")
    page.wait_for_selector("table")
    page.click("nav a[href=docs]")
    page.wait_for_url(f"{site}/docs")
    page.click("a[href='openapi.json']")
    page.wait_for_url(f"{site}/openapi.json")
    page.goto(f"{site}/status")
    page.click("a.brand")
    page.wait_for_selector(".shelf")
    assert page.url == f"{site}/"
