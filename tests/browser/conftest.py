"""Chromium, driven by Playwright, on a real service that serves a small sample catalogue.

A page that asks for anything beyond the service, or that writes an error to the console, fails its test.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from examples.sample_catalogue.render import render_catalogue
from shared.manifest import Manifest
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot
from tests.support.builders import quick_stages
from tests.support.builders.shop import run
from tests.support.builders.words import write_words
from tests.support.processes.http_calls import fetch
from tests.support.processes.swapping import Service, running, wait_until

_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ITEMS, QUERIES = 7, 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.tensorflow)


@dataclass(frozen=True)
class WebShop:
    """A service on a catalogue of four categories, and photos that are not in it."""

    port: int
    catalogue: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def query(self, category: str, number: int = 1) -> Path:
        return self.catalogue / "queries" / category / f"query-{number:02d}.jpg"

    def ask(self, path: str, body: dict | None = None) -> Any:
        status, content = fetch(self.port, path, body, 30)
        assert status == 200, content
        return json.loads(content)

    def similar(self, item_id: str, top_k: int = 24) -> Any:
        return self.ask(f"/v1/items/{quote(item_id, safe='')}/similar?top_k={top_k}")


@pytest.fixture(scope="session")
def chromium() -> str:
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if _CHROMIUM is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    return _CHROMIUM


@pytest.fixture(scope="module")
def playwright_browser(chromium: str) -> Iterator[Any]:
    """Closed after each file's tests, so that it takes nothing from those of other packages."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def web_data(chromium: str, lite0_tflite: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DataDirectory]:
    """A sample catalogue, and where it is indexed."""
    root = tmp_path_factory.mktemp("web")
    catalogue = render_catalogue(root / "catalogue", items=ITEMS, queries=QUERIES)
    data = DataDirectory(root / "data")
    options = ("--backbone", "efficientnet_lite0", "--augmentations", 1)
    with quick_stages.exported(lite0_tflite.read_bytes()):
        done = run("build", "--catalogue", catalogue, "--data", data.root, *options)
    assert done.status == 0, done.err
    _describe(data)
    return root / "catalogue", data


def _describe(data: DataDirectory) -> None:
    """Give the snapshot words, which a build learns of more images only."""
    paths = data.paths(data.current_id())
    with closing(Snapshot.open(paths)) as snapshot:
        items = list(snapshot.items)
        embeddings = [snapshot.partition(one.item.category).embeddings(one.rows[:1])[0] for one in items]
    texts = [f"{one.item.metadata['title']} {one.item.category}" for one in items]
    write_words(paths.root, texts, np.stack(embeddings))
    replace(Manifest.read(paths.manifest), checksums=paths.checksums()).write(paths.manifest)


@pytest.fixture(scope="module")
def web_shop(web_data: tuple[Path, DataDirectory]) -> Iterator[WebShop]:
    catalogue, data = web_data
    with running(data) as service:
        wait_until("ready", lambda: _is_ready(service))
        yield WebShop(service.port, catalogue)


def _is_ready(service: Service) -> bool:
    try:
        return service.fetch("/readyz")[0] == 200
    except OSError:
        return False


@pytest.fixture
def open_page(playwright_browser: Any, web_shop: WebShop) -> Iterator[Callable[..., Any]]:
    """Opens a path of the service in a browser of its own.

    `fails` says that requests of the test are answered with errors, which Chromium writes to the console.
    """
    contexts, told = [], []

    def make(path: str = "/", width: int = 1280, height: int = 860, fails: bool = False, **context: Any) -> Any:
        made = playwright_browser.new_context(viewport={"width": width, "height": height}, **context)
        contexts.append(made)
        page = made.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("console", lambda message: _note(message, fails, told))
        page.on("request", lambda request: _note_request(request.url, web_shop.url, told))
        page.goto(web_shop.url + path)
        return page

    yield make
    for context in contexts:
        context.close()
    assert told == []


def _note(message: Any, fails: bool, told: list[str]) -> None:
    if message.type in ("error", "warning") and not (fails and "Failed to load resource" in message.text):
        told.append(f"console: {message.text}")


def _note_request(url: str, own: str, told: list[str]) -> None:
    if not url.startswith((f"{own}/", f"blob:{own}/")):
        told.append(f"asked for {url}")
