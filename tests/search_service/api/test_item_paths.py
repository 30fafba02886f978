"""Items of any id are reachable at each of their routes, over a real socket."""

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from search_service.api.item_paths import item_path
from search_service.app import create_app
from search_service.engine.engine import Engine
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings
from shared.catalogue.item_store import ItemStore
from shared.catalogue.item_writer import write_items
from tests.support.processes.served import served

_IDS = [
    *("a", "a/image", "a/similar", "a/image/image", "image", "similar", "/image", "image/", "/similar/"),
    *("a/b", "a//b", "/", "//", "a/", "/a", "a//", "//image", "image/image", "similar/image"),
    *(".", "..", "../..", "./image", "a/../b", "a/./b", ".../image"),
    *("%", "%2F", "a%2Fimage", "%2Fimage", "100%", "%zz", "%25", "?", "a?image", "?/image", "#", "#/similar", "a#b"),
    *("niño/image", "👟", "👟/similar", "é", "\u0130/image", "a b", " ", "a+b", "a&b=c", "a;b/image", '"<>\\'),
    *("v1/items/a/image", "/v1/items/a/image", "x" * 2000, "x/" * 998 + "image"),
]
_BATCH = 15


def _get(port: int, path: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()


@pytest.fixture(scope="module", params=range(0, len(_IDS), _BATCH))
def named(request, catalogue, watch_on, tmp_path_factory) -> Iterator[tuple[int, dict[str, str]]]:
    """A service whose items have other ids, and for each of those the id that it had before."""
    root: Path = tmp_path_factory.mktemp("named")
    ids = _IDS[request.param : request.param + _BATCH]
    items = list(catalogue.snapshot.items)
    renamed = [replace(one, item=replace(one.item, item_id=new)) for one, new in zip(items, ids, strict=False)]
    write_items(root / "items.sqlite", renamed + items[len(ids) :])
    store = ItemStore(root / "items.sqlite")
    engine = Engine(replace(catalogue.snapshot, items=store))
    with served(create_app(watch_on(engine), ServiceSettings(), Metrics(0.98))) as port:
        yield port, dict(zip(ids, (one.item.item_id for one in items), strict=False))


def test_every_item_is_reached_at_each_of_its_routes(named, catalogue) -> None:
    port, ids = named
    for item_id, before in ids.items():
        url = f"/v1/items/{quote(item_id, safe='')}"
        status, content = _get(port, url)
        assert status == 200, (item_id, content)
        item = json.loads(content)
        assert (item["item_id"], item["image_url"]) == (item_id, f"{url}/image")
        assert _get(port, f"{url}/image") == (200, catalogue.image(before)), item_id
        status, content = _get(port, f"{url}/similar?top_k=50")
        assert status == 200, (item_id, content)
        assert item_id not in {hit["item_id"] for hit in json.loads(content)["hits"]}


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v1/items/a", "a"),
        ("/v1/items/a/image", "a/image"),
        ("/v1/items/a/image?x=/similar", "a/image"),
        ("/v1/items/a%2Fimage", "a%2Fimage"),
        ("/v1/items/a%2fimage/similar", "a%2Fimage/similar"),
        ("/v1/items/a/b/image", "a%2Fb/image"),
        ("/v1/items/a/b", "a%2Fb"),
        ("/v1/items//image", "%2Fimage"),
        ("/v1/items///image", "%2F/image"),
        ("/v1/items/image", "image"),
        ("/v1/items/image/image", "image/image"),
        ("/v1/items/a/images", "a%2Fimages"),
        ("/v1/items/a/image/", "a%2Fimage%2F"),
        ("/v1/items/%E9/image", "%E9/image"),
        ("http://shop.example/v1/items/a%2Fimage", "a%2Fimage"),
        ("/shop/v1/items/a%2Fimage", "a%2Fimage"),
    ],
)
def test_an_encoded_slash_belongs_to_the_id_and_a_plain_last_segment_is_the_route(target: str, path: str) -> None:
    decoded = unquote(target.partition("?")[0].partition("/v1/items/")[2], encoding="latin-1")
    assert item_path(decoded, target) == path


@pytest.mark.parametrize("target", ["", "/", "/v1/items/other%2Fimage", "/v1/%69tems/a%2Fimage"])
def test_without_the_raw_target_the_decoded_path_tells(target: str) -> None:
    assert item_path("a/image", target) == "a/image"
    assert item_path("a/b", target) == "a%2Fb"
