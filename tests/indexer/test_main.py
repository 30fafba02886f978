"""The command line. What users script against runs as a process of its own; variants run inside the test's."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer import __main__ as command_line
from indexer import pipeline
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot
from tests.support.builders.real_build import COLOURS, KINDS, Done, RealBuild, draw, name_of, run_alone
from tests.support.fakes import picture

pytestmark = pytest.mark.tensorflow

_BUILD_FIELDS = {
    "snapshot_id",
    "published",
    "backbone",
    "side_px",
    "items",
    "images",
    "skipped",
    "embedded",
    "categories",
    "seconds",
}
_EVALUATION_FIELDS = {
    "queries",
    "category_accuracy",
    "category_accuracy_at_2",
    "category_accuracy_at_3",
    "expected_calibration_error",
    "category_precision_at_10",
    "unfiltered_category_precision_at_10",
}


@pytest.fixture
def main(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The same inside this process."""

    def call(*arguments: object) -> Done:
        capsys.readouterr()
        status = command_line.main([*map(str, arguments), "--json"])
        captured = capsys.readouterr()
        return Done(status, captured.out, captured.err)

    return call


def _save(path: Path, kind: str, colour: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(kind, colour).save(path)


def _csv(path: Path, *rows: tuple[str, str, str]) -> Path:
    path.write_text("item_id,category,image\n" + "".join(f"{','.join(row)}\n" for row in rows), encoding="utf-8")
    return path


def _open(data: Path) -> Snapshot:
    directory = DataDirectory(data)
    return Snapshot.open(directory.paths(directory.current_id()), interpreters=1)


@dataclass(frozen=True)
class _Built:
    """A data directory into which the same catalogue was built twice."""

    catalogue: Path
    data: Path
    first: Done
    second: Done

    @property
    def ids(self) -> tuple[str, str]:
        return self.first.json["snapshot_id"], self.second.json["snapshot_id"]


@pytest.fixture(scope="module")
def built(real_build: RealBuild, tmp_path_factory: pytest.TempPathFactory) -> _Built:
    data = tmp_path_factory.mktemp("main") / "data"
    shutil.copytree(real_build.data.root, data)
    return _Built(real_build.catalogue, data, real_build.done, run_alone("build", "--data", data, "--retrain"))


def test_build_prints_its_summary_as_one_line_of_json(built: _Built) -> None:
    assert built.first.out.count("\n") == 1
    summary = built.first.json
    assert set(summary) >= _BUILD_FIELDS
    wanted = {
        "published": True,
        "backbone": "efficientnet_lite0",
        "items": 18,
        "images": 18,
        "skipped": 0,
        "embedded": 36,
        "categories": 3,
    }
    assert summary | wanted == summary
    assert summary["seconds"] > 0
    for stage in ("read catalogue", "embed images", "train classifier", "build partitions", "draw report"):
        assert stage in built.first.err
    assert "Traceback" not in built.first.err


def test_build_without_a_catalogue_repeats_the_last(built: _Built) -> None:
    assert built.second.status == 0, built.second.err
    summary = built.second.json
    assert summary["snapshot_id"] > built.first.json["snapshot_id"]
    same = ("published", "backbone", "items", "images", "skipped", "categories", "category_accuracy")
    assert {name: summary[name] for name in same} == {name: built.first.json[name] for name in same}
    assert DataDirectory(built.data).current_id() == summary["snapshot_id"]
    settings = json.loads((built.data / "build.json").read_text(encoding="utf-8"))
    wanted = {"catalogue": str(built.catalogue), "backbone": "efficientnet_lite0", "augmentations": 1}
    assert settings | wanted == settings


def test_the_same_catalogue_gives_the_same_snapshot(built: _Built) -> None:
    first, second = (DataDirectory(built.data).paths(snapshot_id) for snapshot_id in built.ids)
    different = {name for name, digest in first.checksums().items() if second.checksums().get(name) != digest}
    reports = {"report/evaluation.html", "report/evaluation.json"}  # which tell what was before, and times
    heads = {"classifier.npz", "classifier.folds.npz", "folds.npz"}
    assert different <= {*heads, "items.sqlite", *reports}  # a zip has its time in it
    for head in heads:
        with np.load(first.root / head) as one, np.load(second.root / head) as two:
            for name in one.files:
                np.testing.assert_array_equal(one[name], two[name])


def test_an_embedder_that_is_exported_again_is_the_same_to_the_byte(real_build: RealBuild, lite0_tflite: Path) -> None:
    """So that the cache fits it."""
    (snapshot_id,) = real_build.data.ids()
    assert real_build.data.paths(snapshot_id).embedder.read_bytes() == lite0_tflite.read_bytes()


def test_snapshots_lists_them_and_marks_the_current_one(built: _Built, main: Callable[..., Done]) -> None:
    done = main("snapshots", "--data", built.data)
    assert done.status == 0
    first, second = built.ids
    assert done.json["current"] == second
    listed = [(one["snapshot_id"], one["state"], one["items"], one["categories"]) for one in done.json["snapshots"]]
    assert listed == [(first, "published", 18, 3), (second, "current", 18, 3)]
    assert first in done.err


def test_rollback_goes_to_the_one_before_and_to_any(built: _Built, main: Callable[..., Done]) -> None:
    first, second = built.ids
    done = run_alone("rollback", "--data", built.data)
    assert (done.status, done.json) == (0, {"snapshot_id": first, "was": second})
    assert (built.data / "current").read_text() == f"{first}\n"
    done = main("rollback", "--data", built.data)
    assert (done.status, done.json["error"]["code"]) == (2, "no_snapshot")
    assert f"is older than {first}" in done.err
    done = main("rollback", "no-such", "--data", built.data)
    assert (done.status, done.json["error"]["code"]) == (2, "no_snapshot")
    assert DataDirectory(built.data).current_id() == first
    done = main("rollback", second, "--data", built.data)
    assert (done.status, done.json) == (0, {"snapshot_id": second, "was": first})
    assert DataDirectory(built.data).current_id() == second


def test_verify_measures_every_partition(built: _Built, main: Callable[..., Done]) -> None:
    done = run_alone("verify", "--data", built.data)
    wanted = {"snapshot_id": built.ids[1], "verified": True, "ann_recall_at_10": dict.fromkeys(KINDS, 1.0)}
    assert (done.status, done.json) == (0, wanted)
    done = main("verify", built.ids[0], "--data", built.data)
    assert (done.status, done.json["snapshot_id"]) == (0, built.ids[0])


def test_verify_and_rollback_refuse_a_damaged_snapshot(
    built: _Built, main: Callable[..., Done], tmp_path: Path
) -> None:
    shutil.copytree(built.data, tmp_path / "data")
    first, second = (DataDirectory(tmp_path / "data").paths(snapshot_id) for snapshot_id in built.ids)
    content = bytearray(first.items.read_bytes())
    content[-1] ^= 1
    first.items.write_bytes(content)
    second.classifier.unlink()
    done = main("verify", built.ids[0], "--data", tmp_path / "data")
    assert (done.status, done.json["error"]["code"]) == (1, "bad_snapshot")
    assert "items.sqlite is damaged" in done.err
    assert main("rollback", "--data", tmp_path / "data").status == 1
    assert DataDirectory(tmp_path / "data").current_id() == built.ids[1]
    done = main("verify", "--data", tmp_path / "data")
    assert (done.status, done.json["error"]["code"]) == (1, "bad_snapshot")
    assert "classifier.npz is missing" in done.err


def test_export_writes_every_image_in_order(built: _Built, tmp_path: Path) -> None:
    done = run_alone("export", "--data", built.data, "--out", tmp_path / "out")
    assert (done.status, done.json["images"]) == (0, 18)
    paths = json.loads((tmp_path / "out/paths.json").read_text(encoding="utf-8"))
    assert paths == [str(built.catalogue / kind / name_of(colour)) for kind in KINDS for colour in sorted(COLOURS)]
    embeddings = np.load(tmp_path / "out/embeddings.npy")
    assert (embeddings.shape, embeddings.dtype) == ((18, 1280), np.float32)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


def test_evaluate_judges_photos_by_their_folders(built: _Built, tmp_path: Path) -> None:
    for kind in KINDS:
        for colour in ("brown", "teal"):
            _save(tmp_path / "queries" / kind / f"{colour}.png", kind, colour)
    _save(tmp_path / "queries" / "hats" / "red.png", "discs", "red")
    (tmp_path / "queries" / "hats" / "broken.png").write_text("no picture")
    queries, report = tmp_path / "queries", tmp_path / "report"
    done = run_alone("evaluate", "--data", built.data, "--queries", queries, "--report", report)
    assert done.status == 0, done.err
    figures = done.json
    assert set(figures) >= _EVALUATION_FIELDS
    assert figures["queries"] == 7
    # The hat is of no category that the snapshot has, so a mistake; the others are easy.
    assert 4 / 7 <= figures["category_accuracy"] <= 6 / 7
    assert figures["category_accuracy"] <= figures["category_accuracy_at_2"] <= figures["category_accuracy_at_3"]
    assert figures["category_accuracy_at_3"] == pytest.approx(6 / 7)
    assert figures["category_precision_at_10"] == pytest.approx(figures["category_accuracy"])
    assert 0 <= figures["expected_calibration_error"] <= 1
    written = json.loads((tmp_path / "report/evaluation.json").read_text(encoding="utf-8"))
    assert written | figures == written
    assert (tmp_path / "report/evaluation.html").stat().st_size > 10_000
    assert "hats" in done.err


def test_visualize_draws_a_sheet(built: _Built, main: Callable[..., Done], tmp_path: Path) -> None:
    query = built.catalogue / "discs" / name_of("red")
    done = run_alone("visualize", query, "--data", built.data, "--out", tmp_path / "sheet.png")
    assert (done.status, done.json["out"]) == (0, str(tmp_path / "sheet.png"))
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"
        colours = np.asarray(sheet.convert("RGB")).reshape(-1, 3)
    for colour in [(255, 0, 0), (0, 0, 255), (255, 165, 0)]:
        assert (np.abs(colours.astype(int) - colour).max(axis=1) < 20).sum() > 1000
    done = main("visualize", query, "--data", built.data, "--out", tmp_path / "sheet.txt")
    assert (done.status, done.json["error"]["code"]) == (2, "invalid_setting")


# Bad input


def _is_refused(done: Done, code: str) -> None:
    assert done.status == 2
    assert done.json["error"]["code"] == code
    message = done.json["error"]["message"]
    assert done.err.startswith("parecido: ") or f"\nparecido: {message.splitlines()[0]}" in done.err


def test_a_catalogue_that_cannot_be_read_is_refused_and_nothing_changes(
    built: _Built, main: Callable[..., Done], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "items.xlsx").touch()
    (tmp_path / "items.csv").write_text("sku,photo\n")
    before = sorted(path for path in built.data.rglob("*"))
    for name, message in [
        ("gone", "does not exist"),
        ("empty", "is empty"),
        ("items.xlsx", "is neither"),
        ("items.csv", "lacks item_id, category, image"),
    ]:
        done = main("build", "--catalogue", tmp_path / name, "--data", built.data)
        _is_refused(done, "invalid_catalogue")
        assert message in done.json["error"]["message"]
    assert sorted(path for path in built.data.rglob("*")) == before
    assert DataDirectory(built.data).current_id() == built.ids[1]


def test_too_many_bad_entries_are_refused_and_listed(main: Callable[..., Done], tmp_path: Path) -> None:
    _save(tmp_path / "a.png", "discs", "red")
    rows = [(f"item {n}", "c", "gone.png" if n < 2 else "a.png") for n in range(20)]
    catalogue = _csv(tmp_path / "items.csv", *rows)
    done = main("build", "--catalogue", catalogue, "--data", tmp_path / "data")
    _is_refused(done, "invalid_catalogue")
    assert "2 of the 20 entries are bad, more than --max-bad 0.05 allows" in done.err
    assert "items.csv, row 2: the image 'gone.png' does not exist" in done.err
    assert "items.csv, row 3: the image 'gone.png' does not exist" in done.err
    lines = (tmp_path / "data/skipped.jsonl").read_text(encoding="utf-8").splitlines()
    assert [(line["file"], line["row"], line["item_id"]) for line in map(json.loads, lines)] == [
        ("items.csv", 2, "item 0"),
        ("items.csv", 3, "item 1"),
    ]
    assert not (tmp_path / "data/current").exists()


def test_many_bad_entries_are_shown_in_part(main: Callable[..., Done], tmp_path: Path) -> None:
    catalogue = _csv(tmp_path / "items.csv", *[(str(n), "c", "gone.png") for n in range(30)])
    done = main("build", "--catalogue", catalogue, "--data", tmp_path / "data")
    _is_refused(done, "invalid_catalogue")
    assert done.err.count("gone.png") == 10
    assert "… and 20 more" in done.err
    assert len((tmp_path / "data/skipped.jsonl").read_text(encoding="utf-8").splitlines()) == 30


@pytest.mark.parametrize(
    ("option", "value"),
    [("--augmentations", -1), ("--max-bad", 2), ("--seed", -1), ("--workers", -1), ("--max-image-bytes", 0)],
)
def test_an_option_that_cannot_be_is_refused(
    main: Callable[..., Done], tmp_path: Path, option: str, value: int
) -> None:
    done = main("build", "--catalogue", tmp_path, "--data", tmp_path / "data", option, value)
    _is_refused(done, "invalid_setting")
    assert f"{option} is {value}" in done.json["error"]["message"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["bild"],
        ["build", "--backbone", "resnet"],
        ["build", "--augmentations", "two"],
        ["evaluate"],
        ["export"],
        ["diff"],
        ["cache"],
        ["cache", "prune", "--keep-days", "many"],
        ["visualize", "--out", "sheet.png"],
    ],
)
def test_a_command_line_that_cannot_be_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command_line.main(arguments)
    assert "usage: python -m indexer" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["build"],
        ["snapshots"],
        ["rollback"],
        ["diff", "20260101T000000000-abcdef"],
        ["verify"],
        ["export", "--out", "out"],
        ["evaluate", "--queries", "queries"],
        ["visualize", "query.png", "--out", "sheet.png"],
    ],
)
def test_before_the_first_build_every_command_says_what_to_do(
    main: Callable[..., Done], tmp_path: Path, arguments: list[str]
) -> None:
    done = main(*arguments, "--data", tmp_path / "nothing")
    _is_refused(done, "no_snapshot")
    assert "--catalogue PATH" in done.json["error"]["message"]
    assert not (tmp_path / "nothing").exists()


