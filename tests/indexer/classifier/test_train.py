from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from indexer.classifier import training_set
from indexer.classifier.feedback_queries import LabelledQueries
from indexer.classifier.held_out import HeldOut
from indexer.classifier.training_set import TrainingSet
from indexer.console.progress import SilentReporter
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.snapshots.classifier_heads import Heads
from shared.catalogue.items import Item
from shared.model.classifier import Classifier
from shared.vectors import unit_rows
from tests.support.builders.held_out import hold_out
from tests.support.builders.series import make_series

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
    digests = tuple(f"{n}".encode() for n in range(len(unit)))
    return EmbeddedCatalogue(items, np.repeat(np.arange(len(items)), images), digests, unit, (), len(unit))


def _trained(
    trainer: Any, held_out: HeldOut, seed: int = 0, queries: LabelledQueries | None = None, is_tuned: bool = False
) -> Any:
    with SilentReporter().stage("train") as stage:
        return trainer.train_classifier(held_out, seed, stage, queries, is_tuned)


@pytest.mark.parametrize("is_tuned", [False, True])
def test_only_on_a_tuned_base_may_the_discriminant_analysis_have_no_share(
    trainer: Any, monkeypatch: pytest.MonkeyPatch, is_tuned: bool
) -> None:
    held_out = hold_out(_clusters({"a": 40, "b": 40}))
    monkeypatch.setattr(
        trainer, "lda_heads", lambda *_: (np.zeros((7, _DIM, 2), np.float32), np.zeros((7, 2), np.float32))
    )
    plain = _trained(trainer, held_out, is_tuned=is_tuned).heads
    misled = np.array([1e3, -1e3], np.float32)
    monkeypatch.setattr(trainer, "lda_heads", lambda *_: (np.zeros((7, _DIM, 2), np.float32), np.tile(misled, (7, 1))))
    heads = _trained(trainer, held_out, is_tuned=is_tuned).heads
    assert np.array_equal(heads.served.bias, plain.served.bias) == is_tuned


def _train(trainer: Any, embedded: EmbeddedCatalogue, seed: int = 0) -> tuple[Classifier, int]:
    """The head that is served, and its epochs."""
    heads, epochs, _ = _trained(trainer, hold_out(embedded, seed), seed)
    return heads.served, epochs


def _truth(embedded: EmbeddedCatalogue, classifier: Classifier) -> np.ndarray:
    return np.array([classifier.categories.index(embedded.items[n].category) for n in embedded.image_items])


def _owners(embedded: EmbeddedCatalogue) -> dict[bytes, int]:
    """The item of each view, by the bytes that the view is learned as."""
    views = embedded.views[np.arange(len(embedded.digests))].astype(np.float16)
    return {row.tobytes(): n for n, rows in zip(embedded.image_items, views, strict=True) for row in rows}


def test_categories_that_lie_apart_are_told_apart(trainer: Any) -> None:
    embedded = _clusters({"b": 30, "a": 20, "c": 25}, images=2)
    held_out = hold_out(embedded)
    heads, epochs, claimed = _trained(trainer, held_out)
    classifier = heads.served
    assert classifier.categories == ("a", "b", "c")
    assert (classifier.weights.shape, classifier.bias.shape) == ((_DIM, 3), (3,))
    assert (classifier.weights.dtype, classifier.bias.dtype) == (np.float32, np.float32)
    found = classifier.probabilities(embedded.originals).argmax(axis=1)
    assert (found == _truth(embedded, classifier)).mean() > 0.97
    assert (held_out.n_items, held_out.n_images, len(heads.of_folds)) == (75, 150, 5)
    assert held_out.category_accuracy(heads) > 0.95
    assert 0 <= held_out.calibration_error(heads) < 0.2
    assert claimed > 0.95
    assert epochs > 1


