"""The routes of the OpenAPI document and of a page made from it, which loads nothing from elsewhere."""

import base64
import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, current_app, render_template, request

from search_service.api.operations import EVERYWHERE, Operation, describe
from search_service.openapi.document import document
from search_service.settings import ServiceSettings

api_docs = Blueprint("api_docs", __name__)

_ETAG = (("ETag", "Of the content."),)
_UNCHANGED = ((304, "Not Modified"),)
_STYLE = Path(__file__).parents[1] / "templates" / "docs.css"


class ApiDocs:
    """The document and the page, made on the first request."""

    def __init__(self, app: Flask, settings: ServiceSettings) -> None:
        self._app = app
        self._settings = settings

    @cached_property
    def document(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return document(self._app, self._settings)

    def json(self, prefix: str) -> str:
        """Return the document as JSON, for a service below a path prefix; empty for none."""
        servers = f'"servers": {json.dumps([{"url": prefix}])}, ' if prefix else ""
        return f"{{{servers}{self._json[1:]}"

    @cached_property
    def page(self) -> str:
        """The page as HTML."""
        operations = [
            {"tag": operation["tags"][0], "path": path, "method": method, "operation": operation}
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
        ]
        return render_template(
            "docs.html", api=self.document, operations=operations, everywhere=[*map(str, EVERYWHERE)], style=self._style
        )

    @cached_property
    def policy(self) -> str:
        """The Content-Security-Policy of the page: it loads nothing; its style is allowed by its hash."""
        digest = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()
        return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"

    @cached_property
    def _json(self) -> str:
        return json.dumps(self.document, ensure_ascii=False)

    @cached_property
    def _style(self) -> str:
        return _STYLE.read_text(encoding="utf-8")


@api_docs.get("/openapi.json")
@describe(Operation("Service", media_types=("application/json",), others=_UNCHANGED, headers=_ETAG, is_open=True))
def openapi() -> Response:
    """Describe this API as OpenAPI 3.1."""
    return _revalidated(Response(_docs().json(request.root_path), content_type="application/json"))


@api_docs.get("/docs")
@describe(Operation("Service", media_types=("text/html",), others=_UNCHANGED, headers=_ETAG, is_open=True))
def docs() -> Response:
    """Describe this API to people, as a page."""
    response = Response(_docs().page)
    response.headers["Content-Security-Policy"] = _docs().policy
    return _revalidated(response)


def _revalidated(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-cache"
    response.add_etag()
    return response.make_conditional(request)  # type: ignore[return-value]


def _docs() -> ApiDocs:
    docs: ApiDocs = current_app.extensions["api_docs"]
    return docs
