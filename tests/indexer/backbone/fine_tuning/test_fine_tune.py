"""Most of these tune a tiny base that is cut where EfficientNet-Lite0 is; the real networks are tried at the end.

They begin with a head that NumPy fits: Keras takes longer to begin with one than all the tuning does. Where it matters
what is learned, and with a real network, the head is fitted as it is in a build.
"""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from indexer.backbone.fine_tuning import plan
from indexer.classifier.lda import lda_head
from indexer.console.progress import SilentReporter
from shared.errors import BrokenImage
from shared.model.embedder import LiteRtEmbedder
from shared.model.golden import golden_image
from shared.vectors import Vectors

pytestmark = pytest.mark.tensorflow

_SIDE_PX = 128  # the smallest is the quickest
_HUES = np.array([(200, 60, 60), (60, 200, 60), (60, 60, 200), (190, 190, 50), (50, 190, 190)])


@pytest.fixture(scope="module")
def tuning() -> Any:
    from indexer.backbone.fine_tuning import fine_tune

    return fine_tune


@pytest.fixture(scope="module")
def tuner() -> Any:
    from indexer.backbone.fine_tuning import trainer as tuner

    return tuner


def _quick_head(learned: Vectors, labels: NDArray[np.int64], _: Any, n_categories: int, *__: Any) -> Any:
    return (*lda_head(learned, labels, n_categories), 1)


