import asyncio
import io
import json
from typing import Any

import pytest

from benchmarks.serving.http.app import asgi, wsgi

BODY = b"x" * 1000


def by_wsgi(path: str, expect: str = "") -> tuple[int, Any]:
    begun: list[str] = []
    environ = {"PATH_INFO": path, "CONTENT_LENGTH": str(len(BODY)), "wsgi.input": io.BytesIO(BODY)}
    answer = wsgi(environ | {"HTTP_EXPECT": expect}, lambda status, _: begun.append(status))
    return int(begun[0].split()[0]), json.loads(b"".join(answer))


def by_asgi(path: str, expect: str = "") -> tuple[int, Any]:
    sent: list[dict[str, Any]] = []
    events = [
        {"type": "http.request", "body": BODY[:400], "more_body": True},
        {"type": "http.request", "body": BODY[400:]},
    ]

    async def receive() -> dict[str, Any]:
        return events.pop(0)

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    asyncio.run(asgi({"type": "http", "path": path, "headers": [(b"expect", expect.encode())]}, receive, send))
    return sent[0]["status"], json.loads(b"".join(event["body"] for event in sent[1:]))


@pytest.mark.parametrize("answered", [by_wsgi, by_asgi])
def test_both_applications_answer_alike(answered: Any) -> None:
    assert answered("/echo") == (200, {"status": "ok", "n_bytes": 1000})
    assert answered("/echo", "wonders")[0] == 417
    status, large = answered("/large")
    assert status == 200
    assert len(large["text"]) == 5_000_000
