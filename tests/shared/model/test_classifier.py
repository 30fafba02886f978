"""The head: probabilities against SciPy, `n_covering` against a plain loop, and its file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.special

from shared.errors import SnapshotError
from shared.model.classifier import (
    Classifier,
    n_covering,
    ranking,
    softmax,
)
from shared.model.energy_score import EnergyScore
from shared.model.ood_rule import WEIGHTS_WITH_ENERGY, OodRule
from shared.vectors import unit_rows

_NAMES = ("t-shirt", "Schuhe & Stiefel", "👟", "a/b", "x" * 500)


def _head(temperature: float = 1.0, dim: int = 12) -> Classifier:
    random = np.random.default_rng(1)
    weights = random.normal(0, 3, size=(dim, len(_NAMES))).astype(np.float32)
    return Classifier(_NAMES, weights, random.normal(size=len(_NAMES)).astype(np.float32), temperature)


def _embeddings(n: int = 40, dim: int = 12) -> np.ndarray:
    return unit_rows(np.random.default_rng(2).normal(size=(n, dim)))


def test_softmax_equals_scipys() -> None:
    logits = np.random.default_rng(3).normal(0, 10, size=(200, 7)).astype(np.float32)
    found = softmax(logits)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, scipy.special.softmax(logits.astype(np.float64), axis=1), atol=1e-6)


def test_softmax_takes_logits_that_overflow_exp() -> None:
    found = softmax(np.array([[1e4, 1e4, -1e4], [-1e4, -1e4, -1e4]], dtype=np.float32))
    np.testing.assert_allclose(found, [[0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]], atol=1e-7)


@pytest.mark.parametrize("temperature", [0.25, 1.0, 1.7, 40.0])
def test_probabilities_divide_the_logits_by_the_temperature(temperature: float) -> None:
    head, embeddings = _head(temperature), _embeddings()
    logits = embeddings.astype(np.float64) @ head.weights.astype(np.float64) + head.bias
    found = head.probabilities(embeddings)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, scipy.special.softmax(logits / temperature, axis=1), atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_logits_come_before_the_temperature() -> None:
    embeddings = _embeddings()
    np.testing.assert_array_equal(_head(0.25).logits(embeddings), _head(40.0).logits(embeddings))


def test_ranking_is_most_probable_first_and_ties_keep_column_order() -> None:
    probabilities = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4], [0.25, 0.5, 0.25]], dtype=np.float32)
    np.testing.assert_array_equal(ranking(probabilities), [[1, 2, 0], [0, 2, 1], [1, 0, 2]])
    many = np.tile(np.array([0.004, 0.006], dtype=np.float32), 100)
    np.testing.assert_array_equal(ranking(many[np.newaxis])[0], [*range(1, 200, 2), *range(0, 200, 2)])


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, 1), (0.3, 1), (0.5, 1), (0.51, 2), (0.8, 2), (0.81, 3), (0.95, 3), (0.96, 4), (1.0, 4)],
)
def test_covering_counts_the_most_probable_in_any_order(share: float, expected: int) -> None:
    assert n_covering(np.array([0.05, 0.5, 0.15, 0.3], dtype=np.float32), share) == expected


def test_covering_forgives_the_rounding_of_float32() -> None:
    assert float(np.float32(0.7)) < 0.7
    assert n_covering(np.array([0.7, 0.3], dtype=np.float32), 0.7) == 1


def test_covering_equals_a_plain_loop() -> None:
    random = np.random.default_rng(4)
    for _ in range(200):
        probabilities = random.dirichlet(np.full(random.integers(1, 30), 0.3)).astype(np.float32)
        share = float(random.uniform(0, 0.999))
        assert n_covering(probabilities, share) == _covering_by_loop(probabilities, share)


def _covering_by_loop(probabilities: np.ndarray, share: float) -> int:
    reached = 0.0
    for count, probability in enumerate(sorted(probabilities.tolist(), reverse=True), start=1):
        reached += probability
        if reached >= share - 1e-6:
            return count
    return len(probabilities)


def test_covering_everything_never_counts_past_the_last() -> None:
    for n in range(1, 60):
        assert n_covering(np.full(n, np.float32(1 / n)), 1.0) == n


@pytest.mark.parametrize("own", [np.zeros(0), np.full(48, 0.01)])
def test_with_too_few_held_out_images_the_needed_categories_cover_the_share(own: np.ndarray) -> None:
    head = replace(_head(), own_probabilities=own.astype(np.float32))
    assert head.n_likely(np.array([0.05, 0.5, 0.15, 0.2, 0.1], np.float32), 0.98) == 5
    assert head.n_likely(np.array([0.0, 0.99, 0.01, 0.0, 0.0], np.float32), 0.98) == 1


@pytest.mark.parametrize(
    ("share", "expected"),
    # Of 99 images, one in a hundred may be missed for each 0.01: 0.98 takes what the second-least probable was given.
    [(0.99, 5), (0.98, 4), (0.97, 3), (0.96, 2), (0.95, 1), (0.5, 1), (0.0, 1)],
)
def test_the_needed_categories_are_as_probable_as_held_out_images_own(share: float, expected: int) -> None:
    own = np.array([0.01, 0.03, 0.08, 0.2, 0.7] + [0.95] * 94, np.float32)
    head = replace(_head(), own_probabilities=own)
    assert head.n_likely(np.array([0.04, 0.6, 0.02, 0.24, 0.1], np.float32), share) == expected


def test_the_share_holds_for_queries_like_the_held_out_images() -> None:
    random = np.random.default_rng(0)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        probabilities = random.dirichlet(np.full(20, 0.1), n).astype(np.float32)
        return probabilities, np.array([random.choice(20, p=row / row.sum()) for row in probabilities.astype(float)])

    probabilities, truth = draw(4000)
    own = np.sort(probabilities[np.arange(4000), truth])
    head = replace(_head(), own_probabilities=own)
    probabilities, truth = draw(4000)
    counts = np.array([head.n_likely(row, 0.95) for row in probabilities])
    ranks = np.argmax(ranking(probabilities) == truth[:, np.newaxis], axis=1)
    assert (ranks < counts).mean() == pytest.approx(0.95, abs=0.015)
    assert counts.mean() < np.mean([n_covering(row, 0.95) for row in probabilities])


@pytest.mark.parametrize(
    ("n_groups", "expected"),
    # A share of 0.95 counted over 400 groups is unsure by 0.011, over 25 by 0.044; half of that is required more.
    [(0, 1), (400, 2), (100, 3), (25, 4), (4, 4)],  # the last by what the probabilities add up to
)
def test_the_fewer_groups_the_images_are_of_the_more_categories_are_needed(n_groups: int, expected: int) -> None:
    own = np.array([0.01, 0.03, 0.08, 0.2, 0.7] + [0.95] * 94, np.float32)
    head = replace(_head(), own_probabilities=own, n_groups=n_groups)
    assert head.n_likely(np.array([0.04, 0.6, 0.02, 0.24, 0.1], np.float32), 0.95) == expected


def test_a_file_from_before_there_were_own_probabilities_is_read(tmp_path: Path) -> None:
    head = _head()
    np.savez(
        tmp_path / "old.npz",
        categories=np.array(head.categories, dtype=np.str_),
        weights=head.weights,
        bias=head.bias,
        temperature=np.float64(1.5),
    )
    assert Classifier.open(tmp_path / "old.npz").own_probabilities.shape == (0,)
    assert Classifier.open(tmp_path / "old.npz").n_groups == 0


def test_round_trip(tmp_path: Path) -> None:
    head = replace(_head(1.7), own_probabilities=np.array([0.25, 0.75], np.float32), n_groups=7)
    head.save(tmp_path / "classifier.npz")
    again = Classifier.open(tmp_path / "classifier.npz")
    assert again.categories == _NAMES
    assert again.temperature == 1.7
    assert again.own_probabilities.tolist() == [0.25, 0.75]
    assert again.n_groups == 7
    np.testing.assert_array_equal(again.weights, head.weights)
    np.testing.assert_array_equal(again.bias, head.bias)
    np.testing.assert_array_equal(again.probabilities(_embeddings()), head.probabilities(_embeddings()))


_RULE = OodRule(np.array([2.0, 0.6]), np.array([1.5, 0.1]), np.arange(5) - 3.5)


def test_the_rule_for_known_queries_is_kept_in_the_same_file(tmp_path: Path) -> None:
    replace(_head(1.7), ood_rule=_RULE).save(tmp_path / "classifier.npz")
    again = Classifier.open(tmp_path / "classifier.npz")
    assert again.ood_rule is not None
    for name, array in _RULE.to_arrays().items():
        np.testing.assert_array_equal(again.ood_rule.to_arrays()[name], array)
    np.testing.assert_array_equal(again.probabilities(_embeddings()), _head(1.7).probabilities(_embeddings()))


def test_a_file_of_before_there_were_rules_opens_without_one(tmp_path: Path) -> None:
    head = _head(1.7)
    parts = {"weights": head.weights, "bias": head.bias, "temperature": np.float64(1.7)}
    np.savez(tmp_path / "classifier.npz", categories=np.array(_NAMES), **parts)
    assert Classifier.open(tmp_path / "classifier.npz").ood_rule is None


def test_a_rule_of_other_categories_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="has 4 thresholds; expected 5"):
        replace(_head(), ood_rule=replace(_RULE, thresholds=np.zeros(4)))
    head = _head()
    parts = {"weights": head.weights, "bias": head.bias, "temperature": np.float64(1.7)}
    rule = _RULE.to_arrays()
    for damage in (
        {"known_thresholds": np.zeros(4)},
        {"known_stds": np.zeros(2)},
        {"known_means": np.array(["a", "b"])},
    ):
        np.savez(tmp_path / "classifier.npz", categories=np.array(_NAMES), **parts, **(rule | damage))
        with pytest.raises(SnapshotError, match=r"classifier\.npz can't be read"):
            Classifier.open(tmp_path / "classifier.npz")
    np.savez(tmp_path / "classifier.npz", categories=np.array(_NAMES), **parts, known_means=rule["known_means"])
    with pytest.raises(SnapshotError, match="known_stds"):
        Classifier.open(tmp_path / "classifier.npz")


def test_a_clarity_of_other_embeddings_is_rejected() -> None:
    energy_score = EnergyScore(np.ones((11, 3), np.float32), np.ones(3, np.float32))
    rule = OodRule(np.zeros(5), np.ones(5), np.zeros(5), np.array(WEIGHTS_WITH_ENERGY), energy_score)
    with pytest.raises(SnapshotError, match="energy score takes 11 dimensions; expected 12"):
        replace(_head(), ood_rule=rule)


@pytest.mark.parametrize(
    ("weights", "bias"), [((12, 4), 5), ((12, 5), 4), ((5,), 5), ((5, 12), 5)], ids=["columns", "bias", "1-d", "turned"]
)
def test_parts_that_do_not_fit_are_rejected(weights: tuple[int, ...], bias: int) -> None:
    with pytest.raises(SnapshotError, match="the classifier has weights"):
        Classifier(_NAMES, np.ones(weights, np.float32), np.ones(bias, np.float32))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_must_be_positive(temperature: float) -> None:
    with pytest.raises(SnapshotError, match=f"temperature is {temperature}; expected a finite number above 0"):
        _head(temperature)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"nowhere\.npz can't be read"):
        Classifier.open(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"garbage" * 50])
def test_other_bytes_are_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "classifier.npz"
    path.write_bytes(content)
    with pytest.raises(SnapshotError, match=r"classifier\.npz can't be read"):
        Classifier.open(path)


def test_an_array_file_that_is_no_archive_is_rejected(tmp_path: Path) -> None:
    with (tmp_path / "classifier.npz").open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(SnapshotError, match=r"classifier\.npz can't be read"):
        Classifier.open(tmp_path / "classifier.npz")


def test_an_archive_with_a_part_missing_is_rejected(tmp_path: Path) -> None:
    np.savez(tmp_path / "classifier.npz", categories=np.array(_NAMES), weights=_head().weights, bias=_head().bias)
    with pytest.raises(SnapshotError, match="temperature"):
        Classifier.open(tmp_path / "classifier.npz")


def test_truncated_files_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "classifier.npz"
    _head().save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 97):
        path.write_bytes(whole[:length])
        with pytest.raises(SnapshotError):
            Classifier.open(path)


def test_damaged_bytes_give_no_other_error(tmp_path: Path) -> None:
    path = tmp_path / "classifier.npz"
    _head().save(path)
    whole = path.read_bytes()
    random = np.random.default_rng(5)
    rejected = 0
    for offset in random.integers(0, len(whole), size=300):
        damaged = bytearray(whole)
        damaged[offset] ^= int(random.integers(1, 256))
        path.write_bytes(damaged)
        try:
            Classifier.open(path)
        except SnapshotError:
            rejected += 1
    assert rejected > 200
