"""Calls to a service on this machine, each over a connection of its own."""

import http.client
import json
from contextlib import closing


def fetch(port: int, path: str, body: dict | None, wait_s: float) -> tuple[int, bytes]:
    """Status and content of a GET, or of a POST where there is a body."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=wait_s)) as connection:
        if body is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
