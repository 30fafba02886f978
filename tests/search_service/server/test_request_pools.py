"""The thread pools: the kind of a request, and how a full pool is shared."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from search_service.server.request_pools import RequestPool, request_kind

_FORM = "multipart/form-data; boundary=b"
_JSON = "application/json"


@pytest.mark.parametrize(
    ("request_line", "kind"),
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
def test_a_request_gets_the_pool_of_its_kind(request_line, kind) -> None:
    assert request_kind(*request_line) == kind


def test_full_room_is_shared_evenly_between_addresses() -> None:
    pool = RequestPool(ThreadPoolExecutor(1), capacity=4, max_parallel=1)
    for _ in range(4):
        assert pool.has_room("a")
        pool.of_address["a"] += 1
    assert not pool.has_room("a")
    for _ in range(2):  # of two addresses each has half
        assert pool.has_room("b")
        pool.of_address["b"] += 1
    assert not pool.has_room("b")
    assert pool.has_room("c")
    pool.of_address["c"] += 1
    assert not pool.has_room("c")
    pool.of_address["d"] += 1
    assert pool.of_address.total() == 2 * pool.capacity
    assert not pool.has_room("e")  # twice the room is the most
