"""The stage that learns from a catalogue's words: the projection of embeddings, and the encoder of texts.

1. Choose the columns that describe items.
2. Keep what the published snapshot has learned while at most `MAX_CHANGED_SHARE` of the items say something else.
3. Else learn: sum the normal equations, choose the projection's strength by cross-validation over groups, fit it once
   with all images and once without each fold, and fit the text encoder.
"""

import hashlib
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from indexer.classifier.held_out import HeldOut
from indexer.console.progress import Reporter
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.groups.folds import N_FOLDS, NO_FOLD
from indexer.settings import BuildSettings
from indexer.snapshots.published import PublishedSnapshot
from indexer.words.described import AUTO, DescribedColumns, described_columns, described_text
from indexer.words.fit_projection import Choice, choose_strength, fit_projection
from indexer.words.fit_text_encoder import fit_text_encoder
from indexer.words.image_texts import image_texts
from indexer.words.learned import LearnedWords
from indexer.words.normal_equations import LearnedImages, sums_by_fold
from indexer.words.text_matrix import count_matrix, inverse_document_frequency, tf_idf

MAX_CHANGED_SHARE = 0.05
MIN_IMAGES = 60
MAX_DIM = 4096
_MAX_IMAGES = 200_000
_N_DIGITS = 4


def learn_words(
    published: PublishedSnapshot | None, held_out: HeldOut, settings: BuildSettings, reporter: Reporter
) -> LearnedWords | None:
    """Learn from the words, or keep what the published snapshot has learned; None without words or enough images.

    Args:
        published: the snapshot that is being replaced.
        held_out: of the catalogue, with base embeddings; its groups and folds are computed only to learn.
        settings: of the build.
        reporter: receives progress, and the reason to learn.

    Raises:
        SettingsError: `--words` names a column that does not exist.
    """
    plan = plan_words(published, held_out.embedded, settings.words, settings.retrain, held_out.n_folds)
    if plan is None or plan.objection:
        if plan is not None:
            reporter.say(f"nothing is learned from the words: {plan.objection}")
        return None
    if plan.kept is not None:
        return plan.kept
    reporter.say(f"the words of {', '.join(plan.columns.all)} are learned: {plan.reason}")
    with reporter.stage("learn words"):
        learned = _learn(held_out, plan, settings)
    reporter.say(_sentence(learned))
    return learned


@dataclass(frozen=True)
class WordPlan:
    """The decision on learning from the words of a catalogue.

    Attributes:
        columns: that describe the items.
        keys: of the items, see `word_keys`.
        kept: what the published snapshot has learned, if it still fits.
        reason: to learn again, else empty.
        objection: to learning at all, else empty.
    """

    columns: DescribedColumns
    keys: NDArray[np.uint64]
    kept: LearnedWords | None = None
    reason: str = ""
    objection: str = ""


def plan_words(
    published: PublishedSnapshot | None,
    embedded: EmbeddedCatalogue,
    requested: str,
    retrain: bool,
    n_folds: int = 0,
) -> WordPlan | None:
    """Decide whether words are learned, without reading an embedding; None if no metadata describe the items.

    Args:
        published: the snapshot that is being replaced.
        embedded: the catalogue.
        requested: the option `--words`.
        retrain: learn in any case.
        n_folds: the number of folds that are evaluated.

    Raises:
        SettingsError: `requested` names a column that does not exist.
    """
    columns = described_columns(embedded.items, requested)
    if columns is None:
        return None
    keys = word_keys(embedded, columns)
    if objection := _objection(embedded):
        return WordPlan(columns, keys, objection=objection)
    kept = None if published is None else LearnedWords.published(published)
    plan = WordPlan(columns, keys, kept)
    reason = _reason_to_learn(published, embedded, plan, requested, retrain)
    if not reason and kept is not None and kept.projection is not None and len(kept.fold_projections) < n_folds:
        reason = f"{n_folds} folds are evaluated now, of which it has learned the images of some"
    return replace(plan, kept=None, reason=reason) if reason else plan


def _objection(embedded: EmbeddedCatalogue) -> str | None:
    n_images, dim = len(embedded.digests), embedded.views.shape[2]
    if n_images < MIN_IMAGES:
        return f"there are {n_images} images; expected at least {MIN_IMAGES}"
    if dim > MAX_DIM:
        return f"the embeddings have {dim} dimensions; expected at most {MAX_DIM}"
    return None


