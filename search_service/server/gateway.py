"""Hands whole requests to the threads that answer them, or refuses them at once: the only way from HTTP to Flask.

Kinds of requests have threads of their own, a lane each, so that none of them keeps the others waiting.
See docs/decisions/0015-admission-control.md.
"""

import asyncio
import json
import logging
import re
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote

import h11
from flask import Flask

from search_service.access.cors import sharing_headers
from search_service.access.forwarded import client_network, forwarded_address, forwarded_prefix, strip_prefix
from search_service.admission.controller import AdmissionController
from search_service.api.bodies.body_limits import JSON_BYTES, max_body_bytes, too_large
from search_service.api.error_handlers import error_headers, status_of
from search_service.api.http_error import HttpError
from search_service.api.responses.search import error_json
from search_service.api.security_headers import ALWAYS, PROTECTED
from search_service.observability.metrics import Metrics
from search_service.server.message import Answer, Request, origin_form
from search_service.settings import ServiceSettings
from shared.errors import ImageTooLarge, Overloaded, ParecidoError

BodyLimit = Callable[[str, str, str, ServiceSettings], int]
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LOG_S = 1.0
_WAITING = 64
_BATCHES = 4

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass
class RequestPool:
    """The threads for one kind of requests.

    Attributes:
        threads: that answer them.
        room: how many are answered or wait at most; twice as many, where one address has not its share of them.
        at_once: how many of one address are answered at once: its others don't wait in front of those of others.
        of_address: how many each address has there.
    """

    threads: ThreadPoolExecutor
    room: int
    at_once: int
    of_address: Counter[str] = field(default_factory=Counter)
    _turns: dict[str, asyncio.Semaphore] = field(default_factory=dict)

    def has_room(self, address: str) -> bool:
        """Whether a further request of an address may come in: the room is shared evenly where it is full."""
        n_in, own = self.of_address.total(), self.of_address[address]
        return n_in < self.room or (
            n_in < 2 * self.room and (own + 1) * (len(self.of_address) + (not own)) <= self.room
        )

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Have a request in the lane, from when it waits until it is answered."""
        self.of_address[address] += 1
        try:
            async with self._turns.setdefault(address, asyncio.Semaphore(self.at_once)):
                yield
        finally:
            self.of_address[address] -= 1
            if not self.of_address[address]:
                del self.of_address[address], self._turns[address]


def request_kind(method: str, path: str, content_type: str, body: bytes) -> str:
    """Its cost: `image` and `batch` wait for cores; `search` and `metrics` take milliseconds, `light` less."""
    if path == "/metrics":
        return "metrics"
    if method != "POST" or not path.startswith("/v1/"):
        return "search" if path.endswith("/similar") else "light"
    if path.endswith("/batch"):
        return "batch"
    # A backslash may hide the name of a field: `"\u0069mage_url"`.
    has_image = "multipart/" in content_type.lower() or len(body) > JSON_BYTES or b'"image_' in body or b"\\u" in body
    return "image" if has_image else "search"


class Gateway:
    """Belongs to the event loop, as all its attributes do but the threads.

    Attributes:
        answered: how many requests have been, well or badly.
    """

    def __init__(self, app: Flask, settings: ServiceSettings, body_limit: BodyLimit = max_body_bytes) -> None:
        """Start no thread before it is needed.

        Args:
            app: answers.
            settings: of the service.
            body_limit: how long a request's body may be, by method, path, content type and settings.
        """
        self.answered = 0
        self._body_limit = body_limit
        self._app, self._settings = app, settings
        self._metrics: Metrics = app.extensions["metrics"]
        self._admission: AdmissionController = app.extensions["admission"]
        n_images, n_others = settings.slots + settings.queue, settings.threads
        self._lanes = {
            "image": RequestPool(ThreadPoolExecutor(2 * n_images, "image"), n_images, 2 * n_images),
            "batch": RequestPool(ThreadPoolExecutor(_BATCHES, "batch"), _WAITING // _BATCHES, _BATCHES),
            "search": RequestPool(ThreadPoolExecutor(n_others, "search"), n_others + _WAITING, max(1, n_others - 1)),
            # These two take Python from all others, and wait for nothing.
            "metrics": RequestPool(ThreadPoolExecutor(1, "metrics"), _WAITING // 4, 1),
            "light": RequestPool(ThreadPoolExecutor(n_others, "light"), n_others + 4 * _WAITING, max(1, n_others // 4)),
        }
        self._routes = {rule.rule for rule in app.url_map.iter_rules()}
        self._logged_s, self._unlogged = -_LOG_S, 0

    async def answer(self, request: Request) -> Answer:
        """Have a thread answer.

        Raises:
            Overloaded: as many of its kind wait as may.
            ParecidoError: the application has broken down outside its own handling of errors.
        """
        environ = request.environ()
        address = self._address(request)
        kind = request_kind(*self._route(request.head), request.body.getvalue())  # not a copy
        lane = self._lanes[kind]
        if not lane.has_room(address):
            raise self._overloaded(kind)
        async with lane.turn(address):
            try:
                answer = await self._run(lane, Answer.of, self._app, environ)
            except Exception as error:
                _log.exception("a request has failed before or after its route")
                raise ParecidoError("an error of the service's own; its log has the details") from error
        self.answered += 1
        return answer

    async def more(self, answer: Answer) -> bytes:
        """The next bytes of a long answer, which a thread reads; nothing at the end."""
        return b"" if answer.rest is bytes else await self._run(self._lanes["light"], answer.rest)

    def max_body_bytes(self, head: h11.Request) -> int:
        """How long a request's body may be.

        Raises:
            ImageTooLarge: it says itself that it is longer.
        """
        most = self._body_limit(*self._route(head), self._settings)
        if int(_header(head, b"content-length") or 0) > most:
            raise self.too_large(head, most)
        return most

    def too_large(self, head: h11.Request, max_bytes: int) -> ImageTooLarge:
        """The error for a body that is longer than may be."""
        method, path, _ = self._route(head)
        return ImageTooLarge(too_large(method, path, max_bytes))

    def refusal(self, error: ParecidoError, head: h11.Request | None) -> Answer:
        """Answer as the application would, without it: a thousand refusals a second must not cost a core.

        Args:
            error: why.
            head: of the request, where so much of it was understood.
        """
        request_id = _header(head, b"x-request-id") if head else ""
        request_id = request_id if _REQUEST_ID.fullmatch(request_id) else uuid.uuid4().hex
        origin = _header(head, b"origin") if head else ""
        body = json.dumps(error_json(error.code, str(error), request_id)).encode()
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "X-Request-ID": request_id,
            **ALWAYS,
            **PROTECTED,
            **error_headers(error),
            **sharing_headers(origin, self._settings.cors_origins or ()),
        }
        method, path, _ = self._route(head) if head else ("", "", "")
        self._count(path, method, status_of(error), error)
        return Answer(status_of(error), list(headers.items()), body)

    def _route(self, head: h11.Request) -> tuple[str, str, str]:
        """Method, path without a prefix of proxies, and content type."""
        try:
            path = unquote(origin_form(head.target).partition("?")[0])
        except HttpError:  # it is refused for that
            path = ""
        trusted, prefix = self._settings.trusted_proxies, self._settings.prefix or ""
        if trusted:
            prefix = forwarded_prefix(_header(head, b"x-forwarded-prefix"), trusted) or prefix
        return head.method.decode("latin-1"), strip_prefix(path, prefix), _header(head, b"content-type")

    def _address(self, request: Request) -> str:
        """Of the client, also behind proxies."""
        trusted = self._settings.trusted_proxies
        forwarded = forwarded_address(_header(request.head, b"x-forwarded-for"), trusted) if trusted else None
        return client_network(forwarded) if forwarded else request.network

    def _count(self, path: str, method: str, status: int, error: ParecidoError) -> None:
        """In the metrics each, in the log one line a second at most: to write one for each is work too."""
        self.answered += 1
        self._metrics.request(path if path in self._routes else None, method, status)
        self._metrics.error(error.code)
        self._unlogged += 1
        now_s = time.monotonic()
        if now_s - self._logged_s >= _LOG_S:
            fields = {"status": status, "error": error.code, "requests": self._unlogged}
            _log.warning("refused: %d, the last one: %s", self._unlogged, error, extra={"fields": fields})
            self._unlogged, self._logged_s = 0, now_s

    def _overloaded(self, kind: str) -> Overloaded:
        if kind == "image":
            return self._admission.overloaded("queue_full")
        return Overloaded("the service is busy: as many requests of this kind wait as may; try again in 1 s")

    @staticmethod
    async def _run(lane: RequestPool, call: Callable[..., _T], *args: Any) -> _T:
        return await asyncio.get_running_loop().run_in_executor(lane.threads, call, *args)


def _header(head: h11.Request, name: bytes) -> str:
    return ", ".join(value.decode("latin-1") for key, value in head.headers if key == name)
