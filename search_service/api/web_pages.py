"""The pages for people: static files, which the browser fills from the HTTP API. No cookies, nothing from elsewhere.

Their links are relative, so they hold below any prefix.
"""

from pathlib import Path

from flask import Blueprint, Response, redirect, request
from werkzeug.exceptions import NotFound

from search_service.access.forwarded import BARE_PREFIX

pages = Blueprint("pages", __name__)

# All of it is small, and read once: a name can lead nowhere else.
_FILES = {path.name: path.read_bytes() for path in sorted((Path(__file__).parents[1] / "web").iterdir())}
_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}

# Scripts, styles and images from here alone, none inline: what a catalogue or a photo brings along can never run.
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
    """The page to search by a photo."""
    if request.environ.get(BARE_PREFIX):
        query = request.query_string.decode("latin-1")
        return redirect(f"{request.root_path}/{'?' if query else ''}{query}", 308)  # type: ignore[return-value]
    return _file("index.html")


@pages.get("/status")
def status_page() -> Response:
    """The page that tells what is served, and how good and how busy it is."""
    return _file("status.html")


@pages.get("/web/<name>")
def page_file(name: str) -> Response:
    """A script, style sheet or icon of the pages."""
    return _file(name)


def _file(name: str) -> Response:
    content = _FILES.get(name)
    if content is None:
        raise NotFound
    response = Response(content, mimetype=_TYPES[Path(name).suffix])
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    # Asked for again each time, and answered with 304 as long as it is the same: an upgrade is never half there.
    response.headers["Cache-Control"] = "no-cache"
    response.add_etag()
    return response.make_conditional(request)  # type: ignore[return-value]
