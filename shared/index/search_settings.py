"""The search settings of an approximate index, as a file of the snapshot keeps them."""

import json
from dataclasses import dataclass
from pathlib import Path

from shared.errors import SnapshotError

_MAX_LISTS = 65_536
_MAX_KIND_CHARS = 100
_SHOWN_CHARS = 100


@dataclass(frozen=True)
class SearchSettings:
    """Search parameters of an approximate index.

    Attributes:
        kind: of the index, as `index_kind` spells it.
        search_parameter: `efSearch` of a graph, `nprobe` of an inverted file.
        n_candidates: number of candidates for ten hits, which are then re-ranked exactly.
    """

    kind: str
    search_parameter: int
    n_candidates: int

    def to_json(self) -> str:
        """A JSON object."""
        return json.dumps({"kind": self.kind, "effort": self.search_parameter, "depth": self.n_candidates})

    @classmethod
    def from_json(cls, content: bytes, n_rows: int, path: Path) -> "SearchSettings":
        """Read the object that `to_json` wrote.

        Args:
            content: of the file.
            n_rows: number of rows in the partition.
            path: for messages.

        Raises:
            SnapshotError: a value is out of range.
            ValueError, TypeError, KeyError: it is not such an object.
        """
        values = json.loads(content)
        kind, numbers = values.pop("kind"), {name: values.pop(name) for name in ("effort", "depth")}
        if values:
            raise SnapshotError(f"{path} has unknown fields; expected kind, effort and depth")
        largest = max(n_rows, _MAX_LISTS)
        for name, number in numbers.items():
            if type(number) is not int or not 1 <= number <= largest:
                raise SnapshotError(f"{path} has {str(number)[:_SHOWN_CHARS]!r} as {name}; expected 1 to {largest}")
        if not isinstance(kind, str) or len(kind) > _MAX_KIND_CHARS:
            raise SnapshotError(f"{path} has no kind of index; expected a name as IndexKind spells it")
        return cls(kind, search_parameter=numbers["effort"], n_candidates=numbers["depth"])
