"""The gateway: routes, errors without Flask, and clients behind proxies."""

import json
import logging

import h11
import pytest

from search_service.api.http_error import HttpError
from search_service.server.request import RequestHead
from shared.errors import Overloaded
from tests.support.processes.http_server import http_server


@pytest.mark.parametrize(
    "target", ["/p/v1/search?a=http://b", "http://shop.example/p/v1/search?a=b", "HTTP://x/p/v1/search"]
)
def test_a_target_in_absolute_form_is_that_of_its_path(target) -> None:
    head = _head(target=target, prefix="/p")
    assert (head.method, head.path, head.content_type) == ("POST", "/v1/search", "")


def _head(*headers: tuple[str, str], target: str = "/v1/search", prefix: str = "") -> RequestHead:
    raw = h11.Request(method="POST", target=target, headers=[("Host", "x"), *headers])
    return RequestHead.of(raw, trusted_proxies=0, prefix=prefix)


def test_a_refusal_is_counted_and_logged_once_a_second(caplog) -> None:
    with http_server(cors_origins=("https://shop.example",)) as server, caplog.at_level(logging.WARNING):
        server.gateway._routes.add("/v1/search")
        head = _head(("X-Request-ID", "mine"), ("Origin", "https://shop.example"))
        answers = [server.gateway.error_response(Overloaded("busy", 7), head) for _ in range(3)]
        answers.append(server.gateway.error_response(HttpError(431, "too long"), None))
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
            headers = dict(server.gateway.error_response(Overloaded("busy"), _head(("X-Request-ID", given))).headers)
            assert len(headers["X-Request-ID"]) == 32


def test_clients_behind_a_trusted_proxy_are_counted_by_their_own_address() -> None:
    with http_server(trusted_proxies=1, threads=1) as server:
        for address in ("192.0.2.1", "192.0.2.2, 192.0.2.3"):
            assert server.ask(b"", "/", {"X-Forwarded-For": address})[0] == 200
        with server.connect() as client:
            client.sendall(
                b"POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nX-Forwarded-For: 192.0.2.2, 192.0.2.3\r\n\r\n"
            )
            server.wait_until(lambda: set(server.gateway._pools["light"].of_address) == {"192.0.2.3"})
            server.held.set()
            client.recv(1)
