"""Comparison of HTTP servers with one small application: speed and hostile clients.

- Requests per second of one and of eight clients on kept connections, for all servers alternately.
- `/healthz` on new connections while other clients hold stalled ones.
- Responses to requests that no application should see, and whether they are JSON error bodies.
- Time until a connection is closed that sends no complete request or does not read its response.

Every server has one process, eight threads if it has threads, room for 1,000 connections and timeouts of ten seconds if
it has such options. Clients share its cores and have one address. The servers have their own environment
(`peers/versions.toml`); Parecido's is `search_service/server` with default settings.
"""

import select
import selectors
import socket
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import product
from pathlib import Path

from benchmarks.ann.environments import peer_python
from benchmarks.ann.real_embeddings import CACHE
from benchmarks.harness.options import option_parser
from benchmarks.harness.rows import print_records, store
from benchmarks.serving.http.servers import ANSWER_S, COMMANDS, OURS, Running, healthz_s, running
from tests.support.processes.process_memory import family_mb

_GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
_POST = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"
_CHUNKED = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
_LARGE = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"
_SPEED = {"GET": _GET, "POST of 60 KB": _POST + bytes(60_000)}
_HOLDS = {  # number of connections, their first bytes, and those sent five times a second
    "100 trickle an upload": (100, _POST, b"a"),
    "1,100 have sent a byte": (1100, b"P", b""),
    "80 don't read 5 MB": (80, _LARGE, b""),
    "75 in a chunk": (75, _CHUNKED + b'fffff\r\n{"a":\r\n0\r\n\r\n', b""),
}
_WRONG = {
    "malformed": b"GET\r\n\r\n",
    "head of 140 KB": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 140_000 + b"\r\n\r\n",
    "Expect: wonders": b"POST /echo HTTP/1.1\r\nHost: x\r\nExpect: wonders\r\nContent-Length: 2\r\n\r\n{}",
    "two lengths": b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}a",
}
_ENDLESS = {  # first bytes, and those sent five times a second
    "head without an end": (b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"a"),
    "body that drips": (_POST, b"a"),
    "silence": (b"", b""),
    "answer not read": (_LARGE, b""),
}
_DRIP_S = 0.2
_ESTABLISHED = "01"  # in /proc/net/tcp


def main() -> None:
    """Run the benchmark."""
    parser = option_parser("serving.http.compare", __doc__)
    names = list(COMMANDS)
    parser.add_argument("--servers", nargs="*", choices=names, default=names, help="default: all")
    parser.add_argument("--environments", type=Path, default=CACHE / "environments", help="virtual environments")
    options = parser.parse_args()
    seconds, rounds, watched_s = (0.3, 1, 3) if options.smoke else (2.0, 3, 30)
    python = peer_python("http_servers", options.environments.resolve())
    servers = [(name, Path(sys.executable) if name == OURS else python) for name in options.servers]
    with ExitStack() as stack:
        running_servers = [stack.enter_context(running(*server)) for server in servers]
        speed = _speed(running_servers, seconds, rounds)
        print_records("Requests per second, 1 and 8 clients", speed)
        wrong = [
            {"server": server.name} | {kind: _reply(server, sent) for kind, sent in _WRONG.items()}
            for server in running_servers
        ]
        print_records("Responses to requests that no application should see", wrong)
        ended = _ended(running_servers, watched_s)
        print_records(f"Seconds until answered or closed; –: not within {watched_s}", ended)
    held = [_beside(*one, seconds) for one in servers]
    print_records("/healthz meanwhile, p50 / p99 in ms; additional resident MB; –: no response", held)
    store("http_servers", options.smoke, {"speed": speed, "held": held, "wrong": wrong, "ended": ended})


def _speed(servers: Sequence[Running], seconds: float, rounds: int) -> list[dict[str, object]]:
    """Return medians over rounds in which all servers take turns."""
    cases = [(f"{kind}, {n}", request, n) for kind, request in _SPEED.items() for n in (1, 8)]
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for label, request, n_clients in cases:
            for server in servers:
                per_s = _per_s(server, request, n_clients, seconds)
                found.setdefault((server.name, label), []).append(per_s)
    return [
        {"server": one.name} | {label: round(statistics.median(found[one.name, label])) for label, _, _ in cases}
        for one in servers
    ]


def _per_s(server: Running, request: bytes, n_clients: int, seconds: float) -> float:
    """Return requests per second of clients without a pause, all in one thread, which costs least."""
    n_answers, began_s = 0, time.perf_counter()
    with selectors.DefaultSelector() as selector, ExitStack() as stack:

        def connect() -> None:
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            selector.register(client, selectors.EVENT_READ, bytearray())
            client.sendall(request)

        for _ in range(n_clients):
            connect()
        while time.perf_counter() - began_s < seconds:
            for key, _ in selector.select(timeout=1):
                client, answer = key.fileobj, key.data
                assert isinstance(client, socket.socket)
                received = client.recv(65536)
                answer += received
                if _is_complete(answer):
                    assert answer.startswith(b"HTTP/1.1 200"), answer
                    n_answers += 1
                    answer.clear()
                    with suppress(OSError):
                        client.sendall(request)
                elif not received:  # some close a connection after so many requests
                    selector.unregister(client)
                    connect()
    return n_answers / (time.perf_counter() - began_s)


