"""The imports between our modules, their cycles and their layers, and the modules of each folder.

An import counts wherever it stands, also in a function, except under `if TYPE_CHECKING`, which nothing runs.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("shared", "indexer", "search_service")
Graph = Mapping[str, set[str]]


def modules(*folders: str) -> dict[str, Path]:
    """The Python files below folders of the repository, by dotted name; a package has its folder's."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return {_name(path): path for path in paths}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph(paths: Mapping[str, Path]) -> dict[str, set[str]]:
    """Each module's imports among `paths`."""
    graph = {}
    for name, path in paths.items():
        found = {_resolve(imported, paths) for imported in _imported(ast.parse(path.read_text(encoding="utf-8")))}
        graph[name] = found & paths.keys() - {name}
    return graph


def _imported(node: ast.AST) -> Iterator[str]:
    """Return the modules that a syntax tree imports, as `module.name` where a name is imported from a module."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        yield from _imported(child)


def _resolve(imported: str, paths: Mapping[str, Path]) -> str:
    return imported if imported in paths else imported.rpartition(".")[0]


def cycles(graph: Graph) -> list[list[str]]:
    """The sets of more than one module that all import each other, also indirectly; each sorted."""
    reached = {module: _reached(graph, module) for module in graph}
    together = {frozenset(other for other in reached[module] if module in reached[other]) for module in graph}
    return sorted(sorted(component) for component in together if len(component) > 1)


def _reached(graph: Graph, start: str) -> set[str]:
    """All that a module imports, directly or not."""
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - reached
        reached |= new
        waiting += new
    return reached


def upward_imports(graph: Graph, layers: Sequence[Sequence[str]]) -> list[str]:
    """The imports of a higher layer by a lower one, as `importer -> imported`.

    Args:
        graph: of modules.
        layers: from the lowest; each holds dotted names of modules, or of packages with all that is in them.

    Raises:
        ValueError: a module is in no layer.
    """
    layer_of = {name: number for number, names in enumerate(layers) for name in names}

    def layer(module: str) -> int:
        ranked = [name for name in layer_of if f"{module}.".startswith(f"{name}.")]
        return layer_of[max(ranked, key=len)]

    return sorted(
        f"{module} -> {imported}"
        for module, imports in graph.items()
        for imported in imports
        if layer(imported) > layer(module)
    )


def folder_sizes(paths: Mapping[str, Path]) -> dict[str, int]:
    """The number of modules in each folder, `__init__.py` aside, largest first."""
    sizes: dict[str, int] = {}
    for path in paths.values():
        if path.name != "__init__.py":
            folder = path.parent.relative_to(ROOT).as_posix()
            sizes[folder] = sizes.get(folder, 0) + 1
    return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))


def main() -> None:
    """Print cycles and folder sizes."""
    ours = modules(*PACKAGES)
    found = cycles(import_graph(ours))
    print(f"{len(ours)} modules, {len(found)} import cycles", *map(" <-> ".join, found), sep="\n")
    for folder, size in folder_sizes(ours).items():
        print(f"{size:4d} {folder}")


if __name__ == "__main__":
    main()
