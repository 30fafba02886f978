"""The import rules: packages, layers, cycles and heavy libraries; and the layout of modules and tests.

For packages and libraries every import counts, also one inside a function or under `if TYPE_CHECKING`; for layers and
cycles those that run.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import module_graph
from tests.support.module_graph import PACKAGES, ROOT

_TENSORFLOW = {"tensorflow", "keras", "tf_keras"}
_WEB = {"flask", "werkzeug"}
_WEB_MODULES = {
    f"search_service/{name}.py"
    for name in (
        "api/access_control",
        "api/security_headers",
        "api/bodies/form_body",
        "api/bodies/json_body",
        "api/error_handlers",
        "api/query_images",
        "api/requests",
        "api/app_state",
        "api/routes/catalogue",
        "api/routes/search",
        "api/routes/service",
        "api/web_pages",
        "app",
        "observability/request_log",
        "openapi/docs_page",
        "openapi/document",
        "server/gateway",
        "server/request",
        "wsgi",
    )
}
_MILVUS = {"shared/milvus/connection.py", "indexer/partitions/milvus_upload.py"}
# Extras: nothing else needs them.
_ONLY_IN = {
    "milvus_lite": _MILVUS,
    "pyarrow": {"indexer/catalogue/formats/parquet.py"},
    "pymilvus": _MILVUS,
    "ray": {"indexer/embedding/cluster/ray_client.py"},
    "upath": {"indexer/files/location.py"},
}
_OURS = {"shared": set(), "indexer": {"shared"}, "search_service": {"shared"}}


# From the lowest; a layer imports itself and those above it in this list.
_LAYERS = {
    "shared": [
        ["errors", "vectors", "deadline", "text", "priority", "expected_values", "options"],
        ["files"],
        ["database"],
        ["manifest", "feedback_record"],
        ["images"],
        ["index"],
        ["model", "words"],
        ["catalogue"],
        ["milvus"],
        ["snapshot"],
        ["retrieval"],
    ],
    "indexer": [
        ["console", "files"],
        ["capacity"],
        ["catalogue"],
        ["snapshots"],
        ["embedding", "groups", "backbone", "classifier", "partitions", "words", "settings"],
        ["data_quality", "evaluation"],
        ["reports"],
        ["build_summary", "assemble_snapshot", "publish_gate", "dry_run", "pipeline"],
        ["cli", "__main__"],
    ],
    "search_service": [
        ["platform_variables", "environment", "settings", "access", "admission", "observability"],
        ["engine"],
        ["snapshots"],
        ["api", "openapi"],
        ["server", "app", "wsgi", "__main__"],
    ],
}
_MAX_MODULES = 12
# Tests of several modules at once.
_OF_SEVERAL_MODULES = {
    "indexer/cli/test_completion.py": "a real shell",
    "indexer/console/test_tables.py": "what commands print as tables",
    "indexer/test_milvus.py": "builds into Milvus",
    "search_service/access/test_prefix.py": "the service below a path",
    "search_service/server/test_conformance.py": "HTTP as its specification has it",
    "search_service/test_milvus.py": "searches in Milvus",
    "shared/images/test_hostile_images.py": "decoding in time and memory",
    "shared/snapshot/test_invalid_content.py": "snapshots with valid checksums and invalid content",
} | {
    f"search_service/api/routes/test_{name}.py": "a route, or all"
    for name in (
        "accents",
        "bad_requests",
        "batch",
        "feedback",
        "generated_requests",
        "image_url",
        "overload",
        "readyz",
        "search_by_text",
        "search_options",
        "valid_requests",
        "without_embedder",
    )
}


def _modules() -> list[str]:
    """The Python files of the three packages, relative to the root."""
    return sorted(path.relative_to(ROOT).as_posix() for path in module_graph.modules(*PACKAGES).values())


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
    names = {*PACKAGES} - {package} - _OURS[package]
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
    assert {module.split("/")[0] for module in modules} == {*PACKAGES}


def test_packages_and_libraries_are_imported_where_they_may_be() -> None:
    found = {module: _violations(module, (ROOT / module).read_text(encoding="utf-8")) for module in _modules()}
    assert {module: names for module, names in found.items() if names} == {}


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
            "search_service/api/routes/search.py",
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


def test_there_are_no_import_cycles() -> None:
    assert module_graph.cycles(module_graph.import_graph(module_graph.modules(*PACKAGES))) == []


def test_cycles_are_found_also_where_an_import_is_in_a_function() -> None:
    assert module_graph.cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
    assert module_graph.cycles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    source = "from a import b\nif TYPE_CHECKING:\n    import c\ndef f():\n    import d.e"
    assert list(module_graph._imported(ast.parse(source))) == ["a.b", "d.e"]


@pytest.mark.parametrize("package", PACKAGES)
def test_lower_layers_import_no_higher_ones(package: str) -> None:
    graph = module_graph.import_graph(module_graph.modules(package))
    assert graph.pop(package) == set()
    layers = [[f"{package}.{name}" for name in names] for names in _LAYERS[package]]
    assert module_graph.upward_imports(graph, layers) == []


def test_an_upward_import_is_found() -> None:
    graph = {"a.low.x": {"a.high"}, "a.high": {"a.low.x"}}
    assert module_graph.upward_imports(graph, [["a.low"], ["a.high"]]) == ["a.low.x -> a.high"]
    with pytest.raises(ValueError, match="empty"):
        module_graph.upward_imports(graph, [["a.low"]])


def test_no_folder_is_a_drawer() -> None:
    sizes = module_graph.folder_sizes(module_graph.modules(*PACKAGES))
    assert {folder: size for folder, size in sizes.items() if size > _MAX_MODULES} == {}
    sizes = module_graph.folder_sizes(module_graph.modules("tests/support"))
    assert {folder: size for folder, size in sizes.items() if size > _MAX_MODULES} == {}


def test_tests_mirror_the_packages() -> None:
    paths = {
        path.relative_to(ROOT / "tests") for name in PACKAGES for path in (ROOT / "tests" / name).rglob("test_*.py")
    }
    lone = {path.as_posix() for path in paths if not (ROOT / path.parent / _module_of(path)).exists()}
    assert lone == _OF_SEVERAL_MODULES.keys()


def _module_of(test: Path) -> str:
    name = test.name.removeprefix("test_")
    return "__main__.py" if name == "main.py" else name


def test_no_test_needs_benchmarks() -> None:
    """Those of the benchmarks aside."""
    tests = [path for path in (ROOT / "tests").rglob("*.py") if ROOT / "tests" / "benchmarks" not in path.parents]
    assert [path for path in tests if "benchmarks" in set(_imports(path.read_text(encoding="utf-8")))] == []


# Links in docs to the package of that name go two folders up.
_BESIDE = re.compile(r"(?<![.]/)[.][.]/shared\b|[.]parent / .shared\b|(docker|milvus)-bed")
_FOLDERS = ("benchmarks", "deploy", "docs", "examples", "tests", *PACKAGES)


def test_nothing_but_ci_names_a_path_beside_the_repository() -> None:
    below = (path for folder in _FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix != ".pyc")
    files = [path for path in (*ROOT.glob("*"), *below) if path.is_file()]
    assert {"Makefile", "README.md", "conftest.py"} <= {path.name for path in files}
    named = [path for path in files if _BESIDE.search(path.read_text(encoding="utf-8", errors="replace"))]
    assert [path.relative_to(ROOT).as_posix() for path in named] == []
    assert _BESIDE.search((ROOT / ".ci" / "run").read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", ["indexer.__main__", "indexer.pipeline", "search_service.wsgi"])
def test_milvus_is_not_imported_before_it_is_needed(module: str) -> None:
    program = f"import sys, {module}; print([name for name in sys.modules if 'milvus' in name and '.' not in name])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
