"""Errors as HTTP: a status for each, one body for all, and nothing of the inside in a 500."""

import logging
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from werkzeug.exceptions import HTTPException, ImATeapot, NotFound, Unauthorized

import shared.errors
from search_service.api.error_handlers import STATUS
from search_service.app import create_app
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings
from shared.errors import (
    CatalogueError,
    ImageError,
    NotReady,
    Overloaded,
    ParecidoError,
    RateLimited,
    RequestError,
    SnapshotError,
    StorageError,
    StoreUnavailable,
)


class _UnknownError(ParecidoError):
    pass


_ALL = [one for one in vars(shared.errors).values() if isinstance(one, type) and issubclass(one, ParecidoError)]
_KINDS = RequestError | ImageError | StorageError | StoreUnavailable
_REACHING = [one for one in _ALL if issubclass(one, _KINDS) and not one.__subclasses__()]


@pytest.fixture
def fails(engine, watch_on) -> Callable[[Exception], FlaskClient]:
    """Makes a client of an app whose route `/fail` raises the given error."""

    def make(error: Exception) -> FlaskClient:
        app = create_app(watch_on(engine), ServiceSettings(), Metrics(0.98))

        @app.get("/fail")
        def fail() -> None:
            raise error

        return app.test_client()

    return make


def test_every_error_that_can_reach_the_service_has_a_status() -> None:
    assert set(STATUS) == set(_REACHING)


def test_codes_are_unique() -> None:
    codes = [one.code for one in _ALL if one is not ParecidoError]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("error", _REACHING)
def test_an_error_becomes_its_status_with_its_message(fails, assert_error, error) -> None:
    response = fails(error("what was wrong, “where”")).get("/fail")
    assert assert_error(response, STATUS[error], error.code) == "what was wrong, “where”"
    assert response.headers.get("Retry-After") == (
        "1" if error in (NotReady, Overloaded, RateLimited, StoreUnavailable) else None
    )
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("secret of /srv/data"),
        KeyError("secret"),
        OSError(2, "secret"),
        MemoryError(),
        _UnknownError("secret"),
        SnapshotError("secret"),
        CatalogueError("secret"),
        RequestError("secret"),
    ],
    ids=repr,
)
def test_what_nobody_expected_is_a_500_that_tells_nothing(fails, assert_error, caplog, error) -> None:
    with caplog.at_level(logging.ERROR):
        response = fails(error).get("/fail", headers={"X-Request-ID": "req-1"})
    message = assert_error(response, 500, "internal")
    assert "log" in message
    for inside in ("secret", "Traceback", "/srv", type(error).__name__, ".py"):
        assert inside not in response.text
    assert response.json["error"]["request_id"] == "req-1"
    [record] = caplog.records
    assert "req-1" in record.getMessage()
    assert record.exc_info[1] is error


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(NotFound(), 404, "not_found"), (Unauthorized(), 401, "unauthorized"), (ImATeapot(), 418, "i'm_a_teapot")],
)
def test_http_errors_have_the_same_body(fails, assert_error, error: HTTPException, status, code) -> None:
    assert_error(fails(error).get("/fail"), status, code)


def test_what_is_overloaded_says_when_to_ask_again(fails) -> None:
    assert fails(Overloaded("busy", retry_after_s=7)).get("/fail").headers["Retry-After"] == "7"