def word_keys(embedded: EmbeddedCatalogue, columns: DescribedColumns) -> NDArray[np.uint64]:
    """A hash of eight bytes of each item's words and images.

    Returns:
        `(n_items,)` uint64, ascending, without duplicates.
    """
    digests: list[list[bytes]] = [[] for _ in embedded.items]
    for number, digest in zip(embedded.image_items.tolist(), embedded.digests, strict=True):
        digests[number].append(digest)
    hashes = (
        hashlib.sha256(b"\0".join([described_text(item, columns.all).encode("utf-8", "surrogatepass"), *own])).digest()
        for item, own in zip(embedded.items, digests, strict=True)
    )
    return np.unique(np.frombuffer(b"".join(digest[:8] for digest in hashes), dtype=np.uint64))


def _reason_to_learn(
    published: PublishedSnapshot | None, embedded: EmbeddedCatalogue, plan: WordPlan, requested: str, retrain: bool
) -> str:
    """The reason why what was learned no longer fits; empty if it does."""
    kept = plan.kept
    if published is None or kept is None:
        return "none have been yet"
    if retrain:
        return "requested by --retrain"
    if published.manifest.recipe != embedded.recipe:
        return "the recipe of the embeddings has changed"
    if requested != AUTO and kept.columns != plan.columns:
        return "--words names other columns"
    if requested == AUTO and kept.figures.get("requested") != AUTO:
        return "--words named the columns before"
    changed = kept.n_changed(plan.keys)
    if changed > MAX_CHANGED_SHARE * len(plan.keys):
        limit = f"more than {MAX_CHANGED_SHARE:.0%}"
        return f"{changed} of {len(plan.keys)} items changed since they were learned, {limit}"
    return ""


def _learn(held_out: HeldOut, plan: WordPlan, settings: BuildSettings) -> LearnedWords:
    columns, embedded, requested = plan.columns, held_out.embedded, settings.words
    groups, folds = held_out.folds.groups.numbers, _folds(held_out)
    n_folds = int(folds.max()) + 1
    chosen = _sample(len(embedded.digests), settings.seed)
    counts = count_matrix(image_texts(embedded, chosen, columns.all))
    idf = inverse_document_frequency(counts)
    images = LearnedImages(embedded.views, chosen, folds[chosen], tf_idf(counts, idf))
    total, of_folds = sums_by_fold(images, n_folds)
    choice = choose_strength(images, total, of_folds, groups[chosen])
    is_better = choice.strength > 0
    projection = fit_projection(total, choice) if is_better else None
    fold_projections = tuple(fit_projection(total - sums, choice) for sums in of_folds) if is_better else ()
    counts = count_matrix(image_texts(embedded, chosen, columns.short))
    idf = inverse_document_frequency(counts)
    encoder = fit_text_encoder(LearnedImages(embedded.views, chosen, folds[chosen], tf_idf(counts, idf)), idf)
    figures = {
        "requested": AUTO if requested == AUTO else ",".join(columns.all),
        "columns": list(columns.all),
        "short_columns": list(columns.short),
        "images": len(chosen),
        **_rounded(choice),
    }
    return LearnedWords(columns, projection, fold_projections, encoder, plan.keys, figures)


def _folds(held_out: HeldOut) -> NDArray[np.int64]:
    """The evaluated fold of each image, -1 for the others; a single category has no folds, but groups to divide."""
    folds, n_folds = held_out.folds.numbers, held_out.n_folds
    if not n_folds:
        return np.unique(held_out.folds.groups.numbers, return_inverse=True)[1] % N_FOLDS
    return np.where(folds < n_folds, folds, NO_FOLD)


def _sample(n_images: int, seed: int) -> NDArray[np.int64]:
    if n_images <= _MAX_IMAGES:
        return np.arange(n_images)
    return np.sort(np.random.default_rng(seed).permutation(n_images)[:_MAX_IMAGES])


def _rounded(choice: Choice) -> dict[str, float]:
    return {name: round(value, _N_DIGITS) for name, value in asdict(choice).items()}


def _sentence(learned: LearnedWords) -> str:
    figures = learned.figures
    plain, projected = figures["plain"], figures["projected"]
    if learned.projection is None:
        return "the words don't bring similar images nearer beyond chance: embeddings stay as they are"
    return (
        "the words bring similar images nearer: the words of the nearest image agree by"
        f" {projected:.2f} instead of {plain:.2f} (±{figures['standard_error']:.2f}), on images that were not learned"
    )
