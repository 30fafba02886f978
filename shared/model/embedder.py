"""The model that makes embeddings: `embedder.tflite`, run by LiteRT, the same in indexer and service."""

import hashlib
import os
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.errors import ImagesUnavailable, SnapshotError
from shared.files.regular_file import read_regular
from shared.images.preprocessing import SIDE_PX
from shared.vectors import Pixels, Vectors, unit_rows

_Result = TypeVar("_Result")
_MOST_BYTES = 1 << 30

GOLDEN_MIN_COSINE = 0.999
"""What the golden embedding must reach on opening. Other processors round otherwise (1e-6); a model that lost its
normalisation (keras#20147) or met another preprocessing falls far below."""


class Embedder(Protocol):
    """Whatever turns pixels into embeddings."""

    dim: int
    embedder_id: str

    def embed(self, pixels: Pixels, is_alone: bool = False) -> Vectors:
        """`(n, 224, 224, 3)` uint8 → `(n, dim)` float32 unit rows. Safe to call from several threads.

        Args:
            pixels: the images.
            is_alone: whether no other call is under way, so that this one may use every core.
        """
        ...


class LiteRtEmbedder:
    """An exported base with an interpreter for each of the threads that use it at once.

    One interpreter can't be shared between threads, and LiteRT releases the GIL: so callers borrow one. Images go
    through one by one, since a batch is no faster on a CPU (decision 0006) and so an embedding has the same
    bits whatever was embedded beside it. Nor does it matter to them how many threads an inference has.
    """

    def __init__(
        self,
        model: bytes,
        interpreters: int | None = None,
        lone_threads: int = 1,
        threads: Executor | None = None,
    ) -> None:
        """Prepare to run `model`; interpreters are made when they are first needed.

        Args:
            model: the bytes of a `.tflite` file: `(1, 224, 224, 3)` uint8 → `(1, dim)` float32.
            interpreters: how many inferences run at once at most; by default one a core.
            lone_threads: threads within an inference that runs alone; the others have one each.
            threads: where inferences run; None for the caller's thread.

        Raises:
            SnapshotError: these bytes are no such model.
        """
        self._interpreters = _Pool(model, interpreters or os.cpu_count() or 1, threads=1)
        self._lone = _Pool(model, 1, lone_threads) if lone_threads > 1 else self._interpreters
        self._threads = threads
        self.embedder_id = embedder_id(model)
        self.dim = self._run(self._find_dim)

    @classmethod
    def open(
        cls, path: Path, interpreters: int | None = None, lone_threads: int = 1, threads: Executor | None = None
    ) -> "LiteRtEmbedder":
        """Read the model from a file; see `__init__`."""
        try:
            model = read_regular(path, _MOST_BYTES, path.parent.parent)
        except OSError as error:
            raise SnapshotError(f"the embedder {path} can't be read: {error.strerror}") from error
        return cls(model, interpreters, lone_threads, threads)

    def embed(self, pixels: Pixels, is_alone: bool = False) -> Vectors:
        """`(n, 224, 224, 3)` uint8 → `(n, dim)` float32 unit rows, the same bits whether it is alone or not."""
        pool = self._lone if is_alone else self._interpreters
        return unit_rows(self._run(lambda: self._embed(pool, pixels)))

    def _embed(self, pool: "_Pool", pixels: Pixels) -> Vectors:
        rows = np.empty((len(pixels), self.dim), dtype=np.float32)
        with pool.borrow() as interpreter:
            for row, image in zip(rows, pixels, strict=True):
                row[:] = interpreter.run(image)
        return rows

    def _find_dim(self) -> int:
        with self._interpreters.borrow() as interpreter:
            return interpreter.dim

    def _run(self, work: Callable[[], _Result]) -> _Result:
        """Interpreters are made there too: threads that they have of their own get the priority of who makes them."""
        return work() if self._threads is None else self._threads.submit(work).result()


class NoEmbedder:
    """In the place of an embedder where the embeddings were given and nobody said what made them: refuses images."""

    def __init__(self, dim: int) -> None:
        """Of embeddings `(dim,)` long."""
        self.dim, self.embedder_id = dim, embedder_id(b"")

    def embed(self, pixels: Pixels, is_alone: bool = False) -> Vectors:
        """Refuse.

        Raises:
            ImagesUnavailable: always.
        """
        raise ImagesUnavailable(
            "the snapshot was built of given embeddings and has no network to embed images with: search by `embedding`"
            " or `item_id`, or build it with the --backbone that made the embeddings"
        )


