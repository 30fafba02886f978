"""A least-recently-used cache that is safe to use from any number of threads."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class LruCache(Generic[_Key, _Value]):
    """At most `max_size` values; the least recently used is evicted."""

    def __init__(self, max_size: int) -> None:
        """Create an empty cache."""
        self._max_size = max_size
        self._values: OrderedDict[_Key, _Value] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: _Key) -> bool:
        """Return True if there is a value; this does not count as a use."""
        return key in self._values

    def get(self, key: _Key) -> _Value | None:
        """The cached value, or None."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: _Key, value: _Value) -> None:
        """Cache a value, evicting the least recently used if the cache is full."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._max_size:
                self._values.popitem(last=False)
