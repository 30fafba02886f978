"""A bounded thread pool for each kind of request, so that no kind keeps the others waiting.

See docs/decisions/0015-admission-control.md.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from search_service.api.bodies.body_limits import JSON_BYTES
from search_service.settings import ServiceSettings

_QUEUE = 64
_BATCHES = 4

_T = TypeVar("_T")


@dataclass
class RequestPool:
    """The threads for one kind of request, shared fairly by client addresses. Belongs to the event loop.

    Attributes:
        threads: that process the requests.
        capacity: largest number of requests being processed or queued; twice as many, while an address has less than
            its fair share.
        max_parallel: largest number of requests of one address being processed at once.
        of_address: number of requests in the pool, by address.
    """

    threads: ThreadPoolExecutor
    capacity: int
    max_parallel: int
    of_address: Counter[str] = field(default_factory=Counter)
    _turns: dict[str, asyncio.Semaphore] = field(default_factory=dict)

    def has_room(self, address: str) -> bool:
        """Return True if a further request of an address may enter; a full pool is shared evenly."""
        n_requests, own = self.of_address.total(), self.of_address[address]
        return n_requests < self.capacity or (
            n_requests < 2 * self.capacity and (own + 1) * (len(self.of_address) + (not own)) <= self.capacity
        )

    @asynccontextmanager
    async def enter(self, address: str) -> AsyncIterator[None]:
        """Count a request of an address in the pool, from the wait for a thread until the response."""
        self.of_address[address] += 1
        try:
            async with self._turns.setdefault(address, asyncio.Semaphore(self.max_parallel)):
                yield
        finally:
            self.of_address[address] -= 1
            if not self.of_address[address]:
                del self.of_address[address], self._turns[address]

    async def run(self, function: Callable[..., _T], *args: Any) -> _T:
        """Call a function on a thread of the pool."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, function, *args)


def make_pools(settings: ServiceSettings) -> Mapping[str, RequestPool]:
    """Return the pool of each kind that `request_kind` returns; no thread is started before it is needed."""
    n_images, n_others = settings.slots + settings.queue, settings.threads
    return {
        "image": RequestPool(ThreadPoolExecutor(2 * n_images, "image"), n_images, 2 * n_images),
        "batch": RequestPool(ThreadPoolExecutor(_BATCHES, "batch"), _QUEUE // _BATCHES, _BATCHES),
        "search": RequestPool(ThreadPoolExecutor(n_others, "search"), n_others + _QUEUE, max(1, n_others - 1)),
        # These two hold Python's lock all the time that they run.
        "metrics": RequestPool(ThreadPoolExecutor(1, "metrics"), _QUEUE // 4, 1),
        "light": RequestPool(ThreadPoolExecutor(n_others, "light"), n_others + 4 * _QUEUE, max(1, n_others // 4)),
    }


def request_kind(method: str, path: str, content_type: str, body: bytes) -> str:
    """Return the kind of a request: `image` and `batch` need cores, `search` and `metrics` milliseconds, `light` less.

    Args:
        method: of HTTP.
        path: without a prefix of proxies and the query string.
        content_type: with its parameters.
        body: complete.
    """
    if path == "/metrics":
        return "metrics"
    if method != "POST" or not path.startswith("/v1/"):
        return "search" if path.endswith("/similar") else "light"
    if path.endswith("/batch"):
        return "batch"
    # A backslash may hide the name of a field: `"\u0069mage_url"`.
    has_image = "multipart/" in content_type.lower() or len(body) > JSON_BYTES or b'"image_' in body or b"\\u" in body
    return "image" if has_image else "search"
