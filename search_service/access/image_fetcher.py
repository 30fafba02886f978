"""Fetch a query image from a URL that a caller gave, without being led astray (server-side request forgery).

URL ─check─▶ host ─resolve once─▶ addresses ─all public?─▶ connect to one of them ─▶ image, or a redirect: once more

Which address is asked is decided before connecting, and that very one is connected to, so a name that resolves
differently the second time leads nowhere else. What went wrong beyond the URL is logged and not told: a caller learns
nothing of hosts and ports that it can't reach itself. See docs/decisions/0021-image-url.md.
"""

import http.client
import io
import ipaddress
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from search_service.admission.controller import AdmissionController, AdmissionObserver
from search_service.admission.parallel_map import parallel_map
from shared.errors import ImageNotFetched, ImageTooLarge, InvalidRequest, Overloaded, ParecidoError, UrlNotAllowed
from shared.shown import shortened

MAX_URL_LENGTH = 2048
_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK_BYTES = 64 * 1024
_PORTS = {"http": 80, "https": 443}
_UNICAST = ipaddress.ip_network("2000::/3")
# They hold an IPv4 address, or are for protocols: 6to4; Teredo, ORCHID and others.
_NOT_PLAIN = (ipaddress.ip_network("2002::/16"), ipaddress.ip_network("2001::/23"))

_log = logging.getLogger(__name__)
_N_RESOLVERS = 8
_resolvers = ThreadPoolExecutor(_N_RESOLVERS, "resolve")  # a resolver has no time limit of its own
_free_resolvers = threading.BoundedSemaphore(_N_RESOLVERS)

FETCHES = 8
"""At once, of a process."""

