"""The `plan` command: both ways to serve a catalogue, with their formulas, and where each way ends."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from indexer.capacity import cluster, one_machine
from indexer.capacity.demand import Demand
from indexer.capacity.measured import MEASURED
from indexer.console.progress import Reporter


class Line(NamedTuple):
    """A figure of a plan, with the formula that gave it."""

    name: str
    value: float
    unit: str
    what: str
    formula: str

    def shown(self) -> str:
        """Value and unit for people: two digits where the value is small."""
        value = f"{self.value:,.0f}" if self.value >= 10 or self.value == int(self.value) else f"{self.value:.2g}"
        unit = self.unit.removesuffix("s") if self.value == 1 else self.unit
        return f"{value} {unit}".strip()


@dataclass(frozen=True)
class Plan:
    """The figures of both ways.

    Attributes:
        limits: sentences on where a way ends with machines of this size.
    """

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
            "measured": {name: measured._asdict() for name, measured in MEASURED.items()},
        }


def plan(demand: Demand) -> Plan:
    """Compute both ways."""
    return Plan(demand, _lines(one_machine.FORMULAS, demand), _lines(cluster.FORMULAS, demand), tuple(_limits(demand)))


def _lines(formulas: Mapping[Callable[[Demand], float], str], demand: Demand) -> tuple[Line, ...]:
    lines = []
    for function, unit in formulas.items():
        what, _, formula = inspect.cleandoc(function.__doc__ or "").partition("\n\n")
        lines.append(Line(function.__name__, function(demand), unit, what.removesuffix("."), formula))
    return tuple(lines)


def _limits(demand: Demand) -> list[str]:
    limits = []
    memory, each = one_machine.memory_gb(demand), demand.memory_gb_each
    if memory > each:
        limits.append(f"one machine: needs {memory:,.0f} GB of memory and has {each:,.0f}; use a cluster")
    hours = one_machine.embedding_hours(demand)
    if hours > demand.hours:
        limits.append(f"one machine: embedding all images takes {hours:,.0f} hours; use Ray, or wait once")
    memory = cluster.driver_memory_gb(demand)
    if memory > each:
        limits.append(
            f"cluster: the driver needs {memory:,.0f} GB of memory; use a larger machine for it, or at least"
            f" {math.ceil(memory / each)} catalogues, by category, each with a driver of its own"
        )
    slowest = max((cluster.take_over_hours, cluster.insert_hours), key=lambda hours: hours(demand))
    if slowest(demand) > demand.hours:
        limits.append(
            f"cluster: {slowest.__name__} is {slowest(demand):,.0f}, more than the {demand.hours:,.0f} given;"
            " use several drivers"
        )
    return limits


def show(result: Plan, reporter: Reporter) -> None:
    """Show a plan as tables, and its limits as sentences."""
    for title, lines in (("One machine", result.one_machine), ("Ray and Milvus", result.cluster)):
        rows = [(line.what, line.shown(), line.formula) for line in lines]
        reporter.table(f"{title}: {result.demand.images:,} images", ["what", "value", "formula"], rows)
    figures = [(name, f"{it.value:.4g} {it.unit}".strip(), it.what, it.by) for name, it in MEASURED.items()]
    reporter.table("Measured on 2 cores", ["name", "value", "what", "by"], figures)
    for limit in result.limits:
        reporter.say(limit)
