"""Which requests are turned away at the door, and what they are told."""

import json
import logging

import pytest

from search_service import door as door_module
from search_service.admission import Admission
from search_service.door import Door
from search_service.metrics import Metrics

_ROUTES = ("/v1/search", "/v1/classify")


def _request(path: str, content_type: str, body: bytes = b"x", method: str = "POST", *headers: str) -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Type: {content_type}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


_FORM = "multipart/form-data; boundary=b"
_JSON = "application/json"
_QUERY = _request("/v1/search", _FORM)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(0.98)


@pytest.fixture
def door(metrics) -> Door:
    return Door(Admission(2, queue=3, observer=metrics), metrics, _ROUTES, ("https://shop.example",))


def test_there_is_room_for_those_that_run_and_those_that_wait(door) -> None:
    assert door.room == 5


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (_QUERY, True),
        (_request("/v1/search?x=1", _FORM), True),
        (_request("/v1/search", _FORM.upper()), True),
        (_request("/v1/classify", _JSON, b'{"image_base64": "AAAA"}'), True),
        (_request("/v1/search", _JSON, b'{"item_id": "multipart/form-data"}'), False),
        (_request("/v1/search", _JSON, b'{"item_id": "x"}\r\nContent-Type: multipart/form-data\r\n'), False),
        (_request("/v1/search", _FORM, method="GET"), False),
        (_request("/v1/searches", _FORM), False),
        (_request("/healthz", _FORM), False),
        (b"POST /v1/search\r\n\r\n", False),
        (b"", False),
        (b"\x16\x03\x01\x02\x00", False),
    ],
)
def test_only_queries_by_an_image_want_room(door, request_, wanted) -> None:
    assert door.wants_room(request_) is wanted


def _told(answer: bytes) -> tuple[str, dict[str, str], dict[str, str]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert int(headers["Content-Length"]) == len(body)
    return status, headers, json.loads(body)["error"]


def test_the_answer_is_that_of_the_application(door) -> None:
    status, headers, error = _told(door.refuse(_QUERY, is_kept=True))
    assert status == "HTTP/1.1 503 Service Unavailable"
    assert error["code"] == "overloaded"
    assert "PARECIDO_QUEUE" in error["message"]
    assert error["request_id"] == headers["X-Request-ID"]
    assert headers["Retry-After"] == "1"
    assert headers["Connection"] == "keep-alive"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in headers


def test_it_names_the_request_as_its_client_did(door) -> None:
    request = _request("/v1/search", _FORM, b"x", "POST", "X-Request-ID: mine-1")
    assert _told(door.refuse(request, is_kept=False))[2]["request_id"] == "mine-1"
    forged = _request("/v1/search", _FORM, b"\r\nX-Request-ID: mine-1\r\n")
    assert _told(door.refuse(forged, is_kept=False))[2]["request_id"] != "mine-1"


def test_pages_that_may_read_answers_may_read_this_one(door) -> None:
    for origin, wanted in (("https://shop.example", "https://shop.example"), ("https://other.example", None)):
        request = _request("/v1/search", _FORM, b"x", "POST", f"Origin: {origin}")
        assert _told(door.refuse(request, is_kept=True))[1].get("Access-Control-Allow-Origin") == wanted


def test_it_is_counted_as_the_application_counts(door, metrics) -> None:
    for _ in range(3):
        door.refuse(_request("/v1/search?secret=1", _FORM), is_kept=True)
    lines = metrics.text().decode().splitlines()
    assert 'parecido_requests_total{method="POST",route="/v1/search",status="503"} 3.0' in lines
    assert 'parecido_errors_total{code="overloaded"} 3.0' in lines
    assert 'parecido_refused_queries_total{reason="queue_full"} 3.0' in lines


def test_the_log_has_one_line_a_second(door, caplog, monkeypatch) -> None:
    now = [10.0]
    monkeypatch.setattr(door_module.time, "monotonic", lambda: now[0])
    with caplog.at_level(logging.WARNING):
        for now[0] in (10.0, 10.2, 10.9, 11.1, 11.2):
            door.refuse(_QUERY, is_kept=True)
    assert [record.fields["requests"] for record in caplog.records] == [1, 3]
