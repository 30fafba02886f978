"""The pages' files as the service hands them out; tests/browser drives them in a browser."""

import re
import tomllib
from pathlib import Path

import pytest
from flask.testing import FlaskClient

_ROOT = Path(__file__).parents[3]
_WEB = _ROOT / "search_service" / "web"
_FILES = sorted(path.name for path in _WEB.iterdir())
_HTML = {"/": "index.html", "/status": "status.html"}


def _text(name: str) -> str:
    return (_WEB / name).read_text(encoding="utf-8")


def _linked(page: str) -> list[str]:
    return re.findall(r'(?:src|href)="web/([^"]+)"', _text(page))


def _imported(module: str, found: frozenset[str] = frozenset()) -> frozenset[str]:
    """A module and all that it imports, however far."""
    if module in found:
        return found
    found |= {module}
    for other in re.findall(r'^(?:import|export) .* from "\./(.+)";$', _text(module), re.MULTILINE):
        found = _imported(other, found)
    return found


@pytest.mark.parametrize("path", [*_HTML, *(f"/web/{name}" for name in _FILES)])
def test_every_file_is_served_for_this_origin_alone(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.data == (_WEB / _HTML.get(path, path.removeprefix("/web/"))).read_bytes()
    policy = dict(part.strip().split(" ", 1) for part in response.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize(
    ("name", "mimetype"),
    [("app.js", "text/javascript"), ("base.css", "text/css"), ("icon.svg", "image/svg+xml"), ("", "text/html")],
)
def test_browsers_take_files_for_what_they_are(client: FlaskClient, name: str, mimetype: str) -> None:
    assert client.get(f"/web/{name}" if name else "/").mimetype == mimetype


def test_an_unchanged_file_is_not_sent_again(client: FlaskClient) -> None:
    first = client.get("/")
    assert "no-cache" in first.headers["Cache-Control"]
    again = client.get("/", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("path", ["/web/none.js", "/web/..%2Fapp.py", "/web/../app.py", "/web/", "/web/.%2e/app.py"])
def test_nothing_else_is_served(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert response.json["error"]["code"] == "not_found"


@pytest.mark.parametrize(("page", "script"), [("index.html", "app.js"), ("status.html", "status.js")])
def test_a_page_fetches_all_that_it_needs_side_by_side_and_nothing_else(page: str, script: str) -> None:
    modules = {name for name in _linked(page) if name.endswith(".js")}
    assert modules == _imported(script)
    assert set(_linked(page)) <= set(_FILES)


def test_no_file_is_left_over() -> None:
    linked = {name for page in _HTML.values() for name in _linked(page)}
    assert linked | set(_HTML.values()) == set(_FILES)


@pytest.mark.parametrize("page", _HTML.values())
def test_a_page_weighs_less_than_100_kb(page: str) -> None:
    assert sum((_WEB / name).stat().st_size for name in {page, *_linked(page)}) < 100_000


@pytest.mark.parametrize("page", _HTML.values())
def test_nothing_is_inline(page: str) -> None:
    text = _text(page)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text)
    assert all(re.search(r'src="web/', tag) for tag in re.findall(r"<script[^>]*>", text))


def test_nothing_comes_from_elsewhere() -> None:
    for name in _FILES:
        addresses = set(re.findall(r"https?://[^\s\"'`)/\\]+", _text(name))) - {"http://www.w3.org"}
        assert addresses == set(), name


def test_the_files_are_part_of_the_package() -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "web/*" in project["tool"]["setuptools"]["package-data"]["search_service"]
    assert all((_WEB / name).is_file() for name in _FILES)


def test_the_pages_are_small() -> None:
    """All that a browser fetches for the search page and the one of the status, together and not compressed."""
    assert sum((_WEB / name).stat().st_size for name in _FILES) < 100_000
