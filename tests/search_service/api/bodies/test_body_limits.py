"""How many bytes a body may have, by what its head says."""

import pytest

from search_service.api.bodies.body_limits import JSON_BYTES, max_body_bytes, max_json_bytes
from search_service.settings import ServiceSettings

_SETTINGS = ServiceSettings(max_upload_bytes=3_000_000, max_batch_bytes=9_000_000)
_FORM = "multipart/form-data; boundary=x"


@pytest.mark.parametrize("path", ["/v1/search", "/v1/classify", "/v1/feedback"])
def test_one_image_fits_as_a_file_and_in_base64_with_line_breaks(path) -> None:
    assert max_body_bytes("POST", path, _FORM, _SETTINGS) == 3_000_000 + JSON_BYTES
    for content_type in ("application/json", "Application/JSON; charset=utf-8", "application/ld+json"):
        assert 4_000_000 * 78 / 76 + JSON_BYTES <= max_body_bytes("POST", path, content_type, _SETTINGS) < 6_000_000


def test_a_batch_has_a_limit_of_its_own_but_takes_one_image_at_least() -> None:
    small = ServiceSettings(max_upload_bytes=3_000_000, max_batch_bytes=1)
    assert max_body_bytes("POST", "/v1/search/batch", _FORM, _SETTINGS) == 9_000_000 + JSON_BYTES
    assert max_body_bytes("POST", "/v1/search/batch", _FORM, small) == 3_000_000 + JSON_BYTES
    assert max_body_bytes("POST", "/v1/search/batch", "application/json", _SETTINGS) > 12_000_000


@pytest.mark.parametrize(
    ("method", "path", "content_type"),
    [
        ("GET", "/v1/items/a/similar", ""),
        ("GET", "/v1/search", "application/json"),
        ("OPTIONS", "/v1/search", _FORM),
        ("POST", "/v1/categories", "application/json"),
        ("POST", "/nowhere", _FORM),
        ("POST", "/v1/search", ""),
        ("POST", "/v1/search", "image/jpeg"),
        ("POST", "/v1/search", "text/json"),
    ],
)
def test_what_is_never_read_has_a_few_kilobytes(method, path, content_type) -> None:
    assert max_body_bytes(method, path, content_type, _SETTINGS) <= 16 * 1024


def test_json_grows_with_the_batch() -> None:
    assert max_json_bytes(1) == JSON_BYTES
    assert max_json_bytes(1000) >= 1000 * 4096 * 22  # embeddings of a large encoder, each number with 17 digits
