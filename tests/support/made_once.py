"""What tests of several processes share is made by the first that asks for it."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path


def made_once(directory: Path, make: Callable[[Path], None]) -> Path:
    """A directory, which `make` fills unless another process has; who asks meanwhile waits.

    Args:
        directory: what it will be called; a file beside it says whether it is complete.
        make: is given it, empty; should it fail, the next that asks tries again.
    """
    with directory.with_name(f"{directory.name}.made").open("a+") as made:
        fcntl.flock(made, fcntl.LOCK_EX)
        made.seek(0)
        if not made.read():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            make(directory)
            made.write("complete")
            made.flush()
    return directory
