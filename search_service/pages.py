"""The pages for people: static files, which the browser fills from the HTTP API. No cookies, nothing from elsewhere."""

from importlib.resources import files

from flask import Blueprint, Response, send_from_directory

pages = Blueprint("pages", __name__)

WEB = str(files("search_service") / "web")

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
    # Asked for again each time, and answered with 304 as long as it is the same: an upgrade is never half there.
    response = send_from_directory(WEB, name, max_age=0)
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
