"""Cross-origin resource sharing (CORS): the allowed origins, and the response headers."""

import re
from collections.abc import Iterable
from functools import lru_cache

REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "If-None-Match",
    "X-API-Key",
    "X-Request-ID",
    # Added by error and performance monitoring to every request of a page.
    "baggage",
    "sentry-trace",
    "traceparent",
    "tracestate",
)
"""Request headers that pages of an allowed origin may send."""
EXPOSED_HEADERS = ("ETag", "Retry-After", "X-Request-ID")
_MAX_AGE_S = 600
_MAX_ORIGIN = 300

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_WEB_ORIGIN = re.compile(
    rf"(?P<scheme>https?)://(?P<wildcard>\*\.(?={_LABEL}\.))?"
    rf"(?P<host>{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::(?P<port>\d{{1,5}}|\*))?"
)
# Apps and browser extensions: `capacitor://localhost`, `app://.`, `chrome-extension://…`, `file://`.
_APP_ORIGIN = re.compile(r"(?!https?:)[a-z][a-z0-9+.-]*://[a-z0-9._-]*(?::\d{1,5})?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def parse_origin(text: str) -> str:
    """Return an origin of the settings as browsers spell it, or a pattern of several.

    Args:
        text: `*` for all, `null`, `https://shop.example:8443`, `https://*.shop.example` for every host below it,
            `http://localhost:*` for every port, or the scheme and host of an app or browser extension.

    Raises:
        ValueError: another format.
    """
    origin = text.strip().lower()
    if origin in ("*", "null") or _APP_ORIGIN.fullmatch(origin):
        return origin
    match = _WEB_ORIGIN.fullmatch(origin)
    if match is None:
        raise ValueError("expected origins as https://shop.example, https://*.shop.example, app://host, null, or *")
    if match["port"] == _DEFAULT_PORTS[match["scheme"]]:
        return origin.rpartition(":")[0]  # browsers omit it
    return origin


def sharing_headers(origin: str, origins: tuple[str, ...]) -> dict[str, str]:
    """Return the headers that allow a page of this origin to read a response, or not.

    Args:
        origin: the request's header `Origin`; empty if it has none.
        origins: as `parse_origin` returned them; empty to allow none.
    """
    if not origins:
        return {}
    vary = {"Vary": "Origin"}
    if not origin or not _allows(origin, origins):
        return vary
    return {
        "Access-Control-Allow-Origin": "*" if "*" in origins else origin,
        "Access-Control-Expose-Headers": ", ".join(EXPOSED_HEADERS),
        **vary,
    }


def preflight_headers(
    origin: str,
    origins: tuple[str, ...],
    methods: Iterable[str],
    request_headers: Iterable[str] = (),
    is_private: bool = False,
) -> dict[str, str]:
    """Return the further headers of the response to a preflight request; none if the origin is not allowed.

    Args:
        origin: the request's header `Origin`.
        origins: as `parse_origin` returned them.
        methods: of the route.
        request_headers: allowed besides `REQUEST_HEADERS`; `*` for any.
        is_private: True if the browser asks for access from a public page to a private network.
    """
    if not origin or not _allows(origin, origins):
        return {}
    names = {name.lower(): name for name in (*REQUEST_HEADERS, *request_headers)}
    headers = {
        "Access-Control-Allow-Methods": ", ".join(sorted(set(methods) - {"OPTIONS"})),
        "Access-Control-Allow-Headers": ", ".join(names.values()),
        "Access-Control-Max-Age": str(_MAX_AGE_S),
    }
    if is_private and "*" not in origins:  # only for origins that were named
        headers["Access-Control-Allow-Private-Network"] = "true"
    return headers


def _allows(origin: str, origins: tuple[str, ...]) -> bool:
    if "*" in origins:
        return True
    return len(origin) <= _MAX_ORIGIN and _pattern(origins).fullmatch(origin.lower()) is not None


@lru_cache(maxsize=8)
def _pattern(origins: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(_origin_pattern, origins)))


def _origin_pattern(origin: str) -> str:
    match = _WEB_ORIGIN.fullmatch(origin)
    if match is None:
        return re.escape(origin)
    below = rf"(?:{_LABEL}\.)+" if match["wildcard"] else ""
    port = match["port"]
    ports = r"(?::\d{1,5})?" if port == "*" else re.escape(f":{port}") if port else ""
    return rf"{match['scheme']}://{below}{re.escape(match['host'])}{ports}"
