"""Clients that search without a pause and count what they get.

As a program, in a container beside the service: `python load.py HOST PORT IMAGE CLIENTS` says `running` once each
client has an answer, and prints what they got as JSON when the service listens no more.
"""

import base64
import http.client
import json
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

_LIMIT_S = 60.0


@dataclass
class Counts:
    """What the clients got.

    Attributes:
        answers: snapshot id → right answers from it.
        failed: requests that reached the service and got no right answer, each with the reason.
        failed_s: when each of them did, by `time.monotonic()`.
        not_reached: why clients could not connect; each stops then.
    """

    answers: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    failed_s: list[float] = field(default_factory=list)
    not_reached: list[str] = field(default_factory=list)


class Load:
    """Each client sends one request after another, each over a connection of its own."""

    def __init__(self, host: str, port: int, image: bytes, clients: int, pause_s: float = 0.0) -> None:
        """Each waits `pause_s` between its requests, which leaves the cores to others."""
        self._address = (host, port)
        self._pause_s = pause_s
        self._body = json.dumps({"image_base64": base64.b64encode(image).decode(), "top_k": 3})
        self._ended = threading.Event()
        self._answered = threading.Barrier(clients + 1)
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask_until_ended) for _ in range(clients)]
        self.counts = Counts()

    def start(self) -> None:
        """Return when each client has an answer."""
        for thread in self._threads:
            thread.start()
        self._answered.wait(_LIMIT_S)

    def end(self) -> Counts:
        """Let the requests in flight end."""
        self._ended.set()
        return self.wait()

    def wait(self) -> Counts:
        """Until no client can connect any more."""
        for thread in self._threads:
            thread.join()
        return self.counts

    def _ask_until_ended(self) -> None:
        is_first = True
        while not self._ended.is_set() and self._ask():
            if is_first:
                self._answered.wait(_LIMIT_S)
                is_first = False
            self._ended.wait(self._pause_s)

    def _ask(self) -> bool:
        """Send one request, and say whether the service was reached."""
        connection = http.client.HTTPConnection(*self._address, timeout=_LIMIT_S)
        try:
            connection.connect()
        except OSError as error:
            with self._lock:
                self.counts.not_reached.append(repr(error))
            return False
        connected = time.monotonic()
        try:
            connection.request("POST", "/v1/search", self._body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            self._count(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            with self._lock:
                self._fail(f"{error!r}, {time.monotonic() - connected:.2f} s after it had connected")
        finally:
            connection.close()
        return True

    def _count(self, status: int, body: bytes) -> None:
        with self._lock:
            if status == 200:
                snapshot_id = json.loads(body)["snapshot_id"]
                self.counts.answers[snapshot_id] = self.counts.answers.get(snapshot_id, 0) + 1
            else:
                self._fail(f"{status}: {body[:200]!r}")

    def _fail(self, why: str) -> None:
        self.counts.failed.append(why)
        self.counts.failed_s.append(time.monotonic())


if __name__ == "__main__":
    load = Load(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]).read_bytes(), int(sys.argv[4]))
    load.start()
    print("running", flush=True)
    print(json.dumps(asdict(load.wait())))
