"""The rule for known queries against brute force, where there is none, and what a build keeps of it."""

from collections.abc import Iterator

import numpy as np
import pytest
import scipy.special

from indexer.classifier import fit_ood_rule as module
from indexer.classifier.fit_ood_rule import MIN_IMAGES, REJECTED, fit_ood_rule, thresholds
from indexer.classifier.held_out import HeldOut
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.groups.catalogue_folds import CatalogueFolds
from indexer.snapshots.classifier_heads import Heads
from shared.catalogue.items import Item
from shared.index.partition import Partition
from shared.model.classifier import Classifier
from shared.model.energy_score import EnergyScore
from shared.model.ood_rule import OodRule
from shared.vectors import unit_rows
from tests.support.builders.held_out import hold_out
from tests.support.builders.shop import Shop

_DIM = 24
_CENTRES = np.random.default_rng(7).normal(size=(3, _DIM))


def _catalogue(n_items: int, categories: str = "abc", images_each: int = 2) -> EmbeddedCatalogue:
    """Items of the categories in turn, scattered so widely about their centres that some lie nearer another's."""
    random = np.random.default_rng(3)
    items = [Item(f"i{n}", categories[n % len(categories)], ("x.jpg",) * images_each) for n in range(n_items)]
    image_items = np.repeat(np.arange(n_items), images_each)
    own = np.array(["abc".index(items[number].category) for number in image_items])
    # Images of one item are much alike: they may not count as each other's neighbours.
    scatter = np.repeat(2 * random.normal(size=(n_items, _DIM)), images_each, axis=0)
    views = unit_rows(_CENTRES[own] + scatter + 0.01 * random.normal(size=(len(own), _DIM)))[:, np.newaxis]
    return EmbeddedCatalogue(
        tuple(items), image_items, tuple(f"{n}".encode() for n in range(len(own))), views, (), len(own)
    )


def _heads(categories: str = "abc") -> Heads:
    """Of a single fold, and served."""
    return Heads.single(_head(categories))


def _head(categories: str = "abc") -> Classifier:
    centres = unit_rows(_CENTRES[["abc".index(category) for category in categories]])
    return Classifier(tuple(categories), 5 * centres.T, np.zeros(len(categories), np.float32))


class _Partitions:
    """Opens partitions, and notes which."""

    def __init__(self, embedded: EmbeddedCatalogue) -> None:
        self._embedded = embedded
        self.opened: list[str] = []

    def __call__(self, category: str) -> Partition:
        self.opened.append(category)
        numbers = self._embedded.image_items
        own = np.array([self._embedded.items[number].category == category for number in numbers])
        return Partition.build(category, self._embedded.originals[own], numbers[own])


def _by_loop(classifier: Classifier, held_out: HeldOut) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted columns, log odds and mean cosines of held-out images, one after the other."""
    embedded = held_out.embedded
    columns, odds, cosines, groups = [], [], [], held_out.folds.groups.numbers
    for image in held_out.images:
        query = embedded.originals[image].astype(np.float64)
        logits = query @ classifier.weights.astype(np.float64) + classifier.bias
        column = int(logits.argmax())
        best: dict[int, float] = {}
        for other, number in enumerate(embedded.image_items):
            if groups[other] != groups[image] and embedded.items[number].category == "abc"[column]:
                best[number] = max(best.get(number, -1.0), float(query @ embedded.originals[other]))
        columns.append(column)
        odds.append(logits[column] - np.log(sum(np.exp(logits[place]) for place in range(3) if place != column)))
        cosines.append(np.mean(sorted(best.values())[::-1][:5]))
    return np.array(columns), np.array(odds), np.array(cosines)


def _quantile(values: np.ndarray, share: float) -> float:
    """Linear between the two nearest ranks."""
    ranked = sorted(values.tolist())
    place = share * (len(ranked) - 1)
    below = int(place)
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + (place - below) * (ranked[above] - ranked[below])


def test_the_rule_equals_brute_force() -> None:
    embedded = _catalogue(300)
    held_out, opened = hold_out(embedded, is_tuned=True), _Partitions(embedded)
    assert 110 < held_out.n_images < 130
    rule = fit_ood_rule(_heads(), held_out, opened)
    assert rule is not None
    columns, odds, cosines = _by_loop(_head(), held_out)
    assert (columns != held_out.columns("abc")).any()  # also what is taken for another category counts
    np.testing.assert_allclose(rule.means, [odds.mean(), cosines.mean()], atol=1e-5)
    np.testing.assert_allclose(rule.stds, [odds.std(), cosines.std()], atol=1e-5)
    scores = (odds - odds.mean()) / odds.std() + (cosines - cosines.mean()) / cosines.std()
    for column in range(3):
        own = scores[columns == column]
        wanted = (len(own) * _quantile(own, REJECTED) + 1000 * _quantile(scores, REJECTED)) / (len(own) + 1000)
        assert rule.thresholds[column] == pytest.approx(wanted, abs=1e-4)
    assert opened.opened == ["a", "b", "c"]  # one at a time, each once


def test_with_pretrained_classes_all_five_signs_are_standardised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_CLASSES", 4)
    embedded = _catalogue(300)
    held_out = hold_out(embedded, is_tuned=True)
    random = np.random.default_rng(5)
    pretrained = EnergyScore(random.normal(0, 3, size=(_DIM, 9)).astype(np.float32), np.zeros(9, np.float32))
    rule = fit_ood_rule(_heads(), held_out, _Partitions(embedded), pretrained)
    assert rule is not None
    assert rule.energy_score is not None
    columns, odds, cosines = _by_loop(_head(), held_out)
    images = held_out.originals
    shown = scipy.special.softmax(images @ pretrained.weights, axis=1).mean(axis=0)
    most = sorted(np.argsort(shown)[-4:])
    np.testing.assert_array_equal(rule.energy_score.weights, pretrained.weights[:, most])
    logits = _head().logits(images)
    own = logits.max(axis=1)
    clarity = scipy.special.logsumexp(images @ pretrained.weights[:, most], axis=1)
    for place, sign in enumerate((odds, cosines, own, own - logits.mean(axis=1), clarity)):
        assert rule.means[place] == pytest.approx(sign.mean(), abs=1e-5)
        assert rule.stds[place] == pytest.approx(sign.std(), abs=1e-5)
    assert rule.weights.tolist() == [0.5, 1, 0.5, 0.5, -0.75]
    rejected = (rule.margins(images, logits, columns, cosines) < 0).mean()
    assert rejected == pytest.approx(REJECTED, abs=0.012)


def test_few_held_out_images_fall_below() -> None:
    random = np.random.default_rng(0)
    columns = random.integers(0, 4, size=20_000)
    scores = random.normal(size=20_000) * (1 + columns) + columns
    found = thresholds(scores, columns, 5)
    assert (scores < found[columns]).mean() == pytest.approx(REJECTED, abs=0.003)
    for column in range(4):
        assert (scores < found[column])[columns == column].mean() == pytest.approx(REJECTED, abs=0.01)
    assert found[4] == np.quantile(scores, REJECTED)  # nothing was taken for it


@pytest.mark.parametrize(("n", "trust"), [(1, 1 / 1001), (250, 0.2), (1000, 0.5), (1500, 0.6)])
def test_a_category_counts_the_more_the_more_images_it_has(n: int, trust: float) -> None:
    scores, columns = np.concatenate([np.zeros(100_000), np.full(n, -1.0)]), np.repeat([0, 1], [100_000, n])
    np.testing.assert_allclose(thresholds(scores, columns, 2), [0, -trust])


def test_a_category_without_another_item_is_left_out() -> None:
    """What is held out can't be its own neighbour."""
    embedded = _catalogue(400, images_each=1)
    whole = hold_out(embedded, is_tuned=True)
    columns = _head().logits(whole.originals).argmax(axis=1)
    lonely = whole.images[columns == 0][0]

    def opened(category: str) -> Partition:
        if category != "a":
            return _Partitions(embedded)(category)
        return Partition.build("a", embedded.originals_of(np.array([lonely])), embedded.image_items[[lonely]])

    rule, other = fit_ood_rule(_heads(), whole, opened), fit_ood_rule(_heads(), whole, _Partitions(embedded))
    assert rule is not None
    assert other is not None
    assert np.isfinite(rule.thresholds).all()
    assert rule.means[1] != pytest.approx(other.means[1], abs=1e-3)


