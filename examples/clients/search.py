"""Search from Python, with nothing but its standard library: `python search.py PHOTO [URL] [API_KEY]`."""

import json
import secrets
import sys
import time
from collections.abc import Iterator
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

_TRIES = 10


class ApiError(Exception):
    """An error response: `code` is for programs, the message says what is wrong and what was expected."""

    def __init__(self, status: int, error: dict[str, str]) -> None:
        super().__init__(f"{status} {error['code']}: {error['message']} (request {error['request_id']})")
        self.code = error["code"]


class Parecido:
    """A service."""

    def __init__(self, url: str = "http://127.0.0.1:8080", api_key: str | None = None) -> None:
        self._url = url
        self._headers = {"X-API-Key": api_key} if api_key else {}

    def search_photo(self, photo: Path, **options: Any) -> Any:
        """Search by an image file; numbers and filters are spelled as JSON."""
        boundary = secrets.token_hex(16)
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in options.items()}
        parts = [f'name="{name}"\r\n\r\n{text}'.encode() for name, text in texts.items()]
        parts.append(b'name="image"; filename="photo"\r\n\r\n' + photo.read_bytes())
        start = f"--{boundary}\r\nContent-Disposition: form-data; ".encode()
        body = b"".join(start + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()
        return self._ask("/v1/search", body, f"multipart/form-data; boundary={boundary}")

    def search(self, **query_and_options: Any) -> Any:
        """Search by one of `item_id`, `embedding` and `image_base64`."""
        return self._ask("/v1/search", json.dumps(query_and_options).encode(), "application/json")

    def search_batch(self, queries: list[dict[str, Any]], **options: Any) -> Any:
        """Several searches at once; each result has `hits`, or an `error` of its own."""
        body = json.dumps({"queries": queries, **options}).encode()
        return self._ask("/v1/search/batch", body, "application/json")["results"]

    def pages(self, photo: Path, page_size: int, **options: Any) -> Iterator[list[Any]]:
        """Page by page; beyond its `PARECIDO_MAX_OFFSET` the service refuses."""
        offset = 0
        while hits := self.search_photo(photo, top_k=page_size, offset=offset, **options)["hits"]:
            yield hits
            offset += page_size

    def _ask(self, path: str, body: bytes, content_type: str) -> Any:
        request = Request(self._url + path, body, {**self._headers, "Content-Type": content_type})
        for tries_left in reversed(range(_TRIES)):
            try:
                with urlopen(request, timeout=30) as response:
                    return json.load(response)
            except HTTPError as refused:
                with refused:
                    is_busy = refused.code in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
                    if not is_busy or not tries_left:
                        raise ApiError(refused.code, json.load(refused)["error"]) from None
                    time.sleep(float(refused.headers.get("Retry-After", 1)))
        raise AssertionError


def main() -> None:
    """Show what there is."""
    photo, *service = sys.argv[1:]
    parecido = Parecido(*service)

    answer = parecido.search_photo(Path(photo), top_k=3)
    print(f"by photo: it shows {answer['query']['category']}")
    for hit in answer["hits"]:
        print(f"  {hit['rank']}. {hit['item_id']} {hit['score']:.3f}")

    answer = parecido.search_photo(Path(photo), probe="auto", min_score=0.2, fields="", collapse_above=0.99)
    print(f"with options: searched {', '.join(answer['searched'])}")

    pages = list(islice(parecido.pages(Path(photo), page_size=2), 3))
    print(f"paging: {len(pages)} pages, {sum(map(len, pages))} hits")

    found = {"item_id": answer["hits"][0]["item_id"]}
    for result in parecido.search_batch([found, {"item_id": "no such item"}], top_k=2):
        print("batch:", result["error"]["code"] if "error" in result else f"{len(result['hits'])} hits")

    try:
        parecido.search(**found, top_k=0)
    except ApiError as error:
        print(f"refused: {error}")


if __name__ == "__main__":
    main()
