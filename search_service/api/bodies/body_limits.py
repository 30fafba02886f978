"""How many bytes the body of a request may have, known from its head alone."""

from search_service.settings import ServiceSettings

JSON_BYTES = 1024 * 1024
"""Of a request, beside its images: the JSON around them, or the text fields of a form."""
_QUERY_JSON_BYTES = 128 * 1024
_NO_BODY_BYTES = 8 * 1024
_ONE_IMAGE = frozenset({"/v1/search", "/v1/classify", "/v1/feedback"})
_SEVERAL_IMAGES = frozenset({"/v1/search/batch"})


def max_body_bytes(method: str, path: str, content_type: str, settings: ServiceSettings) -> int:
    """The largest body that a route accepts.

    Args:
        method: of HTTP.
        path: decoded, without a prefix that a proxy has put before it, and without the query string.
        content_type: the header, with its parameters; empty where there is none.
        settings: how large images and batches may be.

    Returns:
        A few kilobytes for what takes no body or has a content type that is refused; that much is read so that the
        client reads the answer.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if method != "POST" or path not in _ONE_IMAGE | _SEVERAL_IMAGES:
        return _NO_BODY_BYTES
    is_batch = path in _SEVERAL_IMAGES
    if media_type == "multipart/form-data":
        images = max(settings.max_batch_bytes, settings.max_upload_bytes) if is_batch else settings.max_upload_bytes
        return images + JSON_BYTES
    if is_json(media_type):
        return settings.max_batch_body_bytes if is_batch else settings.max_body_bytes
    return _NO_BODY_BYTES


def max_json_bytes(n_queries: int) -> int:
    """The largest JSON beside the images of so many queries."""
    return max(JSON_BYTES, n_queries * _QUERY_JSON_BYTES)


def too_large(method: str, path: str, limit: int) -> str:
    """The message for a body of more than `limit` bytes."""
    setting = {"/v1/search/batch": "PARECIDO_MAX_BATCH_BYTES"}.get(path, "PARECIDO_MAX_UPLOAD_BYTES")
    where = f"{setting} sets it" if limit > _NO_BODY_BYTES else "no image or options can be in it"
    return (
        f"the body has more than the {limit:,} bytes that {method} {path[:60]} accepts with this content type; {where}"
    )


def is_json(media_type: str) -> bool:
    """Whether a media type, in lower case and without parameters, is JSON: also `application/…+json`."""
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))
