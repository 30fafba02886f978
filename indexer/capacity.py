"""What a catalogue of some size takes, on one machine and on a cluster: formulas over figures that were measured.

1. `MEASURED` holds the figures, each with the benchmark that prints it.
2. `ONE_MACHINE` and `CLUSTER` hold a formula a line. It is shown as it is computed, so that neither can be wrong alone.
3. `plan` puts in what is wanted, and names what no machine has.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from indexer.console.progress import Reporter
from shared.errors import SettingsError


class Measured(NamedTuple):
    """A figure that formulas may use.

    Attributes:
        value: in the unit.
        unit: of the value.
        what: it is.
        by: the module in `benchmarks` that prints it, or where else it comes from.
    """

    value: float
    unit: str
    what: str
    by: str


class Formula(NamedTuple):
    """A line of a plan.

    Attributes:
        name: of the result, which later formulas may use.
        unit: of the result.
        formula: over the demand, `MEASURED`, and the results above it.
        what: it is.
    """

    name: str
    unit: str
    formula: str
    what: str


MEASURED: Mapping[str, Measured] = {
    "first_view_s": Measured(2 / 144, "core s", "decoding and embedding an image", "speed"),
    "copy_s": Measured((2 / 51.9 - 2 / 144) / 2, "core s", "making and embedding one augmented copy", "speed"),
    "vector_bytes": Measured(5120, "bytes", "an embedding of 1280 float32 numbers", "index_kinds"),
    "graph_bytes": Measured(
        652, "bytes", "an embedding's part of a graph, at a fifth of its dimensions", "index_kinds"
    ),
    "graph_s": Measured(2 * 76 / 33_923, "core s", "putting an embedding into a graph", "index_kinds"),
    "cache_share": Measured(1.103, "", "cache on the disk, of the embeddings in it", "ray_embedding"),
    "item_bytes": Measured(2650, "bytes", "what a build knows of an item with one image", "large_catalogue"),
    "build_bytes": Measured(1.2e9, "bytes", "a build while it exports the base", "large_catalogue"),
    "worker_bytes": Measured(129e6, "bytes", "a worker of the service", "speed"),
    "query_s": Measured(2 / 88, "core s", "a query over HTTP", "load"),
    "take_over_s": Measured(1 / 6_318, "s", "taking an image over from a shard", "ray_embedding"),
    "take_over_copy_s": Measured((1 / 4_234 - 1 / 6_318) / 2, "s", "…and a copy of it", "ray_embedding"),
    "insert_s": Measured(1 / 3_700, "s", "inserting a row into Milvus", "one trial: Milvus 2.3.5, 20,000 rows"),
    "link_bytes": Measured(128, "bytes", "an embedding's links in a graph of Milvus's (M = 16)", "by its format"),
}

ONE_MACHINE: Sequence[Formula] = (
    Formula("embedding_hours", "h", "images * (first_view_s + copies * copy_s) / cores / 3600", "embedding all once"),
    Formula("index_hours", "h", "images * graph_s / cores / 3600", "building the partitions"),
    Formula("build_memory_gb", "GB", "(build_bytes + images * item_bytes) / 1e9", "memory of a build"),
    Formula(
        "service_memory_gb",
        "GB",
        "(worker_bytes + images * (graph_bytes + vector_bytes)) / 1e9",
        "memory of the service, its mapped files included",
    ),
    Formula("memory_gb", "GB", "build_memory_gb + service_memory_gb", "memory while the next snapshot is built"),
    Formula("cache_disk_gb", "GB", "images * (1 + copies) * vector_bytes * cache_share / 1e9", "disk of the cache"),
    Formula(
        "snapshot_disk_gb",
        "GB",
        "2 * images * (vector_bytes + graph_bytes) / 1e9",
        "disk of the snapshot and the next one",
    ),
    Formula("disk_gb", "GB", "cache_disk_gb + snapshot_disk_gb", "disk"),
    Formula("service_cores", "cores", "queries_per_s * query_s", "cores that answer"),
    Formula("machines", "", "ceil(service_cores / cores)", "machines, each with all of it"),
)

CLUSTER: Sequence[Formula] = (
    Formula(
        "embedding_nodes",
        "nodes",
        "ceil(images * (first_view_s + copies * copy_s) / (hours * 3600) / cores)",
        "Ray nodes, to embed all once in the hours wanted",
    ),
    Formula(
        "take_over_hours",
        "h",
        "images * (take_over_s + copies * take_over_copy_s) / 3600",
        "the driver's taking over, meanwhile",
    ),
    Formula("driver_memory_gb", "GB", "(build_bytes + images * item_bytes) / 1e9", "memory of the driver"),
    Formula(
        "driver_disk_gb",
        "GB",
        "images * (1 + copies) * vector_bytes * cache_share / 1e9",
        "disk of the driver: the cache",
    ),
    Formula("insert_hours", "h", "images * insert_s / 3600", "inserting into Milvus by one client"),
    Formula(
        "milvus_memory_gb",
        "GB",
        "images * (vector_bytes + link_bytes) / 1e9",
        "memory of Milvus's query nodes, one replica",
    ),
    Formula("milvus_nodes", "nodes", "ceil(milvus_memory_gb / (0.7 * memory_gb_each))", "query nodes, filled to 70 %"),
    Formula(
        "object_storage_gb", "GB", "2 * images * vector_bytes / 1e9", "object storage: a collection and the next one"
    ),
    Formula("service_nodes", "nodes", "ceil(queries_per_s * query_s / cores)", "nodes of the service"),
)


@dataclass(frozen=True)
class Demand:
    """What is wanted.

    Attributes:
        images: items, times the images of one.
        copies: augmented copies an image.
        cores: of a machine, or a node.
        memory_gb_each: of a machine, or a node.
        hours: that embedding all on a cluster may take.
        queries_per_s: that are to be answered.
    """

    images: int
    copies: int = 2
    cores: int = 16
    memory_gb_each: float = 128.0
    hours: float = 24.0
    queries_per_s: float = 100.0

    def __post_init__(self) -> None:
        """Refuse values that can't be.

        Raises:
            SettingsError: it names the value.
        """
        for name, least in (("images", 1), ("cores", 1)):
            if getattr(self, name) < least:
                raise SettingsError(f"{name} is {getattr(self, name)}; wanted at least {least}")
        for name in ("memory_gb_each", "hours", "queries_per_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise SettingsError(f"{name} is {value:g}; wanted more than 0")
        if not 0 <= self.copies <= 64:
            raise SettingsError(f"copies is {self.copies}; wanted 0 to 64")


class Line(NamedTuple):
    """A figure of a plan, with the formula that gave it."""

    name: str
    value: float
    unit: str
    what: str
    formula: str


@dataclass(frozen=True)
class Plan:
    """What it takes, both ways, and where a way ends."""

    demand: Demand
    one_machine: tuple[Line, ...]
    cluster: tuple[Line, ...]
    limits: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        ways = {"one_machine": self.one_machine, "cluster": self.cluster}
        return {
            "demand": asdict(self.demand),
            **{way: {line.name: line._asdict() for line in lines} for way, lines in ways.items()},
            "limits": list(self.limits),
            "measured": {name: one._asdict() for name, one in MEASURED.items()},
        }


def plan(demand: Demand) -> Plan:
    """Compute both ways."""
    one, cluster = _lines(ONE_MACHINE, demand), _lines(CLUSTER, demand)
    return Plan(demand, one, cluster, tuple(_limits(demand, _values(one), _values(cluster))))


def _values(lines: Sequence[Line]) -> dict[str, float]:
    return {line.name: line.value for line in lines}


def _lines(formulas: Sequence[Formula], demand: Demand) -> tuple[Line, ...]:
    known: dict[str, float] = {**asdict(demand), **{name: one.value for name, one in MEASURED.items()}}
    lines = []
    for name, unit, formula, what in formulas:
        known[name] = evaluate(formula, known)
        lines.append(Line(name, known[name], unit, what, formula))
    return tuple(lines)


def _limits(demand: Demand, one: Mapping[str, float], cluster: Mapping[str, float]) -> list[str]:
    """Where a way ends with machines of this size."""
    found = []
    memory, each = one["memory_gb"], demand.memory_gb_each
    if memory > each:
        found.append(f"one machine: it takes {memory:,.0f} GB of memory, and has {each:,.0f}: the cluster's way")
    if one["embedding_hours"] > demand.hours:
        found.append(f"one machine: embedding all takes {one['embedding_hours']:,.0f} hours: Ray, or wait once")
    if cluster["driver_memory_gb"] > each:
        parts = math.ceil(cluster["driver_memory_gb"] / each)
        found.append(
            f"cluster: the driver takes {cluster['driver_memory_gb']:,.0f} GB of memory: a larger machine for it, or at"
            f" least {parts} catalogues, by category, each with a driver of its own"
        )
    slow = max(("take_over_hours", "insert_hours"), key=cluster.__getitem__)
    if cluster[slow] > demand.hours:
        found.append(
            f"cluster: {slow} is {cluster[slow]:,.0f}, more than the {demand.hours:,.0f} wanted: several drivers"
        )
    return found


_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_FUNCTIONS: Mapping[str, Callable[..., float]] = {"ceil": math.ceil, "max": max}


def evaluate(formula: str, known: Mapping[str, float]) -> float:
    """The value of an arithmetic formula.

    Args:
        formula: of numbers, names, + - * /, parentheses, `ceil` and `max`.
        known: the values of the names.

    Raises:
        KeyError: a name or a function is unknown.
    """

    def value(node: ast.expr) -> float:
        if isinstance(node, ast.BinOp):
            return _OPERATORS[type(node.op)](value(node.left), value(node.right))
        if isinstance(node, ast.Call):
            return _FUNCTIONS[ast.unparse(node.func)](*map(value, node.args))
        if isinstance(node, ast.Constant):
            return float(node.value)  # type: ignore[arg-type]
        return known[ast.unparse(node)]

    return value(ast.parse(formula, mode="eval").body)


def show(found: Plan, reporter: Reporter) -> None:
    """Tell a person."""
    for title, lines in (("One machine", found.one_machine), ("Ray and Milvus", found.cluster)):
        rows = [(line.what, shown(line), line.formula) for line in lines]
        reporter.table(f"{title}: {found.demand.images:,} images", ["what", "value", "formula"], rows)
    used = [(name, f"{one.value:.4g} {one.unit}".strip(), one.what, one.by) for name, one in MEASURED.items()]
    reporter.table("Measured on 2 cores", ["name", "value", "what", "by benchmarks."], used)
    for limit in found.limits:
        reporter.say(limit)


def shown(line: Line) -> str:
    """A value for a person: two digits where it is small."""
    value = f"{line.value:,.0f}" if line.value >= 10 or line.value == int(line.value) else f"{line.value:.2g}"
    return f"{value} {line.unit}".strip()
