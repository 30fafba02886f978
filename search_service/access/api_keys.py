"""API keys: a file of names and SHA-256 hashes, read again when it changes.

A key has 256 random bits, so its unsalted SHA-256 does not reveal it. See docs/decisions/0017-api-keys.md.
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
_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEY_BYTES = 32

_log = logging.getLogger(__name__)


def new_key(name: str) -> tuple[str, str]:
    """Make a key.

    Returns:
        The key, and its line of the key file.

    Raises:
        SettingsError: the name has other characters than allowed.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(f"invalid key name {name!r}; expected 1 to 64 of the characters A-Z a-z 0-9 . _ -")
    key = secrets.token_urlsafe(_KEY_BYTES)
    return key, f"{name} {_sha256(key)}"


class ApiKeys:
    """The valid keys; thread-safe."""

    def __init__(self, path: Path) -> None:
        """Read the file: per line a name and the SHA-256 of its key; empty lines and comments (#) are ignored.

        Raises:
            SettingsError: the file cannot be read, has no key, or has an invalid line.
        """
        self._path = path
        self._lock = threading.Lock()
        self._stamp, self._names = self._read()

    def name_of(self, key: str) -> str | None:
        """Return the name of a key; None if it is not valid."""
        names = self._current()
        digest = _sha256(key)
        # Compare with all of them, so that the time reveals nothing.
        matches = [name for sha256, name in names.items() if hmac.compare_digest(sha256, digest)]
        return matches[0] if matches else None

    def _current(self) -> Mapping[str, str]:
        """Return the keys of the file; the former ones while it cannot be read or is invalid."""
        with self._lock:
            try:
                if self._stamp_of() != self._stamp:
                    self._stamp, self._names = self._read()
                    _log.info("read %d API keys from %s", len(self._names), self._path)
            except (OSError, SettingsError) as error:
                stamp = self._stamp_or_none()
                if stamp != self._stamp:  # logged once per change
                    self._stamp = stamp
                    _log.error("the API keys could not be read again and stay as they were: %s", error)
            return self._names

    def _read(self) -> tuple[object, Mapping[str, str]]:
        try:
            stamp = self._stamp_of()
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise SettingsError(f"PARECIDO_API_KEYS names {self._path}, which cannot be read: {error}") from error
        names: dict[str, str] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.startswith("#"):
                continue
            name, _, sha256 = line.strip().partition(" ")
            if not _NAME.fullmatch(name) or not _DIGEST.fullmatch(sha256.strip()):
                raise SettingsError(f"{self._path}, line {number}: expected a name and a SHA-256 of 64 hex digits")
            if name in names.values() or sha256.strip() in names:
                raise SettingsError(f"{self._path}, line {number}: duplicate name {name}, or duplicate key")
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


def _sha256(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
