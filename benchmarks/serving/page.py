"""Loading and response times of the search page in headless Chromium.

`ready`: milliseconds from the start of loading until the page accepts an image. `shown`: from the arrival of a response
until its hits are on the page. An empty page of the same service is loaded alternately, as the browser's own time.
"""

import shutil
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from benchmarks.harness.build_process import SMOKE, build_snapshot
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import list_photos, sample, write_catalogue
from benchmarks.harness.rows import print_records, store
from benchmarks.harness.service_process import service
from shared.snapshot.data_directory import DataDirectory

_INDEXED = 200
_LOADS = 20
_LOADED = "performance.getEntriesByType('navigation')[0].loadEventEnd"
_MARKS = "performance.getEntriesByType('mark').map((mark) => [mark.name, mark.startTime])"


def main() -> None:
    """Measure, print and store."""
    options = option_parser("serving.page", __doc__).parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("Chromium is not installed: apt-get install chromium")
    photo = sample(list_photos(options.photos, "validation"), 1)[0].path
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory:
        data = DataDirectory(Path(directory, "data"))
        train = sample(list_photos(options.photos, "train"), _INDEXED)
        build_snapshot(write_catalogue(train, options.photos, Path(directory, "catalogue.jsonl")), data.root, *SMOKE)
        with service(data.root) as running, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            root = f"http://127.0.0.1:{running.port}"
            loads = [_load(browser, root, photo) for _ in range(3 if options.smoke else _LOADS)]
            browser.close()
    names = ("empty page", "ready", "shown")
    records = [
        {"what": name, "median_ms": statistics.median(times), "most_ms": max(times)}
        for name, times in zip(names, zip(*loads, strict=True), strict=True)
    ]
    print_records("The search page", records)
    store("page", options.smoke, {"page": records})


def _load(browser: Browser, root: str, photo: Path) -> tuple[float, float, float]:
    """Return milliseconds to load an empty page, to be ready, and to show a response, without cache."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{root}/healthz", wait_until="load")
        empty = float(page.evaluate(_LOADED))
        page.goto(root)
        page.set_input_files("#file", photo)
        page.wait_for_selector("a.card")
        marks = dict(page.evaluate(_MARKS))
    return empty, marks["ready"], marks["shown"] - marks["answered"]


if __name__ == "__main__":
    main()
