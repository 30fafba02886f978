"""A process of its own for what must not disturb the rest: TensorFlow keeps threads and memory until the end."""

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def run_apart(
    function: Callable[_Parameters, _Result], *values: _Parameters.args, **named: _Parameters.kwargs
) -> _Result:
    """Call a module's function in a fresh process, which ends with it, and hand back what it returns."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *values, **named).result()


def export_lite0() -> bytes:
    """EfficientNet-Lite0 as `embedder.tflite` has it; call it through `run_apart`."""
    from indexer.backbone.load import export_embedder, load_backbone

    return export_embedder(load_backbone("efficientnet_lite0", None, print).model)
