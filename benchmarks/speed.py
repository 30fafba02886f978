"""Speed of indexing and of queries, compared with the raw limit and with the baseline notebook.

- Indexing: the embedding stage without and with the default augmented copies, and a complete build, against plain
  Pillow decoding and bare LiteRT inference of the same photos on all cores.
- Queries: one HTTP client of a real service, against decoding and inference of the same photos with as many threads.
- The baseline notebook: ImageDataGenerator, one `model.predict` per image and two per query, scikit-learn.

The embedding stage and the queries alternate with the raw limit in short blocks, so that noise affects both; for the
complete build the raw limit is measured before and after. The notebook runs last, in its own process, on a sample.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.baseline.notebook import NotebookSpeed, measure_notebook
from benchmarks.harness.fresh_process import export_lite0, run_in_fresh_process
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import list_photos, sample, write_catalogue
from benchmarks.harness.rows import print_records, store
from benchmarks.indexing.embedding_throughput import EmbeddingStage, image_paths, measure_build, measure_embedding
from benchmarks.serving.query_latency import QuerySpeed, measure_queries
from indexer.embedding.augmentation import Augmentation


def main() -> None:
    """Measure, print and store."""
    options = option_parser("speed", __doc__).parse_args()
    smoke = options.smoke
    train = list_photos(options.photos, "train")
    catalogue_photos = sample(train, 100 if smoke else len(train))
    queries = [photo.path for photo in sample(list_photos(options.photos, "validation"), 30 if smoke else 200)]
    model = run_in_fresh_process(export_lite0)
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory:
        data = Path(directory, "data")
        catalogue = write_catalogue(catalogue_photos, options.photos, Path(directory, "catalogue.jsonl"))
        paths = image_paths(catalogue)
        for path in [*paths, *queries]:
            path.read_bytes()  # so that no measurement includes reading from disk
        copies = (0, Augmentation().copies)
        stages = [measure_embedding(catalogue, model, number, 25 if smoke else 256) for number in copies]
        print_records("Embedding stage, all cores", [asdict(stage) for stage in stages])
        build = measure_build(catalogue, model, data)
        print_records("Complete build", [asdict(build)])
        searches = [measure_queries(data, model, queries, threads, 1 if smoke else 3) for threads in (1, 2)]
        print_records("A query over HTTP, one client", [asdict(search) for search in searches])
        sampled = [photo.path for photo in sample(catalogue_photos, 8 if smoke else 60)]
        notebook = run_in_fresh_process(measure_notebook, data, sampled, queries[: 8 if smoke else 40])
    print_records("Baseline notebook", [asdict(notebook)])
    compared = _compare(stages, searches[0], notebook)
    print_records("Against the baseline notebook", compared)
    figures = {
        "embedding_stage": [asdict(stage) for stage in stages],
        "build": asdict(build),
        "queries": [asdict(search) for search in searches],
        "notebook": asdict(notebook),
        "against_notebook": compared,
    }
    store("speed", smoke, figures)


def _compare(
    stages: Sequence[EmbeddingStage], search: QuerySpeed, notebook: NotebookSpeed
) -> list[dict[str, str | float]]:
    original, augmented = stages
    views = 1 + augmented.copies
    pairs = {
        "index an original, ms": (notebook.index_original_ms, 1000 / original.photos_per_s),
        f"index a photo and {augmented.copies} copies, ms": (notebook.index_ms, 1000 / augmented.photos_per_s),
        "index, ms per view": (notebook.index_ms / views, 1000 / augmented.photos_per_s / views),
        "a query (Parecido over HTTP), ms": (notebook.query_ms, search.p50_ms),
    }
    return [
        {"figure": name, "notebook": theirs, "parecido": ours, "times as fast": theirs / ours}
        for name, (theirs, ours) in pairs.items()
    ]


if __name__ == "__main__":
    main()
