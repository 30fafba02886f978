"""Queries and options of requests: from a multipart form or a JSON body, and from the query string.

bytes ─decode─▶ names and values ─convert text─▶ typed values ─validate─▶ query and options

Bodies are decoded by `read_json` and `read_form`, which limit what they cost. An option may be in the body or in the
query string, not in both.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from flask import Request
from werkzeug.datastructures import MultiDict

from search_service.api.bodies.base64_image import decode_base64
from search_service.api.bodies.form_body import FORM, read_parts
from search_service.api.bodies.json_body import given_fields, read_json
from search_service.api.bodies.json_images import Base64Image
from search_service.api.query_images import check_batch_size, checked_size, fetch_in_parallel, fetched
from search_service.api.schemas import BatchBody, ClassifyBody, FeedbackFields, Options, SearchBody, TextFields
from search_service.api.validation import NO_TEXTS, reject_unknown, validated
from search_service.engine.query import Query
from search_service.engine.user_feedback import UserFeedback
from search_service.settings import ServiceSettings
from shared.errors import (
    ImageError,
    InvalidRequest,
    ParecidoError,
    RequestError,
)
from shared.options import options_of

_Model = TypeVar("_Model")
_QUERY_FIELDS = ("image_base64", "image_url", "item_id", "embedding")


@dataclass(frozen=True)
class Search:
    """A query with its options."""

    query: Query
    options: Options


def read_search(request: Request, settings: ServiceSettings) -> Search:
    """Read a search.

    Raises:
        RequestError: those of `read_body`, and a filter that is not valid.
    """
    return Search(*read_body(request, Options, SearchBody, settings))


def read_batch(request: Request, settings: ServiceSettings) -> list[Search | ParecidoError]:
    """Read several searches: a form with several images, or JSON.

    Returns:
        Each search, or the error of its query, in order.

    Raises:
        RequestError: the form or the JSON is not valid, or an option that all share.
        ImageTooLarge: the images are too large together.
    """
    if request.mimetype == FORM:
        images, common = read_form(request, Options, settings, most=settings.max_batch)
        check_batch_size(images, settings)
        return [Search(_query(common, image), common) for image in images]
    given = read_json(request, settings.max_batch)
    arguments = _further_arguments(request, Options, given)
    reject_unknown("field", given, options_of(BatchBody))
    validated(BatchBody, given, settings, arguments)
    shared = {name: value for name, value in given.items() if name != "queries"}
    fetch_in_parallel(given["queries"], settings)
    searches = [
        _read_batch_query(f"`queries[{position}]`", query, shared, arguments, settings)
        for position, query in enumerate(given["queries"])
    ]
    check_batch_size([search.query.image for search in searches if isinstance(search, Search)], settings)
    return searches


def _read_batch_query(
    name: str, query: Any, shared: Mapping[str, Any], arguments: Mapping[str, str], settings: ServiceSettings
) -> Search | ParecidoError:
    try:
        own = given_fields(query, name)
        texts = {name: text for name, text in arguments.items() if name not in own}
        return Search(*read_query({**shared, **own}, SearchBody, settings, texts))
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
        settings: limits.

    Returns:
        The query, and the other fields; a `body` has more than those of a `form`.

    Raises:
        UnsupportedBody: the body has another content type.
        InvalidEmbedding: the embedding is not a list of numbers.
        InvalidRequest: there is no query, or more than one; a field is unknown or not valid.
    """
    if request.mimetype == FORM:
        images, given = read_form(request, form, settings, most=1)
        return _query(given, checked_size(images[0], settings) if images else None), given
    fields = read_json(request)
    return read_query(fields, body, settings, _further_arguments(request, form, fields))


def read_form(request: Request, form: type[_Model], settings: ServiceSettings, most: int) -> tuple[list[bytes], _Model]:
    """Read a multipart form: files `image`, one at least unless there is a `text`, and fields that are text.

    Raises:
        InvalidRequest: there is no file, or too many; a field is unknown or not valid.
    """
    images, texts = read_parts(request, tuple(options_of(form)), most)
    return images, validated(form, {}, settings, texts | _further_arguments(request, form, texts))