class _Pool:
    """Interpreters to borrow; each is made when it is first needed."""

    def __init__(self, model: bytes, interpreters: int, threads: int) -> None:
        self._model = model
        self._threads = threads
        self._slots: queue.LifoQueue[_Interpreter | None] = queue.LifoQueue()
        for _ in range(interpreters):
            self._slots.put(None)

    @contextmanager
    def borrow(self) -> "Iterator[_Interpreter]":
        interpreter = self._slots.get()
        try:
            if interpreter is None:
                interpreter = _Interpreter(self._model, self._threads)
            yield interpreter
        finally:
            self._slots.put(interpreter)


class _Interpreter:
    """One LiteRT interpreter, used by one thread at a time."""

    def __init__(self, model: bytes, threads: int) -> None:
        # Imported here: it costs nothing to those who never embed, and tests with fakes do without it.
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._litert: Any = Interpreter(model_content=model, num_threads=threads)
            self._litert.allocate_tensors()
            taken, given = self._litert.get_input_details()[0], self._litert.get_output_details()[0]
        except (ValueError, RuntimeError, IndexError) as error:
            raise SnapshotError(f"the embedder is no LiteRT model: {error}") from error
        shape = tuple(taken["shape"].tolist())
        if shape != (1, SIDE_PX, SIDE_PX, 3) or taken["dtype"] is not np.uint8:
            found = f"{shape} {np.dtype(taken['dtype'])}"
            raise SnapshotError(f"the embedder takes {found}; wanted (1, {SIDE_PX}, {SIDE_PX}, 3) uint8")
        given_shape = tuple(given["shape"].tolist())
        if len(given_shape) != 2 or given_shape[0] != 1 or given_shape[1] < 1 or given["dtype"] is not np.float32:
            found = f"{given_shape} {np.dtype(given['dtype'])}"
            raise SnapshotError(f"the embedder gives {found}; wanted (1, dim) float32")
        self._input, self._output = taken["index"], given["index"]
        self.dim = int(given["shape"][-1])

    def run(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """`(224, 224, 3)` uint8 → `(dim,)` float32, as the base gives it."""
        self._litert.set_tensor(self._input, image[np.newaxis])
        self._litert.invoke()
        embedding: NDArray[np.float32] = self._litert.get_tensor(self._output)[0]
        return embedding


def embedder_id(model: bytes) -> str:
    """The name of an exported base: what its bytes hash to."""
    return hashlib.sha256(model).hexdigest()[:16]


def golden_picture() -> Pixels:
    """The built-in test picture, `(1, 224, 224, 3)` uint8: two colour ramps, a disc and stripes."""
    row, column = np.mgrid[0:SIDE_PX, 0:SIDE_PX]
    picture = np.stack([row, column, 255 - (row + column) // 2], axis=-1)
    picture[(row - 90) ** 2 + (column - 80) ** 2 < 55**2] = (230, 60, 40)
    picture[(row > 160) & (column // 8 % 2 == 0)] = (20, 20, 60)
    pixels: Pixels = np.clip(picture, 0, 255).astype(np.uint8)[np.newaxis]
    return pixels


def check_golden(embedder: Embedder, golden: NDArray[np.float32]) -> None:
    """Embed the built-in picture again and compare.

    Args:
        embedder: the model under check.
        golden: `(dim,)` float32, the embedding of `golden_picture()` when the snapshot was built.

    Raises:
        SnapshotError: another length, or a cosine below `GOLDEN_MIN_COSINE`.
    """
    if golden.shape != (embedder.dim,):
        raise SnapshotError(f"the golden embedding has shape {golden.shape}; the embedder gives ({embedder.dim},)")
    try:
        cosine = float(embedder.embed(golden_picture())[0] @ unit_rows(golden[np.newaxis])[0])
    except ValueError as error:
        raise SnapshotError(f"the golden embedding can't be compared: {error}") from error
    if cosine < GOLDEN_MIN_COSINE:
        raise SnapshotError(
            f"the embedder gives another embedding of the built-in test picture than when the snapshot was built: "
            f"cosine {cosine:.4f}, wanted at least {GOLDEN_MIN_COSINE}"
        )
