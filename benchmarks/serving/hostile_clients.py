"""Latency of honest clients beside an attacker with 200 connections, for each kind of attack and for a mix.

- Attacks: connections that are not closed, endless requests, stalled uploads and responses, images that are costly to
  decode, JSON with millions of values, the costliest search options, and batches of these.
- Measured meanwhile: `/healthz`, and photo searches of one honest client, which waits 0.1 s after each response.
- The attacker is a separate process on the same cores, with the same address.

The service has default settings and one worker.
"""

import json
import random
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

from benchmarks.harness.build_process import SMOKE, build_snapshot
from benchmarks.harness.options import REPOSITORY, option_parser
from benchmarks.harness.photos import list_photos, sample, write_catalogue
from benchmarks.harness.rows import print_records, store
from benchmarks.harness.service_process import multipart, service

_CONNECTIONS = 200
_TIMEOUT_S = 10.0
_PAUSE_S = 0.1


@dataclass(frozen=True)
class Seen:
    """Latency of honest clients.

    Attributes:
    attack: Kind of attack.
    healthz_p50_ms: Median latency of `/healthz`.
    healthz_p99_ms: 99th percentile of it.
    searches: Number of photo searches.
    answered: Share of these answered with 200.
    search_p50_ms: Median latency of answered searches.
    search_p99_ms: 99th percentile of it.
    """

    attack: str
    healthz_p50_ms: float
    healthz_p99_ms: float
    searches: int
    answered: float
    search_p50_ms: float
    search_p99_ms: float


