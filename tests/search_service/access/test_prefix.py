"""Below a path of a larger site, behind a real proxy that removes the prefix or passes it through."""

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from urllib.parse import quote, urljoin, urlsplit

import pytest

from search_service.app import create_app
from search_service.engine.engine import Engine
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings
from tests.support.processes.prefix_proxy import proxied
from tests.support.processes.served import served

_PREFIX = "/site/parecido"
_ITEM = "hats/caps/1.png"
_HEADER = f"X-Forwarded-Prefix:{_PREFIX}"
# Settings, what the proxy does with the path, and the header that it adds.
_WAYS = {
    "set, removed": (ServiceSettings(prefix=_PREFIX), "strip", ()),
    "set, passed": (ServiceSettings(prefix=_PREFIX), "pass", ()),
    "told, removed": (ServiceSettings(trusted_proxies=1), "strip", (_HEADER,)),
    "told, passed": (ServiceSettings(trusted_proxies=1), "pass", (_HEADER,)),
    "told otherwise than set": (ServiceSettings(prefix="/other", trusted_proxies=1), "strip", (_HEADER,)),
}


class _Site:
    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, path: str, body: dict | None = None, method: str = "") -> tuple[http.client.HTTPResponse, bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)) as connection:
            sent = None if body is None else json.dumps(body)
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method or ("GET" if body is None else "POST"), path, sent, headers)
            response = connection.getresponse()
            return response, response.read()

    def json(self, path: str, body: dict | None = None) -> dict:
        response, content = self.ask(path, body)
        assert response.status == 200, content
        return json.loads(content)


@pytest.fixture(scope="module", params=_WAYS)
def site(request, catalogue, watch_on) -> Iterator[_Site]:
    settings, mode, headers = _WAYS[request.param]
    app = create_app(watch_on(Engine(catalogue.snapshot)), settings, Metrics(0.98))
    with ExitStack() as stack:
        port = stack.enter_context(served(app))
        yield _Site(stack.enter_context(proxied(port, _PREFIX, mode, *headers)))


def test_image_urls_have_the_prefix_and_lead_to_the_images(site: _Site, catalogue) -> None:
    answer = site.json(f"{_PREFIX}/v1/search", {"item_id": _ITEM, "top_k": 3})
    batch = site.json(f"{_PREFIX}/v1/search/batch", {"queries": [{"item_id": _ITEM}]})
    item = site.json(f"{_PREFIX}/v1/items/{quote(_ITEM, safe='')}")
    categories = site.json(f"{_PREFIX}/v1/categories?examples=1")
    found = [*answer["hits"], *batch["results"][0]["hits"], item]
    found += [example for category in categories["categories"] for example in category["examples"]]
    assert len(found) > 4
    for one in found:
        assert one["image_url"] == f"{_PREFIX}/v1/items/{quote(one['item_id'], safe='')}/image"
        response, content = site.ask(one["image_url"])
        assert (response.status, content) == (200, catalogue.image(one["item_id"]))
    assert item["image_urls"][0] == item["image_url"]
    assert site.ask(item["image_urls"][1])[1] == catalogue.image(_ITEM, 1)


@pytest.mark.parametrize("page", ["/", "/status", "/docs"])
def test_all_that_a_page_names_is_there(site: _Site, page: str) -> None:
    response, content = site.ask(_PREFIX + page)
    assert response.status == 200
    named = re.findall(r'(?:href|src)="([^"#]+)"', content.decode())
    assert named
    for link in named:
        path = urlsplit(urljoin(f"http://shop.example{_PREFIX}{page}", link)).path
        assert path.startswith(f"{_PREFIX}/")
        assert site.ask(path)[0].status == 200, link


def test_the_api_says_where_it_is(site: _Site) -> None:
    document = site.json(f"{_PREFIX}/openapi.json")
    assert document["servers"] == [{"url": _PREFIX}]
    assert document["openapi"] == "3.1.0"
    assert "/v1/search" in document["paths"]


def test_errors_are_the_applications_own(site: _Site) -> None:
    response, content = site.ask(f"{_PREFIX}/v1/nowhere")
    assert (response.status, json.loads(content)["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(("query", "wanted"), [("", f"{_PREFIX}/"), ("?lang=pt&x=%2F", f"{_PREFIX}/?lang=pt&x=%2F")])
@pytest.mark.parametrize("settings", [ServiceSettings(prefix=_PREFIX), ServiceSettings(trusted_proxies=1)])
def test_the_prefix_alone_leads_to_the_page(catalogue, watch_on, settings, query: str, wanted: str) -> None:
    client = create_app(watch_on(Engine(catalogue.snapshot)), settings, Metrics(0.98)).test_client()
    response = client.get(f"{_PREFIX}{query}", headers={"X-Forwarded-Prefix": _PREFIX})
    assert (response.status_code, response.headers["Location"]) == (308, wanted)


def test_without_a_prefix_nothing_has_one(catalogue, watch_on) -> None:
    client = create_app(watch_on(Engine(catalogue.snapshot)), ServiceSettings(), Metrics(0.98)).test_client()
    headers = {"X-Forwarded-Prefix": "/evil"}  # no proxy is trusted
    hits = client.post("/v1/search", json={"item_id": _ITEM}, headers=headers).json["hits"]
    assert all(hit["image_url"].startswith("/v1/items/") for hit in hits)
    assert "servers" not in client.get("/openapi.json", headers=headers).json
    assert client.get("/", headers=headers).status_code == 200
    assert client.get("/evil/v1/status", headers=headers).status_code == 404


@pytest.mark.parametrize("value", ["//evil.example", "https://evil.example", "/a/../..", "/v1", '/x"y', "javascript:x"])
def test_a_forwarded_prefix_that_is_no_path_is_ignored(catalogue, watch_on, value: str) -> None:
    settings = ServiceSettings(trusted_proxies=1)
    client = create_app(watch_on(Engine(catalogue.snapshot)), settings, Metrics(0.98)).test_client()
    hits = client.post("/v1/search", json={"item_id": _ITEM}, headers={"X-Forwarded-Prefix": value}).json["hits"]
    assert all(hit["image_url"].startswith("/v1/items/") for hit in hits)
