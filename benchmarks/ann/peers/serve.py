"""Run a library in its own process: `python -P serve.py PEER.py` answers JSON lines on standard input.

It imports NumPy and the module of the peer, which defines:

- `VARIANTS`: build settings by name.
- `SEARCH_PARAMS`: search parameters in order of growing recall.
- `versions()`: versions of the measured packages.
- `build(rows, categories, directory, settings)`: index `(n, dim)` float32 unit rows and `(n,)` categories.
- `Opened(directory, settings)`: that index, with `search(query, category, k, params)`, which returns row numbers.

Times are taken here, around the library's call, so that they exclude the cost of the pipe.
"""

import importlib.util
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

_KB_A_MB = 1024


class Served:
    """The requests that the process answers: `do` names a method, the other fields are its arguments."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._opened: Any = None

    def describe(self) -> dict[str, Any]:
        """Return variants, search parameters and versions."""
        library = self._library
        return {"variants": library.VARIANTS, "search_params": library.SEARCH_PARAMS, "versions": library.versions()}

    def build(self, vectors: str, categories: str, directory: str, settings: dict[str, Any]) -> dict[str, float]:
        """Index the rows of two `.npy` files into an empty directory."""
        rows, labels = np.load(vectors, mmap_mode="r"), np.load(categories)
        started = time.perf_counter()
        self._library.build(rows, labels, Path(directory), settings)
        build_s = time.perf_counter() - started
        usage = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return {"build_s": build_s, "build_peak_mb": max(usage) / _KB_A_MB}

    def open(self, directory: str, settings: dict[str, Any]) -> dict[str, float]:
        """Open a built index."""
        started = time.perf_counter()
        self._opened = self._library.Opened(Path(directory), settings)
        return {"open_s": time.perf_counter() - started}

    def search(
        self, queries: str, categories: str, start: int, stop: int, k: int, params: dict[str, Any], limit_s: float
    ) -> dict[str, Any]:
        """Search with one query after another until the time limit; return seconds and row numbers of each."""
        vectors, labels = np.load(queries)[start:stop], np.load(categories)[start:stop].tolist()
        search: Callable[..., Any] = self._opened.search
        took_s, found, ends = [], [], time.perf_counter() + limit_s
        for vector, category in zip(vectors, labels, strict=True):
            started = time.perf_counter()
            rows = search(vector, category, k, params)
            ended = time.perf_counter()
            took_s.append(ended - started)
            found.append([int(row) for row in rows])
            if ended > ends:
                break
        return {"took_s": took_s, "found": found}


def main() -> None:
    """Answer until standard input ends."""
    answers = _own_output()
    served = Served(_load(Path(sys.argv[1])))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(served, request.pop("do"))(**request)
        except Exception as error:  # any error of a library is a result to report
            answer = {"error": f"{type(error).__name__}: {error}"[:2000]}
        print(json.dumps(answer), file=answers, flush=True)


def _own_output() -> TextIO:
    """Reserve standard output for answers: what libraries print there goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _load(file: Path) -> Any:
    """Load a peer's module by its path, since the library has the same name."""
    spec = importlib.util.spec_from_file_location(f"peer_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