@pytest.fixture(autouse=True)
def _quick(request: pytest.FixtureRequest, tuning: Any, tuner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from indexer.classifier import softmax_head

    monkeypatch.setattr(plan, "_MAX_EPOCHS", 3)
    monkeypatch.setattr(plan, "_MAX_COPIES", 1)
    monkeypatch.setattr(softmax_head, "MAX_EPOCHS", 2)
    if request.function not in (test_tuning_learns, test_lite0_is_tuned):
        monkeypatch.setattr(tuner, "fit_head", _quick_head)


def _tiny_base() -> Any:
    """`(n, 128, 128, 3)` → `(n, 8)`, with the layers that tails have: both kinds of convolution and a shortcut."""
    import keras
    from keras import layers

    from indexer.backbone.load import Backbone

    keras.utils.clear_session()  # or the layers' names, which count on within a process, get into the exported bytes
    keras.utils.set_random_seed(4)
    images = layers.Input((_SIDE_PX, _SIDE_PX, 3))
    x = layers.Rescaling(1 / 128, offset=-1)(images)
    x = layers.AveragePooling2D(16)(x)
    x = layers.Conv2D(6, 3, padding="same", use_bias=False, name="stem")(x)
    x = cut = layers.BatchNormalization(name="blocks.8._bn2")(x)
    x = layers.Conv2D(6, 1, use_bias=False, name="expand")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(name="bn0")(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(name="bn1")(x))
    x = layers.Add()([x, cut])
    x = layers.Conv2D(8, 1, name="with_bias")(x)
    x = layers.GlobalAveragePooling2D()(layers.ReLU(6.0)(x))
    return Backbone("efficientnet_lite0", "none", keras.Model(images, x))


def _pictures(labels: NDArray[np.int64]) -> list[Any]:
    """Plain pictures in a hue of their category's, each a little different."""
    from indexer.backbone.fine_tuning.trunk import Picture

    random = np.random.default_rng(0)
    shade = random.normal(0, 12, (len(labels), 1, 1, 3)) + _HUES[labels % len(_HUES)][:, np.newaxis, np.newaxis]
    noise = random.normal(0, 8, (len(labels), _SIDE_PX, _SIDE_PX, 1))
    pixels = np.clip(shade + noise, 0, 255).astype(np.uint8)
    return [Picture(one, number.to_bytes(32, "big")) for number, one in enumerate(pixels)]


def _labels(categories: int, each: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """`each` pictures of every category, the first of which is held out."""
    labels = np.repeat(np.arange(categories), each)
    return labels, np.arange(len(labels)) % each == 0


def _tune(
    tuning: Any,
    base: Any,
    labels: NDArray[np.int64],
    held: NDArray[np.bool_],
    *,
    seed: int = 0,
    resume: Path | None = None,
    say: Callable[[str], None] = print,
    stage: Any = None,
    texts: csr_array | None = None,
) -> Any:
    groups = np.arange(len(labels))
    with SilentReporter().stage("tune") as silent:
        return tuning.fine_tune(
            base, _pictures(labels), labels, held, groups, seed, stage or silent, resume, say, texts
        )


def _force(tuner: Any, monkeypatch: pytest.MonkeyPatch, frozen: int, tuned: int) -> None:
    """Say that of the held-out pictures so many are right."""
    found = iter([frozen, tuned])
    monkeypatch.setattr(
        tuner.TailTrainer, "correct", lambda self: np.arange(len(self._run.features.held_out)) < next(found)
    )


def _weights(base: Any) -> bytes:
    return b"".join(array.tobytes() for array in base.model.get_weights())


class _Counter:
    """A stage that counts, and may end all with a kill."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.count = 0
        self._kill_at = kill_at

    def advance(self) -> None:
        self.count += 1
        if self.count == self._kill_at:
            raise KeyboardInterrupt


def test_a_tuned_base_differs_in_the_tail_alone_and_is_exported_as_before(
    tuning: Any, tuner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _force(tuner, monkeypatch, 0, 2)
    base = _tiny_base()
    before = {variable.path: variable.numpy() for variable in base.model.variables}
    (labels, held), stage = _labels(3, 8), _Counter()
    found = _tune(tuning, base, labels, held, stage=stage)
    assert stage.count == plan.tuning_steps(labels, held, 0) == 24 + 3 * 21
    assert found.figures.improved
    assert (found.figures.frozen_accuracy, found.figures.tuned_accuracy) == (0, pytest.approx(2 / 3))
    assert (found.figures.learned, found.figures.held_out, found.figures.epochs) == (21, 3, 3)
    assert found.figures.reason == ""
    assert found.figures.seconds > 0
    assert (found.head.weights.shape, found.head.bias.shape) == ((8, 3), (3,))
    assert found.head.labels.tolist() == [0, 1, 2]
    changed = {name for name, value in before.items() if not np.array_equal(value, _variable(base, name))}
    assert changed == {"expand/kernel", "depthwise/kernel", "with_bias/kernel", "with_bias/bias"}
    embedder = LiteRtEmbedder(found.model)
    reference = np.asarray(base.model(golden_image(_SIDE_PX).astype(np.float32)))[0]
    assert embedder.embed(golden_image(_SIDE_PX))[0] @ reference / np.linalg.norm(reference) > 0.9999


def _variable(base: Any, path: str) -> Any:
    return next(variable for variable in base.model.variables if variable.path == path).numpy()


def test_a_base_that_tuning_does_not_help_stays_as_it_was(
    tuning: Any, tuner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from indexer.backbone.export import export_embedder

    _force(tuner, monkeypatch, 1, 2)
    base = _tiny_base()
    before = _weights(base)
    found = _tune(tuning, base, *_labels(3, 8))
    assert not found.figures.improved
    assert found.head is None
    assert _weights(base) == before
    assert found.model == export_embedder(base.model)
    assert found.figures.reason == "held-out category accuracy is 0.3333 frozen, 0.6667 tuned"


@pytest.mark.parametrize(
    ("won", "lost", "better"), [(0, 0, False), (1, 0, False), (2, 0, True), (3, 1, False), (5, 1, True), (1, 5, False)]
)
def test_better_is_what_chance_would_hardly_give(tuning: Any, won: int, lost: int, better: bool) -> None:
    tuned = np.array([True] * won + [False] * lost + [True, False])
    frozen = np.array([False] * won + [True] * lost + [True, False])
    assert tuning.clearly_better(tuned, frozen, np.arange(len(tuned))) is better


def test_pictures_of_one_group_are_no_more_evidence_than_one(tuning: Any) -> None:
    tuned, frozen = np.array([True] * 6 + [False] * 2), np.array([False] * 6 + [True] * 2)
    assert tuning.clearly_better(tuned, frozen, np.array([0, 1, 2, 3, 4, 5, 6, 7])) is True  # 4 > sqrt(8)
    assert tuning.clearly_better(tuned, frozen, np.array([0, 0, 0, 0, 0, 0, 6, 6])) is False  # 4 < sqrt(36 + 4)
    assert tuning.clearly_better(tuned, frozen, np.array([0, 0, 0, 1, 1, 1, 6, 6])) is False  # 4 < sqrt(9 + 9 + 4)


class _WithBroken(list[Any]):
    """Some of the pictures can't be read."""

    broken: frozenset[int] = frozenset()

    def __getitem__(self, place: Any) -> Any:
        if place in self.broken:
            raise BrokenImage(f"{place} is broken")
        return super().__getitem__(place)


def test_pictures_that_cannot_be_read_are_left_out(tuning: Any, tuner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of category 1 nothing is left to learn, so that its held-out picture is not judged either."""
    labels, held = _labels(4, 8)
    pictures = _WithBroken(_pictures(labels))
    pictures.broken = frozenset({3, 24, *range(9, 16)})
    _force(tuner, monkeypatch, 0, 8)
    stage = _Counter()
    found = tuning.fine_tune(_tiny_base(), pictures, labels, held, np.arange(len(labels)), 0, stage)
    assert (found.figures.learned, found.figures.held_out) == (28 - 1 - 7, 4 - 1 - 1)
    assert found.head.labels.tolist() == [0, 2, 3]
    assert found.head.weights.shape == (8, 3)
    pictures.broken = frozenset(range(8, 32))
    found = tuning.fine_tune(_tiny_base(), pictures, labels, held, np.arange(len(labels)), 0, _Counter())
    assert found.figures.reason == "too few of the pictures can be read"


def test_without_room_for_the_features_nothing_is_begun(
    tuning: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A disk that is full by half: the file would grow, but its pages could not be written."""
    from indexer.backbone.fine_tuning import trunk

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trunk.os, "posix_fallocate", full)
    stage = _Counter()
    with pytest.raises(OSError, match="No space left"):
        _tune(tuning, _tiny_base(), *_labels(3, 8), resume=tmp_path / "tuning", stage=stage)
    assert stage.count == 0
    assert list(tmp_path.iterdir()) == []


def test_tuning_learns(tuning: Any, tuner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_MAX_EPOCHS", 40)
    monkeypatch.setattr(tuner, "_LEARNING_RATE", 0.02)
    monkeypatch.setattr(tuner, "_DROPOUT", 0.0)
    found = _tune(tuning, _tiny_base(), *_labels(5, 10))
    assert found.figures.improved
    assert found.figures.tuned_accuracy >= found.figures.frozen_accuracy + 0.2


def _killed_then_resumed(
    tuning: Any, tuner: Any, monkeypatch: pytest.MonkeyPatch, path: Path, damage: Callable[[Path], None]
) -> tuple[bytes, list[int], list[str]]:
    """Kill tuning in its last epoch, do `damage`, tune again.

    Returns:
        The model, the epochs that the second run trained, and what it said.
    """
    labels, held = _labels(3, 8)
    with pytest.raises(KeyboardInterrupt):
        _tune(tuning, _tiny_base(), labels, held, resume=path, stage=_Counter(kill_at=24 + 21 + 21 + 1))
    damage(path)
    trained: list[int] = []
    original = tuner.TailTrainer._train_epoch
    with monkeypatch.context() as patched:
        patched.setattr(
            tuner.TailTrainer,
            "_train_epoch",
            lambda self, epoch, stage: (trained.append(epoch), original(self, epoch, stage)),
        )
        _force(tuner, patched, 0, 8)
        said: list[str] = []
        found = _tune(tuning, _tiny_base(), labels, held, resume=path, say=said.append)
    assert list(path.parent.iterdir()) == []
    return found.model, trained, said


def test_after_a_kill_it_goes_on_and_comes_to_the_same_and_with_another_seed_to_another(
    tuning: Any, tuner: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "tuning"
    model, trained, said = _killed_then_resumed(tuning, tuner, monkeypatch, path, lambda _: None)
    assert trained == [2]
    assert said == ["fine-tuning: epoch 3 of 3, about 0 min left"]
    anew, trained, said = _killed_then_resumed(
        tuning, tuner, monkeypatch, path, lambda path: path.write_bytes(path.read_bytes()[:-100]) and None
    )
    assert trained == [0, 1, 2]
    assert said[0] == f"fine-tuning starts again: its checkpoint {path} is damaged"
    assert [line.split(",")[0] for line in said[1:]] == [f"fine-tuning: epoch {epoch} of 3" for epoch in (1, 2, 3)]
    assert model == anew
    _force(tuner, monkeypatch, 0, 8)
    assert model != _tune(tuning, _tiny_base(), *_labels(3, 8), seed=1).model


def _texts(hues: NDArray[np.int64]) -> csr_array:
    return csr_array(np.eye(len(_HUES), dtype=np.float32)[hues])


def test_words_tell_apart_what_is_of_one_category(
    tuning: Any, tuner: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two categories of hues that each have two names: with these as words, embeddings of one name come nearer."""
    monkeypatch.setattr(plan, "_MAX_EPOCHS", 30)
    monkeypatch.setattr(tuner.word_head, "_WEIGHT", 10.0)  # in so few steps
    monkeypatch.setattr(tuner, "_LEARNING_RATE", 0.02)
    hues, held = _labels(4, 10)
    pictures, labels = _pictures(hues), hues // 2

    def margin(texts: csr_array | None) -> float:
        """The mean cosine of pictures of one hue, above that of pictures of the category's other one."""
        _force(tuner, monkeypatch, 0, 4)
        with SilentReporter().stage("tune") as stage:
            found = tuning.fine_tune(_tiny_base(), pictures, labels, held, np.arange(len(hues)), 0, stage, texts=texts)
        embeddings = LiteRtEmbedder(found.model).embed(np.stack([picture.pixels for picture in pictures]))
        cosines = embeddings @ embeddings.T
        same, other = hues[:, np.newaxis] == hues, labels[:, np.newaxis] == labels
        assert found.figures.words == (texts is not None)
        return float(cosines[same].mean() - cosines[other & ~same].mean())

    assert margin(_texts(hues[~held])) > 1.3 * margin(None)


def test_words_of_pictures_that_cannot_be_read_are_left_out(
    tuning: Any, tuner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, held = _labels(3, 8)
    pictures = _WithBroken(_pictures(labels))
    pictures.broken = frozenset({3})
    learned: list[NDArray[np.float32]] = []
    original = tuner.WordHead
    monkeypatch.setattr(tuner, "WordHead", lambda *of: (learned.append(of[1].toarray()), original(*of))[1])
    texts = csr_array(np.eye(21, dtype=np.float32))
    tuning.fine_tune(_tiny_base(), pictures, labels, held, np.arange(len(labels)), 0, _Counter(), texts=texts)
    np.testing.assert_array_equal(learned[0], np.delete(np.eye(21), 2, axis=0))  # picture 0 is held out


def test_other_words_do_not_go_on_from_a_checkpoint(tuning: Any, tmp_path: Path) -> None:
    labels, held = _labels(3, 8)
    path, said = tmp_path / "tuning", list[str]()
    with pytest.raises(KeyboardInterrupt):
        _tune(tuning, _tiny_base(), labels, held, resume=path, stage=_Counter(kill_at=60), texts=_texts(labels[~held]))
    others = _texts((labels[~held] + 1) % 3)
    with pytest.raises(KeyboardInterrupt):  # it has said so by then
        _tune(
            tuning, _tiny_base(), labels, held, resume=path, say=said.append, stage=_Counter(kill_at=25), texts=others
        )
    assert said[0] == f"fine-tuning starts again: its checkpoint {path} belongs to other pictures or settings"


def test_other_labels_do_not_go_on_from_a_checkpoint(tuning: Any, tmp_path: Path) -> None:
    labels, held = _labels(3, 8)
    path, said = tmp_path / "tuning", list[str]()
    with pytest.raises(KeyboardInterrupt):
        _tune(tuning, _tiny_base(), labels, held, resume=path, stage=_Counter(kill_at=60))
    others = labels[::-1].copy(), held[::-1].copy()
    with pytest.raises(KeyboardInterrupt):  # it has said so by then
        _tune(tuning, _tiny_base(), *others, resume=path, say=said.append, stage=_Counter(kill_at=25))
    assert said[0] == f"fine-tuning starts again: its checkpoint {path} belongs to other pictures or settings"


@pytest.mark.parametrize(
    ("categories", "each", "held_out", "reason"),
    [(1, 5, True, "there is only one category"), (3, 2, False, "too few pictures to hold any out")],
)
def test_where_nothing_can_be_tuned_the_base_is_exported_as_it_is(
    tuning: Any, categories: int, each: int, held_out: bool, reason: str
) -> None:
    base = _tiny_base()
    before = _weights(base)
    labels, held = _labels(categories, each)
    found = _tune(tuning, base, labels, held & held_out)
    assert (found.figures.improved, found.figures.reason, found.figures.tuned_accuracy) == (False, reason, None)
    assert _weights(base) == before
    assert plan.tuning_steps(labels, held & held_out, 0) == 0
    assert LiteRtEmbedder(found.model).dim == 8


@pytest.mark.parametrize(("categories", "each"), [(2, 2), (100, 2)])
def test_few_pictures_and_many_categories(tuning: Any, categories: int, each: int) -> None:
    found = _tune(tuning, _tiny_base(), *_labels(categories, each))
    assert found.figures.learned == categories * (each - 1)
    assert 0 <= found.figures.tuned_accuracy <= 1


def test_lite0_is_tuned(tuning: Any, tuner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from indexer.backbone.load import load_backbone

    monkeypatch.setattr(plan, "_MAX_EPOCHS", 1)
    _force(tuner, monkeypatch, 0, 8)
    base = load_backbone("efficientnet_lite0", None, print, _SIDE_PX)
    before = {variable.path: variable.numpy() for variable in base.model.variables}
    found = _tune(tuning, base, *_labels(2, 6))
    changed = {name for name, value in before.items() if not np.array_equal(value, _variable(base, name))}
    tuned_blocks = {name.split(".")[1] for name in changed if name.startswith("blocks")}
    assert tuned_blocks == {str(number) for number in range(9, 16)}
    assert not any("bn" in name for name in changed)
    embedder = LiteRtEmbedder(found.model)
    assert (embedder.dim, embedder.side_px) == (1280, _SIDE_PX)


def test_in_both_networks_the_parts_and_the_folded_tail_give_what_the_whole_gives() -> None:
    import keras

    from indexer.backbone.fine_tuning.trunk import foldable_tail, split_backbone
    from indexer.backbone.load import Backbone, load_backbone

    b0 = keras.applications.EfficientNetB0(weights=None, include_top=False, pooling="avg")
    random = np.random.default_rng(3)
    for layer in b0.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.set_weights([random.uniform(0.8, 1.2, shape) for _ in range(2)] + layer.get_weights()[2:])
    for base in (Backbone("efficientnet_b0", "none", b0), load_backbone("efficientnet_lite0", None, print, _SIDE_PX)):
        trunk, tail = split_backbone(base)
        pictures = golden_image(_SIDE_PX).astype(np.float32)
        whole = np.asarray(base.model(pictures, training=False))
        features = trunk(pictures, training=False)
        assert features.shape == (1, _SIDE_PX // 16, _SIDE_PX // 16, 112)
        assert np.abs(np.asarray(tail(features, training=False)) - whole).max() < 1e-5 * np.abs(whole).max()
        folded = foldable_tail(tail)
        assert np.abs(np.asarray(folded(features, training=False)) - whole).max() < 1e-4 * np.abs(whole).max()
        assert sum(layer.name.endswith(".scaled") for layer in folded.layers) == 22