@pytest.mark.parametrize(("items", "held"), [(4, True), (1, False)])
def test_of_very_many_categories_where_each_lies_is_enough(trainer: Any, items: int, held: bool) -> None:
    embedded = _clusters({f"c{n}": items for n in range(trainer._MAX_SOFTMAX_CATEGORIES + 200)})
    held_out = hold_out(embedded)
    heads, epochs, _ = _trained(trainer, held_out)
    assert epochs == 0
    found = heads.served.probabilities(embedded.originals).argmax(axis=1)
    assert (found == _truth(embedded, heads.served)).mean() > 0.97
    assert held_out.n_folds == len(heads.of_folds) == 1  # of so many categories
    assert (held_out.n_images > 0.15 * len(embedded.digests)) == held
    if held:
        assert held_out.category_accuracy(heads) > 0.95
        assert held_out.calibration_error(heads) < 0.2


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
    held_out, seen = hold_out(embedded), []

    def fit(views: Any, labels: Any, left_out: Any, validation: Any, n: int, *_: Any) -> Any:
        seen.append((views, labels, left_out, validation))
        n_heads = left_out.shape[1]
        zeros = np.zeros((n_heads, _DIM, n), np.float32), np.zeros((n_heads, n), np.float32)
        return softmax_head.FittedHeads(*zeros, 7)

    monkeypatch.setattr(softmax_head, "fit_heads", fit)
    _trained(trainer, held_out)
    ((views, labels, left_out, validation),) = seen
    owner = _owners(embedded)
    items = np.array([owner[row.tobytes()] for row in views])
    assert labels.tolist() == [["a", "b", "c"].index(embedded.items[n].category) for n in items]
    assert (len(views), left_out.shape) == (33 * 9, (33 * 9, 7))
    assert not left_out[:, 5].any()  # the head that is served learns all
    assert not left_out[labels == 2, :6].any()  # a single item is in no fold
    validated = np.array([owner[row.tobytes()] for row in validation.images.astype(np.float16)])
    assert {row.tobytes() for row in validation.images} <= {row.tobytes() for row in embedded.originals}
    assert sorted(validated.tolist()) == [n for n in range(33) for _ in range(3) if embedded.items[n].category != "c"]
    for head in range(5):
        assert set(items[left_out[:, head]].tolist()) == set(validated[validation.heads == head].tolist())
    assert validation.labels.tolist() == [["a", "b", "c"].index(embedded.items[n].category) for n in validated]
    random = set(items[left_out[:, 6]].tolist())
    assert len(random) == 4 + 2
    assert set(items[~left_out[:, 6]].tolist()) == set(range(33)) - random


def test_several_heads_are_as_if_each_were_trained_alone(softmax_head: Any) -> None:
    """One learns all, like a head alone; one leaves out a whole category, and finds less of it."""
    embedded = _clusters({"a": 40, "b": 40, "c": 40}, spread=1.0)
    views, labels = embedded.views.reshape(-1, _DIM), np.repeat(embedded.columns(np.arange(120), "abc"), 2)
    left_out = np.zeros((240, 3), np.bool_)
    left_out[labels == 2, 1] = True
    with SilentReporter().stage("") as stage:
        heads = softmax_head.fit_heads(views, labels, left_out, None, 3, 0, stage, 6)
        alone = softmax_head.fit_head(views, labels, None, 3, 0, stage, 6)
    np.testing.assert_allclose(heads.weights[0], alone[0], atol=2e-3 * np.abs(alone[0]).max())
    np.testing.assert_allclose(heads.weights[2], heads.weights[0], atol=1e-5)
    rows = embedded.originals[labels[::2] == 2]
    shares = [((rows @ heads.weights[head] + heads.bias[head]).argmax(axis=1) == 2).mean() for head in (0, 1)]
    assert shares[0] > shares[1] + 0.1
    # On what it has learned, it is as good as a head that was given nothing else.
    kept = labels != 2
    with SilentReporter().stage("") as stage:
        weights, bias, _ = softmax_head.fit_head(views[kept], labels[kept], None, 3, 0, stage, 6)
    logits = [(views[kept] @ w + b)[:, :2] for w, b in ((weights, bias), (heads.weights[1], heads.bias[1]))]
    margins = [one[:, 0] - one[:, 1] for one in logits]
    assert np.corrcoef(*margins)[0, 1] > 0.98


def test_the_head_of_the_best_epoch_is_taken(softmax_head: Any) -> None:
    """With labels that nothing explains, every further epoch makes the loss on others worse."""
    random = np.random.default_rng(0)
    rows, labels = unit_rows(random.normal(size=(300, _DIM))), random.integers(0, 3, size=300)
    validation = softmax_head.Validation(rows[200:], labels[200:], np.zeros(100, np.int64))
    left_out = np.zeros((200, 1), np.bool_)
    with SilentReporter().stage("") as stage:
        best = softmax_head.fit_heads(rows[:200], labels[:200], left_out, validation, 3, 0, stage)
        all_epochs = [
            softmax_head.fit_heads(rows[:200], labels[:200], left_out, None, 3, 0, stage, epochs)
            for epochs in (best.epochs, best.epochs + 4)
        ]
    losses = [softmax_head._loss(one.weights, one.bias, validation) for one in (best, *all_epochs)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0] < losses[2]


def test_in_a_catalogue_of_series_the_estimate_is_near_the_truth(trainer: Any) -> None:
    """Of other shoots; a random split claims far more, since the other photos of a shoot show the same."""
    series = make_series(n_shoots=10, shoot_spread=2.4, photo_spread=0.4)
    held_out = hold_out(series.embedded)
    heads, _, claimed = _trained(trainer, held_out)
    predicted = heads.served.probabilities(series.unseen).argmax(axis=1)
    truth = (predicted == series.unseen_columns).mean()
    estimate, margin = held_out.category_accuracy(heads), held_out.accuracy_margin(heads)
    assert truth < 0.85
    assert abs(estimate - truth) < margin < 0.2
    assert claimed > truth + 0.15


