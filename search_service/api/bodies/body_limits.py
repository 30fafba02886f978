"""Limits on the bytes of request bodies, by the request head."""

from search_service.settings import ServiceSettings

JSON_BYTES = 1024 * 1024
"""Bytes of a request besides its images: the JSON around them, or the text fields of a form."""
_QUERY_JSON_BYTES = 128 * 1024
_NO_BODY_BYTES = 8 * 1024
_ONE_IMAGE = frozenset({"/v1/search", "/v1/classify", "/v1/feedback"})
_SEVERAL_IMAGES = frozenset({"/v1/search/batch"})


def max_body_bytes(method: str, path: str, content_type: str, settings: ServiceSettings) -> int:
    """Return the largest body that a route accepts.

    Args:
        method: of HTTP.
        path: decoded, without a prefix of proxies and the query string.
        content_type: with its parameters; empty if there is none.
        settings: limits on images and batches.

    Returns:
        A few kilobytes for routes without a body and unsupported content types; they are read so that the client
        reads the response.
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
    """Return the largest JSON beside the images of this many queries."""
    return max(JSON_BYTES, n_queries * _QUERY_JSON_BYTES)


def too_large(method: str, path: str, limit: int) -> str:
    """Return the message for a body of more than `limit` bytes."""
    setting = {"/v1/search/batch": "PARECIDO_MAX_BATCH_BYTES"}.get(path, "PARECIDO_MAX_UPLOAD_BYTES")
    cause = f"{setting} sets the limit" if limit > _NO_BODY_BYTES else "no image or options are expected in it"
    return f"the request body has more than the {limit:,} bytes that {method} {path[:60]} accepts for its type; {cause}"


def is_json(media_type: str) -> bool:
    """Return True for JSON, also `application/…+json`; the media type is in lower case, without parameters."""
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))
