"""The gateway from HTTP to Flask: hands complete requests to threads, or rejects them without Flask (load shedding)."""

import json
import logging
import re
import time
import uuid
from collections.abc import Callable

import h11
from flask import Flask

from search_service.access.cors import sharing_headers
from search_service.access.forwarded import client_network, forwarded_address
from search_service.admission.controller import AdmissionController
from search_service.api.bodies.body_limits import max_body_bytes, too_large
from search_service.api.error_handlers import error_headers, status_of
from search_service.api.responses.errors import error_json
from search_service.api.security_headers import COMMON_HEADERS, NON_PAGE_HEADERS
from search_service.observability.metrics import Metrics
from search_service.server.request import Request, RequestHead
from search_service.server.request_pools import make_pools, request_kind
from search_service.server.response import Response
from search_service.settings import ServiceSettings
from shared.errors import ImageTooLarge, Overloaded, ParecidoError

BodyLimit = Callable[[str, str, str, ServiceSettings], int]
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LOG_INTERVAL_S = 1.0

_log = logging.getLogger(__name__)


class Gateway:
    """Belongs to the event loop.

    Attributes:
        n_responses: number of responses so far, errors included.
    """

    def __init__(self, app: Flask, settings: ServiceSettings, body_limit: BodyLimit = max_body_bytes) -> None:
        """Start no thread before it is needed.

        Args:
            app: the application.
            settings: of the service.
            body_limit: returns the largest body by method, path, content type and settings.
        """
        self.n_responses = 0
        self._body_limit = body_limit
        self._app, self._settings = app, settings
        self._metrics: Metrics = app.extensions["metrics"]
        self._admission: AdmissionController = app.extensions["admission"]
        self._pools = make_pools(settings)
        self._routes = {rule.rule for rule in app.url_map.iter_rules()}
        self._logged_s, self._unlogged = -_LOG_INTERVAL_S, 0

    def read_head(self, raw: h11.Request) -> RequestHead:
        """Work out the route of a request."""
        return RequestHead.of(raw, self._settings.trusted_proxies, self._settings.prefix or "")

    async def respond(self, request: Request) -> Response:
        """Process a request in a thread of its pool.

        Raises:
            Overloaded: the pool of its kind is full.
            ParecidoError: the application failed outside its error handlers.
        """
        environ = request.environ()
        head, address = request.head, self._client_network(request)
        kind = request_kind(head.method, head.path, head.content_type, request.body.getvalue())  # not a copy
        pool = self._pools[kind]
        if not pool.has_room(address):
            raise self._overloaded(kind)
        async with pool.enter(address):
            try:
                response = await pool.run(Response.from_app, self._app, environ)
            except Exception as error:
                _log.exception("a request failed outside the error handlers")
                raise ParecidoError("internal error; the service's log has the details") from error
        self.n_responses += 1
        return response

    async def read_more(self, response: Response) -> bytes:
        """Return the next bytes of a long response, read by a thread; `b""` at the end."""
        return b"" if response.read_more is None else await self._pools["light"].run(response.read_more)

    def max_body_bytes(self, head: RequestHead) -> int:
        """Return the largest body that a request may have.

        Raises:
            ImageTooLarge: its Content-Length is larger.
        """
        limit = self._body_limit(head.method, head.path, head.content_type, self._settings)
        if int(head.header(b"content-length") or 0) > limit:
            raise self.too_large(head, limit)
        return limit

    def too_large(self, head: RequestHead, max_bytes: int) -> ImageTooLarge:
        """Return the error for a body of more than `max_bytes`."""
        return ImageTooLarge(too_large(head.method, head.path, max_bytes))

    def error_response(self, error: ParecidoError, head: RequestHead | None) -> Response:
        """Respond as the application would, without it: a thousand rejections a second must not cost a core.

        Args:
            error: the reason.
            head: of the request, if it could be read.
        """
        request_id = head.header(b"x-request-id") if head else ""
        request_id = request_id if _REQUEST_ID.fullmatch(request_id) else uuid.uuid4().hex
        origin = head.header(b"origin") if head else ""
        body = json.dumps(error_json(error.code, str(error), request_id)).encode()
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "X-Request-ID": request_id,
            **COMMON_HEADERS,
            **NON_PAGE_HEADERS,
            **error_headers(error),
            **sharing_headers(origin, self._settings.cors_origins or ()),
        }
        status = status_of(error)
        self._count(head, status, error)
        return Response(status, list(headers.items()), body)

    def _client_network(self, request: Request) -> str:
        """Return the network of the client, also behind proxies."""
        trusted = self._settings.trusted_proxies
        forwarded = forwarded_address(request.head.header(b"x-forwarded-for"), trusted) if trusted else None
        return client_network(forwarded) if forwarded else request.network

    def _count(self, head: RequestHead | None, status: int, error: ParecidoError) -> None:
        """Count an error in the metrics; log at most one line per second, since logging each would cost too much."""
        self.n_responses += 1
        route = head.path if head and head.path in self._routes else None
        self._metrics.request(route, head.method if head else "", status)
        self._metrics.error(error.code)
        self._unlogged += 1
        now_s = time.monotonic()
        if now_s - self._logged_s >= _LOG_INTERVAL_S:
            fields = {"status": status, "error": error.code, "requests": self._unlogged}
            _log.warning("rejected %d requests, the last one: %s", self._unlogged, error, extra={"fields": fields})
            self._unlogged, self._logged_s = 0, now_s

    def _overloaded(self, kind: str) -> Overloaded:
        if kind == "image":
            return self._admission.overloaded("queue_full")
        return Overloaded(f"the service is busy: the queue of {kind} requests is full; retry in 1 s")
