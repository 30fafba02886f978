"""HTTP clients that search concurrently; call these by `run_in_fresh_process`.

Each client is one keep-alive connection; `Asked.cpu_s` is the CPU time of all clients.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.harness.service_process import multipart

_REFUSED = 503


@dataclass
class Asked:
    """Responses that clients received.

    Attributes:
    seconds: Time from the first request to the last response.
    cpu_s: CPU time of the clients.
    waited_ms: Latency of each answered request, in order of the responses.
    refused_ms: Latency of each request rejected with status 503 and `Retry-After`.
    lag_ms: Largest delay of sending a request.
    failed: All other responses and errors.
    """

    seconds: float = 0.0
    cpu_s: float = 0.0
    waited_ms: list[float] = field(default_factory=list)
    refused_ms: list[float] = field(default_factory=list)
    lag_ms: float = 0.0
    failed: list[str] = field(default_factory=list)


def ask_without_pause(port: int, path: str, images: Sequence[bytes], clients: int, seconds: float) -> Asked:
    """Let each client send its next request when it has its response."""

    async def run(asked: Asked) -> None:
        ends = time.perf_counter() + seconds
        requests = _requests(path, images)

        async def client() -> None:
            connection = _Connection(port)
            while time.perf_counter() < ends:
                await connection.ask(next(requests), asked, time.perf_counter())
            connection.close()

        await asyncio.gather(*(client() for _ in range(clients)))

    return _timed(run)


def ask_at_rate(port: int, path: str, images: Sequence[bytes], per_s: float, seconds: float) -> Asked:
    """Send requests at fixed times, over any free connection, whether or not earlier ones are answered."""

    async def run(asked: Asked) -> None:
        requests, free, under_way = _requests(path, images), list[_Connection](), set[asyncio.Task[None]]()
        began = time.perf_counter()

        async def one(scheduled: float) -> None:
            connection = free.pop() if free else _Connection(port)
            asked.lag_ms = max(asked.lag_ms, 1000 * (time.perf_counter() - scheduled))
            await connection.ask(next(requests), asked, scheduled)
            free.append(connection)

        for number in range(int(per_s * seconds)):
            scheduled = began + number / per_s
            if (early := scheduled - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            task = asyncio.create_task(one(scheduled))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            await asyncio.sleep(0)
        while under_way:
            await asyncio.wait(under_way)
        for connection in free:
            connection.close()

    return _timed(run)


def _timed(run: Callable[[Asked], Coroutine[None, None, None]]) -> Asked:
    asked, began, cpu = Asked(), time.perf_counter(), time.process_time()
    asyncio.run(run(asked))
    asked.seconds, asked.cpu_s = time.perf_counter() - began, time.process_time() - cpu
    return asked


def _requests(path: str, images: Sequence[bytes]) -> Iterator[bytes]:
    made = []
    for image in images:
        body, content_type = multipart(image)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        made.append(head.encode() + body)
    return itertools.cycle(made)


class _Connection:
    """A client's connection, which reconnects if it was closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes, asked: Asked, since: float) -> None:
        """Send a request and record the response; latency counts from `since`."""
        try:
            status, head = await self._answer(request)
        except (OSError, asyncio.IncompleteReadError) as error:
            asked.failed.append(repr(error))
            self.close()
            return
        waited_ms = 1000 * (time.perf_counter() - since)
        if status == 200:
            asked.waited_ms.append(waited_ms)
        elif status == _REFUSED and b"\r\nretry-after: " in head:
            asked.refused_ms.append(waited_ms)
        else:
            asked.failed.append(f"status {status}")

    async def _answer(self, request: bytes) -> tuple[int, bytes]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await self._reader.readexactly(length)
        if b"\r\nconnection: close" in head:
            self.close()
        return int(head.split(b" ", 2)[1]), head

    def close(self) -> None:
        """Close the connection."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None
