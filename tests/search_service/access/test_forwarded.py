"""What proxies say of a request: the caller's address and the path below which the service is found."""

from typing import Any

import pytest

from search_service.access.forwarded import (
    OWN_PATHS,
    TrustedProxies,
    forwarded_address,
    forwarded_prefix,
    parse_prefix,
    strip_prefix,
)
from search_service.app import create_app
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings


@pytest.mark.parametrize(
    ("header", "trusted", "address"),
    [
        ("192.0.2.1", 1, "192.0.2.1"),
        ("192.0.2.1:5678", 1, "192.0.2.1"),
        (" 192.0.2.1:5678 ", 1, "192.0.2.1"),
        ("192.0.2.1:", 1, "192.0.2.1"),
        ('"192.0.2.1:5678"', 1, "192.0.2.1"),
        ("[2001:db8::1]:443", 1, "2001:db8::1"),
        ('"[2001:db8::1]:443"', 1, "2001:db8::1"),
        ("[2001:DB8:0::1]", 1, "2001:db8::1"),
        ("2001:db8::1", 1, "2001:db8::1"),
        ("::1", 1, "::1"),
        ("fe80::1%eth0", 1, "fe80::1"),
        ("::ffff:192.0.2.1", 1, "192.0.2.1"),
        ("[::ffff:192.0.2.1]:99", 1, "192.0.2.1"),
        ("203.0.113.1, 192.0.2.1:5678", 1, "192.0.2.1"),
        ("garbage,,  ,192.0.2.1 ,", 1, "192.0.2.1"),
        ("203.0.113.1, 192.0.2.1, 198.51.100.1:80", 2, "192.0.2.1"),
        ("192.0.2.1", 2, None),
        ("", 1, None),
        (", ,", 1, None),
        ("unknown", 1, None),
        ("192.0.2.1, _hidden", 1, None),
        ("192.0.2.256", 1, None),
        ("192.0.2.1:http", 1, None),
        ("192.0.2.1 evil", 1, None),
        ("[192.0.2.1", 1, None),
        ("192.0.2.1\x00", 1, None),
        ("9" * 10_000, 1, None),
    ],
)
def test_the_caller_is_the_address_that_the_trusted_proxies_have_added(header, trusted, address) -> None:
    assert forwarded_address(header, trusted) == address


@pytest.mark.parametrize(
    ("header", "trusted", "prefix"),
    [
        ("/parecido", 1, "/parecido"),
        (" /parecido/ ", 1, "/parecido"),
        ("/evil, /parecido", 1, "/parecido"),
        ("/shop, /parecido", 2, "/shop/parecido"),
        ("/shop", 2, "/shop"),
        ("", 1, None),
        ("/", 1, None),
        ("parecido", 1, None),
        ("//evil.example", 1, None),
        ("/\\evil.example", 1, None),
        ("https://evil.example", 1, None),
        ("/a/../b", 1, None),
        ("/a//b", 1, None),
        ("/a?b", 1, None),
        ("/a#b", 1, None),
        ("/a%2fb", 1, None),
        ("/a\r\nSet-Cookie: x=1", 1, None),
        ('/"><script>', 1, None),
        ("/v1", 1, None),
        ("/" + "a" * 300, 1, None),
    ],
)
def test_a_prefix_is_a_path_of_safe_characters_or_ignored(header, trusted, prefix) -> None:
    assert forwarded_prefix(header, trusted) == prefix


@pytest.mark.parametrize(
    ("path", "below"),
    [
        ("/shop/v1/status", "/v1/status"),
        ("/v1/status", "/v1/status"),
        ("/shop/", "/"),
        ("/shop", ""),
        ("/shopping", "/shopping"),
        ("/shop/shop/x", "/shop/x"),
        ("/", "/"),
    ],
)
def test_the_prefix_is_removed_once_where_it_is(path: str, below: str) -> None:
    assert strip_prefix(path, "/shop") == below


def test_a_prefix_is_never_a_path_of_the_services_own() -> None:
    app = create_app(None, ServiceSettings(), Metrics(0.98))  # type: ignore[arg-type]
    first = {rule.rule.split("/")[1] for rule in app.url_map.iter_rules()} - {""}
    assert first == OWN_PATHS
    with pytest.raises(ValueError, match="itself uses that path"):
        parse_prefix("/docs/x")


def _seen(trusted: int, prefix: str, path: str, **headers: str) -> tuple[str, str, str]:
    """What the application sees: its root, the path below it, and the caller."""
    seen: list[dict[str, Any]] = []
    application = TrustedProxies(lambda environ, _: seen.append(environ) or [], trusted, prefix)
    application({"PATH_INFO": path, "REMOTE_ADDR": "10.0.0.1", **headers}, lambda *_: None)
    [environ] = seen
    return environ.get("SCRIPT_NAME", ""), environ["PATH_INFO"], environ["REMOTE_ADDR"]


def test_headers_count_behind_trusted_proxies_alone() -> None:
    headers = {"HTTP_X_FORWARDED_FOR": "192.0.2.1:99", "HTTP_X_FORWARDED_PREFIX": "/shop"}
    assert _seen(0, "", "/x", **headers) == ("", "/x", "10.0.0.1")
    assert _seen(1, "", "/x", **headers) == ("/shop", "/x", "192.0.2.1")
    assert _seen(1, "", "/shop/x", **headers) == ("/shop", "/x", "192.0.2.1")
    assert _seen(1, "/set", "/x", **headers) == ("/shop", "/x", "192.0.2.1")
    assert _seen(1, "/set", "/set/x") == ("/set", "/x", "10.0.0.1")
    assert _seen(0, "/set", "/x", **headers) == ("/set", "/x", "10.0.0.1")
    assert _seen(1, "", "/x", HTTP_X_FORWARDED_FOR="unknown", HTTP_X_FORWARDED_PREFIX="//evil") == (
        "",
        "/x",
        "10.0.0.1",
    )
