"""Names of files, which may hold bytes that are not valid UTF-8."""

from pathlib import Path


def is_valid_utf8(name: str) -> bool:
    """True if a name can be written to a file or sent to a client."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(name: Path | str) -> str:
    """A name for messages; bytes that are not valid UTF-8 are escaped."""
    return str(name).encode("utf-8", "backslashreplace").decode()
