"""`image_url` in requests."""

from collections.abc import Mapping

import pytest
from flask.testing import FlaskClient

from search_service.access.fetch_budget import FetchBudget
from search_service.app import create_app
from search_service.engine.engine import Engine
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings
from shared.errors import ImageNotFetched, UrlNotAllowed

_URL = "https://cdn.example/mug.png"


class _Fetcher:
    """Has the files of a table, and nothing else."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self.budgets: list[FetchBudget] = []

    def fetch(self, url: str, budget: FetchBudget) -> bytes:
        self.budgets.append(budget)
        if url not in self._files:
            raise ImageNotFetched("it is not there")
        return self._files[url]


@pytest.fixture
def fetcher(catalogue) -> _Fetcher:
    return _Fetcher({_URL: catalogue.image("mug-1"), "https://cdn.example/text": b"no image"})


@pytest.fixture
def fetching(catalogue, watch_on, fetcher) -> FlaskClient:
    app = create_app(
        watch_on(Engine(catalogue.snapshot)), ServiceSettings(image_url_hosts=("cdn.example",)), Metrics(0.98)
    )
    app.extensions["image_fetcher"] = fetcher
    return app.test_client()


def test_it_finds_what_the_image_finds(fetching) -> None:
    found = fetching.post("/v1/search", json={"image_url": _URL, "top_k": 3}).json
    assert found["hits"][0]["item_id"] == "mug-1"
    assert fetching.post("/v1/classify", json={"image_url": _URL}).json["query"] == found["query"]


def test_it_is_off_unless_hosts_are_named(client, assert_error) -> None:
    message = assert_error(client.post("/v1/search", json={"image_url": _URL}), 403, "url_not_allowed")
    assert "PARECIDO_IMAGE_URL_HOSTS names no host" in message


def test_a_batch_shares_one_allowance_and_a_bad_url_fails_alone(fetching, fetcher) -> None:
    queries = [{"image_url": url} for url in (_URL, "https://cdn.example/none", "https://cdn.example/text", _URL)]
    results = fetching.post("/v1/search/batch", json={"queries": queries}).json["results"]
    codes = [result.get("error", {}).get("code") for result in results]
    assert codes == [None, "image_not_fetched", "unsupported_image", None]
    assert len({id(budget) for budget in fetcher.budgets}) == 1


@pytest.mark.parametrize("value", ["", 5, ["https://cdn.example/"]])
def test_it_is_text(fetching, assert_error, value) -> None:
    assert "`image_url`" in assert_error(fetching.post("/v1/search", json={"image_url": value}), 400, "invalid_request")


def test_it_is_one_of_the_ways_and_not_beside_another(fetching, assert_error) -> None:
    body = {"image_url": _URL, "item_id": "mug-1"}
    assert "several queries given: image_url, item_id" in assert_error(
        fetching.post("/v1/search", json=body), 400, "invalid_request"
    )


@pytest.mark.parametrize("url", ["https://other.example/", "http://127.0.0.1/", "ftp://cdn.example/"])
def test_hosts_that_are_not_named_are_refused(catalogue, watch_on, assert_error, url) -> None:
    settings = ServiceSettings(image_url_hosts=("cdn.example",))
    client = create_app(watch_on(Engine(catalogue.snapshot)), settings, Metrics(0.98)).test_client()
    assert_error(client.post("/v1/search", json={"image_url": url}), 403, UrlNotAllowed.code)
