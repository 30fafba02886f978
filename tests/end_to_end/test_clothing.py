"""The whole way on real product photos: quality with the default settings, and hits against scikit-learn."""

import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from sklearn.metrics import accuracy_score, confusion_matrix, top_k_accuracy_score
from sklearn.metrics.pairwise import cosine_similarity

from examples.sample_catalogue.render import CATEGORIES as DRAWN
from examples.sample_catalogue.render import QUERIES as QUERIES_DRAWN
from examples.sample_catalogue.render import render_catalogue
from indexer.data_quality.report import examine
from indexer.data_quality.snapshot_images import SnapshotImages
from search_service.engine.engine import Engine
from shared.images.decode import decode_image
from shared.images.limits import ImageLimits
from shared.images.preprocessing import to_pixels
from shared.retrieval.search_options import SearchOptions
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot
from tests.support.builders.partitions import make_originals
from tests.support.builders.real_build import succeed
from tests.support.fakes import encoded

pytestmark = [pytest.mark.clothing, pytest.mark.tensorflow]

QUERIES = 60


@dataclass(frozen=True)
class Judged:
    """What `evaluate` printed of the validation photos, and where it wrote its report."""

    figures: dict
    report: Path


@pytest.fixture(scope="module")
def data(clothing_build: DataDirectory) -> Path:
    return clothing_build.root


