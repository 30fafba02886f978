"""A memory of the last few results."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class RecentlyUsed(Generic[_Key, _Value]):
    """Holds so many values, and forgets the one not used for longest; safe to use from any number of threads."""

    def __init__(self, most: int) -> None:
        """Empty; holds `most` values."""
        self._most = most
        self._values: OrderedDict[_Key, _Value] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: _Key) -> bool:
        """Whether there is a value; that is no use of it."""
        return key in self._values

    def get(self, key: _Key) -> _Value | None:
        """The value, where there is one."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: _Key, value: _Value) -> None:
        """Remember a value, in the place of the one not used for longest."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._most:
                self._values.popitem(last=False)
