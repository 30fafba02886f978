"""Fetch query images from URLs that clients give, safe from server-side request forgery (SSRF).

URL ─check─▶ host ─resolve once─▶ addresses ─all public?─▶ connect to one of them ─▶ image, or a redirect: once more

The connection goes to the very address that was checked, so a name that resolves differently the second time changes
nothing. Failures beyond the URL are logged, not reported: a client learns nothing about hosts and ports that it cannot
reach itself. See docs/decisions/0021-image-url.md.
"""

import http.client
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urljoin, urlsplit

from search_service.access.fetch_budget import BudgetedSocket, FetchBudget
from search_service.access.host_resolution import is_public_address, resolve_host, resolve_within
from search_service.admission.controller import AdmissionController
from search_service.admission.observer import AdmissionObserver
from search_service.admission.parallel_map import parallel_map
from shared.errors import ImageNotFetched, ImageTooLarge, InvalidRequest, ParecidoError, UrlNotAllowed
from shared.text.shorten import shortened

MAX_URL_LENGTH = 2048
_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK_BYTES = 64 * 1024
_PORTS = {"http": 80, "https": 443}

_log = logging.getLogger(__name__)

FETCHES = 8
"""Largest number of simultaneous fetches of a process."""

_QUEUE, _DEADLINE_S = 8, 1.0
_HELPERS = 3  # of a batch, beside its own thread
_helpers = ThreadPoolExecutor(FETCHES // 2, "fetch")


def fetch_admission(observer: AdmissionObserver | None = None) -> AdmissionController:
    """Return the admission of fetches, each of which may hold a thread for seconds.

    Args:
        observer: receives the events.
    """
    queue_name = "queue of image downloads"
    return AdmissionController(FETCHES, _QUEUE, _DEADLINE_S, observer, starts_request=False, queue_name=queue_name)


@dataclass(frozen=True)
class ImageFetcher:
    """Fetches images from allowed hosts.

    Attributes:
        hosts: allowed names; `*.example.com` for all below that, `*` for any.
        max_bytes: of one image.
        is_allowed_address: returns True for an address that may be connected to.
        resolve: returns the addresses of a host and port.
        ports: returns the port that a URL of a scheme may name; None for a scheme that is not allowed.
        tls: returns the TLS settings.
        admission: limits the simultaneous fetches.
    """

    hosts: tuple[str, ...]
    max_bytes: int
    is_allowed_address: Callable[[str], bool] = is_public_address
    resolve: Callable[[str, int], Sequence[str]] = resolve_host
    ports: Callable[[str], int | None] = _PORTS.get
    tls: Callable[[], ssl.SSLContext] = ssl.create_default_context
    admission: AdmissionController = field(default_factory=fetch_admission)

    def fetch(self, url: str, budget: FetchBudget) -> bytes:
        """Return the image at a URL.

        Raises:
            InvalidRequest: not a URL.
            UrlNotAllowed: its scheme, host or port is not allowed.
            ImageTooLarge: more bytes than allowed.
            ImageNotFetched: any other failure; the log has the cause.
            Overloaded: too many fetches, or no host name can be resolved.
            ClientGone: the client disconnected while the fetch was queued.
        """
        parts = self._checked(url)
        with self.admission.slot():
            return self._follow(parts, budget)

    def _follow(self, parts: SplitResult, budget: FetchBudget) -> bytes:
        """Return the body at a checked URL, or where it redirects to."""
        try:
            for _ in range(1 + _MAX_REDIRECTS):
                result = self._get(parts, budget)
                if isinstance(result, bytes):
                    return result
                parts = self._redirected(parts, result)
            raise ImageNotFetched("too many redirects")
        except (OSError, http.client.HTTPException, ImageNotFetched, UnicodeError, ValueError) as error:
            _log.info("an image was not fetched from %s: %s", parts.hostname, error or type(error).__name__)
            message = "`image_url` could not be fetched; expected the URL of an image file that is sent in time"
            raise ImageNotFetched(message) from None

    def _checked(self, url: str) -> SplitResult:
        if len(url) > MAX_URL_LENGTH or not url.isascii() or any(char <= " " or char in "\\\x7f" for char in url):
            message = f"expected up to {MAX_URL_LENGTH} ASCII characters without spaces"
            raise InvalidRequest(f"`image_url` is not a URL; {message}")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise InvalidRequest("`image_url` is not a URL") from None
        host = (parts.hostname or "").rstrip(".")
        if not host:
            raise InvalidRequest("`image_url` is not a URL with a host")
        if "@" in parts.netloc or self.ports(parts.scheme) is None or port not in (None, self.ports(parts.scheme)):
            raise UrlNotAllowed("`image_url` must be http or https, on the default port, without a user name")
        if not any(_matches(host, allowed) for allowed in self.hosts):
            raise UrlNotAllowed(f"this service is not configured to fetch images from {shortened(host)}")
        return parts

    def _redirected(self, parts: SplitResult, location: str) -> SplitResult:
        try:
            target = self._checked(urljoin(parts.geturl(), location))
        except (InvalidRequest, UrlNotAllowed) as error:
            raise ImageNotFetched(f"a redirect: {error}") from None
        if parts.scheme == "https" and target.scheme != "https":
            raise ImageNotFetched("a redirect from https to http")
        return target

    def _get(self, parts: SplitResult, budget: FetchBudget) -> bytes | str:
        """Return the body, or the location of a redirect."""
        host = (parts.hostname or "").rstrip(".")
        with closing(self._connected(host, parts.scheme, budget)) as raw:
            connection = http.client.HTTPConnection(host)
            connection.sock = BudgetedSocket(raw, budget)
            connection.putrequest("GET", parts._replace(scheme="", netloc="", fragment="").geturl() or "/", True, True)
            for name, value in (("Host", host), ("User-Agent", "parecido"), ("Accept", "image/*")):
                connection.putheader(name, f"[{value}]" if name == "Host" and ":" in value else value)
            connection.putheader("Accept-Encoding", "identity")
            connection.putheader("Connection", "close")
            connection.endheaders()
            response = connection.getresponse()
            location = response.getheader("Location")
            if response.status in _REDIRECTS and location:
                return location
            if response.status != 200 or response.getheader("Content-Encoding", "identity").lower() != "identity":
                raise ImageNotFetched(f"status {response.status}, or a content encoding")
            return self._body(response, budget)

    def _body(self, response: http.client.HTTPResponse, budget: FetchBudget) -> bytes:
        max_bytes = min(self.max_bytes, budget.bytes_left)
        body = bytearray()
        while chunk := response.read(min(_CHUNK_BYTES, max_bytes + 1 - len(body))):
            body += chunk
            if len(body) > max_bytes or (response.length or 0) > max_bytes:
                raise ImageTooLarge(f"the image at `image_url` has more than {max_bytes:,} bytes")
        if response.length:
            raise ImageNotFetched("the body ends too early")
        budget.spend(len(body))
        return bytes(body)

    def _connected(self, host: str, scheme: str, budget: FetchBudget) -> socket.socket:
        port = self.ports(scheme) or 0
        addresses = resolve_within(budget.remaining_s(), host, port, self.resolve)
        if not addresses or not all(self.is_allowed_address(address) for address in addresses):
            raise ImageNotFetched("an address that is not allowed")
        raw = socket.create_connection((addresses[0], port), budget.remaining_s())
        if scheme == "https":
            try:
                raw = self.tls().wrap_socket(raw, server_hostname=host)
            except BaseException:
                raw.close()
                raise
        return raw


def fetch_all(fetcher: ImageFetcher, urls: Sequence[str], budget: FetchBudget) -> dict[str, bytes | ParecidoError]:
    """Fetch several images in parallel; return the image, or the error of `ImageFetcher.fetch`, by URL."""
    distinct = list(dict.fromkeys(urls))

    def fetch(url: str) -> bytes | ParecidoError:
        try:
            return fetcher.fetch(url, budget)
        except ParecidoError as error:
            return error

    return dict(zip(distinct, parallel_map(fetch, distinct, _helpers, _HELPERS), strict=True))


def _matches(host: str, allowed: str) -> bool:
    return allowed in ("*", host) or (allowed.startswith("*.") and host.endswith(allowed[1:]))
