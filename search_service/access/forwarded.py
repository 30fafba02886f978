"""The headers of trusted proxies: the client's address, and the path below which the service is reached.

Proxies append to `X-Forwarded-For`, so with n trusted proxies the n-th address from the right is the client's; what a
client wrote itself is further left and is ignored.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any

_Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
_PREFIX = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_MAX_PREFIX = 200
OWN_PATHS = frozenset(("docs", "healthz", "metrics", "openapi.json", "readyz", "status", "v1", "web"))
"""First segments of the service's own routes; no prefix may begin with one."""
BARE_PREFIX = "parecido.bare_prefix"
"""Key of the WSGI environment: True if the path is the prefix without the slash that relative links need."""
_BRACKETED = re.compile(r"\[([^\]]*)\](?::\d*)?")
_WITH_PORT = re.compile(r"([^:]*):\d*")


class TrustedProxies:
    """WSGI middleware that sets `REMOTE_ADDR`, `SCRIPT_NAME` and `PATH_INFO` by settings and trusted headers.

    The prefix becomes `SCRIPT_NAME`. It is removed from the path, unless the proxy has removed it already.
    """

    def __init__(self, application: _Wsgi, trusted: int = 0, prefix: str = "") -> None:
        """Wrap an application.

        Args:
            application: to call.
            trusted: number of trusted proxies.
            prefix: path below which the service is reached, without a slash at the end; empty for none.
        """
        self._application = application
        self._trusted = trusted
        self._prefix = prefix

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Handle a request."""
        prefix = self._prefix
        if self._trusted:
            address = forwarded_address(environ.get("HTTP_X_FORWARDED_FOR", ""), self._trusted)
            if address is not None:
                environ["REMOTE_ADDR"] = address
            prefix = forwarded_prefix(environ.get("HTTP_X_FORWARDED_PREFIX", ""), self._trusted) or prefix
        if prefix:
            path = strip_prefix(environ.get("PATH_INFO", ""), prefix)
            environ[BARE_PREFIX] = path == ""
            environ["SCRIPT_NAME"] = prefix
            environ["PATH_INFO"] = path or "/"
        return self._application(environ, start_response)


def forwarded_address(header: str, trusted: int) -> str | None:
    """Return the client's address, without port and zone; None if the header does not have it.

    Args:
        header: all of `X-Forwarded-For`.
        trusted: number of trusted proxies, at least 1.
    """
    entries = [entry.strip() for entry in header.split(",") if entry.strip()]
    return _address(entries[-trusted]) if len(entries) >= trusted else None


def forwarded_prefix(header: str, trusted: int) -> str | None:
    """Return the prefix that the trusted proxies have removed, the outermost one first; None if there is none.

    Args:
        header: all of `X-Forwarded-Prefix`.
        trusted: number of trusted proxies, at least 1.
    """
    entries = [entry.strip() for entry in header.split(",") if entry.strip()][-trusted:]
    try:
        return "".join(parse_prefix(entry) for entry in entries) or None
    except ValueError:
        return None


def parse_prefix(text: str) -> str:
    """Return a prefix without a slash at the end.

    Raises:
        ValueError: not a path of safe characters, or a path of the service itself.
    """
    prefix = text.strip().rstrip("/")
    if len(prefix) > _MAX_PREFIX or not _PREFIX.fullmatch(prefix):
        raise ValueError("expected a path such as /parecido, of letters, digits and -_~., no segment beginning with .")
    if prefix.split("/")[1] in OWN_PATHS:
        raise ValueError("the service itself uses that path; choose another one")
    return prefix


def strip_prefix(path: str, prefix: str) -> str:
    """Return a path without the prefix; unchanged if it does not begin with it."""
    rest = path.removeprefix(prefix)
    return rest if rest == "" or rest.startswith("/") else path


def client_network(address: str) -> str:
    """Return the network that identifies a client: an IPv4 address, the /64 of an IPv6 address, or else the text."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((int(parsed), 64), strict=False))


def _address(entry: str) -> str | None:
    """Return the address of an entry in one spelling: `[2001:db8::1]:443`, `192.0.2.1:5678`, `::ffff:192.0.2.1`."""
    text = entry.strip('" ')
    match = _BRACKETED.fullmatch(text) or _WITH_PORT.fullmatch(text)
    try:
        address = ipaddress.ip_address((match[1] if match else text).partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
