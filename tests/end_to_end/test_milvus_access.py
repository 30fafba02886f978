"""A Milvus server that wants a password, over TLS, and takes fewer partitions than there are categories."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.manifest import Manifest
from shared.snapshot.data_directory import DataDirectory
from tests.support.builders import quick_stages
from tests.support.builders.shop import Done, run
from tests.support.processes.certificates import certify
from tests.support.processes.milvus_server import ADDRESS, MilvusServer, drop_collections
from tests.support.processes.swapping import running, wait_until

pytestmark = [pytest.mark.milvus, pytest.mark.tensorflow]

_STORE = ADDRESS.replace("http://", "https://") + "?name=parecido_access"
_HOST = "milvus.test"
_USER, _PASSWORD = "root", "Milvus"  # as every new server has them


@pytest.fixture(scope="module")
def access(milvus_server: MilvusServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """How to get in, as the service's settings have it."""
    made = certify(tmp_path_factory.mktemp("tls"), _HOST)
    milvus_server.kill()
    milvus_server.up(
        COMMON_SECURITY_AUTHORIZATIONENABLED="true",
        COMMON_SECURITY_TLSMODE="1",
        TLS_SERVERPEMPATH=str(made.certificate),
        TLS_SERVERKEYPATH=str(made.key),
        TLS_CAPEMPATH=str(made.certificate),
        ROOTCOORD_MAXPARTITIONNUM="2",  # of which one is Milvus's own
    )
    told = {
        "milvus_user": _USER,
        "milvus_password": _PASSWORD,
        "milvus_ca_file": str(made.certificate),
        "milvus_server_name": _HOST,
        "milvus_timeout_s": "20",  # on a busy machine
    }
    yield told
    with _environment(told):
        drop_collections(_STORE, "parecido_access")
    milvus_server.kill()


@contextmanager
def _environment(access: dict[str, str]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in access.items():
            patch.setenv(f"PARECIDO_{name.upper()}", value)
        yield


@pytest.fixture(scope="module")
def built(
    data: DataDirectory, lite0_tflite: Path, access: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> DataDirectory:
    """Two categories in the one partition that there is."""
    made = DataDirectory(tmp_path_factory.mktemp("access") / "data")
    catalogue = data.root.parent / "catalogue"
    done = _build(made, lite0_tflite, access, "--catalogue", catalogue, "--backbone", "efficientnet_lite0")
    assert done.status == 0, done.err
    return made


def _build(data: DataDirectory, base: Path, access: dict[str, str], *options: object) -> Done:
    settings = ("--augmentations", 0, "--report", "off", "--store", _STORE)
    with quick_stages.exported(base.read_bytes()), _environment(access):
        return run("build", "--data", data.root, *settings, *options)


def test_a_build_and_the_service_get_in(built: DataDirectory, access: dict[str, str]) -> None:
    manifest = Manifest.read(built.paths(built.current_id()).manifest)
    assert manifest.store is not None
    assert (len(manifest.categories), manifest.store.partitions) == (2, 1)
    assert [entry.ann_recall_at_10 for entry in manifest.categories] == [1.0, 1.0]
    with running(built, **access) as service:
        wait_until("ready", service.is_ready)
        for category in ("disc", "square"):
            status, found = service.ask("/v1/search", {"item_id": f"{category}/0.png", "top_k": 50})
            assert (status, found["hits"][0]["item_id"]) == (200, f"{category}/0.png")
            assert {hit["category"] for hit in found["hits"]} == {category}
            assert len(found["hits"]) == 6


@pytest.mark.parametrize(
    "wrong",
    [
        {"milvus_password": "hush-hush"},
        {"milvus_user": None, "milvus_password": None},
        {"milvus_ca_file": None},  # nobody vouches for the certificate
        {"milvus_server_name": "other.test"},  # it is for another host
    ],
    ids=str,
)
def test_who_may_not_is_told_so_and_changes_nothing(
    built: DataDirectory, lite0_tflite: Path, access: dict[str, str], wrong: dict[str, str | None]
) -> None:
    published = built.current_id()
    told = {name: value for name, value in (access | wrong).items() if value is not None}
    done = _build(built, lite0_tflite, told)
    assert done.status != 0
    assert done.json["error"]["code"] == "store_unavailable"
    assert "hush-hush" not in done.err
    assert built.current_id() == published
    with running(built, **(told | {"milvus_timeout_s": "2"})) as service:
        wait_until("up", lambda: _is_up(service))
        status, said = service.ask("/readyz")
        assert (status, said["error"]["code"]) == (503, "store_unavailable")
        assert "hush-hush" not in str(said)


def _is_up(service) -> bool:
    try:
        return service.fetch("/healthz")[0] == 200
    except OSError:
        return False