_WAITING, _WAIT_S = 8, 1.0
_HELPERS = 3  # of a batch, beside its own thread
_helpers = ThreadPoolExecutor(FETCHES // 2, "fetch")


def fetch_admission(observer: AdmissionObserver | None = None) -> AdmissionController:
    """Decides who fetches when: each fetch holds a thread for seconds, where the other side is slow.

    Args:
        observer: is told what becomes of them.
    """
    names = ("as many images wait already to be fetched as may", "of fetching an image")
    return AdmissionController(FETCHES, _WAITING, _WAIT_S, observer, is_first_work=False, names=names)


def public_address(text: str) -> bool:
    """Whether an address is one of the public internet's, and leads to no other by what is written in it."""
    address = ipaddress.ip_address(text)
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return address.version == 4 or (address in _UNICAST and not any(address in network for network in _NOT_PLAIN))


def addresses_of(host: str, port: int) -> list[str]:
    """What a name resolves to, or an address in any way of writing it."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass
class FetchBudget:
    """What is left for all images of one request.

    Attributes:
        until: the time of `time.monotonic` when fetching ends.
        bytes_left: of all bodies.
    """

    until: float
    bytes_left: int
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def spend(self, n_bytes: int) -> None:
        """Count a body that was fetched.

        Raises:
            ImageTooLarge: with those fetched meanwhile it is more than is left.
        """
        with self._lock:
            if n_bytes > self.bytes_left:
                raise ImageTooLarge(f"what `image_url` leads to has more than {self.bytes_left:,} bytes")
            self.bytes_left -= n_bytes

    def seconds(self) -> float:
        """What is left of the time.

        Raises:
            TimeoutError: nothing is.
        """
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("it took too long")
        return left


@dataclass(frozen=True)
class ImageFetcher:
    """Fetches images from the hosts of a list.

    Attributes:
        hosts: names; `*.example.com` for all below that, `*` for any.
        max_bytes: of one image.
        is_allowed_address: whether an address may be connected to.
        resolve: from host and port to addresses.
        ports: that a URL may name, by its scheme.
        tls: how servers prove who they are.
        admission: decides who fetches when.
    """

    hosts: tuple[str, ...]
    max_bytes: int
    is_allowed_address: Callable[[str], bool] = public_address
    resolve: Callable[[str, int], Sequence[str]] = addresses_of
    ports: Callable[[str], int | None] = _PORTS.get
    tls: Callable[[], ssl.SSLContext] = ssl.create_default_context
    admission: AdmissionController = field(default_factory=fetch_admission)

    def fetch(self, url: str, allowance: FetchBudget) -> bytes:
        """The bytes behind a URL.

        Raises:
            InvalidRequest: it is no URL.
            UrlNotAllowed: its scheme, host or port is not one to fetch from.
            ImageTooLarge: more bytes than allowed.
            ImageNotFetched: anything else; the log says what.
            Overloaded: as many are fetched already as may be, or no host name is resolved any more.
            ClientGone: nobody waits for it any more.
        """
        parts = self._checked(url)
        with self.admission.slot():
            return self._follow(parts, allowance)

    def _follow(self, parts: SplitResult, allowance: FetchBudget) -> bytes:
        """The body behind a URL that was checked, and the redirects from there."""
        try:
            for _ in range(1 + _MAX_REDIRECTS):
                found = self._get(parts, allowance)
                if isinstance(found, bytes):
                    return found
                parts = self._redirected(parts, found)
            raise ImageNotFetched("too many redirects")
        except (OSError, http.client.HTTPException, ImageNotFetched, UnicodeError, ValueError) as error:
            _log.info("an image was not fetched from %s: %s", parts.hostname, error or type(error).__name__)
            raise ImageNotFetched("`image_url` could not be fetched: it has to lead to a file, soon") from None

    def _checked(self, url: str) -> SplitResult:
        if len(url) > MAX_URL_LENGTH or not url.isascii() or any(sign <= " " or sign in "\\\x7f" for sign in url):
            raise InvalidRequest(f"`image_url` is no URL: wanted up to {MAX_URL_LENGTH} ASCII characters, no blanks")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise InvalidRequest("`image_url` is no URL") from None
        host = (parts.hostname or "").rstrip(".")
        if not host:
            raise InvalidRequest("`image_url` is no URL with a host")
        if "@" in parts.netloc or self.ports(parts.scheme) is None or port not in (None, self.ports(parts.scheme)):
            raise UrlNotAllowed("`image_url` has to be https or http, on its usual port, without a user name")
        if not any(_matches(host, allowed) for allowed in self.hosts):
            raise UrlNotAllowed(f"this service fetches no images from {shortened(host)}")
        return parts

    def _redirected(self, parts: SplitResult, location: str) -> SplitResult:
        try:
            following = self._checked(urljoin(parts.geturl(), location))
        except (InvalidRequest, UrlNotAllowed) as error:
            raise ImageNotFetched(f"a redirect: {error}") from None
        if parts.scheme == "https" and following.scheme != "https":
            raise ImageNotFetched("a redirect from https to http")
        return following

    def _get(self, parts: SplitResult, allowance: FetchBudget) -> bytes | str:
        """The body, or where it has gone."""
        host = (parts.hostname or "").rstrip(".")
        with closing(self._connected(host, parts.scheme, allowance)) as raw:
            connection = http.client.HTTPConnection(host)
            connection.sock = _Requests(raw, allowance)
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
            return self._body(response, allowance)

    def _body(self, response: http.client.HTTPResponse, allowance: FetchBudget) -> bytes:
        most = min(self.max_bytes, allowance.bytes_left)
        body = bytearray()
        while chunk := response.read(min(_CHUNK_BYTES, most + 1 - len(body))):
            body += chunk
            if len(body) > most or (response.length or 0) > most:
                raise ImageTooLarge(f"what `image_url` leads to has more than {most:,} bytes")
        if response.length:
            raise ImageNotFetched("the body ends too early")
        allowance.spend(len(body))
        return bytes(body)

    def _connected(self, host: str, scheme: str, allowance: FetchBudget) -> socket.socket:
        port = self.ports(scheme) or 0
        addresses = self._resolved(host, port, allowance)
        if not addresses or not all(self.is_allowed_address(address) for address in addresses):
            raise ImageNotFetched("an address that is not to be connected to")
        raw = socket.create_connection((addresses[0], port), allowance.seconds())
        if scheme == "https":
            try:
                raw = self.tls().wrap_socket(raw, server_hostname=host)
            except BaseException:
                raw.close()
                raise
        return raw

    def _resolved(self, host: str, port: int, allowance: FetchBudget) -> Sequence[str]:
        seconds = allowance.seconds()
        if not _free_resolvers.acquire(blocking=False):  # all hang: a further one would only wait for them
            raise Overloaded("the service is busy: no host name is resolved now; try again in 5 s", 5)
        resolving: Future[Sequence[str]] = _resolvers.submit(self.resolve, host, port)
        resolving.add_done_callback(lambda _: _free_resolvers.release())
        return resolving.result(seconds)


def fetch_all(fetcher: ImageFetcher, urls: Sequence[str], allowance: FetchBudget) -> dict[str, bytes | ParecidoError]:
    """By its URL what `fetcher.fetch` gives for it or raises, of several side by side."""
    distinct = list(dict.fromkeys(urls))

    def fetch(url: str) -> bytes | ParecidoError:
        try:
            return fetcher.fetch(url, allowance)
        except ParecidoError as error:
            return error

    return dict(zip(distinct, parallel_map(fetch, distinct, _helpers, _HELPERS), strict=True))


def _matches(host: str, allowed: str) -> bool:
    return allowed in ("*", host) or (allowed.startswith("*.") and host.endswith(allowed[1:]))


class _Requests:
    """What http.client wants of a socket. It closes it when an answer begins; the answer reads on."""

    def __init__(self, raw: socket.socket, allowance: FetchBudget) -> None:
        self._raw = raw
        self._allowance = allowance

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Answer(self._raw, self._allowance))

    def sendall(self, data: bytes) -> None:
        self._raw.settimeout(self._allowance.seconds())
        self._raw.sendall(data)

    def close(self) -> None:
        pass


class _Answer(io.RawIOBase):
    """Each read has what is left of the time, however little comes at once."""

    def __init__(self, raw: socket.socket, allowance: FetchBudget) -> None:
        self._raw = raw
        self._allowance = allowance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._raw.settimeout(self._allowance.seconds())
        return self._raw.recv_into(buffer)
