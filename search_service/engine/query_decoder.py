"""Decode query images so that those that take long hold up nobody.

1. An image that was too costly before is rejected at once; one that was slow goes to 3.
2. A first attempt gets as much processor time as an ordinary photo needs; the query has an admission slot meanwhile.
3. What takes longer is tried again with the full limit, in the slow lane, without a slot.
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
from shared.images.preprocessing import PREPROCESSING
from shared.priority import INFERENCE_NICENESS

QUICK_S = 0.25
"""Of processor time; a photo of 12 megapixels takes a fifth of it."""
SLOW_NICENESS = 15
"""Lower than inference, which decoding for a first attempt shares the priority of: photos go on while others wait."""
_REMEMBERED = 1024


class QueryDecoder:
    """One for all requests of a worker, whatever snapshot is served; safe to use from any number of threads."""

    def __init__(
        self,
        template: DecodeTemplate,
        processes: int,
        observer: PoolObserver | None = None,
        quick_s: float = QUICK_S,
        slow_s: float = CPU_S,
    ) -> None:
        """Nothing is started yet.

        Args:
            template: that the decoders are forked from.
            processes: images that are decoded at once, beside those in the slow lane.
            observer: receives decoders that are replaced.
            quick_s: seconds of processor time of the first attempt.
            slow_s: those of the second one.
        """
        self._quick = DecodePool(template, processes, INFERENCE_NICENESS, observer)
        self._slow = DecodePool(template, 1, SLOW_NICENESS, observer)
        self._slow_admission = slow_decode_admission()
        self._known = _CostlyImages()
        self._quick_s, self._slow_s = quick_s, slow_s

    def is_known_slow(self, data: bytes) -> bool:
        """Whether a first attempt would be in vain, as it was before.

        Raises:
            ImageTooCostly: as it was raised for the same image before.
        """
        return self._known.is_slow(data)

    def decode_quickly(self, data: bytes, preprocessing: str = PREPROCESSING) -> NDArray[np.uint8] | None:
        """The first attempt: `(224, 224, 3)` uint8, or None where it takes longer.

        Raises:
            ImageError: it can't be used.
            Overloaded: there is no room for a decoder.
        """
        try:
            return self._quick.decode(data, cpu_s=self._quick_s, preprocessing=preprocessing)
        except ImageTooCostly as error:
            if error.reason != "time":
                self._remember(data, error)
                raise
            self._known.add(data, None)
            return None

    def decode_slowly(self, data: bytes, preprocessing: str = PREPROCESSING) -> NDArray[np.uint8]:
        """The second attempt: `(224, 224, 3)` uint8.

        Raises:
            ImageError: it can't be used.
            Overloaded: too many others wait in the slow lane, or there is no room for a decoder.
        """
        with self._slow_admission.slot():
            self.is_known_slow(data)  # the same image may have been before it
            try:
                return self._slow.decode(data, cpu_s=self._slow_s, preprocessing=preprocessing)
            except ImageTooCostly as error:
                self._remember(data, error)
                raise

    def _remember(self, data: bytes, error: ImageTooCostly) -> None:
        """Reject the same bytes from now on, if it was their fault.

        Raises:
            Overloaded: the decoder has hardly run, as on a machine that is too busy.
        """
        if error.reason == "stalled":
            raise Overloaded("the machine is too busy to decode the image; try again in 1 s") from error
        self._known.add(data, error)

    def close(self) -> None:
        """End the decoders, once no request uses them any more."""
        self._quick.close()
        self._slow.close()


class _CostlyImages:
    """The images that were slow, or too costly and why, by their SHA-256; the last ones are kept."""

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
            raise copy(error)  # an exception keeps where it was raised
        return True

    def add(self, data: bytes, error: ImageTooCostly | None) -> None:
        digest = hashlib.sha256(data).digest()
        with self._lock:
            self._errors[digest] = copy(error)
            if len(self._errors) > _REMEMBERED:
                self._errors.popitem(last=False)
