"""Who may import whom: `indexer` and `search_service` meet in a snapshot only, and heavy libraries stay where they are.

Every import counts, also one inside a function or under `if TYPE_CHECKING`.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_PACKAGES = ("shared", "indexer", "search_service")
_TENSORFLOW = {"tensorflow", "keras", "tf_keras"}
_WEB = {"flask", "werkzeug"}
_WEB_MODULES = {
    f"search_service/{name}.py"
    for name in (
        "access/access_control",
        "access/security_headers",
        "api/bodies/form_body",
        "api/bodies/json_body",
        "api/error_handlers",
        "api/requests",
        "api/routes",
        "api/web_pages",
        "app",
        "observability/request_log",
        "openapi/docs_page",
        "openapi/document",
        "server/gateway",
        "server/message",
        "wsgi",
    )
}
_MILVUS = {"shared/milvus/connection.py", "indexer/partitions/milvus_upload.py"}
# Extras: nothing else needs them.
_ONLY_IN = {
    "milvus_lite": _MILVUS,
    "pyarrow": {"indexer/catalogue/parquet.py"},
    "pymilvus": _MILVUS,
    "ray": {"indexer/embedding/cluster/actor_pool.py"},
    "upath": {"indexer/files/location.py"},
}
_OURS = {"shared": set(), "indexer": {"shared"}, "search_service": {"shared"}}


def _modules() -> list[str]:
    """The Python files of the three packages, relative to the root."""
    return sorted(path.relative_to(_ROOT).as_posix() for name in _PACKAGES for path in (_ROOT / name).rglob("*.py"))


def _imports(source: str) -> Iterator[str]:
    """The top-level name of everything that is imported anywhere; relative imports stay within their package."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").split(".")[0]
        elif isinstance(node, ast.Call) and _is_import_function(node.func):
            yield from (str(name.value).split(".")[0] for name in node.args if isinstance(name, ast.Constant))


def _is_import_function(function: ast.expr) -> bool:
    return ast.unparse(function) in ("__import__", "import_module", "importlib.import_module")


def _forbidden(module: str) -> set[str]:
    package = module.split("/")[0]
    names = {*_PACKAGES} - {package} - _OURS[package]
    if package != "indexer":
        names |= _TENSORFLOW
    if module not in _WEB_MODULES:
        names |= _WEB
    return names | {name for name, modules in _ONLY_IN.items() if module not in modules}


def _violations(module: str, source: str) -> list[str]:
    return sorted(set(_imports(source)) & _forbidden(module))


def test_there_is_something_to_check() -> None:
    modules = _modules()
    assert "shared/snapshot/snapshot.py" in modules
    assert {module.split("/")[0] for module in modules} == {*_PACKAGES}


@pytest.mark.parametrize("module", _modules())
def test_imports_keep_the_rules(module: str) -> None:
    assert _violations(module, (_ROOT / module).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source", "wanted"),
    [
        ("shared/images/decode.py", "import indexer.settings", ["indexer"]),
        ("shared/images/decode.py", "from search_service import engine", ["search_service"]),
        ("shared/images/decode.py", "def f():\n    import keras", ["keras"]),
        ("shared/images/decode.py", "import numpy as np, flask as f", ["flask"]),
        ("indexer/embedding/views.py", "from search_service.engine.engine import Engine", ["search_service"]),
        (
            "indexer/embedding/views.py",
            "class A:\n    def f(self):\n        from werkzeug import http",
            ["werkzeug"],
        ),
        (
            "search_service/api/routes.py",
            "if TYPE_CHECKING:\n    from indexer.embedding.views import x",
            ["indexer"],
        ),
        ("search_service/engine/engine.py", "try:\n    import flask.json\nexcept ImportError:\n    pass", ["flask"]),
        ("search_service/engine/engine.py", "import tensorflow.lite as lite", ["tensorflow"]),
        (
            "search_service/app.py",
            "import importlib\nimportlib.import_module('indexer.embedding.views')",
            ["indexer"],
        ),
        ("search_service/web/pages.py", "import flask", ["flask"]),
        ("shared/snapshot/snapshot.py", "def f():\n    from pymilvus import MilvusClient", ["pymilvus"]),
        ("indexer/pipeline.py", "def f():\n    import ray", ["ray"]),
    ],
)
def test_a_violation_is_found(module: str, source: str, wanted: list[str]) -> None:
    assert _violations(module, source) == wanted


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("shared/snapshot/snapshot.py", "from shared.images.decode import SIDE_PX\nimport faiss"),
        ("indexer/backbone/load.py", "import keras\nimport tensorflow as tf\nfrom shared.vectors import unit_rows"),
        ("search_service/app.py", "import flask\nfrom werkzeug.exceptions import HTTPException"),
        (
            "search_service/engine/engine.py",
            "from search_service.settings import Settings\nimport shared.snapshot.snapshot",
        ),
        ("search_service/engine/engine.py", "from . import flask\nimport flaskette\n'import flask'"),
    ],
)
def test_what_is_allowed_is_not_reported(module: str, source: str) -> None:
    assert _violations(module, source) == []


@pytest.mark.parametrize("module", ["indexer.__main__", "indexer.pipeline", "search_service.wsgi"])
def test_milvus_is_not_imported_before_it_is_needed(module: str) -> None:
    program = f"import sys, {module}; print([name for name in sys.modules if 'milvus' in name and '.' not in name])"
    done = subprocess.run([sys.executable, "-c", program], cwd=_ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