@pytest.fixture(scope="module")
def judged(clothing: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    report = tmp_path_factory.mktemp("judged") / "report"
    queries = ("--queries", str(clothing / "validation"), "--report", str(report))
    return Judged(succeed("evaluate", "--data", str(data), *queries), report)


@pytest.fixture(scope="module")
def snapshot(data: Path) -> Snapshot:
    directory = DataDirectory(data)
    return Snapshot.open(directory.paths(directory.current_id()))


def test_categories_are_right_and_confidence_is_honest(judged: Judged) -> None:
    figures = judged.figures
    assert figures["queries"] == 341
    assert figures["category_accuracy"] >= 0.88
    assert figures["category_accuracy_at_2"] >= 0.94
    assert figures["expected_calibration_error"] <= 0.06
    assert figures["strict_hits_outside_prediction"] == 0
    assert figures["category_precision_at_10"] > figures["unfiltered_category_precision_at_10"] + 0.1


def test_what_shows_none_of_the_categories_is_told_from_what_does(clothing: Path, data: Path, tmp_path: Path) -> None:
    render_catalogue(tmp_path / "sample", items=1)
    queries = tmp_path / "sample" / "queries"
    shutil.copytree(clothing / "validation", queries, dirs_exist_ok=True)
    figures = succeed("evaluate", "--data", str(data), "--queries", str(queries))
    assert figures["queries"] == 341 + QUERIES_DRAWN * len(DRAWN)
    assert figures["unknown_categories"] == sorted(DRAWN)
    assert figures["known_share"] >= 0.95
    assert figures["known_auroc"] >= 0.97
    assert figures["unknown_detected"] >= 0.8


def test_every_partition_agrees_with_scikit_learn(snapshot: Snapshot) -> None:
    for partition in snapshot.partitions.values():
        embeddings = partition.embeddings(range(partition.n_rows))
        queries = embeddings[:: max(1, partition.n_rows // 20)]
        exact = cosine_similarity(queries, embeddings)
        row_of = {int(number): row for row, number in enumerate(partition.item_numbers())}
        for scores, hits in zip(exact, partition.search(queries, 10), strict=True):
            rows = [row_of[hit.item_number] for hit in hits]
            best = np.sort(scores)[::-1][:10]
            np.testing.assert_allclose([hit.score for hit in hits], scores[rows], atol=1e-5)
            np.testing.assert_allclose(scores[rows], best, atol=1e-5)  # the same ten, up to ties


def test_a_catalogue_photo_finds_itself(snapshot: Snapshot) -> None:
    engine = Engine(snapshot)
    for item in sample(snapshot):
        answer = engine.search_image(
            engine.catalogue.image_path(item).read_bytes(),
            SearchOptions(category=engine.catalogue.item(item).category),
        )
        assert answer.hits[0].item.item_id == item
        assert answer.hits[0].score >= 0.999


def rotated(image: Image.Image) -> bytes:
    return encoded(image.rotate(10, Image.Resampling.BICUBIC, fillcolor="white"), "PNG")


def flipped(image: Image.Image) -> bytes:
    return encoded(ImageOps.mirror(image), "PNG")


def cropped(image: Image.Image) -> bytes:
    width, height = image.size
    return encoded(image.crop((width * 0.075, height * 0.075, width * 0.925, height * 0.925)), "PNG")


def resaved(image: Image.Image) -> bytes:
    return encoded(image, "JPEG", quality=40)


@pytest.mark.parametrize("transform", [rotated, flipped, cropped, resaved])
def test_a_changed_photo_finds_its_item(snapshot: Snapshot, transform) -> None:
    engine = Engine(snapshot)
    found = []
    for item_id in sample(snapshot):
        image = Image.open(engine.catalogue.image_path(item_id)).convert("RGB")
        hits = engine.search_image(transform(image), SearchOptions()).hits
        found.append(item_id in [hit.item.item_id for hit in hits])
    assert np.mean(found) >= 0.93


def test_photos_that_are_there_twice_are_found(data: Path) -> None:
    """The same pair of shorts is in the catalogue as shorts and as a skirt, and a flowered skirt was taken twice."""
    groups = succeed("report", "--data", str(data))["near_duplicates"]["groups"]
    found = [{one["item_id"].split("/")[1][:8] for one in group["items"]} for group in groups]
    assert found[0] == {"6075b4a5", "637a56e4"}
    assert groups[0]["categories"] == ["shorts", "skirt"]
    assert {"02341619", "78b7da73"} in found
    assert len(found) <= 4


def test_wrong_labels_are_found(snapshot: Snapshot) -> None:
    originals = SnapshotImages.of(snapshot.items, snapshot.partitions)
    embeddings = originals.embeddings(np.arange(len(originals)))
    labels = [originals.item(image).category for image in range(len(originals))]
    random = np.random.default_rng(0)
    wrong = random.permutation(len(labels))[: len(labels) * 3 // 100].tolist()
    for image in wrong:
        labels[image] = str(random.choice([one for one in originals.categories if one != labels[image]]))
    changed = make_originals(embeddings, labels)
    suspects = examine(changed.items, changed.partitions).suspect_labels.suspects
    right = {f"item {image}" for image in wrong} & {one.item_id for one in suspects}
    assert len(right) >= 0.85 * len(wrong)
    assert len(right) >= 0.5 * len(suspects)


def test_the_report_tells_what_the_raw_data_tell(
    clothing: Path, data: Path, snapshot: Snapshot, judged: Judged
) -> None:
    """Figures of photos, by scikit-learn and by hand from embeddings, head and folders alone."""
    told = json.loads((judged.report / "evaluation.json").read_text(encoding="utf-8"))
    photos = sorted((clothing / "validation").glob("*/*.jpg"))
    truth = [photo.parent.name for photo in photos]
    pixels = (to_pixels(decode_image(photo.read_bytes(), ImageLimits())) for photo in photos)
    embeddings = np.concatenate([snapshot.embedder.embed(one[np.newaxis]) for one in pixels])
    directory = DataDirectory(data)
    with np.load(directory.paths(directory.current_id()).classifier) as head:
        logits = (embeddings @ head["weights"] + head["bias"]) / head["temperature"]
        categories = head["categories"].tolist()
    probabilities = np.exp(logits.astype(np.float64))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    confidence, predicted = probabilities.max(axis=1), [categories[place] for place in probabilities.argmax(axis=1)]

    assert {one["category"]: one["queries"] for one in told["by_category"]} == Counter(truth)
    accuracy = accuracy_score(truth, predicted)
    assert told["category_accuracy"] == pytest.approx(accuracy)
    middle = (accuracy + 1.96**2 / 2 / len(truth)) / (1 + 1.96**2 / len(truth))  # Wilson's
    assert np.mean(told["intervals"]["category_accuracy"]) == pytest.approx(middle, abs=1e-5)
    assert told["confusions"]["counts"] == confusion_matrix(truth, predicted, labels=categories).tolist()
    assert told["confusions"]["truth"] == categories
    for one in told["coverage"][:-1]:
        wanted = top_k_accuracy_score(truth, probabilities, k=one["probe"], labels=categories)
        assert one["coverage"] == pytest.approx(wanted)
    right = np.array(predicted) == truth
    bins = np.ceil(confidence * 15)
    error = sum(abs(confidence[bins == one].sum() - right[bins == one].sum()) for one in np.unique(bins)) / len(truth)
    assert told["expected_calibration_error"] == pytest.approx(error, abs=1e-5)
    rows = np.concatenate([part.embeddings(range(part.n_rows)) for part in snapshot.partitions.values()])
    labels = np.repeat(list(snapshot.partitions), [part.n_rows for part in snapshot.partitions.values()])
    nearest = np.argsort(-cosine_similarity(embeddings, rows), axis=1)[:, :10]
    wanted = (labels[nearest] == np.array(truth)[:, np.newaxis]).mean()
    assert told["unfiltered_category_precision_at_10"] == pytest.approx(wanted, abs=1e-3)  # ties
    # The nearest-item ratio test corrects some of the classifier's mistakes, none of the surest, and makes hardly any.
    surest = int(np.argmax(np.where(right, 0, confidence)))
    assert Path(told["mistakes"][0]["image"]) == photos[surest].resolve()
    assert told["mistakes"][0]["confidence"] == pytest.approx(confidence[surest], abs=1e-5)
    assert 0.8 * (~right).sum() <= told["n_mistakes"] <= 1.1 * (~right).sum()
    assert sum(one["right"] + one["wrong"] for one in told["scores"]) == 10 * len(photos)
    page = (judged.report / "evaluation.html").read_text(encoding="utf-8")
    assert f"{100 * accuracy:.1f} %" in page
    assert len(page) < 1_500_000


def sample(snapshot: Snapshot) -> list[str]:
    numbers = np.random.default_rng(0).choice(len(snapshot.items), QUERIES, replace=False)
    return [indexed.item.item_id for indexed in snapshot.items.by_numbers([int(number) for number in numbers])]