def _further_arguments(request: Request, options: type, given: Mapping[str, Any]) -> dict[str, str]:
    """Return the options in the query string of a request with a body.

    Args:
        request: its body has been read.
        options: declares the valid options.
        given: the fields of the body.

    Raises:
        InvalidRequest: an argument is unknown, or is in the body too.
    """
    arguments = _arguments(request, options_of(options))
    twice = [name for name in arguments if name in given]
    if twice:
        raise InvalidRequest(f"`{twice[0]}` was given more than once: in the body and in the query string")
    return arguments


def _arguments(request: Request, known: Iterable[str]) -> dict[str, str]:
    reject_unknown("argument", request.args, known)
    return _single_values(request.args)


def read_query(
    given: Mapping[str, Any], body: type[_Model], settings: ServiceSettings, texts: Mapping[str, str] = NO_TEXTS
) -> tuple[Query, _Model]:
    """Read the fields of a JSON body, and options in text.

    Raises:
        InvalidEmbedding: the embedding is not a list of numbers.
        InvalidRequest: there is no query, or more than one; a field is unknown or not valid.
        ImageNotFetched, UrlNotAllowed, ImageTooLarge: those of an image URL; see `ImageFetcher.fetch`.
    """
    if "item_id" in given and "item_id" not in options_of(body):
        raise InvalidRequest(
            "an item's category is known: see GET /v1/items/<id>; expected an image, an embedding or a text"
        )
    reject_unknown("field", given, options_of(body))
    _require_query(given, body, texts)
    image = given.get("image_base64")
    if isinstance(image, Base64Image):
        fields = validated(
            body, {name: value for name, value in given.items() if name != "image_base64"}, settings, texts
        )
        return _query(fields, checked_size(image.decode(), settings)), fields
    fields = validated(body, given, settings, texts)
    if image is not None:
        return _query(fields, checked_size(decode_base64(image.encode()), settings)), fields
    if "image_url" in given:
        return _query(fields, fetched(given["image_url"], settings)), fields
    return replace(_query(fields), item_id=given.get("item_id"), embedding=given.get("embedding")), fields


def _require_query(given: Mapping[str, Any], body: type, texts: Mapping[str, str]) -> None:
    """Reject several pictures, and neither a picture nor a text; a text may refine a picture where it has a weight."""
    options = options_of(body)
    exclusive = [name for name in _QUERY_FIELDS if name in options]
    refines = "text_weight" in options
    if "text" in options and not refines:
        exclusive.append("text")
    queries = [name for name in exclusive if name in given]
    if len(queries) == 1 or (not queries and refines and ("text" in given or "text" in texts)):
        return
    wrong = f"several queries given: {', '.join(queries)}" if queries else "no query given"
    alone = "; or `text`, also beside one of them" if refines else ""
    raise InvalidRequest(f"{wrong}; expected exactly one of: {', '.join(exclusive)}{alone}")


def _query(fields: object, image: bytes | None = None) -> Query:
    """Return the query of an image, with the text among the fields."""
    if isinstance(fields, TextFields):
        return Query(image=image, text=fields.text, text_weight=fields.text_weight)
    return Query(image=image, text=fields.text if isinstance(fields, ClassifyBody) else None)


def read_arguments(request: Request, arguments: type[_Model], settings: ServiceSettings) -> _Model:
    """Read the query string of a request without a body.

    Raises:
        InvalidRequest: there is a body; an argument is unknown, given twice, or not valid.
    """
    if request.content_length or "Transfer-Encoding" in request.headers:
        raise InvalidRequest(f"{request.method} takes no body; expected its options in the query string")
    return validated(arguments, {}, settings, _arguments(request, options_of(arguments)))


def user_feedback(fields: FeedbackFields) -> UserFeedback:
    """Return feedback as the engine takes it.

    Raises:
        InvalidRequest: both fields are missing.
    """
    return UserFeedback(fields.category, fields.clicked_item_id)


def _single_values(given: MultiDict[str, str]) -> dict[str, str]:
    for name, values in given.lists():
        if len(values) > 1:
            raise InvalidRequest(f"`{name}` was given more than once")
    return given.to_dict()
