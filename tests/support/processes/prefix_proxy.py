"""A reverse proxy that serves an application below a path of a larger site, in a process of its own.

    python tests/prefix_proxy.py UPSTREAM_PORT PREFIX strip|pass [HEADER:VALUE …]

`strip` removes the prefix from the path before it asks the upstream, `pass` leaves it there. Prints its port.
"""

import http.client
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@contextmanager
def proxied(upstream: int, prefix: str, mode: Literal["strip", "pass"], *headers: str) -> Iterator[int]:
    """Run a proxy in front of a port of this machine; the value is the proxy's port."""
    command = [sys.executable, __file__, str(upstream), prefix, mode, *headers]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: int
    prefix: str
    strips: bool
    adds: dict[str, str]

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
        if self.path != self.prefix and not self.path.startswith((f"{self.prefix}/", f"{self.prefix}?")):
            self._answer(404, [], b"of the site in front, not the application's")
            return
        path = self.path.removeprefix(self.prefix) if self.strips else self.path
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        connection.request(self.command, path if path.startswith("/") else f"/{path}", body, headers | self.adds)
        response = connection.getresponse()
        self._answer(response.status, response.getheaders(), response.read())
        connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 304:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:  # its output is the port
        pass


def _main(upstream: str, prefix: str, mode: str, *headers: str) -> None:
    added = dict(header.split(":", 1) for header in headers)
    values = {"upstream": int(upstream), "prefix": prefix, "strips": mode == "strip", "adds": added}
    methods = {f"do_{method}": _Proxy.forward for method in ("GET", "HEAD", "POST", "OPTIONS")}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("_Configured", (_Proxy,), values | methods))
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    _main(*sys.argv[1:])
