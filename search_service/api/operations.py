"""Descriptions of the routes' parameters, bodies and responses, from which the OpenAPI document is made."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from search_service.api.error_handlers import STATUS

_View = TypeVar("_View", bound=Callable[..., Any])
_OPERATION = "openapi_operation"
EVERYWHERE = (400, 405, 408, 413, 414, 417, 431, 500, 501, 503, 505)
"""Statuses of errors that every route may answer with: most are about the request's HTTP, before any route is asked."""
# Where the table of errors has them: a key is missing, does not reach that far, or has asked too often.
_GUARDED = (401, 403, 429)


@dataclass(frozen=True)
class Operation:
    """The parameters, body and responses of a route.

    Attributes:
        tag: the group in the documentation.
        answer: the type of the JSON response.
        errors: statuses of errors, besides those of every route.
        status: the status of success.
        arguments: declares the query string; None where the fields of `form` are its arguments, too.
        body: declares the fields of a JSON body.
        form: declares the fields of a multipart form besides `image`.
        several_images: True if a form may have several files `image`.
        media_types: those of a response that is not JSON.
        others: further statuses without a body, with their descriptions.
        headers: names and descriptions of headers of success.
        examples: names and values of examples of the JSON body.
        is_open: True if no API key is required.
    """

    tag: str
    answer: Any = None
    errors: tuple[int, ...] = ()
    status: int = 200
    arguments: type | None = None
    body: type | None = None
    form: type | None = None
    several_images: bool = False
    media_types: tuple[str, ...] = ()
    others: tuple[tuple[int, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    examples: tuple[tuple[str, Any], ...] = ()
    is_open: bool = False

    @property
    def statuses(self) -> list[int]:
        """Statuses of all errors, ascending."""
        guarded = () if self.is_open else (status for status in _GUARDED if status in STATUS.values())
        return sorted({*self.errors, *EVERYWHERE, *guarded})


def operation_of(view: Callable[..., object]) -> Operation | None:
    """Return the description of a view; None where it has none."""
    return getattr(view, _OPERATION, None)


def describe(operation: Operation) -> Callable[[_View], _View]:
    """Attach a description to a view."""

    def mark(view: _View) -> _View:
        setattr(view, _OPERATION, operation)
        return view

    return mark
