"""Which threads a request gets, and how room is shared."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor

import h11
import pytest

from search_service.api.http_error import HttpError
from search_service.server.gateway import RequestPool, request_kind
from shared.errors import Overloaded
from tests.support.processes.http_server import http_server

_FORM = "multipart/form-data; boundary=b"
_JSON = "application/json"


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (("POST", "/v1/search", _FORM, b""), "image"),
        (("POST", "/v1/search", _FORM.upper(), b""), "image"),
        (("POST", "/v1/classify", _JSON, b'{"image_base64": "AAAA"}'), "image"),
        (("POST", "/v1/search", _JSON, b'{"image_url": "https://a.example/b"}'), "image"),
        (("POST", "/v1/search", _JSON, rb'{"\u0069mage_url": "https://a.example/b"}'), "image"),
        (("POST", "/v1/feedback", _JSON, bytes(1 << 21)), "image"),
        (("POST", "/v1/search", _JSON, b'{"item_id": "multipart/form-data"}'), "search"),
        (("POST", "/v1/search/batch", _FORM, b""), "batch"),
        (("POST", "/v1/search/batch", _JSON, b"{}"), "batch"),
        (("GET", "/v1/items/a/similar", "", b""), "search"),
        (("GET", "/v1/items/a", "", b""), "light"),
        (("GET", "/v1/search", _FORM, b""), "light"),
        (("POST", "/healthz", _FORM, b""), "light"),
        (("GET", "/healthz", "", b""), "light"),
        (("GET", "/metrics", "", b""), "metrics"),
    ],
)
def test_a_request_gets_the_threads_of_its_kind(asked, wanted) -> None:
    assert request_kind(*asked) == wanted


def test_full_room_is_shared_evenly_between_addresses() -> None:
    lane = RequestPool(ThreadPoolExecutor(1), room=4, at_once=1)
    for _ in range(4):
        assert lane.has_room("a")
        lane.of_address["a"] += 1
    assert not lane.has_room("a")
    for _ in range(2):  # of two addresses each has half
        assert lane.has_room("b")
        lane.of_address["b"] += 1
    assert not lane.has_room("b")
    assert lane.has_room("c")
    lane.of_address["c"] += 1
    assert not lane.has_room("c")
    lane.of_address["d"] += 1
    assert lane.of_address.total() == 2 * lane.room
    assert not lane.has_room("e")  # twice the room is the most


@pytest.mark.parametrize(
    "target", ["/p/v1/search?a=http://b", "http://shop.example/p/v1/search?a=b", "HTTP://x/p/v1/search"]
)
def test_a_target_in_absolute_form_is_that_of_its_path(target) -> None:
    with http_server(prefix="/p") as server:
        assert server.gateway._route(_head(target=target)) == ("POST", "/v1/search", "")


def _head(*headers: tuple[str, str], target: str = "/v1/search") -> h11.Request:
    return h11.Request(method="POST", target=target, headers=[("Host", "x"), *headers])


def test_a_refusal_is_counted_and_logged_once_a_second(caplog) -> None:
    with http_server(cors_origins=("https://shop.example",)) as server, caplog.at_level(logging.WARNING):
        server.gateway._routes.add("/v1/search")
        head = _head(("X-Request-ID", "mine"), ("Origin", "https://shop.example"))
        answers = [server.gateway.refusal(Overloaded("busy", 7), head) for _ in range(3)]
        answers.append(server.gateway.refusal(HttpError(431, "too long"), None))
        text = server.metrics.text().decode()
    headers = dict(answers[0].headers)
    assert (answers[0].status, headers["Retry-After"], headers["X-Request-ID"]) == (503, "7", "mine")
    assert headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert json.loads(answers[0].body)["error"]["code"] == "overloaded"
    assert json.loads(answers[3].body)["error"]["code"] == "request_header_fields_too_large"
    assert 'parecido_requests_total{method="POST",route="/v1/search",status="503"} 3.0' in text
    assert 'parecido_requests_total{method="other",route="unmatched",status="431"} 1.0' in text
    assert 'parecido_errors_total{code="overloaded"} 3.0' in text
    assert len(caplog.records) == 1


def test_a_request_id_that_may_not_be_one_is_replaced() -> None:
    with http_server() as server:
        for given in ("a" * 65, "a b", "a/b"):
            headers = dict(server.gateway.refusal(Overloaded("busy"), _head(("X-Request-ID", given))).headers)
            assert len(headers["X-Request-ID"]) == 32


def test_clients_behind_a_trusted_proxy_are_counted_by_their_own_address() -> None:
    with http_server(trusted_proxies=1, threads=1) as server:
        for address in ("192.0.2.1", "192.0.2.2, 192.0.2.3"):
            assert server.ask(b"", "/", {"X-Forwarded-For": address})[0] == 200
        with server.connect() as client:
            client.sendall(
                b"POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nX-Forwarded-For: 192.0.2.2, 192.0.2.3\r\n\r\n"
            )
            server.wait_until(lambda: set(server.gateway._lanes["light"].of_address) == {"192.0.2.3"})
            server.held.set()
            client.recv(1)
