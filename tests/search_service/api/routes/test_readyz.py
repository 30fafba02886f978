"""Who is told which paths by `/readyz`, and by what is refused while nothing is served."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from search_service.access.api_keys import ApiKeys, new_key
from search_service.app import create_app
from search_service.engine.engine import Engine
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings
from search_service.snapshots.version import SnapshotVersion
from search_service.snapshots.watcher import SnapshotWatcher
from shared.errors import SnapshotError

_PATH = "/srv/data/snapshots/b/items.sqlite"


def _client(engine: Engine | None, keys: ApiKeys | None = None) -> FlaskClient:
    """Of a service that refuses the published snapshot; it serves `engine`, or nothing."""
    published = SnapshotVersion("a", 1)

    def open_engine(snapshot_id: str) -> Engine:
        if engine is None or snapshot_id == "b":
            raise SnapshotError(f"{_PATH} is damaged")
        return engine

    watch = SnapshotWatcher(lambda: published, open_engine)
    watch.poll()
    published = SnapshotVersion("b", 1)
    watch.poll()
    return create_app(watch, ServiceSettings(), Metrics(0.98), keys=keys).test_client()


_OUTSIDE = {"REMOTE_ADDR": "203.0.113.7"}


def test_on_the_machine_the_reason_has_its_paths(engine) -> None:
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        refused = _client(engine).get("/readyz", environ_overrides={"REMOTE_ADDR": address}).json["refused"]
        assert refused == {"snapshot_id": "b", "reason": f"{_PATH} is damaged"}


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_others_are_told_that_it_is_refused(engine, name: str) -> None:
    client = _client(engine)
    for response in (client.get("/readyz", environ_overrides=_OUTSIDE), client.get("/readyz", headers={name: "x"})):
        assert response.status_code == 200
        assert response.json["refused"]["snapshot_id"] == "b"
        assert "/srv" not in response.text


@pytest.mark.parametrize("path", ["/readyz", "/v1/status", "/v1/categories"])
def test_while_nothing_is_served_no_error_tells_others_a_path(path: str) -> None:
    client = _client(None)
    outside = client.get(path, environ_overrides=_OUTSIDE)
    assert (outside.status_code, outside.json["error"]["code"]) == (503, "not_ready")
    assert "/srv" not in outside.text
    assert _PATH in client.get(path).text


def test_with_keys_only_who_has_one_is_told(engine, tmp_path: Path) -> None:
    key, line = new_key("ops")
    (tmp_path / "keys").write_text(line + "\n", encoding="utf-8")
    client = _client(engine, ApiKeys(tmp_path / "keys"))
    assert "/srv" not in client.get("/readyz").text
    assert "/srv" not in client.get("/readyz", headers={"X-API-Key": "other"}).text
    assert _PATH in client.get("/readyz", headers={"X-API-Key": key}, environ_overrides=_OUTSIDE).text