def test_the_head_that_is_served_has_learned_all_and_is_as_sure_as_held_out_images_found(trainer: Any) -> None:
    embedded = _clusters({"a": 60, "b": 60, "c": 60}, spread=1.2)
    held_out = hold_out(embedded)
    heads, _, _ = _trained(trainer, held_out)
    for head in heads.of_folds:
        assert heads.served.temperature == head.temperature
        assert heads.served.own_probabilities.tobytes() == head.own_probabilities.tobytes()
    assert held_out.log_loss(Heads(heads.served, (heads.served,) * 5)) < held_out.log_loss(heads)
    unseen = _clusters({"a": 400, "b": 400, "c": 400}, spread=1.2)
    right = [(one.probabilities(unseen.originals).argmax(1) == _truth(unseen, one)).mean() for one in
             (heads.of_folds[0], heads.served)]  # fmt: skip
    assert right[1] > right[0] - 0.005


def test_of_very_many_images_a_balanced_sample_is_learned(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten images of two views each, of three categories, of which one has few."""
    monkeypatch.setattr(training_set, "_MAX_VIEWS", 21)
    embedded = _clusters({"a": 90, "b": 2, "c": 40})
    held_out = hold_out(embedded, is_tuned=True)
    training = TrainingSet.of(held_out, 0, None)
    learned, labels = training.views, training.labels
    assert learned.shape == (20, _DIM)
    owner = _owners(embedded)
    items = [owner[row.tobytes()] for row in learned]
    assert items[::2] == items[1::2]  # every view of an image
    assert labels.tolist() == [["a", "b", "c"].index(embedded.items[n].category) for n in items]
    assert not (held_out.folds.numbers[items] == 0).any()
    counts = np.bincount(labels)
    assert counts[1] == 2 * (held_out.folds.numbers[np.array([i.category == "b" for i in embedded.items])] != 0).sum()
    assert abs(counts[0] - counts[2]) <= 2
    assert training.n_fold_heads == 0
    # Then the held-out ones would only take others' places.
    heads, _, _ = _trained(trainer, held_out)
    assert heads.is_single
    # Where all folds are evaluated, each head leaves out its own of the sample.
    training = TrainingSet.of(hold_out(embedded), 0, None)
    assert (training.n_fold_heads, training.left_out.shape) == (5, (20, 7))


def _queries(embeddings: np.ndarray, categories: str) -> LabelledQueries:
    return LabelledQueries(unit_rows(embeddings), tuple(categories), "digest")


def test_a_query_from_feedback_counts_as_much_as_an_image() -> None:
    embedded = _clusters({"a": 20, "b": 12}, images=2, copies=2)
    held_out = hold_out(embedded)
    queries = _queries(np.random.default_rng(1).normal(size=(3, _DIM)), "bab")
    training_sets = [TrainingSet.of(held_out, 0, told) for told in (None, queries)]
    (plain, plain_labels), (learned, labels) = ((one.views, one.labels) for one in training_sets)
    np.testing.assert_array_equal(learned[: len(plain)], plain)
    np.testing.assert_array_equal(labels[: len(plain)], plain_labels)
    np.testing.assert_array_equal(learned[len(plain) :], np.repeat(queries.embeddings.astype(np.float16), 3, axis=0))
    assert labels[len(plain) :].tolist() == [1, 1, 1, 0, 0, 0, 1, 1, 1]
    assert not training_sets[1].left_out[len(plain) :].any()  # all heads learn it


def test_of_very_many_images_and_queries_a_balanced_sample_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten of two views each: every image and query of b, and as many of a, wherever they come from."""
    monkeypatch.setattr(training_set, "_MAX_VIEWS", 21)
    monkeypatch.setattr(training_set, "_CHUNK_IMAGES", 2)
    embedded = _clusters({"a": 90, "b": 2})
    queries = _queries(np.random.default_rng(1).normal(size=(40, _DIM)), "a" * 37 + "bbb")
    training = TrainingSet.of(hold_out(embedded), 0, queries)
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

    held_out = hold_out(embedded)
    before, after = (_trained(trainer, held_out, queries=queries).heads for queries in (None, told))
    taken_for_a = [(one.served.probabilities(later).argmax(axis=1) == 0).mean() for one in (before, after)]
    assert taken_for_a[0] < 0.1
    assert taken_for_a[1] > 0.9
    assert held_out.category_accuracy(after) >= held_out.category_accuracy(before) - 0.06


def test_class_weights_count_feedback(softmax_head: Any) -> None:
    left_out = np.array([[False, True]] * 10)
    weights = softmax_head._weights(np.array([0] * 3 + [1] * 7), left_out, 2)
    np.testing.assert_allclose(weights[:, 0], [2 * 10 / 2 / 3] * 3 + [2 * 10 / 2 / 7] * 7, rtol=1e-6)
    assert not weights[:, 1].any()


def test_a_single_category_needs_no_training(trainer: Any) -> None:
    embedded = _clusters({"a": 5})
    classifier, epochs = _train(trainer, embedded)
    assert (classifier.categories, classifier.temperature, epochs) == (("a",), 1.0, 0)
    np.testing.assert_array_equal(classifier.probabilities(embedded.originals), np.ones((5, 1)))


def test_too_few_items_to_hold_any_out_still_train(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "_EPOCHS_WITHOUT_HELD_OUT", 9)
    embedded = _clusters({"a": 1, "b": 1, "c": 1}, spread=0.05)
    classifier, epochs = _train(trainer, embedded)
    assert (classifier.temperature, epochs) == (1.0, 9)
    found = classifier.probabilities(embedded.originals).argmax(axis=1)
    assert (found == _truth(embedded, classifier)).all()


def test_class_weights_help_a_rare_category(trainer: Any, softmax_head: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two categories that overlap, a hundred to one: unweighted, nothing would ever be called the rare one."""
    monkeypatch.setattr(trainer, "_LDA_SHARES", (0.0,))
    embedded = _clusters({"a": 300, "b": 3}, copies=0, spread=2.0)
    weighted, _ = _train(trainer, embedded)
    monkeypatch.setattr(softmax_head, "_weights", lambda _, left_out, __: np.float32(left_out.shape[1]) * ~left_out)
    plain, _ = _train(trainer, embedded)
    rare = _truth(embedded, weighted) == 1
    shares = [one.probabilities(embedded.originals)[rare, 1].mean() for one in (weighted, plain)]
    assert shares[0] > 0.5 > shares[1]


def _once(fit: Any) -> Any:
    fitted: list[Any] = []

    def fit_once(*arguments: Any) -> Any:
        fitted.extend([] if fitted else [fit(*arguments)])
        return fitted[0]

    return fit_once


def test_held_out_images_choose_how_much_of_the_discriminant_analysis_is_added(
    trainer: Any, softmax_head: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = _clusters({"a": 40, "b": 40, "c": 40}, spread=1.5)
    held_out = hold_out(embedded)
    monkeypatch.setattr(softmax_head, "fit_heads", _once(softmax_head.fit_heads))  # it would be the same each time
    heads = {}
    for weights in ((0.1,), (0.2,), (0.3,), (0.1, 0.2, 0.3)):
        monkeypatch.setattr(trainer, "_LDA_SHARES", weights)
        heads[weights] = _trained(trainer, held_out).heads
    *single, chosen = heads.values()
    losses = [held_out.log_loss(head) for head in single]
    assert len(set(losses)) == 3
    np.testing.assert_array_equal(chosen.served.weights, single[int(np.argmin(losses))].served.weights)
    # Each tenth adds the same to weights and bias, of every head.
    for head in range(5):
        one = [np.vstack([each.of_folds[head].weights, each.of_folds[head].bias]) for each in single]
        steps = np.diff(one, axis=0)
        np.testing.assert_allclose(steps[1], steps[0], atol=1e-4 * np.abs(one[0]).max())


def test_folding_the_standardisation_changes_no_logit(softmax_head: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    embedded = _clusters({"a": 12, "b": 14, "c": 13})
    views, labels = embedded.views.reshape(-1, _DIM), np.repeat(embedded.columns(np.arange(39), "abc"), 2)
    models: list[Any] = []
    fit = keras.Model.fit

    def watch(self: Any, *arguments: Any, **options: Any) -> Any:
        models.append(self)
        return fit(self, *arguments, **options)

    monkeypatch.setattr(keras.Model, "fit", watch)
    left_out = np.zeros((78, 2), np.bool_)
    left_out[::3, 1] = True
    with SilentReporter().stage("") as stage:
        heads = softmax_head.fit_heads(views, labels, left_out, None, 3, 0, stage, 5)
    (model,) = models
    standardised = np.asarray(model.layers[0](views))
    assert np.abs(standardised.mean(axis=0)).max() < 1e-3
    np.testing.assert_allclose(standardised.std(axis=0), 0.3, rtol=1e-3)
    wanted = np.asarray(model(views, training=False))
    assert np.ptp(wanted) > 1
    for head, (weights, bias) in enumerate(heads.linear()):
        np.testing.assert_allclose(views @ weights + bias, wanted[:, head], atol=1e-4)


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
    _, epochs, _ = trainer.train_classifier(hold_out(embedded), 0, Stage())
    assert epochs <= len(done) <= epochs + 5  # the best one, and those that were no better
