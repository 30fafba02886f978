"""The time that the stages of one query take."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Timing:
    """Milliseconds by stage."""

    started: float = field(default_factory=time.perf_counter)
    stages_ms: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("decode", "embed", "classify", "search"), 0.0)
    )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        started = time.perf_counter()
        yield
        self.stages_ms[name] += (time.perf_counter() - started) * 1000

    def as_ms(self) -> Mapping[str, float]:
        """Return the milliseconds of every stage, and the total until now."""
        return {**self.stages_ms, "total": (time.perf_counter() - self.started) * 1000}