def _is_complete(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    return bool(end) and len(body) >= int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])


def _reply(server: Running, sent: bytes) -> str:
    """Return the status of the response and whether it is JSON."""
    answer = b""
    with suppress(OSError), _connected(server) as client:
        with suppress(OSError):  # the response may come before everything is sent
            client.sendall(sent)
        while b"\r\n\r\n" not in answer and (received := client.recv(65536)):
            answer += received
    if not answer:
        return "none"
    is_json = b"\r\ncontent-type: application/json" in answer.partition(b"\r\n\r\n")[0].lower()
    return f"{answer.split()[1].decode(errors='replace')} {'JSON' if is_json else 'plain'}"


def _ended(servers: Sequence[Running], watched_s: float) -> list[dict[str, object]]:
    """Return the seconds until each connection was answered or closed; all are watched at once."""
    ended: dict[tuple[str, str], float | None] = {}

    def watch(server: Running, kind: str) -> None:
        first, drip = _ENDLESS[kind]
        with _connected(server) as client:
            client.sendall(first)
            ended[server.name, kind] = _ended_s(client, drip, first != _LARGE, watched_s)

    with ThreadPoolExecutor(len(servers) * len(_ENDLESS)) as pool:
        list(pool.map(watch, *zip(*product(servers, _ENDLESS), strict=True)))
    return [{"server": one.name} | {kind: ended[one.name, kind] for kind in _ENDLESS} for one in servers]


def _ended_s(client: socket.socket, drip: bytes, reads: bool, watched_s: float) -> float | None:
    began_s = time.monotonic()
    while time.monotonic() - began_s < watched_s:
        if (reads and select.select([client], [], [], 0)[0]) or not _is_kept(client):
            return round(time.monotonic() - began_s, 1)
        with suppress(OSError):
            client.sendall(drip)
        time.sleep(_DRIP_S)
    return None


def _is_kept(client: socket.socket) -> bool:
    """Return True if the server keeps its end open, which a client that does not read cannot see (Linux)."""
    ends = tuple(f":{end[1]:04X}" for end in (client.getpeername(), client.getsockname()))
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return any(line[1].endswith(ends[0]) and line[2].endswith(ends[1]) and line[3] == _ESTABLISHED for line in lines)


def _beside(name: str, python: Path, seconds: float) -> dict[str, object]:
    """Measure `/healthz` beside each kind of held connections, each time of a new process."""
    record: dict[str, object] = {"server": name}
    resident_mb: list[float] = []
    for kind, (n_connections, first, drip) in {"nobody else": (0, b"", b""), **_HOLDS}.items():
        with running(name, python) as server, _held(server, n_connections, first, drip):
            time.sleep(seconds / 3)
            took_ms, until_s = list[float](), time.monotonic() + seconds
            while time.monotonic() < until_s:
                took_s = healthz_s(server)
                took_ms.append(1000 * (took_s if took_s is not None else float("inf")))
                time.sleep(0.02)
            record[kind] = _shown(took_ms)
            resident_mb.append(family_mb(server.pid)["Rss"])
    return record | {"MB more": round(max(resident_mb) - resident_mb[0])}


def _shown(took_ms: Sequence[float]) -> str:
    if min(took_ms) == float("inf"):
        return "–"
    times = sorted(took_ms)
    return " / ".join(f"{times[min(len(times) - 1, int(len(times) * share))]:.0f}" for share in (0.5, 0.99))


@contextmanager
def _held(server: Running, n_connections: int, first: bytes, drip: bytes) -> Iterator[None]:
    """Hold connections that are not read; each sends a first part, then a drip from time to time."""
    stopped = threading.Event()
    with ExitStack() as stack:
        clients = []
        for _ in range(n_connections):
            with suppress(OSError):
                clients.append(stack.enter_context(_connected(server, 2.0)))
                clients[-1].sendall(first)

        def go_on() -> None:
            while drip and not stopped.wait(_DRIP_S):
                for client in clients:
                    with suppress(OSError):
                        client.send(drip, socket.MSG_DONTWAIT)

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()


def _connected(server: Running, timeout_s: float = ANSWER_S) -> socket.socket:
    """Open a connection with a small buffer, so that unread data stays with the server."""
    client = socket.socket()
    client.settimeout(timeout_s)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    try:
        client.connect(("127.0.0.1", server.port))
    except OSError:
        client.close()
        raise
    return client


if __name__ == "__main__":
    main()
