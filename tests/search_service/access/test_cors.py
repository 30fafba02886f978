"""Which origins may read answers, what preflight requests are answered, and that this needs no web framework."""

import subprocess
import sys

import pytest

from search_service.access.cors import parse_origin, preflight_headers, sharing_headers

_ALLOWED = [
    ("https://shop.example", "https://shop.example"),
    ("HTTPS://Shop.Example", "https://shop.example"),
    ("https://shop.example:443", "https://shop.example"),
    ("http://localhost:80", "http://localhost"),
    ("https://shop.example:8443", "https://shop.example:8443"),
    ("http://localhost:*", "http://localhost:5173"),
    ("http://localhost:*", "http://localhost"),
    ("http://[::1]:3000", "http://[::1]:3000"),
    ("https://*.shop.example", "https://www.shop.example"),
    ("https://*.shop.example", "https://a.b.shop.example"),
    ("https://*.shop.example:8443", "https://www.shop.example:8443"),
    ("capacitor://localhost", "capacitor://localhost"),
    ("ionic://localhost", "ionic://localhost"),
    ("app://.", "app://."),
    ("app://obsidian.md", "app://obsidian.md"),
    ("file://", "file://"),
    ("chrome-extension://abcdefghijklmnopabcdefghijklmnop", "chrome-extension://abcdefghijklmnopabcdefghijklmnop"),
    ("moz-extension://6b0ca6c4-1e6b-4d5c", "moz-extension://6b0ca6c4-1e6b-4d5c"),
    ("null", "null"),
]
_NOT_ALLOWED = [
    ("https://shop.example", "http://shop.example"),
    ("https://shop.example", "https://shop.example:8443"),
    ("https://shop.example", "https://shop.example.evil.example"),
    ("https://shop.example", "https://shopxexample"),
    ("https://shop.example", "null"),
    ("https://shop.example:8443", "https://shop.example"),
    ("https://*.shop.example", "https://shop.example"),
    ("https://*.shop.example", "https://evilshop.example"),
    ("https://*.shop.example", "https://.shop.example"),
    ("https://*.shop.example", "https://a..shop.example"),
    ("https://*.shop.example", "https://evil.example/.shop.example"),
    ("https://*.shop.example", "https://evil.example?.shop.example"),
    ("https://*.shop.example", "https://evil.example#a.shop.example"),
    ("https://*.shop.example", "https://evil.example@a.shop.example"),
    ("https://*.shop.example", "https://a.shop.example\n"),
    ("https://*.shop.example", "https://a.shop.example:8443"),
    ("https://*.shop.example", "http://a.shop.example"),
    ("https://*.shop.example", "https://" + "a." * 200 + "shop.example"),
    ("http://localhost:*", "http://localhost:evil"),
    ("http://localhost:*", "http://localhost.evil.example:80"),
    ("capacitor://localhost", "capacitor://localhost.evil"),
    ("capacitor://localhost", "https://localhost"),
    ("app://.", "app://x"),
    ("null", "https://null"),
]


@pytest.mark.parametrize(("named", "origin"), _ALLOWED)
def test_an_origin_that_is_named_may_read_answers(named: str, origin: str) -> None:
    origins = ("https://first.example", parse_origin(named))
    headers = sharing_headers(origin, origins)
    assert headers["Access-Control-Allow-Origin"] == origin
    assert headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.parametrize(("named", "origin"), _NOT_ALLOWED)
def test_no_other_origin_may(named: str, origin: str) -> None:
    origins = ("https://first.example", parse_origin(named))
    assert sharing_headers(origin, origins) == {"Vary": "Origin"}
    assert preflight_headers(origin, origins, {"GET"}) == {}


def test_all_may_where_all_are_named_and_nobody_where_none_is() -> None:
    assert sharing_headers("https://any.example", ("*",))["Access-Control-Allow-Origin"] == "*"
    assert sharing_headers("null", ("*",))["Access-Control-Allow-Origin"] == "*"
    assert sharing_headers("", ("*",)) == {"Vary": "Origin"}
    assert sharing_headers("https://any.example", ()) == {}


@pytest.mark.parametrize(
    "text",
    [
        "shop.example",
        "https://",
        "https://shop.example/",
        "https://shop.example/path",
        "https://user@shop.example",
        "https://*",
        "https://*.example",
        "https://a.*.shop.example",
        "https://*shop.example",
        "https://shop.*",
        "*.shop.example",
        "chrome-extension://*",
        "https://shop.example:port",
        "https://shop example",
        "app:/x",
    ],
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected origins as"):
        parse_origin(text)


def test_a_preflight_request_is_told_the_routes_methods_and_the_headers() -> None:
    origins = ("https://shop.example",)
    headers = preflight_headers("https://shop.example", origins, {"OPTIONS", "POST"}, ("x-datadog-origin", "baggage"))
    assert headers["Access-Control-Allow-Methods"] == "POST"
    names = headers["Access-Control-Allow-Headers"].split(", ")
    assert {"Authorization", "Content-Type", "X-API-Key", "X-Request-ID"} < set(names)
    assert {"traceparent", "tracestate", "baggage", "sentry-trace", "x-datadog-origin"} < set(names)
    assert len({name.lower() for name in names}) == len(names)


def test_a_private_network_is_opened_to_origins_that_are_named_alone() -> None:
    def allowed(origins: tuple[str, ...], is_private: bool = True) -> str | None:
        headers = preflight_headers("https://shop.example", origins, {"GET"}, is_private=is_private)
        return headers.get("Access-Control-Allow-Private-Network")

    assert allowed(("https://shop.example",)) == "true"
    assert allowed(("*",)) is None
    assert allowed(("https://shop.example",), is_private=False) is None


def test_no_web_framework_is_needed() -> None:
    code = "import sys, search_service.access.cors; sys.exit('flask' in sys.modules or 'werkzeug' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
