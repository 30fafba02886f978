"""The raw limit: decoding by plain Pillow and inference by bare LiteRT, without any of Parecido's code."""

import io
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from PIL import Image

_WARM_UP = 3


class RawLimit:
    """LiteRT interpreters with one feeding thread each."""

    def __init__(self, model: bytes, interpreters: int, threads: int) -> None:
        """Create the interpreters and warm them up.

        Args:
            model: Bytes of `embedder.tflite`.
            interpreters: Number of concurrent inferences.
            threads: Threads per inference.
        """
        self._interpreters = [_allocated(model, threads) for _ in range(interpreters)]
        self.side_px = int(self._interpreters[0].get_input_details()[0]["shape"][1])
        black = np.zeros((1, self.side_px, self.side_px, 3), np.uint8)
        for litert in self._interpreters:
            for _ in range(_WARM_UP):
                forward(litert, black)

    def query_s(self, data: bytes) -> float:
        """Return the seconds from the bytes of an image file to its embedding."""
        started = time.perf_counter()
        forward(self._interpreters[0], decode(data, self.side_px))
        return time.perf_counter() - started

    def index_s(self, paths: Sequence[Path], passes: int) -> float:
        """Return the seconds to read and decode each file once and run `passes` inferences, on all interpreters."""
        rest = iter(paths)  # shared: each thread takes the next one

        def work(litert: Any) -> None:
            for path in rest:
                pixels = decode(path.read_bytes(), self.side_px)
                for _ in range(passes):
                    forward(litert, pixels)

        threads = [threading.Thread(target=work, args=(litert,)) for litert in self._interpreters]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - started


def decode(data: bytes, side_px: int) -> NDArray[np.uint8]:
    """Return `(1, side_px, side_px, 3)` uint8: the file decoded at full size and resized to a square."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    return np.asarray(image.resize((side_px, side_px), Image.Resampling.BILINEAR))[np.newaxis]


def forward(litert: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run one inference: `(n, side_px, side_px, 3)` uint8 → `(n, dim)` float32."""
    litert.set_tensor(litert.get_input_details()[0]["index"], pixels)
    litert.invoke()
    embeddings: NDArray[np.float32] = litert.get_tensor(litert.get_output_details()[0]["index"])
    return embeddings


def _allocated(model: bytes, threads: int) -> Any:
    litert = Interpreter(model_content=model, num_threads=threads)
    litert.allocate_tensors()
    return litert
