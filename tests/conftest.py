"""Fixtures for all tests."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

from shared.model import embedder
from shared.snapshot.data_directory import DataDirectory
from tests.support.builders import quick_stages
from tests.support.builders.real_build import RealBuild, run_alone
from tests.support.builders.shop import Shop
from tests.support.made_once import made_once

_ROOT = Path(__file__).parents[1]

_EXPORT_LITE0 = """
import sys
from pathlib import Path
from indexer.backbone.export import export_embedder
from indexer.backbone.load import load_backbone
model = load_backbone("efficientnet_lite0", None, print).model
Path(sys.argv[1]).write_bytes(export_embedder(model))
"""


_OF_PROGRAMS = ("tests/browser/", "tests/end_to_end/", "tests/examples/")


class _ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Of several workers, one has all tests of whole programs, which take the cores from each other and share what was
    built; the rest goes file by file to whoever is free.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "programs" if nodeid.startswith(_OF_PROGRAMS) else nodeid.partition("::")[0]


_LIMIT_S = {"tensorflow": 480, "browser": 480, "milvus": 600, "clothing": 900, "ray": 900, "docker": 1200}
_BUILT_FOR_REAL = {"lite0_tflite", "real_build", "clothing"}


# The hook of a folder's conftest.py, which may mark its tests, comes before this one.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each slow kind of test its time limit, unless the test has one of its own, and mark what is `slow`."""
    for item in items:
        limits_s = [limit_s for name, limit_s in _LIMIT_S.items() if item.get_closest_marker(name)]
        if limits_s and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(max(limits_s)))
        if limits_s or _BUILT_FOR_REAL & {*getattr(item, "fixturenames", ())} or _starts_processes(item.path):
            item.add_marker(pytest.mark.slow)


@cache
def _starts_processes(path: Path) -> bool:
    """True if a test module imports what starts processes."""
    imported = re.findall(r"^(?:from|import) ([\w.]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return any(name.startswith(("subprocess", "multiprocessing", "tests.support.processes")) for name in imported)


_seconds_of_worker: Counter[str] = Counter()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    node = getattr(report, "node", None)  # a worker, where this is the process that hands out the tests
    if node is not None:
        _seconds_of_worker[node.gateway.id] += report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _seconds_of_worker:
        told = ", ".join(f"{worker} {seconds:.0f} s" for worker, seconds in sorted(_seconds_of_worker.items()))
        terminalreporter.write_line(f"tests took on each worker: {told}")


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    return _ByFile(config, log)


@pytest.fixture(scope="session")
def clothing() -> Path:
    """Real product photos, `{train,validation}/<category>/*.jpg`; mark the test `clothing`."""
    photos = Path(os.environ.get("PHOTOS", "")).resolve()
    if not (photos / "train").is_dir() or not (photos / "validation").is_dir():
        pytest.skip(
            "NOT MEASURED ON REAL PHOTOS: PHOTOS names no directory with `train` and `validation` of the data set"
            " alexeygrigorev/clothing-dataset-small"
        )
    return photos


@pytest.fixture(scope="session")
def clothing_build(clothing: Path, shared_temp: Path) -> DataDirectory:
    """The photos to train with, built with the default settings; who changes it changes a copy."""

    def build(data: Path) -> None:
        done = run_alone("build", "--catalogue", clothing / "train", "--data", data, "--backbone", "efficientnet_lite0")
        assert done.status == 0, done.err
        assert [done.json[name] for name in ("items", "skipped", "categories")] == [3068, 0, 10]

    return DataDirectory(made_once(shared_temp / "clothing", build))


@pytest.fixture(scope="session")
def shared_temp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The temporary directory that all workers of this run share, for `made_once`."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def lite0_tflite(shared_temp: Path) -> Path:
    """EfficientNet-Lite0 with its ImageNet weights, exported for real; mark the test `tensorflow`."""
    return made_once(shared_temp / "lite0", _export_lite0) / "embedder.tflite"


def _export_lite0(directory: Path) -> None:
    """Another process does it: TensorFlow and FAISS in one can clash over OpenMP."""
    command = [sys.executable, "-c", _EXPORT_LITE0, str(directory / "embedder.tflite")]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"the export of EfficientNet-Lite0 failed:\n{done.stderr}"


@pytest.fixture(scope="session")
def real_build(shared_temp: Path) -> RealBuild:
    """A first build by the real stages; mark the test `tensorflow`. Tests that change its data change a copy."""
    return RealBuild(made_once(shared_temp / "real", lambda root: RealBuild(root).make()))


@pytest.fixture
def quick_stages_called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Builds in this process neither need TensorFlow nor a model; the list says what was exported and trained."""
    _patch_stages(monkeypatch)
    quick_stages.called.clear()
    return quick_stages.called


def _patch_stages(patch: pytest.MonkeyPatch) -> None:
    for name, stage in quick_stages.STAGES.items():
        patch.setitem(sys.modules, name, stage)
    patch.setattr(embedder, "_Interpreter", quick_stages.ColourInterpreter)


@pytest.fixture(scope="session")
def _built_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop that `quick_shop` copies: built at the path that each copy has, then renamed."""
    shop = Shop(tmp_path_factory.mktemp("quick") / "shop").draw(side=40)
    with pytest.MonkeyPatch.context() as patch:
        _patch_stages(patch)
        done = shop.first_build()
    assert done.status == 0, done.err
    return shop.root.rename(shop.root.with_name("built"))


@pytest.fixture
def quick_shop(_built_shop: Path, quick_stages_called: list[str]) -> Iterator[Shop]:
    """A shop of 36 small pictures that was built once, by colour."""
    root = shutil.copytree(_built_shop, _built_shop.with_name("shop"), symlinks=True)
    yield Shop(root)
    shutil.rmtree(root)
