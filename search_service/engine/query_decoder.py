"""Decoding of query images, with a slow lane so that slow images don't delay others.

1. An image that was too costly before is rejected at once; one that was slow before skips step 2.
2. The first attempt gets the processor time of an ordinary photo, while the query holds an admission slot.
3. An image that takes longer is decoded again in the slow lane, with the full time limit and without a slot.
"""

import hashlib
import threading
from collections import OrderedDict
from copy import copy

import numpy as np
from numpy.typing import NDArray

from search_service.admission.controller import slow_decode_admission
from shared.errors import ImageTooCostly, Overloaded
from shared.images.decode_pool.pool import CPU_S, DecodePool, PoolObserver
from shared.images.decode_pool.template import DecodeTemplate
from shared.images.preprocessing import DEFAULT_PREPROCESSING, Preprocessing
from shared.priority import INFERENCE_NICENESS

QUICK_S = 0.25
"""Processor time of the first attempt; a photo of 12 megapixels takes a fifth of it."""
SLOW_NICENESS = 15
"""Lower priority than inference and first attempts, so that ordinary photos are not delayed."""
_MAX_COSTLY_IMAGES = 1024


class QueryDecoder:
    """Decodes the query images of a worker, independent of its snapshot. Thread-safe."""

    def __init__(
        self,
        template: DecodeTemplate,
        processes: int,
        observer: PoolObserver | None = None,
        quick_s: float = QUICK_S,
        slow_s: float = CPU_S,
    ) -> None:
        """Set up the pools; no process is started yet.

        Args:
            template: process from which the decoders are forked.
            processes: largest number of images decoded at the same time, besides the slow lane.
            observer: notified when decoders are replaced.
            quick_s: processor time of the first attempt, in seconds.
            slow_s: processor time of the second attempt, in seconds.
        """
        self._quick = DecodePool(template, processes, INFERENCE_NICENESS, observer)
        self._slow = DecodePool(template, 1, SLOW_NICENESS, observer)
        self._slow_admission = slow_decode_admission()
        self._costly_images = _CostlyImages()
        self._quick_s, self._slow_s = quick_s, slow_s

    def is_known_slow(self, data: bytes) -> bool:
        """Return True if the first attempt failed for the same image before.

        Raises:
            ImageTooCostly: the second attempt failed, too.
        """
        return self._costly_images.is_slow(data)

    def decode_quickly(
        self, data: bytes, preprocessing: Preprocessing = DEFAULT_PREPROCESSING
    ) -> NDArray[np.uint8] | None:
        """Make the first attempt: return the embedder's `(side_px, side_px, 3)` uint8, or None if it takes longer.

        Raises:
            ImageError: the image is broken, unsupported, too large or too costly.
            Overloaded: no decoder could be started.
        """
        try:
            return self._quick.decode(data, cpu_s=self._quick_s, preprocessing=preprocessing)
        except ImageTooCostly as error:
            if error.reason != "time":
                self._remember(data, error)
                raise
            self._costly_images.add(data, None)
            return None

    def decode_slowly(self, data: bytes, preprocessing: Preprocessing = DEFAULT_PREPROCESSING) -> NDArray[np.uint8]:
        """Make the second attempt: return the embedder's `(side_px, side_px, 3)` uint8.

        Raises:
            ImageError: the image is broken, unsupported, too large or too costly.
            Overloaded: the queue of the slow lane is full, or no decoder could be started.
        """
        with self._slow_admission.slot():
            self.is_known_slow(data)  # the same image may have been decoded while this one waited
            try:
                return self._slow.decode(data, cpu_s=self._slow_s, preprocessing=preprocessing)
            except ImageTooCostly as error:
                self._remember(data, error)
                raise

    def _remember(self, data: bytes, error: ImageTooCostly) -> None:
        """Reject the same image from now on, if the image is the cause.

        Raises:
            Overloaded: the decoder got hardly any processor time, because the machine is too busy.
        """
        if error.reason == "stalled":
            raise Overloaded("the machine is too busy to decode the image; try again in 1 s") from error
        self._costly_images.add(data, error)

    def close(self) -> None:
        """Stop the decoders; no request may use them any more."""
        self._quick.close()
        self._slow.close()


class _CostlyImages:
    """The latest images that were slow (None) or too costly (the error), by SHA-256."""

    def __init__(self) -> None:
        self._errors: OrderedDict[bytes, ImageTooCostly | None] = OrderedDict()
        self._lock = threading.Lock()

    def is_slow(self, data: bytes) -> bool:
        if not self._errors:
            return False
        digest = hashlib.sha256(data).digest()
        with self._lock:
            if digest not in self._errors:
                return False
            self._errors.move_to_end(digest)
            error = self._errors[digest]
        if error is not None:
            raise copy(error)  # raising adds a traceback to the exception
        return True

    def add(self, data: bytes, error: ImageTooCostly | None) -> None:
        digest = hashlib.sha256(data).digest()
        with self._lock:
            self._errors[digest] = copy(error)
            if len(self._errors) > _MAX_COSTLY_IMAGES:
                self._errors.popitem(last=False)
