"""The size of a catalogue, and the machines and time there are for it."""

import math
from dataclasses import dataclass

from shared.errors import SettingsError


@dataclass(frozen=True)
class Demand:
    """The catalogue and the load that `plan` computes for.

    Attributes:
        images: of all items together.
        copies: augmented copies per image.
        cores: per machine or node.
        memory_gb_each: per machine or node.
        hours: that embedding all images on a cluster may take.
        queries_per_s: to be answered.
    """

    images: int
    copies: int = 2
    cores: int = 16
    memory_gb_each: float = 128.0
    hours: float = 24.0
    queries_per_s: float = 100.0

    def __post_init__(self) -> None:
        """Reject impossible values.

        Raises:
            SettingsError: names the field and its value.
        """
        for name in ("images", "cores"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; expected at least 1")
        for name in ("memory_gb_each", "hours", "queries_per_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise SettingsError(f"{name} is {value:g}; expected more than 0")
        if not 0 <= self.copies <= 64:
            raise SettingsError(f"copies is {self.copies}; expected 0 to 64")
