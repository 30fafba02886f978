"""Tornado's HTTP server in front of the compared application; argument: `PORT`."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

from tornado.httpserver import HTTPServer
from tornado.wsgi import WSGIContainer

from benchmarks.serving.http.app import wsgi


async def _serve(port: int) -> None:
    app = WSGIContainer(wsgi, ThreadPoolExecutor(8))
    HTTPServer(app, max_header_size=32768, idle_connection_timeout=10, body_timeout=10).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
