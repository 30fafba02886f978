"""Who is turned away before taking a thread: queries by an image that the queue has no room for.

Refusing one in the application costs a thread's turn and a millisecond of Python, and many of those at once keep the
queries that were let in from their cores. Here it costs a tenth of that, on the event loop. See
docs/decisions/0015-admission.md.
"""

import logging
import re
import time
from collections.abc import Collection

from search_service.admission import Admission
from search_service.bare_answer import bare_answer
from search_service.cors import sharing_headers
from search_service.metrics import Metrics

_log = logging.getLogger(__name__)
_END_OF_HEAD = b"\r\n\r\n"
_POST = re.compile(rb"POST (/[^ ?]*)[ ?]")
_FORM = re.compile(rb"\r\ncontent-type:[ \t]*multipart/form-data", re.IGNORECASE)
_IMAGE_IN_JSON = b'"image_base64"'
_ORIGIN = re.compile(rb"\r\norigin:[ \t]*([!-~]{1,200})[ \t]*(?=\r\n)", re.IGNORECASE)
_LOG_S = 1.0


class Door:
    """Lets in as many queries by an image as run and wait; used by one thread."""

    def __init__(
        self, admission: Admission, metrics: Metrics, routes: Collection[str], cors_origins: tuple[str, ...] = ()
    ) -> None:
        """Open it.

        Args:
            admission: the one that they are let in for.
            metrics: counts who is turned away as the application would.
            routes: the paths of the API that queries are sent to.
            cors_origins: whose pages may read answers.
        """
        self.room = admission.slots + admission.queue
        self._admission = admission
        self._metrics = metrics
        self._routes = frozenset(route.encode() for route in routes)
        self._cors_origins = cors_origins
        self._unsaid = 0
        self._said_s = -_LOG_S

    def wants_room(self, request: bytes) -> bool:
        """Whether a whole request brings an image, as a form or within JSON, and so will wait for a core."""
        line = _POST.match(request)
        if line is None or line[1] not in self._routes:
            return False
        return _FORM.search(request, 0, request.find(_END_OF_HEAD) + 2) is not None or _IMAGE_IN_JSON in request

    def refuse(self, request: bytes, is_kept: bool) -> bytes:
        """Count a request as refused, and write its answer.

        Args:
            request: one that `wants_room`.
            is_kept: whether the connection is kept.
        """
        line = _POST.match(request)
        assert line is not None
        error = self._admission.refusal("queue_full")
        self._metrics.request(line[1].decode(), "POST", 503, 0.0)
        self._metrics.error(error.code)
        self._say()
        origin = _ORIGIN.search(request, 0, request.find(_END_OF_HEAD) + 2)
        sharing = sharing_headers(origin[1].decode() if origin else "", self._cors_origins)
        return bare_answer(503, error, request, is_kept, sharing)

    def _say(self) -> None:
        """One line a second at most: to write one for each is work too."""
        self._unsaid += 1
        now_s = time.monotonic()
        if now_s - self._said_s >= _LOG_S:
            fields = {"status": 503, "error": "overloaded", "requests": self._unsaid}
            message = "503 for %d more: as many queries wait as may (PARECIDO_QUEUE)"
            _log.warning(message, self._unsaid, extra={"fields": fields})
            self._unsaid, self._said_s = 0, now_s
