"""The images of queries: their size limits, and those that are fetched from a URL."""

import time
from collections.abc import Iterable
from typing import Any

from flask import current_app, g

from search_service.access.fetch_budget import FetchBudget
from search_service.access.image_fetcher import ImageFetcher, fetch_all
from search_service.admission.request_context import RequestContext, current_context, set_context
from search_service.settings import ServiceSettings
from shared.errors import ImageTooLarge, ParecidoError, UrlNotAllowed


def checked_size(image: bytes, settings: ServiceSettings) -> bytes:
    """Return an image that is not too large, before it waits for a core.

    Raises:
        ImageTooLarge: it is, though its body was not.
    """
    if len(image) > settings.max_upload_bytes:
        limit = f"expected at most {settings.max_upload_bytes:,} (PARECIDO_MAX_UPLOAD_BYTES)"
        raise ImageTooLarge(f"the image has {len(image):,} bytes; {limit}")
    return image


def check_batch_size(images: Iterable[bytes | None], settings: ServiceSettings) -> None:
    """Check the size of all images of a batch together.

    Raises:
        ImageTooLarge: they are too large, though the body was not.
    """
    n_bytes = sum(len(image or b"") for image in images)
    limit = _max_batch_bytes(settings)
    if n_bytes > limit:
        raise ImageTooLarge(
            f"the images have {n_bytes:,} bytes together; expected at most {limit:,} (PARECIDO_MAX_BATCH_BYTES)"
        )


def fetch_in_parallel(queries: list[Any], settings: ServiceSettings) -> None:
    """Fetch the images of a batch, before its queries are read."""
    urls = [
        query["image_url"] for query in queries if isinstance(query, dict) and isinstance(query.get("image_url"), str)
    ]
    if settings.image_url_hosts and len(urls) > 1:
        context = current_context() or RequestContext()
        context.is_batch = True
        set_context(context)
        g.fetched = fetch_all(_fetcher(), urls, _fetch_budget(settings))


def fetched(url: str, settings: ServiceSettings) -> bytes:
    """Return the image at a URL; all images of a batch share one budget.

    Raises:
        ImageNotFetched, UrlNotAllowed, ImageTooLarge: see `ImageFetcher.fetch`.
    """
    if not settings.image_url_hosts:
        raise UrlNotAllowed("this service fetches no images: PARECIDO_IMAGE_URL_HOSTS names no host")
    image: bytes | ParecidoError | None = g.get("fetched", {}).get(url)
    if image is None:
        image = _fetcher().fetch(url, _fetch_budget(settings))
    if isinstance(image, ParecidoError):
        raise image
    return image


def _max_batch_bytes(settings: ServiceSettings) -> int:
    return max(settings.max_batch_bytes, settings.max_upload_bytes)


def _fetch_budget(settings: ServiceSettings) -> FetchBudget:
    if "fetch_budget" not in g:
        g.fetch_budget = FetchBudget(time.monotonic() + settings.image_url_s, _max_batch_bytes(settings))
    budget: FetchBudget = g.fetch_budget
    return budget


def _fetcher() -> ImageFetcher:
    fetcher: ImageFetcher = current_app.extensions["image_fetcher"]
    return fetcher