def main() -> None:
    """Run the benchmark, or one attack on a running service."""
    parser = option_parser("serving.hostile_clients", __doc__)
    parser.add_argument("--seconds", type=int, default=60, help="duration per kind (default: 60)")
    parser.add_argument(
        "--kinds", nargs="*", choices=[*_ATTACKS, "mixed"], default=["mixed"], help="kinds of attacks (default: mixed)"
    )
    parser.add_argument("--data", type=Path, help="data directory to serve (default: built from the photos)")
    parser.add_argument("--attack", nargs=2, help="only attack: a kind and a port on 127.0.0.1")
    options = parser.parse_args()
    seconds = 3 if options.smoke else options.seconds
    if options.attack:
        kind, port = options.attack
        _attack(kind, port, seconds)
        return
    with tempfile.TemporaryDirectory() as directory:
        data, photo = _data(Path(directory), options.photos, options.data, options.smoke)
        with service(data, log_level="error") as running:
            rows = [_beside(None, running.port, photo, max(seconds // 4, 2))]
            rows += [_beside(kind, running.port, photo, seconds) for kind in options.kinds]
    records = [asdict(row) for row in rows]
    print_records(f"Honest clients beside an attacker with {_CONNECTIONS} connections, {seconds} s each", records)
    store("hostile_clients", options.smoke, {"seconds": seconds, "rows": records})


def _data(directory: Path, photos: Path, given: Path | None, smoke: bool) -> tuple[Path, bytes]:
    validation = sample(list_photos(photos, "validation"), 20)
    photo = next(one.path for one in validation if one.path.stat().st_size > 20_000).read_bytes()
    if given is not None:
        return given, photo
    chosen = list_photos(photos, "train")
    catalogue = write_catalogue(sample(chosen, 200) if smoke else chosen, photos, directory / "catalogue.jsonl")
    build_snapshot(catalogue, directory / "data", *(SMOKE if smoke else ()))
    return directory / "data", photo


def _beside(kind: str | None, port: int, photo: bytes, seconds: int) -> Seen:
    """Run honest clients for some seconds beside an attack, or none."""
    attacker = None
    if kind is not None:
        command = [sys.executable, "-m", "benchmarks.serving.hostile_clients", "--attack", kind, str(port)]
        attacker = subprocess.Popen([*command, "--seconds", str(seconds + 2)], cwd=REPOSITORY)
        time.sleep(2)  # until its connections are open
    body, content_type = multipart(photo)
    asked = (
        lambda: _ask(port, "GET", "/healthz"),
        lambda: _ask(port, "POST", "/v1/search", body, content_type),
    )
    found: list[list[tuple[int, float]]] = [[], []]
    until_s = time.monotonic() + seconds
    threads = [
        threading.Thread(target=_repeat, args=(ask, until_s, into)) for ask, into in zip(asked, found, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if attacker is not None:
        attacker.wait()
    health = [took_s * 1000 for _, took_s in found[0]]
    good = [took_s * 1000 for status, took_s in found[1] if status == 200] or [float("nan")]
    answered = sum(status == 200 for status, _ in found[1]) / len(found[1])
    times = (_p(health, 50), _p(health, 99), len(found[1]), round(answered, 3), _p(good, 50), _p(good, 99))
    return Seen(kind or "none", *times)


def _p(values: Sequence[float], share: int) -> float:
    return round(statistics.quantiles(values, n=100)[share - 1] if len(values) > 1 else values[0], 1)


def _repeat(ask: Callable[[], int], until_s: float, found: list[tuple[int, float]]) -> None:
    while time.monotonic() < until_s:
        began_s = time.monotonic()
        status = ask()
        found.append((status, time.monotonic() - began_s))
        time.sleep(_PAUSE_S)


def _ask(port: int, method: str, path: str, body: bytes | None = None, content_type: str = "") -> int:
    """Send a request and return the status, or 0 without a response."""
    connection = HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request(method, path, body, {"Content-Type": content_type} if body else {})
        response = connection.getresponse()
        response.read()
        return response.status
    except OSError:
        return 0
    finally:
        connection.close()


def _attack(kind: str, port: str, seconds: int) -> None:
    address = ("127.0.0.1", int(port))
    item = _an_item(int(port))
    kinds = list(_ATTACKS) if kind == "mixed" else [kind]
    prepared = {name: _ATTACKS[name](item) for name in kinds}
    until_s = time.monotonic() + seconds
    threads = [
        threading.Thread(
            target=_attack_again, args=(address, *prepared[kinds[number % len(kinds)]], until_s), daemon=True
        )
        for number in range(_CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    time.sleep(seconds)


def _an_item(port: int) -> str:
    connection = HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    connection.request("GET", "/v1/categories?examples=1")
    found = json.loads(connection.getresponse().read())
    return str(found["categories"][0]["examples"][0]["item_id"])


def _attack_again(address: tuple[str, int], requests: list[bytes], held_s: float, until_s: float) -> None:
    """Send requests repeatedly; read the responses, or hold the connection for a while."""
    while time.monotonic() < until_s:
        with suppress(OSError), socket.create_connection(address, timeout=_TIMEOUT_S) as client:
            if held_s:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                client.sendall(random.choice(requests))  # noqa: S311
                time.sleep(min(held_s, max(0.0, until_s - time.monotonic())))
                continue
            while time.monotonic() < until_s:
                client.sendall(random.choice(requests))  # noqa: S311
                if not client.recv(65536):
                    break


def _post(path: str, body: bytes, content_type: str = "application/json", length: int | None = None) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


def _form(path: str, *images: bytes) -> bytes:
    part = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    return _post(
        path, b"".join(part + image + b"\r\n" for image in images) + b"--b--\r\n", "multipart/form-data; boundary=b"
    )


def _costly(item: str) -> str:
    return f"/v1/items/{quote(item, safe='')}/similar?probe=10&top_k=1000&offset=1000&collapse_above="


def _batch_of_items(item: str) -> bytes:
    return _post("/v1/search/batch", json.dumps({"queries": [{"item_id": item, "top_k": 1000}] * 16}).encode())


def _hidden_scans(n_scans: int) -> bytes:
    """Return a progressive JPEG of 6400 × 6400 whose scans are hidden from scan counters behind a marker."""
    scan = b"\xff\xda" + struct.pack(">HB", 8, 1) + bytes([1, 0, 1, 63, 0]) + b"\0"
    tables = b"".join(b"\xff\xc4" + struct.pack(">HB", 20, kind) + bytes([1] + [0] * 15 + [0]) for kind in (0, 0x10))
    begin = b"\xff\xd8\xff\xdb" + struct.pack(">HB", 67, 0) + bytes([1] * 64)
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 11, 8, 6400, 6400, 1) + bytes([1, 0x11, 0])
    first = b"\xff\xda" + struct.pack(">HB", 8, 1) + bytes([1, 0, 0, 0, 0]) + b"\0"
    hidden = b"\xff\x02" + struct.pack(">H", 2 + n_scans * len(scan)) + scan * n_scans
    return begin + frame + tables + b"\xff\xdd" + struct.pack(">HH", 4, 1) + first + hidden + b"\xff\xd9"


def _thin_png(height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(4 * height), 9)) + chunk(b"IEND", b"")


def _bombs() -> list[bytes]:
    comments = b"\xff\xd8" + b"\xff\xfe\x00\x02" * 1_000_000 + b"\xff\xd9"
    return [_hidden_scans(1000), _hidden_scans(4000), _thin_png(25_000_000), comments]


_ATTACKS: dict[str, Callable[[str], tuple[list[bytes], float]]] = {
    "not_closed": lambda item: ([b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"], 1.0),
    "one_byte": lambda item: ([b"P"], 30.0),
    "no_end": lambda item: (
        [
            b"POST /v1/search HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n{\r\n0\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 30_000,
            _post("/v1/search", b"{", length=1000),
        ],
        30.0,
    ),
    "stalled_upload": lambda item: ([_post("/v1/search", bytes(3_000_000), length=20_000_000)], 30.0),
    "not_read": lambda item: ([_batch_of_items(item) * 4], 30.0),
    "malformed": lambda item: (
        [b"GET\r\n\r\n", _post("/v1/search", b"[" * 100_000), _post("/v1/search", b'{"a":1}')],
        0.0,
    ),
    "image": lambda item: ([_form("/v1/search", bomb) for bomb in _bombs()], 0.0),
    "batch": lambda item: ([_form("/v1/search/batch", *([bomb] * 4)) for bomb in _bombs()[:2]], 0.0),
    "json": lambda item: (
        [
            _post("/v1/search", b'{"filter":[' + b"[]," * 300_000 + b"[]]}"),
            _post("/v1/search/batch", b'{"queries":[' + b"{}," * 1_000_000 + b"{}]}"),
            _post("/v1/search", b'{"embedding":[' + b"1," * 400_000 + b"1]}"),
        ],
        0.0,
    ),
    "options": lambda item: (
        [f"GET {_costly(item)}{cosine} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for cosine in (0.1, 0.8, 0.9, 0.99)],
        0.0,
    ),
}


if __name__ == "__main__":
    main()
