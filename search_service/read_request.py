"""Read requests: a multipart form or a JSON body, or the arguments of a query string.

bytes ─decode─▶ names and values ─turn text into what it spells─▶ typed values ─check by a model─▶ query and options
"""

import base64
import binascii
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Request, current_app, g
from pydantic import BaseModel
from pydantic_core import from_json
from werkzeug.datastructures import MultiDict

from search_service.caller import Caller, current_caller, set_caller
from search_service.check_fields import checked, refuse_unknown
from search_service.fetch_image import Allowance, ImageFetcher, fetch_all
from search_service.options import SearchOptions
from search_service.query import Query
from search_service.schemas import BatchBody, Options, SearchBody, ToldFields
from search_service.settings import ServiceSettings
from search_service.told import Told
from shared.errors import (
    ImageError,
    InvalidRequest,
    ParecidoError,
    RequestError,
    UnsupportedBody,
    UrlNotAllowed,
)
from shared.metadata_filter import MetadataFilter

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
    """
    if request.mimetype == "multipart/form-data":
        images, common = read_form(request, Options, settings, most=settings.max_batch)
        options = search_options(common)
        return [Search(Query(image=image), common, options) for image in images]
    given = read_json(request)
    refuse_unknown("field", given, tuple(BatchBody.model_fields))
    batch = checked(BatchBody, given, settings)
    search_options(batch)
    shared = {name: value for name, value in given.items() if name != "queries"}
    _fetch_side_by_side(given["queries"], settings)
    return [_one_of_batch(f"`queries[{place}]`", shared, one, settings) for place, one in enumerate(given["queries"])]


def _one_of_batch(what: str, shared: Mapping[str, Any], one: Any, settings: ServiceSettings) -> Search | ParecidoError:
    try:
        query, given = read_query({**shared, **given_fields(one, what)}, SearchBody, settings)
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
    if request.mimetype == "multipart/form-data":
        (image,), given = read_form(request, form, settings, most=1)
        return Query(image=image), given
    return read_query(read_json(request), body, settings)


def read_form(request: Request, form: type[_Model], settings: ServiceSettings, most: int) -> tuple[list[bytes], _Model]:
    """Read a multipart form: files `image`, one at least, and fields that are text.

    Raises:
        InvalidRequest: no file, too many, a field that there isn't, or a value that can't be.
    """
    refuse_unknown("field", [*request.form, *request.files], ("image", *form.model_fields))
    files = request.files.getlist("image")
    if not 1 <= len(files) <= most:
        wanted = "one" if most == 1 else f"1 to {most}"
        raise InvalidRequest(f"found {len(files)} files in the field `image`; wanted {wanted}")
    given = checked(form, _once(request.form), settings, spelled=True)
    return [file.read() for file in files], given


def read_json(request: Request) -> dict[str, Any]:
    """Read a JSON object; fields that are null count as not given.

    Raises:
        UnsupportedBody: another content type.
        InvalidRequest: it is no JSON, no object, or is nested too deep.
    """
    if request.mimetype != "application/json":
        found = request.mimetype or "without a content type"
        wanted = "wanted multipart/form-data with a file `image`, or application/json"
        raise UnsupportedBody(f"the body is {found}; {wanted}")
    try:
        body = from_json(request.get_data(cache=False))
    except ValueError as error:
        raise InvalidRequest(f"the body is no JSON: {error}") from error
    return given_fields(body, "the body")


def given_fields(value: Any, what: str) -> dict[str, Any]:
    """The fields of a JSON object that are not null.

    Raises:
        InvalidRequest: it is no object.
    """
    if not isinstance(value, dict):
        raise InvalidRequest(f"{what} is a JSON {type(value).__name__}; wanted an object")
    return {name: one for name, one in value.items() if one is not None}


def read_query(given: Mapping[str, Any], body: type[_Model], settings: ServiceSettings) -> tuple[Query, _Model]:
    """Check the fields of a JSON body.

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
    fields = checked(body, given, settings)
    if "image_base64" in given:
        image = _decoded(given["image_base64"])
        return Query(image=image), fields.model_copy(update={"image_base64": None})  # not kept while it is searched
    if "image_url" in given:
        return Query(image=_fetched(given["image_url"], settings)), fields
    return Query(item_id=given.get("item_id"), embedding=given.get("embedding")), fields


def read_arguments(request: Request, arguments: type[_Model], settings: ServiceSettings) -> _Model:
    """Read the query string.

    Raises:
        InvalidRequest: an argument that there isn't, one twice, or a value that can't be.
    """
    refuse_unknown("argument", request.args, tuple(arguments.model_fields))
    return checked(arguments, _once(request.args), settings, spelled=True)


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


def told(fields: ToldFields) -> Told:
    """As the engine takes it.

    Raises:
        InvalidRequest: nothing is told.
    """
    return Told(fields.category, fields.clicked_item_id)


def _once(given: MultiDict[str, str]) -> dict[str, str]:
    for name, values in given.lists():
        if len(values) > 1:
            raise InvalidRequest(f"`{name}` was given more than once")
    return given.to_dict()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"`image_base64` is no base64: {error}") from error


def _fetch_side_by_side(queries: list[Any], settings: ServiceSettings) -> None:
    """Fetch the images of a batch, so that each is there when its query is read."""
    urls = [one["image_url"] for one in queries if isinstance(one, dict) and isinstance(one.get("image_url"), str)]
    if settings.image_url_hosts and len(urls) > 1:
        caller = current_caller() or Caller()
        caller.is_batch = True
        set_caller(caller)
        g.fetched = fetch_all(_fetcher(), urls, _allowance(settings))


def _fetched(url: str, settings: ServiceSettings) -> bytes:
    """What lies behind a URL; all those of a batch share one allowance."""
    if not settings.image_url_hosts:
        raise UrlNotAllowed("this service fetches no images: PARECIDO_IMAGE_URL_HOSTS names no host")
    found = g.get("fetched", {}).get(url)
    if found is None:
        found = _fetcher().fetch(url, _allowance(settings))
    if isinstance(found, ParecidoError):
        raise found
    image: bytes = found
    return image


def _allowance(settings: ServiceSettings) -> Allowance:
    if "allowance" not in g:
        most = max(settings.max_batch_bytes, settings.max_upload_bytes)
        g.allowance = Allowance(time.monotonic() + settings.image_url_s, most)
    allowance: Allowance = g.allowance
    return allowance


def _fetcher() -> ImageFetcher:
    fetcher: ImageFetcher = current_app.extensions["image_fetcher"]
    return fetcher
