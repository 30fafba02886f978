"""Search against scikit-learn's cosine similarity, items that collapse, file names, and files."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from shared.errors import SnapshotError
from shared.index.category_search import Hit, best_hits, search_partitions
from shared.index.partition import Partition
from shared.index.partition_files import partition_file, rows_file
from shared.index.stored_vectors import StoredVectors
from shared.vectors import Vectors, unit_rows

_DIM = 48
_TOLERANCE = 1e-5


def _vectors(n: int, seed: int) -> Vectors:
    """Unit rows around a few centres, so that some are near each other as real embeddings are."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(5, _DIM))
    return unit_rows(centres[random.integers(5, size=n)] + random.normal(0, 0.6, size=(n, _DIM)))


def _item_numbers(n_rows: int, kind: str) -> np.ndarray:
    """`one`: a row an item. `several`: one to six rows each, mixed. `lopsided`: one item has most of the rows."""
    random = np.random.default_rng(7)
    if kind == "one":
        return np.arange(n_rows, dtype=np.int64) + 100
    if kind == "several":
        return random.permutation(np.arange(n_rows, dtype=np.int64) // random.integers(1, 7)) * 3
    return np.where(np.arange(n_rows) < n_rows - 30, 5, np.arange(n_rows)).astype(np.int64)


def _best_by_item(embeddings: Vectors, item_numbers: np.ndarray, query: Vectors) -> dict[int, float]:
    """Item → its best cosine, by scikit-learn."""
    scores = cosine_similarity(embeddings.astype(np.float64), query[np.newaxis].astype(np.float64))[:, 0]
    return {number: float(scores[item_numbers == number].max()) for number in np.unique(item_numbers).tolist()}


def _assert_exact(found: list[Hit], exact: dict[int, float], top_k: int) -> None:
    """The right scores in the right order, and no item better than the last was missed; ties may stand either way."""
    expected = sorted(exact.values(), reverse=True)[:top_k]
    np.testing.assert_allclose([hit.score for hit in found], expected, atol=_TOLERANCE)
    np.testing.assert_allclose([hit.score for hit in found], [exact[hit.item_number] for hit in found], atol=_TOLERANCE)
    assert len({hit.item_number for hit in found}) == len(found)
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)


# Search


@pytest.mark.parametrize("kind", ["one", "several", "lopsided"])
@pytest.mark.parametrize("top_k", [1, 10, 75])
@pytest.mark.parametrize("together", [False, True])
def test_search_equals_scikit_learn(kind: str, top_k: int, together: bool) -> None:
    embeddings, queries = _vectors(600, seed=1), _vectors(40, seed=2)
    item_numbers = _item_numbers(600, kind)
    partition = Partition.build("shoes", embeddings, item_numbers)
    if together:
        found = partition.search(queries, top_k)
    else:
        found = [partition.search(query[np.newaxis], top_k)[0] for query in queries]
    for hits, query in zip(found, queries, strict=True):
        _assert_exact(hits, _best_by_item(embeddings, item_numbers, query), top_k)


def test_an_item_with_many_near_rows_does_not_crowd_the_others_out() -> None:
    query = _vectors(1, seed=3)
    near = unit_rows(query + np.random.default_rng(4).normal(0, 0.001, size=(500, _DIM)))
    embeddings = np.concatenate([near, _vectors(2000, seed=5)])
    item_numbers = np.array([0] * 500 + list(range(1, 2001)), dtype=np.int64)
    (found,) = Partition.build("shoes", embeddings, item_numbers).search(query, 10)
    assert found[0].item_number == 0
    _assert_exact(found, _best_by_item(embeddings, item_numbers, query[0]), 10)
    assert len(found) == 10


def test_four_threads_at_once_get_the_same_hits(tmp_path: Path) -> None:
    Partition.build("shoes", _vectors(2000, seed=1), _item_numbers(2000, "several")).write(tmp_path)
    partition = Partition.open("shoes", tmp_path)
    queries = _vectors(50, seed=2)
    expected = [partition.search(query[np.newaxis], 10)[0] for query in queries]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda query: partition.search(query[np.newaxis], 10)[0], np.tile(queries, (4, 1))))
    assert found == expected * 4


