"""The embedder: `embedder.tflite`, run by LiteRT, the same in indexer and service."""

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
from shared.images.preprocessing import MAX_SIDE_PX, MIN_SIDE_PX, SIDE_STEP_PX, is_side
from shared.vectors import Pixels, Vectors, unit_rows

_Result = TypeVar("_Result")
_MAX_BYTES = 1 << 30


class Embedder(Protocol):
    """A model that turns pixels into embeddings.

    Attributes:
        dim: length of an embedding.
        side_px: side of the images that it takes.
        embedder_id: see `embedder_id`.
    """

    dim: int
    side_px: int
    embedder_id: str

    def embed(self, pixels: Pixels, is_alone: bool = False) -> Vectors:
        """Embed images; safe to call from several threads.

        Args:
            pixels: `(n, side_px, side_px, 3)` uint8.
            is_alone: True if no other call is running, so that this one may use every core.

        Returns:
            `(n, dim)` float32 unit rows.
        """
        ...


class LiteRtEmbedder:
    """An exported backbone with a pool of interpreters.

    Threads can't share an interpreter, and LiteRT releases the GIL, so callers borrow one. Images are embedded one by
    one: a batch is no faster on a CPU, and so an embedding depends neither on the batch nor on the number of threads.
    """

    def __init__(
        self,
        model: bytes,
        interpreters: int | None = None,
        lone_threads: int = 1,
        threads: Executor | None = None,
    ) -> None:
        """Prepare to run `model`; interpreters are created on demand.

        Args:
            model: the bytes of a `.tflite` file: `(1, side_px, side_px, 3)` uint8 → `(1, dim)` float32.
            interpreters: the most inferences that run at once; by default one per core.
            lone_threads: threads for an inference that runs alone; others have one each.
            threads: run the inferences; None for the caller's thread.

        Raises:
            SnapshotError: the bytes are not such a model.
        """
        self._interpreters = _Pool(model, interpreters or os.cpu_count() or 1, threads=1)
        self._lone = _Pool(model, 1, lone_threads) if lone_threads > 1 else self._interpreters
        self._threads = threads
        self.embedder_id = embedder_id(model)
        self.dim, self.side_px = self._run(self._find_sizes)

    @classmethod
    def open(
        cls, path: Path, interpreters: int | None = None, lone_threads: int = 1, threads: Executor | None = None
    ) -> "LiteRtEmbedder":
        """Read the model from a file; see `__init__`."""
        try:
            model = read_regular(path, _MAX_BYTES, path.parent.parent)
        except OSError as error:
            raise SnapshotError(f"the embedder {path} can't be read: {error.strerror}") from error
        return cls(model, interpreters, lone_threads, threads)

    def embed(self, pixels: Pixels, is_alone: bool = False) -> Vectors:
        """`(n, side_px, side_px, 3)` uint8 → `(n, dim)` float32 unit rows, the same bits whether it is alone or not."""
        pool = self._lone if is_alone else self._interpreters
        return unit_rows(self._run(lambda: self._embed(pool, pixels)))

    def _embed(self, pool: "_Pool", pixels: Pixels) -> Vectors:
        rows = np.empty((len(pixels), self.dim), dtype=np.float32)
        with pool.borrow() as interpreter:
            for row, image in zip(rows, pixels, strict=True):
                row[:] = interpreter.run(image)
        return rows

    def _find_sizes(self) -> tuple[int, int]:
        with self._interpreters.borrow() as interpreter:
            return interpreter.dim, interpreter.side_px

    def _run(self, work: Callable[[], _Result]) -> _Result:
        """Run in `threads`, interpreters' creation too: their threads inherit the priority of their creator."""
        return work() if self._threads is None else self._threads.submit(work).result()


class NoEmbedder:
    """Stands in for the embedder of a snapshot whose embeddings were given without a backbone; rejects images."""

    def __init__(self, dim: int) -> None:
        """Create it for embeddings of length `dim`."""
        self.dim, self.side_px, self.embedder_id = dim, 0, embedder_id(b"")

    def embed(self, pixels: Pixels, is_alone: bool = False) -> Vectors:
        """Reject the images.

        Raises:
            ImagesUnavailable: always.
        """
        raise ImagesUnavailable(
            "the snapshot was built from given embeddings and has no model to embed images; search by `embedding` or"
            " `item_id`, or build it with the --backbone that made the embeddings"
        )


class _Pool:
    """A pool of interpreters, each created on demand."""

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
        # Imported here, so that processes that never embed, and tests with fakes, do without it.
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._litert: Any = Interpreter(model_content=model, num_threads=threads)
            self._litert.allocate_tensors()
            inputs, outputs = self._litert.get_input_details()[0], self._litert.get_output_details()[0]
        except (ValueError, RuntimeError, IndexError) as error:
            raise SnapshotError(f"the embedder is not a LiteRT model: {error}") from error
        in_shape, in_dtype = tuple(inputs["shape"].tolist()), np.dtype(inputs["dtype"])
        side_px = in_shape[1] if len(in_shape) == 4 else 0
        if in_shape != (1, side_px, side_px, 3) or not is_side(side_px) or in_dtype != np.uint8:
            raise SnapshotError(
                f"the embedder takes {in_shape} {in_dtype}; expected (1, side, side, 3) uint8, with a side of"
                f" {MIN_SIDE_PX} to {MAX_SIDE_PX} px, a multiple of {SIDE_STEP_PX}"
            )
        out_shape, out_dtype = tuple(outputs["shape"].tolist()), np.dtype(outputs["dtype"])
        if len(out_shape) != 2 or out_shape[0] != 1 or out_shape[1] < 1 or out_dtype != np.float32:
            raise SnapshotError(f"the embedder returns {out_shape} {out_dtype}; expected (1, dim) float32")
        self._input, self._output = inputs["index"], outputs["index"]
        self.dim, self.side_px = int(out_shape[-1]), int(side_px)

    def run(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """`(side_px, side_px, 3)` uint8 → `(dim,)` float32, not normalised."""
        self._litert.set_tensor(self._input, image[np.newaxis])
        self._litert.invoke()
        embedding: NDArray[np.float32] = self._litert.get_tensor(self._output)[0]
        return embedding


def embedder_id(model: bytes) -> str:
    """The id of an exported backbone: a hash of its bytes."""
    return hashlib.sha256(model).hexdigest()[:16]
