"""The command-line options of all benchmarks."""

import argparse
import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def option_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser with `--photos` and `--smoke`, to which a benchmark adds its own options.

    Args:
        name: Module of the benchmark below `benchmarks`.
        description: Its docstring.
    """
    parser = argparse.ArgumentParser(
        f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--photos",
        type=_existing_directory,
        default=os.environ.get("PHOTOS") or None,
        help="directory with train/<category>/*.jpg and validation/<category>/*.jpg (default: the variable PHOTOS)",
    )
    parser.add_argument("--smoke", action="store_true", help="a small run that only shows that the benchmark works")
    return parser


def _existing_directory(text: str) -> Path:
    path = Path(text).resolve()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a directory")
    return path
