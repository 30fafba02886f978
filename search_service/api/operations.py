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
    """What a route takes and answers.

    Attributes:
        tag: the group that it is shown in.
        answer: the type of its JSON.
        errors: statuses of its errors, besides those of every route.
        status: of a good answer.
        arguments: of the query string; where there is a `form`, those are its fields.
        body: of JSON.
        form: the fields of a multipart form beside `image`.
        several_images: a form may have several files `image`.
        media_types: of an answer that is no JSON.
        others: further statuses without a body, and what they mean.
        headers: of a good answer.
        examples: of the JSON body, by name.
        is_open: to everybody, also where keys are wanted.
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
        """Of all errors."""
        guarded = () if self.is_open else (status for status in _GUARDED if status in STATUS.values())
        return sorted({*self.errors, *EVERYWHERE, *guarded})


def operation_of(view: Callable[..., object]) -> Operation | None:
    """What was said of a view."""
    return getattr(view, _OPERATION, None)


def describe(operation: Operation) -> Callable[[_View], _View]:
    """Say what a view takes and answers."""

    def mark(view: _View) -> _View:
        setattr(view, _OPERATION, operation)
        return view

    return mark
