"""The application as gunicorn makes it."""

import logging
import os
import threading
from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from search_service import wsgi
from search_service.environment import PREFIX
from search_service.settings import ServiceSettings
from shared.errors import SettingsError
from shared.snapshot.data_directory import DataDirectory
from tests.support.fakes import is_leased


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch) -> None:
    for variable in [one for one in os.environ if one.startswith(PREFIX)]:
        monkeypatch.delenv(variable)


@pytest.fixture
def make_app() -> Iterator[Callable[..., Flask]]:
    """`wsgi.make_app`; the threads of what it makes end with the test."""
    made: list[Flask] = []

    def make(*settings: ServiceSettings) -> Flask:
        made.append(wsgi.make_app(*settings))
        return made[-1]

    yield make
    for app in made:
        app.extensions["snapshot_watcher"].stop()


def test_without_a_snapshot_it_is_up_and_says_why(make_app, tmp_path, assert_error, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        client = make_app(ServiceSettings(data=tmp_path / "nowhere")).test_client()
    assert client.get("/healthz").status_code == 200
    message = assert_error(client.get("/readyz"), 503, "not_ready")
    assert f"nothing is published in {tmp_path / 'nowhere'}" in message
    assert "python -m indexer build" in message
    assert message in caplog.text


def test_a_broken_current_is_named(make_app, tmp_path, assert_error) -> None:
    (tmp_path / "current").write_text("../../etc\n", encoding="utf-8")
    message = assert_error(make_app(ServiceSettings(data=tmp_path)).test_client().get("/readyz"), 503, "not_ready")
    assert str(tmp_path / "current") in message
    assert "'../../etc'" in message


def test_settings_come_from_the_environment(make_app, monkeypatch, tmp_path, assert_error) -> None:
    monkeypatch.setenv("PARECIDO_DATA", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PARECIDO_MAX_TOP_K", "7")
    monkeypatch.setenv("PARECIDO_MAX_UPLOAD_BYTES", "3000")
    client = make_app().test_client()
    assert str(tmp_path / "elsewhere") in assert_error(client.get("/readyz"), 503, "not_ready")
    response = client.post("/v1/search", json={"item_id": "x", "top_k": 8})
    assert "1 to 7" in assert_error(response, 400, "invalid_request")
    assert_error(client.post("/v1/search", json={"image_base64": "A" * 300_000}), 413, "image_too_large")


def test_settings_handed_in_come_before_the_environment(make_app, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PARECIDO_DATA", "elsewhere")
    response = make_app(ServiceSettings(data=tmp_path)).test_client().get("/readyz")
    assert str(tmp_path) in response.json["error"]["message"]


def test_a_bad_setting_is_an_error_at_once(make_app, monkeypatch) -> None:
    monkeypatch.setenv("PARECIDO_PORT", "abc")
    with pytest.raises(SettingsError, match="PARECIDO_PORT is 'abc'"):
        make_app()


def test_it_watches_in_the_background(make_app, tmp_path) -> None:
    looked = threading.Event()

    class WatchedDirectory(DataDirectory):
        def current_id(self) -> str:
            if threading.current_thread() is not threading.main_thread():
                looked.set()
            return super().current_id()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wsgi, "DataDirectory", WatchedDirectory)
        make_app(ServiceSettings(data=tmp_path, poll_s=0.01))
        assert looked.wait(10)


def test_feedback_is_kept_where_the_setting_says(make_app, tmp_path, assert_error, caplog) -> None:
    path = tmp_path / "feedback.jsonl"
    make_app(ServiceSettings(data=tmp_path, feedback=path))
    assert path.read_bytes() == b""
    off = make_app(ServiceSettings(data=tmp_path)).test_client()
    assert_error(off.post("/v1/feedback", json={}), 404, "feedback_off")
    with caplog.at_level(logging.WARNING):
        client = make_app(ServiceSettings(data=tmp_path, feedback=tmp_path / "gone" / "f.jsonl")).test_client()
    assert "feedback will not be kept" in caplog.text
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("manifest", [b"", b"{}"])
def test_a_snapshot_that_can_not_be_opened_is_not_leased(make_app, tmp_path, assert_error, manifest) -> None:
    paths = DataDirectory(tmp_path).paths("20250102T030405-abc")
    paths.root.mkdir(parents=True)
    paths.manifest.write_bytes(manifest)
    (tmp_path / "current").write_text(paths.root.name, encoding="utf-8")
    response = make_app(ServiceSettings(data=tmp_path, poll_s=3600)).test_client().get("/readyz")
    assert str(paths.manifest) in assert_error(response, 503, "not_ready")
    assert not is_leased(paths)
