"""The stage that learns from a catalogue's words: the projection of embeddings, and the encoder of texts.

1. Choose the columns that describe items.
2. Keep what the published snapshot has learned while at most `MAX_CHANGED_SHARE` of the items say something else.
3. Else learn: sum the normal equations, choose the projection's strength by cross-validation over groups, fit it once
   with all images and once without each fold, and fit the text encoder.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from indexer.console.progress import Reporter
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.snapshots.published import PublishedSnapshot
from indexer.words.described import AUTO, DescribedColumns, described_columns, described_text
from indexer.words.fit_projection import Choice, choose_strength, fit_projection
from indexer.words.fit_text_encoder import fit_text_encoder
from indexer.words.learned import LearnedWords
from indexer.words.normal_equations import LearnedImages, sums_by_fold
from indexer.words.text_matrix import count_matrix, inverse_document_frequency, tf_idf

MAX_CHANGED_SHARE = 0.05
MIN_IMAGES = 60
MAX_DIM = 4096
_MAX_IMAGES = 200_000
_N_DIGITS = 4


def learn_words(
    published: PublishedSnapshot | None,
    embedded: EmbeddedCatalogue,
    folds: NDArray[np.int64],
    groups: NDArray[np.int64],
    requested: str,
    reporter: Reporter,
    *,
    seed: int,
    retrain: bool = False,
) -> LearnedWords | None:
    """Learn from the words, or keep what the published snapshot has learned; None without words or enough images.

    Args:
        published: the snapshot that is being replaced.
        embedded: the catalogue, with base embeddings.
        folds: `(n_images,)` int64: the evaluated fold of each image, from 0; -1 for images that are never evaluated.
        groups: `(n_images,)` int64: the same number for images that are not independent.
        requested: the option `--words`.
        reporter: receives progress, and the reason to learn.
        seed: of the sample of very many images.
        retrain: learn in any case.

    Raises:
        SettingsError: `requested` names a column that does not exist.
    """
    columns = described_columns(embedded.items, requested)
    if columns is None:
        return None
    if objection := _objection(embedded, requested):
        reporter.say(f"nothing is learned from the words: {objection}")
        return None
    keys = word_keys(embedded, columns)
    kept = None if published is None else LearnedWords.published(published)
    n_folds = int(folds.max()) + 1
    reason = _reason_to_learn(published, kept, embedded, columns, keys, requested, retrain)
    if reason is None and kept is not None:
        return kept
    reporter.say(f"the words of {', '.join(columns.all)} are learned: {reason}")
    with reporter.stage("learn words"):
        learned = _learn(embedded, columns, folds, groups, keys, n_folds, seed, requested)
    reporter.say(_sentence(learned))
    return learned


def _objection(embedded: EmbeddedCatalogue, requested: str) -> str | None:
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
    published: PublishedSnapshot | None,
    kept: LearnedWords | None,
    embedded: EmbeddedCatalogue,
    columns: DescribedColumns,
    keys: NDArray[np.uint64],
    requested: str,
    retrain: bool,
) -> str | None:
    """The reason why what was learned no longer fits; None if it does."""
    if retrain:
        return "requested by --retrain"
    if published is None or kept is None:
        return "none have been yet"
    if published.manifest.recipe != embedded.recipe:
        return "the recipe of the embeddings has changed"
    if requested != AUTO and kept.columns != columns:
        return "--words names other columns"
    if requested == AUTO and kept.figures.get("requested") != AUTO:
        return "--words named the columns before"
    changed = kept.n_changed(keys)
    if changed > MAX_CHANGED_SHARE * len(keys):
        return f"{changed} of {len(keys)} items changed since they were learned, more than {MAX_CHANGED_SHARE:.0%}"
    return None


def _learn(
    embedded: EmbeddedCatalogue,
    columns: DescribedColumns,
    folds: NDArray[np.int64],
    groups: NDArray[np.int64],
    keys: NDArray[np.uint64],
    n_folds: int,
    seed: int,
    requested: str,
) -> LearnedWords:
    chosen = _sample(len(embedded.digests), seed)
    counts = count_matrix(_texts(embedded, chosen, columns.all))
    idf = inverse_document_frequency(counts)
    images = LearnedImages(embedded.views, chosen, folds[chosen], tf_idf(counts, idf))
    total, of_folds = sums_by_fold(images, n_folds)
    choice = choose_strength(images, total, of_folds, groups[chosen])
    is_better = choice.strength > 0
    projection = fit_projection(total, choice) if is_better else None
    fold_projections = tuple(fit_projection(total - sums, choice) for sums in of_folds) if is_better else ()
    counts = count_matrix(_texts(embedded, chosen, columns.short))
    idf = inverse_document_frequency(counts)
    encoder = fit_text_encoder(LearnedImages(embedded.views, chosen, folds[chosen], tf_idf(counts, idf)), idf)
    figures = {
        "requested": AUTO if requested == AUTO else ",".join(columns.all),
        "columns": list(columns.all),
        "short_columns": list(columns.short),
        "images": len(chosen),
        **_rounded(choice),
    }
    return LearnedWords(columns, projection, fold_projections, encoder, keys, figures)


def _sample(n_images: int, seed: int) -> NDArray[np.int64]:
    if n_images <= _MAX_IMAGES:
        return np.arange(n_images)
    return np.sort(np.random.default_rng(seed).permutation(n_images)[:_MAX_IMAGES])


def _texts(embedded: EmbeddedCatalogue, images: NDArray[np.int64], columns: Sequence[str]) -> Iterator[str]:
    """Yield what is said of each image's item; images of an item are adjacent."""
    last, text = -1, ""
    for number in embedded.image_items[images].tolist():
        if number != last:
            last, text = number, described_text(embedded.items[number], columns)
        yield text


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