def test_a_data_directory_that_is_a_file_is_refused(main: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    done = main("build", "--catalogue", tmp_path, "--data", tmp_path / "data")
    _is_refused(done, "invalid_setting")
    assert f"--data {tmp_path / 'data'} can't be made a directory" in done.json["error"]["message"]


def test_a_weights_file_that_does_not_exist_is_refused(main: Callable[..., Done], tmp_path: Path) -> None:
    _save(tmp_path / "shop/c/a.png", "discs", "red")
    for backbone in ("auto", "efficientnet_b0", "efficientnet_lite0"):
        done = main(
            *("build", "--catalogue", tmp_path / "shop", "--data", tmp_path / "data"),
            *("--backbone", backbone, "--weights", tmp_path / "gone.h5"),
        )
        _is_refused(done, "invalid_weights")
        assert "gone.h5" in done.json["error"]["message"]


def test_an_interrupted_build_says_that_nothing_was_published(
    main: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "build", interrupt)
    done = main("build", "--catalogue", tmp_path, "--data", tmp_path / "data")
    assert (done.status, done.json["error"]["code"]) == (1, "interrupted")


# Catalogues of every shape


@pytest.mark.usefixtures("quick_stages_called")
def test_names_of_every_kind_and_a_category_with_one_item(main: Callable[..., Done], tmp_path: Path) -> None:
    """…with broken pictures among them, which `--max-bad` lets pass."""
    names = {"home/kitchen": "discs", "🚲 bikes": "stripes", "Relojes de señora": "checks", "..": "stripes"}
    rows: list[tuple[str, str, str]] = []
    for category, kind in names.items():
        for number, colour in enumerate(COLOURS):
            image = f"pictures/{kind} ñandú 🚲 {colour}.png"
            _save(tmp_path / image, kind, colour)
            rows.append((f"{category}/{number}", category, image))
    rows.insert(3, ("broken", "home/kitchen", "broken.png"))
    rows.insert(9, ("gone", "home/kitchen", "gone.png"))
    rows.append(("the only one", "only one", rows[0][2]))
    (tmp_path / "broken.png").write_bytes(picture("red", (300, 300), "PNG")[:80])
    catalogue = _csv(tmp_path / "the catálogo.csv", *rows)
    data = tmp_path / "the data 🚲"
    options = ("--backbone", "efficientnet_lite0", "--augmentations", 1, "--max-bad", 0.1, "--index-views", "all")
    done = main("build", "--catalogue", catalogue, "--data", data, *options)
    assert done.status == 0, done.err
    assert (done.json["items"], done.json["skipped"], done.json["categories"]) == (25, 2, 5)
    assert f"entries left out: 2; {data / 'skipped.jsonl'} lists them" in done.err
    snapshot = _open(data)
    good = [row for row in rows if row[0] not in ("broken", "gone")]
    found = [(one.item.item_id, one.item.category, one.item.images[0]) for one in snapshot.items]
    assert found == good
    assert {name: part.n_rows for name, part in snapshot.partitions.items()} == {
        **dict.fromkeys(names, 12),
        "only one": 2,
    }
    only = snapshot.items.by_id("the only one")
    (hits,) = snapshot.partition("only one").search(snapshot.partition("only one").embeddings(only.rows), 10)
    assert [hit.item_number for hit in hits] == [only.number]
    twin = snapshot.items.by_id(rows[0][0])
    np.testing.assert_array_equal(
        snapshot.partition("home/kitchen").embeddings(twin.rows), snapshot.partition("only one").embeddings(only.rows)
    )
    snapshot.close()
    skipped = [json.loads(line) for line in (data / "skipped.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {(one["file"], one["row"], one["item_id"]) for one in skipped} == {
        ("the catálogo.csv", 5, "broken"),
        ("the catálogo.csv", 11, "gone"),
    }
    done = main("visualize", tmp_path / rows[0][2], "--data", data, "--out", tmp_path / "sheet.png", "--top-k", 30)
    assert done.status == 0, done.err


@pytest.mark.usefixtures("quick_stages_called")
def test_a_single_category_is_always_the_answer(main: Callable[..., Done], tmp_path: Path) -> None:
    for colour in COLOURS:
        _save(tmp_path / "shop/discs" / f"{colour}.png", "discs", colour)
    data = tmp_path / "data"
    options = ("--backbone", "efficientnet_lite0", "--augmentations", 0)
    done = main("build", "--catalogue", tmp_path / "shop", "--data", data, *options)
    assert done.status == 0, done.err
    assert (done.json["items"], done.json["embedded"], done.json["categories"]) == (6, 6, 1)
    assert done.json["category_accuracy"] is None
    done = main("evaluate", "--queries", tmp_path / "shop", "--data", data)
    assert (done.status, done.json["queries"], done.json["category_accuracy"]) == (0, 6, 1.0)


@pytest.mark.usefixtures("quick_stages_called")
def test_500_categories_of_two_tiny_pictures(main: Callable[..., Done], tmp_path: Path) -> None:
    for number in range(500):
        folder = tmp_path / "shop" / f"category {number:03d}"
        folder.mkdir(parents=True)
        for side in (9, 12):
            colour = (number % 8 * 36, number // 8 % 8 * 36, number // 64 * 36)
            (folder / f"{side}.png").write_bytes(picture(colour, (side, side), "PNG"))
    data = tmp_path / "data"
    options = ("--backbone", "efficientnet_lite0", "--augmentations", 0)
    done = main("build", "--catalogue", tmp_path / "shop", "--data", data, *options)
    assert done.status == 0, done.err
    assert (done.json["items"], done.json["categories"], done.json["skipped"]) == (1000, 500, 0)
    snapshot = _open(data)
    assert len(snapshot.partitions) == 500
    assert {part.n_items for part in snapshot.partitions.values()} == {2}
    assert {entry.ann_recall_at_10 for entry in snapshot.manifest.categories} == {1.0}
    snapshot.close()