@pytest.mark.parametrize("top_k", [3, 4, 1000])
def test_fewer_items_than_wanted_give_all_of_them(top_k: int) -> None:
    embeddings = _vectors(7, seed=1)
    item_numbers = np.array([1, 1, 9, 9, 9, 2, 1], dtype=np.int64)
    (found,) = Partition.build("shoes", embeddings, item_numbers).search(_vectors(1, seed=2), top_k)
    assert {hit.item_number for hit in found} == {1, 2, 9}
    assert len(found) == 3


def test_a_partition_of_one_row() -> None:
    embeddings = _vectors(1, seed=1)
    (found,) = Partition.build("shoes", embeddings, np.array([4], dtype=np.int64)).search(embeddings, 10)
    assert found == [Hit(4, pytest.approx(1, abs=_TOLERANCE))]


def test_no_queries_have_no_hits() -> None:
    partition = Partition.build("shoes", _vectors(9, seed=1), _item_numbers(9, "one"))
    assert partition.search(_vectors(1, seed=2)[:0], 10) == []


def test_a_score_is_never_more_than_1() -> None:
    embeddings = _vectors(400, seed=1)
    assert (embeddings @ embeddings.T).max() > 1  # or this test shows nothing
    found = Partition.build("shoes", embeddings, _item_numbers(400, "one")).search(embeddings, 1)
    assert max(hits[0].score for hits in found) == 1


@pytest.mark.parametrize("queries", [1, 30])
def test_copies_of_a_picture_stand_in_the_order_of_their_items(queries: int) -> None:
    """A third of a shop's pictures are copies: the hits among them must not change from search to search."""
    embeddings = np.concatenate([_vectors(20, seed=1), np.tile(_vectors(1, seed=2), (200, 1))])
    partition = Partition.build("shoes", embeddings, _item_numbers(220, "one"))
    for hits in partition.search(np.tile(embeddings[-1:], (queries, 1)), 10):
        assert [hit.item_number for hit in hits] == list(range(120, 130))


