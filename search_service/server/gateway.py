"""Hands whole requests to the threads that answer them, or refuses them at once: the only way from HTTP to Flask.

Kinds of requests have threads of their own, a lane each, so that none of them keeps the others waiting.
See docs/decisions/0015-admission.md.
"""

import asyncio
import json
import logging
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import h11
from flask import Flask

from search_service.admission import Admission
from search_service.answer_json import error_json
from search_service.error_handlers import error_headers, status_of
from search_service.metrics import Metrics
from search_service.response_headers import ALWAYS, sharing_headers
from search_service.server.message import Answer, Request
from search_service.settings import ServiceSettings
from shared.errors import ImageTooLarge, Overloaded, ParecidoError

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_SNIFFED_BYTES = 1 << 20  # a body that is longer has an image
_LOG_S = 1.0
_WAITING = 64
_BATCHES = 4

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass
class Lane:
    """The threads for one kind of requests.

    Attributes:
        threads: that answer them.
        room: how many are answered or wait at most; twice as many, where one address has not its share of them.
        of_address: how many each address has there.
    """

    threads: ThreadPoolExecutor
    room: int
    of_address: Counter[str] = field(default_factory=Counter)

    def has_room(self, address: str) -> bool:
        """Whether a further request of an address may come in: the room is shared evenly where it is full."""
        n_in, own = self.of_address.total(), self.of_address[address]
        return n_in < self.room or (
            n_in < 2 * self.room and (own + 1) * (len(self.of_address) + (not own)) <= self.room
        )


def kind_of(request: Request) -> str:
    """What a request costs: `image` and `batch` wait for cores, `search` takes milliseconds, `light` less."""
    path = request.head.target.partition(b"?")[0]
    if path.endswith(b"/similar"):
        return "search"
    if request.head.method != b"POST" or b"/v1/" not in path:
        return "light"
    if path.endswith(b"/batch"):
        return "batch"
    is_form = any(name == b"content-type" and b"multipart/" in value.lower() for name, value in request.head.headers)
    body = request.body.getvalue()  # not a copy
    has_image = is_form or len(body) > _SNIFFED_BYTES or b'"image_' in body
    return "image" if has_image else "search"


class Gateway:
    """Belongs to the event loop, as all its attributes do but the threads.

    Attributes:
        answered: how many requests have been, well or badly.
    """

    def __init__(self, app: Flask, settings: ServiceSettings) -> None:
        """Start no thread before it is needed."""
        self.answered = 0
        self._app, self._settings = app, settings
        self._metrics: Metrics = app.extensions["metrics"]
        self._admission: Admission = app.extensions["admission"]
        n_images, n_others = settings.slots + settings.queue, settings.threads
        self._lanes = {
            "image": Lane(ThreadPoolExecutor(2 * n_images, "image"), n_images),
            "batch": Lane(ThreadPoolExecutor(_BATCHES, "batch"), _WAITING // _BATCHES),
            "search": Lane(ThreadPoolExecutor(n_others, "search"), n_others + _WAITING),
            "light": Lane(ThreadPoolExecutor(n_others, "light"), n_others + 4 * _WAITING),
        }
        self._routes = {rule.rule for rule in app.url_map.iter_rules()}
        self._logged_s, self._unlogged = -_LOG_S, 0

    async def answer(self, request: Request) -> Answer:
        """Have a thread answer.

        Raises:
            Overloaded: as many of its kind wait as may.
            HttpError: the request's target is not one.
        """
        environ, kind = request.environ(), kind_of(request)
        lane = self._lanes[kind]
        if not lane.has_room(request.address):
            raise self._overloaded(kind)
        lane.of_address[request.address] += 1
        try:
            answer = await self._run(lane, Answer.of, self._app, environ)
        finally:
            lane.of_address[request.address] -= 1
            lane.of_address += Counter()  # keeps only those that are in
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
        is_batch = head.target.partition(b"?")[0].endswith(b"/batch")
        most = self._settings.max_batch_body_bytes if is_batch else self._settings.max_body_bytes
        if any(name == b"content-length" and int(value) > most for name, value in head.headers):
            raise self.too_large(most)
        return most

    def too_large(self, max_bytes: int) -> ImageTooLarge:
        """The error for a body that is longer than may be."""
        settings = "PARECIDO_MAX_UPLOAD_BYTES, for a batch PARECIDO_MAX_BATCH_BYTES"
        return ImageTooLarge(f"the body is larger than the {max_bytes:,} bytes that are accepted here ({settings})")

    def refusal(self, error: ParecidoError, head: h11.Request | None) -> Answer:
        """Answer as the application would, without it: a thousand refusals a second must not cost a core.

        Args:
            error: why.
            head: of the request, where so much of it was understood.
        """
        given = dict(head.headers) if head else {}
        request_id = given.get(b"x-request-id", b"")
        named = request_id.decode() if _REQUEST_ID.fullmatch(request_id) else uuid.uuid4().hex
        status, origin = status_of(error), given.get(b"origin", b"").decode("latin-1")
        body = json.dumps(error_json(error.code, str(error), named)).encode()
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "X-Request-ID": named,
            **ALWAYS,
            **error_headers(error),
            **sharing_headers(origin, self._settings.cors_origins or ()),
        }
        path = head.target.partition(b"?")[0].decode("latin-1") if head else ""
        self._count(path, head.method.decode("latin-1") if head else "", status, error)
        return Answer(status, list(headers.items()), body)

    def _count(self, path: str, method: str, status: int, error: ParecidoError) -> None:
        """In the metrics each, in the log one line a second at most: to write one for each is work too."""
        self.answered += 1
        self._metrics.request(path if path in self._routes else None, method, status, 0.0)
        self._metrics.error(error.code)
        self._unlogged += 1
        now_s = time.monotonic()
        if now_s - self._logged_s >= _LOG_S:
            fields = {"status": status, "error": error.code, "requests": self._unlogged}
            _log.warning("refused %d requests, the last one: %s", self._unlogged, error, extra={"fields": fields})
            self._unlogged, self._logged_s = 0, now_s

    def _overloaded(self, kind: str) -> Overloaded:
        if kind == "image":
            return self._admission.refusal("queue_full")
        return Overloaded("the service is busy: as many requests of this kind wait as may; try again in 1 s")

    async def _run(self, lane: Lane, call: Callable[..., _T], *args: Any) -> _T:
        return await asyncio.get_running_loop().run_in_executor(lane.threads, call, *args)
