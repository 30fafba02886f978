"""The application as gunicorn makes it."""

import logging
import os

import pytest

from search_service.settings import PREFIX, ServiceSettings
from search_service.wsgi import make_app
from shared.errors import SettingsError


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch) -> None:
    for variable in [one for one in os.environ if one.startswith(PREFIX)]:
        monkeypatch.delenv(variable)


def test_without_a_snapshot_it_is_up_and_says_why(tmp_path, assert_error, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        client = make_app(ServiceSettings(data=tmp_path / "nowhere")).test_client()
    assert client.get("/healthz").status_code == 200
    message = assert_error(client.get("/readyz"), 503, "not_ready")
    assert f"nothing is published in {tmp_path / 'nowhere'}" in message
    assert "python -m indexer build" in message
    assert message in caplog.text


def test_a_broken_current_is_named(tmp_path, assert_error) -> None:
    (tmp_path / "current").write_text("../../etc\n", encoding="utf-8")
    message = assert_error(make_app(ServiceSettings(data=tmp_path)).test_client().get("/readyz"), 503, "not_ready")
    assert str(tmp_path / "current") in message
    assert "'../../etc'" in message


def test_settings_come_from_the_environment(monkeypatch, tmp_path, assert_error) -> None:
    monkeypatch.setenv("PARECIDO_DATA", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PARECIDO_MAX_TOP_K", "7")
    monkeypatch.setenv("PARECIDO_MAX_UPLOAD_BYTES", "3000")
    client = make_app().test_client()
    assert str(tmp_path / "elsewhere") in assert_error(client.get("/readyz"), 503, "not_ready")
    response = client.post("/v1/search", json={"item_id": "x", "top_k": 8})
    assert "1 to 7" in assert_error(response, 400, "invalid_request")
    assert_error(client.post("/v1/search", json={"image_base64": "A" * 300_000}), 413, "image_too_large")


def test_settings_handed_in_come_before_the_environment(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PARECIDO_DATA", "elsewhere")
    response = make_app(ServiceSettings(data=tmp_path)).test_client().get("/readyz")
    assert str(tmp_path) in response.json["error"]["message"]


def test_a_bad_setting_is_an_error_at_once(monkeypatch) -> None:
    monkeypatch.setenv("PARECIDO_PORT", "abc")
    with pytest.raises(SettingsError, match="PARECIDO_PORT is 'abc'"):
        make_app()