@pytest.mark.parametrize("top_k", [1, 9, 10, 99, 100, 150, 220])
def test_more_hits_begin_with_the_same_hits(top_k: int) -> None:
    """Or pages would overlap: also among copies, and where each item has several of them."""
    copies = np.tile(_vectors(1, seed=2), (300, 1))
    embeddings = np.concatenate([_vectors(40, seed=1), copies])
    item_numbers = np.concatenate([np.arange(40), np.random.default_rng(0).permutation(300) // 2 + 20])
    partition = Partition.build("shoes", embeddings, item_numbers)
    for query in (copies[:1], _vectors(1, seed=3)):
        (everything,) = partition.search(query, 1000)
        assert partition.search(query, top_k) == [everything[:top_k]]


@pytest.mark.parametrize("kind", ["one", "several", "lopsided"])
@pytest.mark.parametrize("share", [0.0, 0.003, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("top_k", [1, 10, 1000])
def test_a_filtered_search_is_the_search_of_all_without_the_others(kind: str, share: float, top_k: int) -> None:
    embeddings, queries = _vectors(600, seed=1), _vectors(5, seed=2)
    item_numbers = _item_numbers(600, kind)
    partition = Partition.build("shoes", embeddings, item_numbers)
    allowed = np.random.default_rng(3).random(item_numbers.max() + 1) < share
    everything = partition.search(queries, 1000)
    expected = [[hit for hit in hits if allowed[hit.item_number]][:top_k] for hits in everything]
    assert partition.search(queries, top_k, allowed) == expected  # the scores have the same bits


def test_searches_with_different_filters_at_once_do_not_meet() -> None:
    embeddings, queries = _vectors(2000, seed=1), _vectors(50, seed=2)
    partition = Partition.build("shoes", embeddings, _item_numbers(2000, "several"))
    shares = np.random.default_rng(3).random(partition.item_numbers().max() + 1)

    def hits_of(number: int) -> list[Hit]:
        allowed = None if number % 5 == 0 else shares < number % 5 / 5
        return partition.search(queries[number % 50][np.newaxis], 10, allowed)[0]

    expected = [hits_of(number) for number in range(200)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(hits_of, range(200))) == expected


def test_search_changes_neither_queries_nor_embeddings() -> None:
    embeddings, queries = _vectors(100, seed=1), _vectors(5, seed=2)
    before = embeddings.copy(), queries.copy()
    Partition.build("shoes", embeddings, _item_numbers(100, "several")).search(queries, 10)
    np.testing.assert_array_equal(embeddings, before[0])
    np.testing.assert_array_equal(queries, before[1])


def test_embeddings_by_row() -> None:
    embeddings = _vectors(30, seed=1)
    partition = Partition.build("shoes", embeddings, _item_numbers(30, "one"))
    np.testing.assert_array_equal(partition.embeddings([7, 0, 29, 7]), embeddings[[7, 0, 29, 7]])
    assert partition.embeddings([]).shape == (0, _DIM)


def test_counts() -> None:
    item_numbers = np.array([3, 3, 8, 1], dtype=np.int64)
    partition = Partition.build("shoes", _vectors(4, seed=1), item_numbers)
    assert (partition.n_rows, partition.n_items, partition.dim, partition.category) == (4, 3, _DIM, "shoes")
    np.testing.assert_array_equal(partition.item_numbers(), item_numbers)


# Several partitions, several pictures


def test_several_partitions_and_pictures_equal_one_search_over_all() -> None:
    embeddings, item_numbers, pictures = _vectors(283, seed=1), np.arange(283, dtype=np.int64) // 2, _vectors(3, seed=9)
    slices = [slice(0, 200), slice(200, 202), slice(202, 283)]
    partitions = [Partition.build(str(part), embeddings[part], item_numbers[part]) for part in slices]
    by_picture = [_best_by_item(embeddings, item_numbers, picture) for picture in pictures]
    exact = {number: max(best[number] for best in by_picture) for number in by_picture[0]}
    _assert_exact(search_partitions(partitions, pictures, 10), exact, 10)


def test_no_partitions_have_no_hits() -> None:
    assert search_partitions([], _vectors(1, seed=1), 10) == []


def test_best_hits_keep_each_items_best_and_break_ties_by_number() -> None:
    hits = [Hit(5, 0.5), Hit(2, 0.9), Hit(5, 0.7), Hit(1, 0.7), Hit(2, 0.1), Hit(9, -0.3)]
    assert best_hits(hits) == [Hit(2, 0.9), Hit(1, 0.7), Hit(5, 0.7), Hit(9, -0.3)]
    assert best_hits([]) == []


# What is rejected


def test_another_metric_is_rejected() -> None:
    index = faiss.IndexFlatL2(_DIM)
    with pytest.raises(SnapshotError, match="the partition 'shoes' has the FAISS metric 1; expected 0, inner product"):
        Partition("shoes", StoredVectors(index), np.empty(0, dtype=np.int64))


@pytest.mark.parametrize("shape", [(3,), (5,), (4, 1), ()])
def test_item_numbers_that_do_not_fit_are_rejected(shape: tuple[int, ...]) -> None:
    with pytest.raises(SnapshotError, match="'shoes' has item numbers of shape") as caught:
        Partition.build("shoes", _vectors(4, seed=1), np.zeros(shape, dtype=np.int64))
    assert str(shape) in str(caught.value)


# Files

_NAMES = [
    "shoes",
    "Shoes",
    "SHOES",
    "t-shirt",
    "t_shirt",
    "t shirt",
    "t/shirt",
    "t\\shirt",
    "..",
    ".",
    "...",
    "../shoes",
    "/etc/passwd",
    "~",
    "-shoes",
    "shoes-",
    "--",
    "👟",
    "👠",
    "👟👟",
    "鞋",
    "靴",
    "\u00e9tui",
    "e\u0301tui",
    "ÉTUI",
    "Straße",
    "STRASSE",
    "a:b",
    "a*b?",
    "*",
    "%2e%2e",
    "shoes.faiss",
    "shoes.rows",
    "x" * 500,
    "x" * 499 + "y",
    "x" * 60,
    "x" * 61,
    "👟" * 500,
]


def _names_and_their_files_names() -> list[str]:
    """Categories, and others that are called as the first ones' files are: even these must not meet."""
    return [*_NAMES, *(partition_file(name).removesuffix(".faiss") for name in _NAMES[1:])]


def test_file_names_are_distinct_even_where_case_does_not_count() -> None:
    names = list(dict.fromkeys(_names_and_their_files_names()))
    files = [file(name).lower() for name in names for file in (partition_file, rows_file)]
    assert len(names) > 50
    assert len(set(files)) == len(files)


@pytest.mark.parametrize("name", _NAMES)
def test_file_names_are_plain_and_stay_in_their_directory(name: str, tmp_path: Path) -> None:
    for file in (partition_file(name), rows_file(name)):
        assert file.isascii()
        assert file.isprintable()
        assert len(file) < 100
        assert not set(file) & set('/\\:*?"<>| ')
        assert file[0] not in ".-~"
        assert (tmp_path / file).resolve().parent == tmp_path.resolve()


def test_file_names_do_not_change() -> None:
    """A published snapshot is found by them."""
    assert partition_file("t-shirt") == "t-shirt.faiss"
    assert rows_file("t-shirt") == "t-shirt.rows.npy"
    assert partition_file("Shoes") == "shoes.b5efa9ec3f5f.faiss"


def test_all_names_side_by_side_make_the_round_trip(tmp_path: Path) -> None:
    for seed, name in enumerate(_NAMES):
        Partition.build(name, _vectors(seed + 1, seed), np.arange(seed + 1, dtype=np.int64) * 2).write(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2 * len(_NAMES)
    for seed, name in enumerate(_NAMES):
        again = Partition.open(name, tmp_path)
        assert again.category == name
        np.testing.assert_array_equal(again.item_numbers(), np.arange(seed + 1) * 2)
        np.testing.assert_array_equal(again.embeddings(range(seed + 1)), _vectors(seed + 1, seed))


def test_an_opened_partition_finds_the_same(tmp_path: Path) -> None:
    built = Partition.build("shoes", _vectors(300, seed=1), _item_numbers(300, "several"))
    built.write(tmp_path)
    queries = _vectors(10, seed=2)
    opened = Partition.open("shoes", tmp_path)
    assert opened.search(queries, 10) == built.search(queries, 10)
    assert (opened.n_rows, opened.n_items, opened.dim) == (built.n_rows, built.n_items, built.dim)


@pytest.mark.parametrize("file", ["shoes.faiss", "shoes.rows.npy"])
@pytest.mark.parametrize("content", [None, b"", b"garbage" * 50])
def test_missing_or_other_files_are_rejected(tmp_path: Path, file: str, content: bytes | None) -> None:
    Partition.build("shoes", _vectors(4, seed=1), _item_numbers(4, "one")).write(tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(SnapshotError, match=r"the partition .*shoes\.faiss can't be read"):
        Partition.open("shoes", tmp_path)


def test_truncated_item_numbers_are_rejected(tmp_path: Path) -> None:
    """FAISS itself may crash on a truncated index: that one is left to the checksum, see test_snapshot.py."""
    Partition.build("shoes", _vectors(4, seed=1), _item_numbers(4, "one")).write(tmp_path)
    whole = (tmp_path / "shoes.rows.npy").read_bytes()
    for length in range(0, len(whole), 13):
        (tmp_path / "shoes.rows.npy").write_bytes(whole[:length])
        with pytest.raises(SnapshotError):
            Partition.open("shoes", tmp_path)


def test_the_two_files_of_different_partitions_are_rejected(tmp_path: Path) -> None:
    Partition.build("shoes", _vectors(4, seed=1), _item_numbers(4, "one")).write(tmp_path)
    Partition.build("hats", _vectors(5, seed=1), _item_numbers(5, "one")).write(tmp_path)
    (tmp_path / rows_file("hats")).replace(tmp_path / rows_file("shoes"))
    with pytest.raises(SnapshotError, match=r"item numbers of shape \(5,\); expected \(4,\)"):
        Partition.open("shoes", tmp_path)
