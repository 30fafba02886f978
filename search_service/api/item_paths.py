"""Separate an item's id from the route that follows it in a path.

An id is any text, so it may contain slashes and may end in `/image`. WSGI decodes a path before it is routed, which
makes `/v1/items/a%2Fimage` (the item `a/image`) and `/v1/items/a/image` (the image of `a`) look alike. The request's
raw target distinguishes them: an encoded slash belongs to the id, and the route is a last segment after an unencoded
slash.
"""

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, unquote_to_bytes

_ITEMS = "/v1/items/"
_ROUTES = ("/image", "/similar")

_Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class ItemPaths:
    """WSGI middleware that keeps the id in an item's path as one percent-encoded segment, for the router to match."""

    def __init__(self, application: _Wsgi) -> None:
        """Wrap an application, which has to decode the id once."""
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Handle a request."""
        path = environ.get("PATH_INFO", "")
        if path.startswith(_ITEMS):
            target = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
            environ["PATH_INFO"] = _ITEMS + item_path(path.removeprefix(_ITEMS), target)
        return self._application(environ, start_response)


def item_path(decoded: str, target: str) -> str:
    """Return an id as one percent-encoded segment, and the route behind it if there is one.

    Args:
        decoded: what follows `/v1/items/` in `PATH_INFO`: decoded bytes, each as a character.
        target: the raw target of the request; if it is missing or of another path, only `decoded` counts.
    """
    _, _, raw = target.partition("?")[0].partition(_ITEMS)
    written = raw if _decoded(raw) == decoded else quote(decoded, safe="/", encoding="latin-1")
    for route in _ROUTES:
        if written.endswith(route) and len(written) > len(route):
            return quote(_decoded(written.removesuffix(route)), safe="", encoding="latin-1") + route
    return quote(decoded, safe="", encoding="latin-1")


def _decoded(raw: str) -> str:
    """Decode a raw path as WSGI servers do."""
    return unquote_to_bytes(raw.encode("latin-1", "replace")).decode("latin-1")
