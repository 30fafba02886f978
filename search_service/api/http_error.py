"""Errors of the HTTP protocol, and their codes in the JSON error body."""

from collections.abc import Mapping

from shared.errors import ParecidoError

HTTP_CODES: Mapping[int, str] = {
    400: "bad_request",
    414: "uri_too_long",
    417: "expectation_failed",
    431: "request_header_fields_too_large",
    501: "not_implemented",
    505: "http_version_not_supported",
}
"""The codes for programs; Python's own names of statuses differ from version to version."""


class HttpError(ParecidoError):
    """A request that HTTP or this server does not allow.

    Attributes:
        status: one of `HTTP_CODES`.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = HTTP_CODES[status]  # type: ignore[misc]  # of each its own
