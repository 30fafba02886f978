"""Read requests: a multipart form or a JSON body, and the arguments of a query string.

bytes ─decode─▶ names and values ─turn text into what it spells─▶ typed values ─check by a model─▶ query and options

Bodies are decoded by `read_json` and `read_form`, which bound what they cost. Options may be in the body or in the
query string, each in one of them.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Request, current_app, g
from pydantic import BaseModel
from werkzeug.datastructures import MultiDict

from search_service.access.fetch_budget import FetchBudget
from search_service.access.image_fetcher import ImageFetcher, fetch_all
from search_service.admission.request_context import RequestContext, current_context, set_context
from search_service.api.bodies.base64_image import decode_base64
from search_service.api.bodies.form_body import FORM, read_parts
from search_service.api.bodies.json_body import Base64Image, given_fields, read_json
from search_service.api.schemas import BatchBody, FeedbackFields, Options, SearchBody
from search_service.api.validation import NO_TEXTS, checked, refuse_unknown
from search_service.engine.query import Query
from search_service.engine.user_feedback import UserFeedback
from search_service.settings import ServiceSettings
from shared.catalogue.metadata_filter import MetadataFilter
from shared.errors import (
    ImageError,
    ImageTooLarge,
    InvalidRequest,
    ParecidoError,
    RequestError,
    UrlNotAllowed,
)
from shared.retrieval.search_options import SearchOptions

_Model = TypeVar("_Model", bound=BaseModel)
_QUERY_FIELDS = ("image_base64", "image_url", "item_id", "embedding")


@dataclass(frozen=True)
class Search:
    """A query and what was chosen for it: as it came, and as the engine takes it."""

    query: Query
    given: Options
    options: SearchOptions


def read_search(request: Request, settings: ServiceSettings) -> Search:
    """Read a search.

    Raises:
        RequestError: those of `read_body`, and a filter that can't be.
    """
    query, given = read_body(request, Options, SearchBody, settings)
    return Search(query, given, search_options(given))


def read_batch(request: Request, settings: ServiceSettings) -> list[Search | ParecidoError]:
    """Read several searches: a form with several images, or JSON.

    Returns:
        For each in its order the search, or why it is none.

    Raises:
        RequestError: what all of them share can't be.
        ImageTooLarge: the images are too large together.
    """
    if request.mimetype == FORM:
        images, common = read_form(request, Options, settings, most=settings.max_batch)
        options = search_options(common)
        _require_small_batch(images, settings)
        return [Search(Query(image=image), common, options) for image in images]
    given = read_json(request, settings.max_batch)
    arguments = _further_arguments(request, Options, given)
    refuse_unknown("field", given, tuple(BatchBody.model_fields))
    batch = checked(BatchBody, given, settings, arguments)
    search_options(batch)
    shared = {name: value for name, value in given.items() if name != "queries"}
    _fetch_side_by_side(given["queries"], settings)
    searches = [
        _one_of_batch(f"`queries[{position}]`", one, shared, arguments, settings)
        for position, one in enumerate(given["queries"])
    ]
    _require_small_batch([one.query.image for one in searches if isinstance(one, Search)], settings)
    return searches


def _require_small_batch(images: Iterable[bytes | None], settings: ServiceSettings) -> None:
    """Refuse images that are too large together, though the body was not."""
    n_bytes, limit = (
        sum(len(image or b"") for image in images),
        max(settings.max_batch_bytes, settings.max_upload_bytes),
    )
    if n_bytes > limit:
        raise ImageTooLarge(f"the images have {n_bytes:,} bytes together; at most {limit:,} (PARECIDO_MAX_BATCH_BYTES)")


def _one_of_batch(
    what: str, one: Any, shared: Mapping[str, Any], arguments: Mapping[str, str], settings: ServiceSettings
) -> Search | ParecidoError:
    try:
        own = given_fields(one, what)
        texts = {name: text for name, text in arguments.items() if name not in own}
        query, given = read_query({**shared, **own}, SearchBody, settings, texts)
        return Search(query, given, search_options(given))
    except (RequestError, ImageError) as error:
        return error


def read_body(
    request: Request, form: type[_Model], body: type[_Model], settings: ServiceSettings
) -> tuple[Query, _Model]:
    """Read a multipart form with a file `image`, or a JSON body.

    Args:
        request: not read yet.
        form: the fields beside the image.
        body: the same ones, and those of a query.
        settings: bounds.

    Returns:
        The query, and the other fields; a `body` has more than those of a `form`.

    Raises:
        UnsupportedBody: another content type.
        InvalidEmbedding: no numbers.
        InvalidRequest: no query, more than one, a field that there isn't, or a value that can't be.
    """
    if request.mimetype == FORM:
        (image,), given = read_form(request, form, settings, most=1)
        return Query(image=_allowed(image, settings)), given
    fields = read_json(request)
    return read_query(fields, body, settings, _further_arguments(request, form, fields))


def read_form(request: Request, form: type[_Model], settings: ServiceSettings, most: int) -> tuple[list[bytes], _Model]:
    """Read a multipart form: files `image`, one at least, and fields that are text.

    Raises:
        InvalidRequest: no file, too many, a field that there isn't, or a value that can't be.
    """
    images, texts = read_parts(request, tuple(form.model_fields), most)
    return images, checked(form, {}, settings, texts | _further_arguments(request, form, texts))


def _further_arguments(request: Request, options: type[BaseModel], given: Mapping[str, Any]) -> dict[str, str]:
    """The options in the query string of a request with a body.

    Args:
        request: it.
        options: those that there are.
        given: the fields of the body.

    Raises:
        InvalidRequest: an argument that is not an option, or one that the body has too.
    """
    arguments = _arguments(request, tuple(options.model_fields))
    twice = [name for name in arguments if name in given]
    if twice:
        raise InvalidRequest(f"`{twice[0]}` was given more than once: in the body and in the query string")
    return arguments


def _arguments(request: Request, known: tuple[str, ...]) -> dict[str, str]:
    refuse_unknown("argument", request.args, known)
    return _once(request.args)


def read_query(
    given: Mapping[str, Any], body: type[_Model], settings: ServiceSettings, texts: Mapping[str, str] = NO_TEXTS
) -> tuple[Query, _Model]:
    """Check the fields of a JSON body, and options that text spells.

    Raises:
        InvalidEmbedding: no numbers.
        InvalidRequest: no query, more than one, a field that there isn't, or a value that can't be.
        ImageNotFetched, UrlNotAllowed, ImageTooLarge: an image URL; see `ImageFetcher.fetch`.
    """
    if "item_id" in given and "item_id" not in body.model_fields:
        raise InvalidRequest("an item's category is known: GET /v1/items/<id>; wanted an image or an embedding")
    refuse_unknown("field", given, tuple(body.model_fields))
    known = [name for name in _QUERY_FIELDS if name in body.model_fields]
    found = [name for name in known if name in given]
    if len(found) != 1:
        raise InvalidRequest(f"found {' and '.join(found) or 'nothing'} to search by; wanted one of {', '.join(known)}")
    image = given.get("image_base64")
    if isinstance(image, Base64Image):
        fields = checked(
            body, {name: value for name, value in given.items() if name != "image_base64"}, settings, texts
        )
        return Query(image=_allowed(image.decode(), settings)), fields
    fields = checked(body, given, settings, texts)
    if image is not None:
        return Query(image=_allowed(decode_base64(image.encode()), settings)), fields
    if "image_url" in given:
        return Query(image=_fetched(given["image_url"], settings)), fields
    return Query(item_id=given.get("item_id"), embedding=given.get("embedding")), fields


def read_arguments(request: Request, arguments: type[_Model], settings: ServiceSettings) -> _Model:
    """Read the query string of a request without a body.

    Raises:
        InvalidRequest: there is a body, an argument that there isn't, one twice, or a value that can't be.
    """
    if request.content_length or "Transfer-Encoding" in request.headers:
        raise InvalidRequest(f"{request.method} takes no body; expected its options in the query string")
    return checked(arguments, {}, settings, _arguments(request, tuple(arguments.model_fields)))


def search_options(options: Options) -> SearchOptions:
    """As the engine takes them.

    Raises:
        InvalidRequest: a filter that can't be.
    """
    return SearchOptions(
        top_k=options.top_k,
        category=options.category,
        probe=options.probe,
        min_score=options.min_score,
        on_unknown=options.on_unknown,
        offset=options.offset,
        filter=None if options.filter is None else MetadataFilter.from_json(options.filter),
        group_by=options.group_by,
        collapse_above=options.collapse_above,
    )


def user_feedback(fields: FeedbackFields) -> UserFeedback:
    """As the engine takes it.

    Raises:
        InvalidRequest: both are missing.
    """
    return UserFeedback(fields.category, fields.clicked_item_id)


def _once(given: MultiDict[str, str]) -> dict[str, str]:
    for name, values in given.lists():
        if len(values) > 1:
            raise InvalidRequest(f"`{name}` was given more than once")
    return given.to_dict()


def _allowed(image: bytes, settings: ServiceSettings) -> bytes:
    """Refuse an image that is too large before it waits for a core, though its body was not."""
    if len(image) > settings.max_upload_bytes:
        found = f"the image has {len(image):,} bytes; at most {settings.max_upload_bytes:,} are allowed"
        raise ImageTooLarge(f"{found} (PARECIDO_MAX_UPLOAD_BYTES)")
    return image


def _fetch_side_by_side(queries: list[Any], settings: ServiceSettings) -> None:
    """Fetch the images of a batch, so that each is there when its query is read."""
    urls = [one["image_url"] for one in queries if isinstance(one, dict) and isinstance(one.get("image_url"), str)]
    if settings.image_url_hosts and len(urls) > 1:
        context = current_context() or RequestContext()
        context.is_batch = True
        set_context(context)
        g.fetched = fetch_all(_fetcher(), urls, _fetch_budget(settings))


def _fetched(url: str, settings: ServiceSettings) -> bytes:
    """What lies behind a URL; all those of a batch share one budget."""
    if not settings.image_url_hosts:
        raise UrlNotAllowed("this service fetches no images: PARECIDO_IMAGE_URL_HOSTS names no host")
    found = g.get("fetched", {}).get(url)
    if found is None:
        found = _fetcher().fetch(url, _fetch_budget(settings))
    if isinstance(found, ParecidoError):
        raise found
    image: bytes = found
    return image


def _fetch_budget(settings: ServiceSettings) -> FetchBudget:
    if "fetch_budget" not in g:
        most = max(settings.max_batch_bytes, settings.max_upload_bytes)
        g.fetch_budget = FetchBudget(time.monotonic() + settings.image_url_s, most)
    budget: FetchBudget = g.fetch_budget
    return budget


def _fetcher() -> ImageFetcher:
    fetcher: ImageFetcher = current_app.extensions["image_fetcher"]
    return fetcher
