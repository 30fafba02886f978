"""Function calls in a fresh process, since TensorFlow keeps threads and memory until its process ends."""

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

from shared.images.preprocessing import DEFAULT_SIDE_PX

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def run_in_fresh_process(
    function: Callable[_Parameters, _Result], *values: _Parameters.args, **named: _Parameters.kwargs
) -> _Result:
    """Call a module-level function in a new process and return its result."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *values, **named).result()


def export_lite0(side_px: int = DEFAULT_SIDE_PX) -> bytes:
    """Return the bytes of `embedder.tflite` for EfficientNet-Lite0; call it by `run_in_fresh_process`."""
    from indexer.backbone.export import export_embedder
    from indexer.backbone.load import load_backbone

    return export_embedder(load_backbone("efficientnet_lite0", None, print, side_px).model)
