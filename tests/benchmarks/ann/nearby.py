"""A library in a file, as those in `benchmarks/ann/peers/`: it looks at a share of a category's rows."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

VARIANTS = {"plain": {"broken": False}, "broken": {"broken": True}}
SEARCH_PARAMS = [{"share": 0.5}, {"share": 0.9}, {"share": 1.0}]


def versions() -> dict[str, str]:
    return {"nearby": "1"}


def build(rows: Any, categories: Any, directory: Path, settings: dict[str, Any]) -> None:
    print("what libraries print is no answer")
    if settings["broken"]:
        raise ValueError("no such setting")
    np.savez(directory / "all.npz", rows=rows, categories=categories)


class Opened:
    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        self._all = dict(np.load(directory / "all.npz"))

    def search(self, query: Any, category: int, k: int, params: dict[str, Any]) -> Any:
        if params.get("end"):
            print("out of memory", file=sys.stderr, flush=True)
            os._exit(7)
        members = np.flatnonzero(self._all["categories"] == category)
        members = members[: int(len(members) * params["share"])]
        return members[np.argsort(-(self._all["rows"][members] @ query))[:k]]
