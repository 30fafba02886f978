"""The JSON body of all errors."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from search_service.api.responses.fields import exactly
from shared.text.shorten import shortened

MAX_MESSAGE_CHARS = 1000


@exactly
class ErrorDetailJson(TypedDict):
    """The error."""

    code: Annotated[str, Field(description="Stable, for programs.")]
    message: Annotated[str, Field(description="For people: what is wrong, and what was expected.")]
    request_id: Annotated[str, Field(description="As in the header `X-Request-ID` and the service's log.")]


@exactly
class ErrorJson(TypedDict):
    """The body of all errors."""

    error: ErrorDetailJson


def error_json(code: str, message: str, request_id: str) -> ErrorJson:
    """Return the body of an error; the message is shortened to `MAX_MESSAGE_CHARS`."""
    return {"error": {"code": code, "message": shortened(message, MAX_MESSAGE_CHARS), "request_id": request_id}}
