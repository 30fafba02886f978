"""`make demo`: index and search a sample catalogue, as a user would.

1. Render the sample catalogue.
2. Index it with `python -m indexer`.
3. Start `python -m search_service` on a free port, send it a picture that is not in the catalogue, and ask it in words.
4. Draw the hits, stop the service, and suggest what to try next.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from examples.sample_catalogue.render import render_catalogue

_READY_LIMIT_S = 30.0
_QUERY = Path("queries/watch/query-01.jpg")
_TEXT = "green divers watch"


def main() -> int:
    """Run the demo; the exit status is 0 when everything worked."""
    parser = argparse.ArgumentParser("python -m examples.demo", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where everything goes (default: demo)")
    out: Path = parser.parse_args().out
    catalogue_dir, data, sheet = out / "catalogue", out / "data", out / "hits.png"

    _say(f"1. Rendering the sample catalogue into {catalogue_dir}")
    catalogue = render_catalogue(catalogue_dir)
    _say("2. Indexing it")
    _run("indexer", "build", "--catalogue", str(catalogue), "--data", str(data))
    query = catalogue_dir / _QUERY
    _say(f"3. Asking the search service for products like {query}, which is not in the catalogue")
    port = _free_port()
    with _service(data, port):
        url = f"http://127.0.0.1:{port}/v1/search"
        _print_answer(_post_image(url, query))
        print(f"\n   The same in words: {_TEXT!r}")
        _print_answer(_post(url, "application/json", json.dumps({"text": _TEXT, "top_k": 5}).encode()))
    _say(f"4. Drawing the hits to {sheet}")
    _run("indexer", "visualize", str(query), "--data", str(data), "--out", str(sheet))
    _say(
        f"Done. Look at {sheet}, then try:\n"
        f"  make serve DATA={data}                               # open http://127.0.0.1:8080, or:\n"
        f"  curl -F image=@{catalogue_dir}/queries/bicycle/query-01.jpg http://127.0.0.1:8080/v1/search\n"
        f"  make evaluate DATA={data} QUERIES={catalogue_dir}/queries\n"
        f"  make index CATALOGUE=your/photos                    # one folder per category, or a CSV or JSON-lines file"
    )
    return 0


def _say(text: str) -> None:
    print(f"\n{text}", flush=True)


def _run(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], check=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _service(data: Path, port: int) -> Iterator[None]:
    """Run a search service until the block is left."""
    environment = {**os.environ, "PARECIDO_DATA": str(data), "PARECIDO_PORT": str(port)}
    log = data / "service.log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "search_service"]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_until_ready(process, f"http://127.0.0.1:{port}/readyz", log)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=_READY_LIMIT_S)


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    started = time.monotonic()
    while time.monotonic() - started < _READY_LIMIT_S:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                print(f"   ready after {time.monotonic() - started:.1f} s: {response.read().decode().strip()}")
                return
        except OSError:  # refused, or so busy that the answer takes longer than that
            if process.poll() is not None:
                break
            time.sleep(0.05)
    raise SystemExit(f"the search service did not become ready; its log is {log}")


def _post_image(url: str, image: Path) -> dict[str, Any]:
    """Post an image as `curl -F image=@FILE URL` does."""
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{image.name}"\r\n\r\n'
    body = head.encode() + image.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    return _post(url, f"multipart/form-data; boundary={boundary}", body)


def _post(url: str, content_type: str, body: bytes) -> dict[str, Any]:
    request = urllib.request.Request(url, body, {"Content-Type": content_type})
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def _print_answer(answer: dict[str, Any]) -> None:
    query = answer["query"]
    print(f"   category   {query['category']}, confidence {query['confidence']:.1%}")
    for hit in answer["hits"]:
        metadata = hit["metadata"]
        shown = f"{hit['item_id']:<15} {metadata['title']:<42} {metadata['price']:>9.2f}"
        print(f"   hit {hit['rank']:>2}     {hit['score']:.3f}  {shown}")
    print(f"   answered in {answer['timing_ms']['total']:.0f} ms")


if __name__ == "__main__":
    sys.exit(main())
