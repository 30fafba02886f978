"""API keys: a file of names and SHA-256 sums, read again when it changes.

A key is 256 random bits, so its plain SHA-256 tells nothing of it: docs/decisions/0017-api-keys.md.
"""

import hashlib
import hmac
import logging
import re
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path

from shared.errors import SettingsError

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEY_BYTES = 32

_log = logging.getLogger(__name__)


def new_key(name: str) -> tuple[str, str]:
    """Make a key.

    Returns:
        The key, and the line of the file that lets it in.

    Raises:
        SettingsError: the name has characters that it can't have.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(f"{name!r} names no key; wanted 1 to 64 of A-Z a-z 0-9 . _ -")
    key = secrets.token_urlsafe(_KEY_BYTES)
    return key, f"{name} {_sum(key)}"


class ApiKeys:
    """The keys that are let in; safe to use from any number of threads."""

    def __init__(self, path: Path) -> None:
        """Read the file: a name and the SHA-256 of its key a line; empty lines and those that begin with # count not.

        Raises:
            SettingsError: it can't be read, has no key, or a line that is none.
        """
        self._path = path
        self._lock = threading.Lock()
        self._stamp, self._names = self._read()

    def name_of(self, key: str) -> str | None:
        """The name of a key; None for one that is not let in."""
        names = self._current()
        wanted = _sum(key)
        # Over all of them, whichever matches: how long it takes tells nothing.
        found = [name for sha256, name in names.items() if hmac.compare_digest(sha256, wanted)]
        return found[0] if found else None

    def _current(self) -> Mapping[str, str]:
        """As the file is now; while it can't be read or is wrong, as it was."""
        with self._lock:
            try:
                if self._stamp_of() != self._stamp:
                    self._stamp, self._names = self._read()
                    _log.info("read %d API keys from %s", len(self._names), self._path)
            except (OSError, SettingsError) as error:
                stamp = self._stamp_or_none()
                if stamp != self._stamp:  # said once a change
                    self._stamp = stamp
                    _log.error("the API keys stay as they were: %s", error)
            return self._names

    def _read(self) -> tuple[object, Mapping[str, str]]:
        try:
            stamp = self._stamp_of()
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise SettingsError(f"PARECIDO_API_KEYS names {self._path}, which can't be read: {error}") from error
        names: dict[str, str] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.startswith("#"):
                continue
            name, _, sha256 = line.strip().partition(" ")
            if not _NAME.fullmatch(name) or not _SHA256.fullmatch(sha256.strip()):
                raise SettingsError(f"{self._path}, line {number}: wanted a name and 64 hex digits, a key's SHA-256")
            if name in names.values() or sha256.strip() in names:
                raise SettingsError(f"{self._path}, line {number}: the name {name} or its key was there before")
            names[sha256.strip()] = name
        if not names:
            raise SettingsError(f"{self._path} has no API keys; `python -m search_service new-key NAME` makes one")
        return stamp, names

    def _stamp_of(self) -> object:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _stamp_or_none(self) -> object:
        try:
            return self._stamp_of()
        except OSError:
            return None


def _sum(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