def test_where_all_images_are_alike_the_rule_can_be_used() -> None:
    views = np.repeat(np.eye(2, dtype=np.float32), 200, axis=0)[:, np.newaxis]
    items = tuple(Item(f"i{n}", "ab"[n // 200], ("x.jpg",)) for n in range(400))
    embedded = EmbeddedCatalogue(items, np.arange(400), (b"",) * 400, views, (), 400)
    head = Classifier(("a", "b"), np.eye(2, dtype=np.float32), np.zeros(2, np.float32))
    rule = fit_ood_rule(Heads.single(head), hold_out(embedded, is_tuned=True), _Partitions(embedded))
    assert rule is not None
    query = np.array([[1.0, 0.0]], np.float32)
    same = rule.margins(query, query, np.array([0]), np.array([1.0]))
    assert same == pytest.approx([0], abs=1e-6)


def test_too_few_held_out_images_give_no_rule() -> None:
    embedded = _catalogue(400, images_each=1)
    held_out = hold_out(embedded, is_tuned=True)
    for n, there_is_one in ((MIN_IMAGES - 1, False), (MIN_IMAGES, True)):
        fewer = held_out.keep(np.arange(held_out.n_images) < n)
        assert (fit_ood_rule(_heads(), fewer, _Partitions(embedded)) is not None) == there_is_one


def test_a_single_category_gives_no_rule() -> None:
    embedded = _catalogue(400, "a")
    everything = HeldOut(CatalogueFolds(embedded, None, 0), 1, np.arange(800))
    assert fit_ood_rule(_heads("a"), everything, _Partitions(embedded)) is None


@pytest.fixture
def shop(quick_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """Whose few held-out images are enough for a rule from now on."""
    monkeypatch.setattr(module, "MIN_IMAGES", 3)
    return quick_shop


def _rule(shop: Shop) -> OodRule | None:
    return Classifier.open(shop.current().classifier).ood_rule


def test_a_new_classifier_has_a_rule_and_a_kept_one_keeps_its_own(shop: Shop) -> None:
    assert _rule(shop) is None  # there is a limit for a build that is so quick
    shop.change("discs 0", title="another")
    assert shop.build().status == 0
    assert _rule(shop) is None
    assert shop.build("--retrain").status == 0
    fitted = _rule(shop)
    assert fitted is not None
    assert fitted.energy_score is not None
    before = shop.current().root
    shop.remove("discs 1")
    assert shop.build().status == 0
    assert shop.current().root != before
    kept = _rule(shop)
    assert kept is not None
    for name, array in fitted.to_arrays().items():
        np.testing.assert_array_equal(kept.to_arrays()[name], array)


def test_a_tuned_base_has_no_clarity_since_its_embeddings_are_others(shop: Shop) -> None:
    assert shop.build("--fine-tune", "on", "--retrain").status == 0
    fitted = _rule(shop)
    assert fitted is not None
    assert fitted.energy_score is None
    assert len(fitted.means) == 2
