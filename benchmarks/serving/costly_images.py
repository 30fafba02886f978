"""Cost of decoding images as queries: CPU time, memory, and replaced processes.

`python -m benchmarks.serving.costly_images FILE_OR_DIRECTORY…`; by default the hostile uploads of the tests.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from benchmarks.harness.rows import print_records
from search_service.engine.query_decoder import QueryDecoder
from shared.errors import ParecidoError
from shared.images.decode_pool.pool import Reason
from shared.images.decode_pool.template import DecodeTemplate
from shared.images.limits import ImageLimits
from tests.support.hostile_images import hostile_images
from tests.support.processes.watched_processes import Watched


class _Replaced:
    def __init__(self) -> None:
        self.reasons: list[str] = []

    def decoder_replaced(self, reason: Reason) -> None:
        self.reasons.append(reason)


def measure(decoder: QueryDecoder, replaced: _Replaced, name: str, data: bytes) -> dict[str, object]:
    """Decode an image as a query and return its cost."""
    replaced.reasons.clear()
    began_s, outcome, message = time.perf_counter(), "decoded", ""
    with Watched() as taken:
        try:
            pixels = decoder.decode_quickly(data)
            if pixels is None:
                decoder.decode_slowly(data)
                outcome = "decoded slowly"
        except ParecidoError as error:
            outcome, message = error.code, str(error)
    return {
        "image": name,
        "MB": len(data) / 1e6,
        "outcome": outcome,
        "wall_s": time.perf_counter() - began_s,
        "cpu_s": taken.cpu_s,
        "growth_mb": taken.growth_bytes / 1e6,
        "replaced": " ".join(replaced.reasons),
        "message": message[:90],
    }


def _images(paths: list[Path]) -> Iterator[tuple[str, bytes]]:
    if not paths:
        yield from hostile_images()
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from ((file.name, file.read_bytes()) for file in files if file.is_file())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.costly_images", description=__doc__)
    parser.add_argument("paths", type=Path, nargs="*", help="files, or directories of them")
    parser.add_argument("--above-s", type=float, default=0.0, help="print only images with more CPU time")
    options = parser.parse_args()
    template, replaced = DecodeTemplate(ImageLimits()), _Replaced()
    decoder = QueryDecoder(template, 1, replaced)
    with suppress(ParecidoError):
        decoder.decode_quickly(b"")  # excludes the start of a process
    rows = [measure(decoder, replaced, name, data) for name, data in _images(options.paths)]
    costly = [row for row in rows if float(str(row["cpu_s"])) >= options.above_s]
    print_records("Images, decoded as queries", costly)
    most = {column: max(float(str(row[column])) for row in rows) for column in ("wall_s", "cpu_s", "growth_mb")}
    print_records("Maxima", [{"images": len(rows), **most}])
    decoder.close()
    template.close()


if __name__ == "__main__":
    main()
