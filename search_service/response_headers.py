"""What every answer says to browsers: run nothing of it, show it in no frame, and which pages may read it."""

from flask import Flask, Response, request

_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox"
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, X-API-Key, X-Request-ID",
    "Access-Control-Max-Age": "600",
}


def add_headers(app: Flask, cors_origins: tuple[str, ...]) -> None:
    """Add the headers to every answer.

    Args:
        app: gets them.
        cors_origins: whose pages may read answers, as `https://shop.example`; `*` for all.
    """
    app.after_request(_protect)
    if cors_origins:
        app.after_request(lambda response: _share(response, cors_origins))


def _protect(response: Response) -> Response:
    for name, value in ALWAYS.items():
        response.headers[name] = value
    response.headers.setdefault("Content-Security-Policy", _POLICY)  # pages have their own
    # Other sites show the items' images; nothing else is for them to load.
    shared = "cross-origin" if request.endpoint == "api.image" else "same-origin"
    response.headers.setdefault("Cross-Origin-Resource-Policy", shared)
    return response


def _share(response: Response, origins: tuple[str, ...]) -> Response:
    response.vary.add("Origin")
    sharing = sharing_headers(request.headers.get("Origin", ""), origins)
    response.headers.update(sharing)
    if sharing and request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        response.headers.update(_PREFLIGHT)
    return response


def sharing_headers(origin: str, origins: tuple[str, ...]) -> dict[str, str]:
    """What lets a page of this origin read an answer; nothing where it may not."""
    if not origin or (origin not in origins and "*" not in origins):
        return {}
    return {
        "Access-Control-Allow-Origin": "*" if "*" in origins else origin,
        "Access-Control-Expose-Headers": "ETag, Retry-After, X-Request-ID",
    }
