from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from indexer.classifier import training_set
from indexer.classifier.feedback_queries import LabelledQueries
from indexer.classifier.held_out import HeldOut, held_out_items
from indexer.classifier.training_set import TrainingSet
from indexer.console.progress import SilentReporter
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from shared.catalogue.items import Item
from shared.model.classifier import Classifier
from shared.vectors import unit_rows

pytestmark = pytest.mark.tensorflow

_DIM = 64


@pytest.fixture(scope="module")
def trainer() -> Any:
    from indexer.classifier import train as train_classifier

    return train_classifier


@pytest.fixture(scope="module")
def softmax_head() -> Any:
    from indexer.classifier import softmax_head

    return softmax_head


@pytest.fixture(autouse=True)
def _quick(softmax_head: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer and larger steps, since the clusters are easy; one a call, since tracing many takes longest here."""
    monkeypatch.setattr(softmax_head, "_STEPS_PER_CALL", 1)
    monkeypatch.setattr(softmax_head, "MAX_EPOCHS", 15)
    monkeypatch.setattr(softmax_head, "_LEARNING_RATE", 0.03)


def _clusters(counts: dict[str, int], images: int = 1, copies: int = 1, spread: float = 0.3) -> EmbeddedCatalogue:
    """Items around a random direction for each category, off a common mean as real embeddings are."""
    random = np.random.default_rng(5)
    centres = {category: random.normal(size=_DIM) for category in sorted({*"abcdefgh", *counts})}
    labels = [category for category, count in counts.items() for _ in range(count)]
    labels = [labels[place] for place in random.permutation(len(labels))]
    items = tuple(Item(f"item {n}", label, ("x.jpg",) * images) for n, label in enumerate(labels))
    image_labels = np.repeat(labels, images)
    rows = np.stack([centres[label] for label in image_labels])[:, np.newaxis] + 2
    views = rows + spread * random.normal(size=(len(rows), 1 + copies, _DIM))
    unit = unit_rows(views.reshape(-1, _DIM)).reshape(views.shape).astype(np.float32)
    return EmbeddedCatalogue(items, np.repeat(np.arange(len(items)), images), (b"",) * len(unit), unit, (), len(unit))


def _train(trainer: Any, embedded: EmbeddedCatalogue, seed: int = 0) -> tuple[Classifier, int]:
    with SilentReporter().stage("train") as stage:
        heads, epochs = trainer.train_classifier(embedded, HeldOut.of(embedded, seed), seed, stage)
    return heads.validated, epochs


def _truth(embedded: EmbeddedCatalogue, classifier: Classifier) -> np.ndarray:
    return np.array([classifier.categories.index(embedded.items[n].category) for n in embedded.image_items])


def _owners(embedded: EmbeddedCatalogue) -> dict[bytes, int]:
    """The item of each view, by the bytes that the view is learned as."""
    views = embedded.views[np.arange(len(embedded.digests))].astype(np.float16)
    return {row.tobytes(): n for n, rows in zip(embedded.image_items, views, strict=True) for row in rows}


def test_categories_that_lie_apart_are_told_apart(trainer: Any) -> None:
    embedded = _clusters({"b": 30, "a": 20, "c": 25}, images=2)
    classifier, epochs = _train(trainer, embedded)
    assert classifier.categories == ("a", "b", "c")
    assert (classifier.weights.shape, classifier.bias.shape) == ((_DIM, 3), (3,))
    assert (classifier.weights.dtype, classifier.bias.dtype) == (np.float32, np.float32)
    found = classifier.probabilities(embedded.originals).argmax(axis=1)
    assert (found == _truth(embedded, classifier)).mean() > 0.97
    held_out = HeldOut.of(embedded, 0)
    assert (held_out.n_items, held_out.n_images) == (11, 22)  # 3 of 20, 4 of 30 and 4 of 25
    assert held_out.category_accuracy(classifier) > 0.95
    assert 0 <= held_out.calibration_error(classifier) < 0.2
    assert epochs > 1


@pytest.mark.parametrize(("items", "held"), [(4, 1), (3, 0)])
def test_of_very_many_categories_where_each_lies_is_enough(trainer: Any, items: int, held: int) -> None:
    embedded = _clusters({f"c{n}": items for n in range(trainer._MAX_SOFTMAX_CATEGORIES + 200)})
    classifier, epochs = _train(trainer, embedded)
    assert epochs == 0
    found = classifier.probabilities(embedded.originals).argmax(axis=1)
    assert (found == _truth(embedded, classifier)).mean() > 0.97
    held_out = HeldOut.of(embedded, 0)
    assert held_out.n_items == held * len(classifier.categories)
    if held:
        assert held_out.category_accuracy(classifier) > 0.95
        assert held_out.calibration_error(classifier) < 0.2


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(trainer: Any) -> None:
    embedded = _clusters({"a": 15, "b": 15})
    (first, epochs), (again, epochs_again), (other, _) = (_train(trainer, embedded, seed) for seed in (4, 4, 5))
    assert first.weights.tobytes() == again.weights.tobytes()
    assert first.bias.tobytes() == again.bias.tobytes()
    assert epochs == epochs_again
    assert first.weights.tobytes() != other.weights.tobytes()


def test_what_is_held_out_is_neither_learned_nor_an_augmented_copy(
    trainer: Any, softmax_head: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = _clusters({"a": 20, "b": 12, "c": 1}, images=3, copies=2)
    seen: list[Any] = []

    def fit(learned: Any, learned_labels: Any, judged: Any, n: int, seed: int, stage: Any, epochs: int) -> Any:
        seen.append((learned, learned_labels, judged, epochs))
        return np.zeros((_DIM, n), np.float32), np.zeros(n, np.float32), 7

    monkeypatch.setattr(softmax_head, "fit_head", fit)
    _train(trainer, embedded)
    (learned, learned_labels, (judged, judged_labels), _), (every, every_label, nothing, epochs) = seen
    owner = _owners(embedded)
    originals = {row.tobytes() for row in embedded.originals}
    learned_items = [owner[row.tobytes()] for row in learned]
    judged_items = [owner[row.tobytes()] for row in judged.astype(np.float16)]
    assert not set(learned_items) & set(judged_items)
    assert set(learned_items) | set(judged_items) == set(range(33))
    assert len(learned) + 3 * len(judged) == 33 * 9
    assert {row.tobytes() for row in judged} <= originals
    column = {"a": 0, "b": 1, "c": 2}
    assert learned_labels.tolist() == [column[embedded.items[n].category] for n in learned_items]
    assert judged_labels.tolist() == [column[embedded.items[n].category] for n in judged_items]
    assert 2 not in judged_labels
    # Then all is learned, for as many epochs.
    assert (nothing, epochs) == (None, 7)
    assert len(every) == 33 * 9
    assert every_label.tolist() == [column[embedded.items[owner[row.tobytes()]].category] for row in every]


def test_the_head_that_is_served_has_learned_all_and_is_as_sure_as_held_out_items_found(trainer: Any) -> None:
    embedded = _clusters({"a": 60, "b": 60, "c": 60}, spread=1.2)
    held_out = HeldOut.of(embedded, 0)
    with SilentReporter().stage("train") as stage:
        heads, _ = trainer.train_classifier(embedded, held_out, 0, stage)
    assert heads.refitted.temperature == heads.validated.temperature
    assert heads.refitted.own_probabilities.tobytes() == heads.validated.own_probabilities.tobytes()
    assert held_out.log_loss(heads.refitted) < held_out.log_loss(heads.validated)
    unseen = _clusters({"a": 400, "b": 400, "c": 400}, spread=1.2)
    right = [(one.probabilities(unseen.originals).argmax(1) == _truth(unseen, one)).mean() for one in
             (heads.validated, heads.refitted)]  # fmt: skip
    assert right[1] > right[0] - 0.005


def test_of_very_many_images_a_balanced_sample_is_learned(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten images of two views each, of three categories, of which one has few."""
    monkeypatch.setattr(training_set, "_MAX_VIEWS", 21)
    embedded = _clusters({"a": 90, "b": 2, "c": 40})
    training = TrainingSet.of(embedded, ~HeldOut.of(embedded, 0).items, 0, None)
    learned, labels = training.views, training.labels
    assert learned.shape == (20, _DIM)
    assert np.bincount(labels).tolist() == [8, 4, 8]  # each of b, and as many of a as of c
    owner = _owners(embedded)
    items = [owner[row.tobytes()] for row in learned]
    assert items[::2] == items[1::2]  # every view of an image
    assert labels.tolist() == [["a", "b", "c"].index(embedded.items[n].category) for n in items]
    assert not held_out_items(embedded.items, 0)[items].any()
    assert training.is_sample
    # Then the held-out ones would only take others' places.
    with SilentReporter().stage("train") as stage:
        heads, _ = trainer.train_classifier(embedded, HeldOut.of(embedded, 0), 0, stage)
    assert heads.refitted is heads.validated


def _queries(embeddings: np.ndarray, categories: str) -> LabelledQueries:
    return LabelledQueries(unit_rows(embeddings), tuple(categories), "digest")


def test_a_query_from_feedback_counts_as_much_as_an_image() -> None:
    embedded = _clusters({"a": 20, "b": 12}, images=2, copies=2)
    items = ~HeldOut.of(embedded, 0).items
    queries = _queries(np.random.default_rng(1).normal(size=(3, _DIM)), "bab")
    training_sets = [TrainingSet.of(embedded, items, 0, told) for told in (None, queries)]
    (plain, plain_labels), (learned, labels) = ((one.views, one.labels) for one in training_sets)
    np.testing.assert_array_equal(learned[: len(plain)], plain)
    np.testing.assert_array_equal(labels[: len(plain)], plain_labels)
    np.testing.assert_array_equal(learned[len(plain) :], np.repeat(queries.embeddings.astype(np.float16), 3, axis=0))
    assert labels[len(plain) :].tolist() == [1, 1, 1, 0, 0, 0, 1, 1, 1]


def test_of_very_many_images_and_queries_a_balanced_sample_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten of two views each: every image and query of b, and as many of a, wherever they come from."""
    monkeypatch.setattr(training_set, "_MAX_VIEWS", 21)
    monkeypatch.setattr(training_set, "_CHUNK_IMAGES", 2)
    embedded = _clusters({"a": 90, "b": 2})
    queries = _queries(np.random.default_rng(1).normal(size=(40, _DIM)), "a" * 37 + "bbb")
    training = TrainingSet.of(embedded, ~HeldOut.of(embedded, 0).items, 0, queries)
    learned, labels = training.views, training.labels
    assert learned.shape == (20, _DIM)
    assert np.bincount(labels).tolist() == [10, 10]
    owner = _owners(embedded)
    rows = {row.astype(np.float16).tobytes(): place for place, row in enumerate(queries.embeddings)}
    for row, label in zip(learned, labels, strict=True):
        if row.tobytes() in rows:
            assert label == "ab".index(queries.categories[rows[row.tobytes()]])
        else:
            assert label == "ab".index(embedded.items[owner[row.tobytes()]].category)
    found = {rows[row.tobytes()] for row in learned if row.tobytes() in rows}
    assert found >= {37, 38, 39}
    assert found & set(range(37))


def test_corrections_change_what_queries_like_them_are_taken_for(trainer: Any) -> None:
    """A category's customers send photos that look otherwise than its catalogue, and rather like another's."""
    embedded = _clusters({"a": 40, "b": 40, "c": 40})
    centres = {
        category: embedded.originals[[item.category == category for item in embedded.items]].mean(axis=0)
        for category in "abc"
    }
    random = np.random.default_rng(7)
    aside = unit_rows(random.normal(size=(1, _DIM)))[0]
    centre = 0.2 * centres["a"] + 0.8 * centres["b"] + 0.5 * aside
    sent = unit_rows(centre + 0.03 * random.normal(size=(120, _DIM)))
    told, later = _queries(sent[:20], "a" * 20), sent[20:]

    before, _ = _train(trainer, embedded)
    held_out = HeldOut.of(embedded, 0)
    with SilentReporter().stage("train") as stage:
        heads, _ = trainer.train_classifier(embedded, held_out, 0, stage, told)
    after = heads.validated
    taken_for_a = [(one.probabilities(later).argmax(axis=1) == 0).mean() for one in (before, after)]
    assert taken_for_a[0] < 0.1
    assert taken_for_a[1] > 0.9
    assert held_out.category_accuracy(after) >= held_out.category_accuracy(before) - 0.06  # one of 18


def test_class_weights_count_feedback(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    given: list[dict[int, float]] = []
    fit = keras.Model.fit

    def watch(self: Any, *arguments: Any, class_weight: dict[int, float], **options: Any) -> Any:
        given.append(class_weight)
        return fit(self, *arguments, class_weight=class_weight, **options)

    monkeypatch.setattr(keras.Model, "fit", watch)
    embedded = _clusters({"a": 3, "b": 3}, copies=0)
    queries = _queries(np.random.default_rng(1).normal(size=(4, _DIM)), "bbbb")
    with SilentReporter().stage("train") as stage:
        trainer.train_classifier(embedded, HeldOut.of(embedded, 0), 0, stage, queries)
    assert given == [{0: pytest.approx(10 / 2 / 3), 1: pytest.approx(10 / 2 / 7)}]


def test_a_single_category_needs_no_training(trainer: Any) -> None:
    embedded = _clusters({"a": 5})
    classifier, epochs = _train(trainer, embedded)
    assert (classifier.categories, classifier.temperature, epochs) == (("a",), 1.0, 0)
    np.testing.assert_array_equal(classifier.probabilities(embedded.originals), np.ones((5, 1)))


def test_too_few_items_to_hold_any_out_still_train(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "_EPOCHS_WITHOUT_HELD_OUT", 9)
    embedded = _clusters({"a": 1, "b": 3, "c": 2}, spread=0.05)
    classifier, epochs = _train(trainer, embedded)
    assert (classifier.temperature, epochs) == (1.0, 9)
    found = classifier.probabilities(embedded.originals).argmax(axis=1)
    assert (found == _truth(embedded, classifier)).all()


def test_class_weights_help_a_rare_category(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two categories that overlap, a hundred to one: unweighted, nothing would ever be called the rare one."""
    import keras

    monkeypatch.setattr(trainer, "_LDA_SHARES", (0.0,))
    embedded = _clusters({"a": 300, "b": 3}, copies=0, spread=2.0)
    weighted, _ = _train(trainer, embedded)
    fit = keras.Model.fit
    given: list[dict[int, float]] = []

    def without(self: Any, *arguments: Any, class_weight: dict[int, float], **options: Any) -> Any:
        given.append(class_weight)
        return fit(self, *arguments, **options)

    monkeypatch.setattr(keras.Model, "fit", without)
    plain, _ = _train(trainer, embedded)
    rare = _truth(embedded, weighted) == 1
    # Without the held-out items, then with them.
    assert given == [{0: pytest.approx(n / 2 / (n - 3)), 1: pytest.approx(n / 2 / 3)} for n in (258, 303)]
    shares = [one.probabilities(embedded.originals)[rare, 1].mean() for one in (weighted, plain)]
    assert shares[0] > 0.5 > shares[1]


def _once(fit: Any) -> Any:
    fitted: list[Any] = []

    def fit_once(*arguments: Any) -> Any:
        fitted.extend([] if fitted else [fit(*arguments)])
        return fitted[0]

    return fit_once


def test_held_out_items_choose_how_much_of_the_discriminant_analysis_is_added(
    trainer: Any, softmax_head: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = _clusters({"a": 40, "b": 40, "c": 40}, spread=1.5)
    held_out = HeldOut.of(embedded, 0)
    monkeypatch.setattr(softmax_head, "fit_head", _once(softmax_head.fit_head))  # it would be the same each time
    heads = {}
    for weights in ((0.0,), (0.1,), (0.2,), (0.3,), (0.0, 0.1, 0.2, 0.3)):
        monkeypatch.setattr(trainer, "_LDA_SHARES", weights)
        heads[weights], _ = _train(trainer, embedded)
    *single, chosen = heads.values()
    losses = [held_out.log_loss(head) for head in single]
    assert len(set(losses)) == 4
    np.testing.assert_array_equal(chosen.weights, single[int(np.argmin(losses))].weights)
    # Each tenth adds the same to weights and bias.
    steps = np.diff([np.vstack([head.weights, head.bias]) for head in single], axis=0)
    np.testing.assert_allclose(steps[1], steps[0], atol=1e-4 * np.abs(single[0].weights).max())


def test_folding_the_standardisation_changes_no_logit(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    monkeypatch.setattr(trainer, "_LDA_SHARES", (0.0,))
    embedded = _clusters({"a": 12, "b": 14, "c": 13})
    heads: list[Any] = []
    fit = keras.Model.fit

    def watch(self: Any, inputs: Any, *arguments: Any, **options: Any) -> Any:
        if options["validation_data"] is not None:  # all items are learned afterwards
            heads.append((self, inputs, options["validation_data"][0]))
        return fit(self, inputs, *arguments, **options)

    monkeypatch.setattr(keras.Model, "fit", watch)
    classifier, _ = _train(trainer, embedded)
    ((head, inputs, judged_inputs),) = heads
    learned = np.concatenate([np.asarray(views) for views, _ in inputs])
    standardised = np.asarray(head.layers[0](learned))
    assert np.abs(standardised.mean(axis=0)).max() < 1e-3
    np.testing.assert_allclose(standardised.std(axis=0), 0.3, rtol=1e-3)
    held = held_out_items(embedded.items, 0)  # an image an item
    assert len(learned) == 2 * (~held).sum()
    wanted = np.asarray(head(learned, training=False))
    assert np.ptp(wanted) > 1
    np.testing.assert_allclose(classifier.logits(learned), wanted, atol=1e-4)
    wanted = np.asarray(head(judged_inputs, training=False))
    np.testing.assert_allclose(classifier.logits(embedded.originals[held]), wanted, atol=1e-4)


def test_what_never_varies_in_the_catalogue_does_not_decide_over_a_query(trainer: Any) -> None:
    """In a small catalogue some of the base's 1,280 features are always 0; in a query they need not be."""
    embedded = _clusters({"a": 20, "b": 20})
    views = np.concatenate([embedded.views, np.zeros((*embedded.views.shape[:2], 4), np.float32)], axis=2)
    padded = replace(embedded, views=views)
    classifier, _ = _train(trainer, padded)
    queries = padded.originals.copy()
    before = classifier.logits(queries)
    queries[:, _DIM:] = 0.02
    assert np.abs(classifier.logits(queries) - before).max() < np.ptp(before)


def test_the_stage_hears_of_every_epoch(trainer: Any) -> None:
    done: list[int] = []

    class Stage:
        def advance(self) -> None:
            done.append(1)

    embedded = _clusters({"a": 8, "b": 8})
    _, epochs = trainer.train_classifier(embedded, HeldOut.of(embedded, 0), 0, Stage())
    assert len(done) == 2 * epochs  # the second time with the held-out items
