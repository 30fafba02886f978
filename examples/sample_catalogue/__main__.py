"""Command line: ``python -m examples.sample_catalogue --out DIR``."""

import argparse
from pathlib import Path

from examples.sample_catalogue.render import CATEGORIES, render_catalogue


def main() -> None:
    """Read the options and render the catalogue."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.sample_catalogue",
        description="Render a sample catalogue of bicycles, mice, watches and keyboards.",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--items", type=int, default=64, help="items in each category")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same pictures")
    options = parser.parse_args()
    catalogue = render_catalogue(options.out, options.items, options.seed)
    print(f"{catalogue}: {options.items * len(CATEGORIES)} items")


if __name__ == "__main__":
    main()
