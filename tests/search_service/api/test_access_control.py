"""Who is let in, how often, and what every answer says to browsers."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask, g
from flask.testing import FlaskClient

from search_service.access.api_keys import ApiKeys, new_key
from search_service.access.rate_limit import Rate, RateLimit
from search_service.app import create_app
from search_service.engine.engine import Engine
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings

_OPEN = ["/healthz", "/readyz", "/openapi.json", "/docs"]
_GUARDED = ["/v1/categories", "/v1/items/mug-1", "/v1/items/mug-1/image", "/v1/items/mug-1/similar", "/metrics"]
_SEARCH = {"item_id": "mug-1"}


@pytest.fixture
def app_with(catalogue, watch_on) -> Callable[..., Flask]:
    def make(keys: ApiKeys | None = None, rate: Rate | None = None, **settings: object) -> Flask:
        limit = RateLimit(rate) if rate else None
        watch = watch_on(Engine(catalogue.snapshot))
        return create_app(watch, ServiceSettings(**settings), Metrics(0.98), keys=keys, rate_limit=limit)

    return make


@pytest.fixture
def keyed(app_with, tmp_path: Path) -> tuple[FlaskClient, str]:
    key, line = new_key("shop")
    (tmp_path / "keys").write_text(line)
    return app_with(ApiKeys(tmp_path / "keys")).test_client(), key


def test_by_default_everybody_is_let_in_as_often_as_they_like(client) -> None:
    assert {client.post("/v1/search", json=_SEARCH).status_code for _ in range(50)} == {200}


@pytest.mark.parametrize("path", _OPEN)
def test_health_and_description_are_open(keyed, path: str) -> None:
    assert keyed[0].get(path).status_code == 200


@pytest.mark.parametrize("path", _GUARDED)
def test_everything_else_wants_a_key(keyed, assert_error, path: str) -> None:
    client, key = keyed
    answer = client.get(path)
    assert "`Authorization: Bearer KEY` or `X-API-Key: KEY`" in assert_error(answer, 401, "key_required")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="parecido"'
    for headers in ({"Authorization": f"Bearer {key}"}, {"Authorization": f"bearer  {key}"}, {"X-API-Key": key}):
        with client.get(path, headers=headers) as let_in:
            assert let_in.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"X-API-Key": "x"}, {"Authorization": "Bearer"}, {"Authorization": "Basic a2V5"}, {"X-API-Key": "\xff"}],
)
def test_wrong_keys_are_refused(keyed, assert_error, headers: dict) -> None:
    assert_error(keyed[0].post("/v1/search", json=_SEARCH, headers=headers), 401, "key_required")


def test_a_key_that_is_refused_is_not_in_the_answer_and_the_name_is_there_for_the_log(keyed) -> None:
    client, key = keyed
    assert "secret-guess" not in client.get("/v1/categories", headers={"X-API-Key": "secret-guess"}).text
    with client:
        client.get("/v1/categories", headers={"X-API-Key": key})
        assert g.api_key_name == "shop"


def test_a_route_that_is_not_there_is_not_found_without_a_key(keyed, assert_error) -> None:
    assert_error(keyed[0].get("/v1/nothing"), 404, "not_found")


def test_who_asks_too_often_is_told_when_to_ask_again(app_with, assert_error) -> None:
    client = app_with(rate=Rate(3, 60.0)).test_client()
    assert [client.post("/v1/search", json=_SEARCH).status_code for _ in range(3)] == [200] * 3
    answer = client.post("/v1/search", json=_SEARCH)
    assert "retry in" in assert_error(answer, 429, "rate_limited")
    assert 1 <= int(answer.headers["Retry-After"]) <= 20
    assert client.get("/healthz").status_code == 200  # is not counted
    other = {"REMOTE_ADDR": "192.0.2.7"}
    assert client.post("/v1/search", json=_SEARCH, environ_overrides=other).status_code == 200


def test_a_batch_counts_as_its_queries(app_with) -> None:
    client = app_with(rate=Rate(6, 60.0)).test_client()
    body = {"queries": [_SEARCH] * 6}
    assert client.post("/v1/search/batch", json=body).status_code == 200
    assert client.post("/v1/search", json=_SEARCH).status_code == 429


def test_an_ipv6_network_counts_as_one(app_with) -> None:
    client = app_with(rate=Rate(2, 60.0)).test_client()

    def status(address: str) -> int:
        return client.get("/v1/categories", environ_overrides={"REMOTE_ADDR": address}).status_code

    assert [status(f"2001:db8:1:2::{number}") for number in range(3)] == [200, 200, 429]
    assert status("2001:db8:1:3::1") == 200


def test_keys_are_counted_apart_from_wherever_they_come(app_with, tmp_path: Path) -> None:
    made = [new_key(name) for name in ("shop", "app")]
    (tmp_path / "keys").write_text("\n".join(line for _, line in made))
    client = app_with(ApiKeys(tmp_path / "keys"), Rate(2, 60.0)).test_client()

    def status(key: str, address: str = "127.0.0.1") -> int:
        headers = {"X-API-Key": key}
        return client.get("/v1/categories", headers=headers, environ_overrides={"REMOTE_ADDR": address}).status_code

    (shop, _), (app, _) = made
    assert [status(shop), status(shop, "192.0.2.1"), status(shop, "192.0.2.2")] == [200, 200, 429]
    assert status(app) == 200
    assert [status("guess") for _ in range(3)] == [401, 401, 429]  # guessing is slow too


@pytest.mark.parametrize(("proxies", "wanted"), [(0, [200, 429]), (1, [200, 200])])
def test_a_forwarded_address_counts_behind_trusted_proxies_alone(app_with, proxies: int, wanted: list[int]) -> None:
    client = app_with(rate=Rate(1, 60.0), trusted_proxies=proxies).test_client()
    given = [{"X-Forwarded-For": f"203.0.113.99, 192.0.2.{number}"} for number in range(2)]
    assert [client.get("/v1/categories", headers=headers).status_code for headers in given] == wanted
    if proxies:  # what the client itself has put in front counts for nothing
        spoofed = {"X-Forwarded-For": "203.0.113.1, 192.0.2.0"}
        assert client.get("/v1/categories", headers=spoofed).status_code == 429


@pytest.mark.parametrize("path", [*_OPEN, *_GUARDED, "/v1/nothing"])
def test_every_answer_is_safe_in_a_browser(client, path: str) -> None:
    with client.get(path) as answer:
        headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; ")
    assert ("sandbox" in headers["Content-Security-Policy"]) is (path != "/docs")
    shared = "cross-origin" if path.endswith("/image") else "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == shared
    assert "Access-Control-Allow-Origin" not in headers


_SHOP = "https://shop.example"


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ((_SHOP,), _SHOP, _SHOP),
        ((_SHOP,), "https://evil.example", None),
        ((_SHOP,), f"{_SHOP}.evil.example", None),
        ((_SHOP,), "null", None),
        (("*",), "https://any.example", "*"),
        (None, _SHOP, None),
    ],
)
def test_pages_of_the_origins_that_are_named_may_read_answers(app_with, origins, origin, allowed) -> None:
    client = app_with(cors_origins=origins).test_client()
    headers = {"Origin": origin}
    answer = client.post("/v1/search", json=_SEARCH, headers=headers)
    assert answer.headers.get("Access-Control-Allow-Origin") == allowed
    assert ("Origin" in answer.vary) is (origins is not None)
    asked = client.options("/v1/search", headers=headers | {"Access-Control-Request-Method": "POST"})
    assert asked.headers.get("Access-Control-Allow-Origin") == allowed
    assert ("X-API-Key" in asked.headers.get("Access-Control-Allow-Headers", "")) is (allowed is not None)
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_page_may_ask_whether_it_may_ask_without_a_key(keyed) -> None:
    assert keyed[0].options("/v1/search").status_code == 200


@pytest.mark.parametrize(
    ("path", "methods"), [("/v1/search", "POST"), ("/v1/categories", "GET, HEAD"), ("/v1/items/a%2Fimage", "GET, HEAD")]
)
def test_a_preflight_request_is_told_what_its_route_takes(app_with, path: str, methods: str) -> None:
    client = app_with(cors_origins=("https://*.shop.example",), cors_headers=("x-datadog-origin",)).test_client()
    asked = {
        "Origin": "https://www.shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "sentry-trace,baggage,traceparent,x-datadog-origin",
        "Access-Control-Request-Private-Network": "true",
    }
    answer = client.options(path, headers=asked)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == asked["Origin"]
    assert answer.headers["Access-Control-Allow-Methods"] == methods
    allowed = {name.strip().lower() for name in answer.headers["Access-Control-Allow-Headers"].split(",")}
    assert set(asked["Access-Control-Request-Headers"].split(",")) <= allowed
    assert answer.headers["Access-Control-Allow-Private-Network"] == "true"
    assert "Origin" in answer.vary
    stranger = client.options(path, headers=asked | {"Origin": "https://evil.example"})
    assert not any(name.startswith("Access-Control") for name, _ in stranger.headers)


def test_a_forwarded_address_is_one_caller_whatever_its_port(app_with) -> None:
    client = app_with(rate=Rate(3, 60.0), trusted_proxies=1).test_client()
    spelled = [
        "192.0.2.1",
        "192.0.2.1:5678",
        " 203.0.113.9:1, 192.0.2.1:9 ",
        "::ffff:192.0.2.1",
        "[::ffff:192.0.2.1]:80",
    ]
    answers = [client.get("/v1/categories", headers={"X-Forwarded-For": one}).status_code for one in spelled]
    assert answers == [200, 200, 200, 429, 429]
    assert client.get("/v1/categories", headers={"X-Forwarded-For": "192.0.2.2:5678"}).status_code == 200
