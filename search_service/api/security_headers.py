"""Security headers of every response: content security policy, framing, and CORS."""

from flask import Flask, Response, request

from search_service.access.cors import preflight_headers, sharing_headers

_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox"
NON_PAGE_HEADERS = {"Content-Security-Policy": _POLICY, "Cross-Origin-Resource-Policy": "same-origin"}
COMMON_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


def register_security_headers(app: Flask, cors_origins: tuple[str, ...], cors_headers: tuple[str, ...] = ()) -> None:
    """Add the headers to every response.

    Args:
        app: the application.
        cors_origins: whose pages may read responses, such as `https://shop.example`; `*` for all.
        cors_headers: request headers that those pages may send besides the usual ones.
    """
    app.after_request(_protect)
    if cors_origins:
        app.after_request(lambda response: _share(response, cors_origins, cors_headers))


def _protect(response: Response) -> Response:
    for name, value in COMMON_HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault("Content-Security-Policy", _POLICY)  # pages have their own
    # Other sites may embed the items' images, and nothing else.
    shared = "cross-origin" if request.endpoint == "catalogue.image" else "same-origin"
    response.headers.setdefault("Cross-Origin-Resource-Policy", shared)
    return response


def _share(response: Response, origins: tuple[str, ...], request_headers: tuple[str, ...]) -> Response:
    origin = request.headers.get("Origin", "")
    sharing = sharing_headers(origin, origins)
    response.vary.add(sharing.pop("Vary"))
    response.headers.update(sharing)
    rule = request.url_rule
    if request.method == "OPTIONS" and rule is not None and "Access-Control-Request-Method" in request.headers:
        is_private = request.headers.get("Access-Control-Request-Private-Network") == "true"
        methods = rule.methods or ()
        response.headers.update(preflight_headers(origin, origins, methods, request_headers, is_private))
    return response
