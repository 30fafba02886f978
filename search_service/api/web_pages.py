"""The web pages: static files, which call the HTTP API. No cookies, nothing from other sites.

Their links are relative, so they work below any prefix.
"""

from pathlib import Path

from flask import Blueprint, Response, redirect, request
from werkzeug.exceptions import NotFound

from search_service.access.forwarded import BARE_PREFIX

pages = Blueprint("pages", __name__)

# Small, and read once: no request can name another file.
_FILES = {path.name: path.read_bytes() for path in sorted((Path(__file__).parents[1] / "web").iterdir())}
_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}

# Scripts, styles and images of this service only, none inline: nothing in a catalogue or a photo can run.
# A chosen photo is shown from a `blob:`.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


@pages.get("/")
def search_page() -> Response:
    """Return the search page."""
    if request.environ.get(BARE_PREFIX):
        query = request.query_string.decode("latin-1")
        return redirect(f"{request.root_path}/{'?' if query else ''}{query}", 308)  # type: ignore[return-value]
    return _file("index.html")


@pages.get("/status")
def status_page() -> Response:
    """Return the status page."""
    return _file("status.html")


@pages.get("/web/<name>")
def page_file(name: str) -> Response:
    """Return a script, style sheet or icon of the pages."""
    return _file(name)


def _file(name: str) -> Response:
    content = _FILES.get(name)
    if content is None:
        raise NotFound
    response = Response(content, mimetype=_TYPES[Path(name).suffix])
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    # Revalidated each time (304 if unchanged), so that an upgrade is never half loaded.
    response.headers["Cache-Control"] = "no-cache"
    response.add_etag()
    return response.make_conditional(request)  # type: ignore[return-value]
