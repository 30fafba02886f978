"""The options that every benchmark takes."""

import argparse
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
_PHOTOS = Path("../shared/data/clothing")


def option_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with `--photos` and `--smoke`, to which a benchmark adds its own.

    Args:
        name: of the benchmark's module.
        description: its docstring.
    """
    parser = argparse.ArgumentParser(
        f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--photos",
        type=lambda text: Path(text).resolve(),
        default=(REPOSITORY / _PHOTOS).resolve(),
        help=f"with `train` and `validation`, each a folder a category (default: {_PHOTOS}, from the repository)",
    )
    parser.add_argument("--smoke", action="store_true", help="a small run that only shows that it works")
    return parser
