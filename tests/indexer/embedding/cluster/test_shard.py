import json
from pathlib import Path

import numpy as np
import pytest

from indexer.embedding.augmentation import Augmentation
from indexer.embedding.cache import EmbeddingCache
from indexer.embedding.cluster.embed_shard import embed_shard
from indexer.embedding.cluster.ray_executor import RayExecutor, import_finished_shards
from indexer.embedding.cluster.shard import DAMAGE, EmbeddedShard, Shard, cut
from indexer.embedding.embed_image import EmbeddedImage, EmbeddingConfig, embed_bytes
from indexer.files.location import FileStatus, location
from shared.images.limits import ImageLimits
from tests.support.fakes import FakeEmbedder, picture

_HOW = EmbeddingConfig(FakeEmbedder(), Augmentation(copies=1), ImageLimits(), 1)
_COLOURS = ("red", "green", "blue", "white")


@pytest.fixture(params=["path", "url"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Pictures by their colours, on the disk and in a store."""
    place = tmp_path if request.param == "path" else location(f"memory://shards/{tmp_path.name}")
    for colour in _COLOURS:
        (place / f"{colour}.png").write_bytes(picture(colour, file_format="PNG"))
    (place / "bad.png").write_bytes(b"no picture")
    return place


def _shard(root: Path, *names: str, known: dict[str, bytes] | None = None) -> Shard:
    images = tuple(f"{name}.png" for name in names)
    return Shard(str(root), tuple(range(len(names))), images, tuple((known or {}).get(name) for name in names))


def _views(root: Path, name: str) -> np.ndarray:
    from hashlib import sha256

    data = (root / f"{name}.png").read_bytes()
    return embed_bytes(data, sha256(data).digest(), name, _HOW)


def _cache(path: Path) -> EmbeddingCache:
    return EmbeddingCache(path / "cache.sqlite", _HOW.recipe, 2, print)


def test_a_worker_leaves_what_this_machine_would_have_made(root: Path, tmp_path: Path) -> None:
    path = root / "out" / "a.npz"
    assert list(embed_shard(_shard(root, "red", "bad", "gone", "blue"), _HOW, path)) == [4]
    shard = EmbeddedShard.read(path)
    red, bad, gone, blue = shard.outcomes()
    assert isinstance(red, EmbeddedImage)
    assert isinstance(blue, EmbeddedImage)
    assert (red.fresh, blue.fresh) == (True, True)
    assert bad.startswith("bad.png is not an image that can be read")
    assert gone == "gone.png can't be read: No such file or directory"
    cache = _cache(tmp_path)
    shard.put_into(cache, is_new=True)
    for name, one in (("red", red), ("blue", blue)):
        np.testing.assert_array_equal(cache.views(one.digest), _views(root, name))
    assert cache.n_put == 2
    cache.close()


def test_what_the_cache_has_is_read_but_not_embedded(root: Path, tmp_path: Path) -> None:
    from hashlib import sha256

    digests = {name: sha256((root / f"{name}.png").read_bytes()).digest() for name in _COLOURS}
    known = {"red": digests["red"], "green": digests["blue"]}
    (*_, done) = embed_shard(_shard(root, "red", "green", "blue", known=known), _HOW, root / "a.npz")
    shard = EmbeddedShard.read(root / "a.npz")
    assert done == 3
    assert [one.fresh for one in shard.outcomes()] == [False, True, True]
    assert [one.digest for one in shard.outcomes()] == [digests[name] for name in ("red", "green", "blue")]
    assert shard.views.shape == (2, 2, FakeEmbedder.dim)


def test_a_file_that_changed_just_now_is_not_remembered_by_its_time(tmp_path: Path) -> None:
    import os

    for name in ("old", "new"):
        (tmp_path / f"{name}.png").write_bytes(picture("red", file_format="PNG"))
    os.utime(tmp_path / "old.png", (1_700_000_000, 1_700_000_000))
    list(embed_shard(_shard(tmp_path, "old", "new"), _HOW, tmp_path / "a.npz"))
    cache = _cache(tmp_path)
    EmbeddedShard.read(tmp_path / "a.npz").put_into(cache, is_new=True)
    sizes = {name: (tmp_path / f"{name}.png").stat() for name in ("old", "new")}
    known = {name: cache.known_digest(str(tmp_path / f"{name}.png"), FileStatus(one.st_size, one.st_mtime_ns))
             for name, one in sizes.items()}  # fmt: skip
    assert known["old"] is not None
    assert known["new"] is None
    cache.close()


def test_the_file_is_whole_or_not_there(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def savez(file, **arrays):  # type: ignore[no-untyped-def]
        file.write(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", savez)
    with pytest.raises(OSError, match="No space left"):
        list(embed_shard(_shard(root, "red"), _HOW, root / "out" / "a.npz"))
    assert not (root / "out" / "a.npz").exists()


def test_damage_is_noticed(root: Path) -> None:
    list(embed_shard(_shard(root, "red", "blue"), _HOW, root / "a.npz"))
    whole = (root / "a.npz").read_bytes()
    place = whole.index(np.float32(_views(root, "red")[0, 0]).tobytes())
    for damaged in (whole[: len(whole) // 2], b"", whole[:place] + b"\0\0\0\x12" + whole[place + 4 :]):
        (root / "a.npz").write_bytes(damaged)
        with pytest.raises(DAMAGE):
            EmbeddedShard.read(root / "a.npz")


def test_what_a_killed_build_finished_is_taken_over_once(root: Path, tmp_path: Path) -> None:
    directory, said = root / "shards", list[str]()
    list(embed_shard(_shard(root, "red", "bad"), _HOW, directory / "a.npz"))
    list(embed_shard(_shard(root, "blue", "red"), _HOW, directory / "b.npz"))
    (directory / "c.npz").write_bytes(b"PK")
    (directory / "d.npz.0.part").write_bytes(b"PK")
    cache = _cache(tmp_path)
    assert import_finished_shards(directory, cache, said.append) == 2
    assert not [one for one in directory.iterdir() if one.is_file()]
    assert import_finished_shards(directory, cache, said.append) == 0
    assert "c.npz is damaged" in said[0]
    assert said[1:] == ["2 finished shards of an earlier build reused"]
    assert cache.n_put == 0, "this build has embedded none of it"
    assert all(cache.has(one.digest) for one in EmbeddedShard.outcomes(_made(root)) if not isinstance(one, str))
    cache.close()


def _made(root: Path) -> EmbeddedShard:
    list(embed_shard(_shard(root, "red", "blue"), _HOW, root / "again.npz"))
    return EmbeddedShard.read(root / "again.npz")


def test_shards_are_cut_in_order_and_have_names_of_their_own() -> None:
    images = [f"{number}" for number in range(7)]
    shards = list(cut("/photos", range(10, 17), images, [b"x", *[None] * 6], 3))
    assert [one.images for one in shards] == [("0", "1", "2"), ("3", "4", "5"), ("6",)]
    assert [one.positions for one in shards] == [(10, 11, 12), (13, 14, 15), (16,)]
    assert shards[0].cached == (b"x", None, None)
    assert len({one.file for one in shards}) == 3
    assert shards == list(cut("/photos", range(10, 17), images, [b"x", *[None] * 6], 3))
    assert len({one.file for one in cut("/photos", [0, 1], ["a", "a"], [None, None], 1)}) == 2


@pytest.mark.parametrize(("images", "size"), [(10, 64), (1_000, 64), (8_000, 500), (1_000_000, 10_000)])
def test_shards_are_so_small_that_every_worker_has_some(tmp_path: Path, images: int, size: int) -> None:
    from types import SimpleNamespace
    from typing import Any, cast

    tasks = [cast(Any, SimpleNamespace(image=str(number))) for number in range(images)]
    catalogue = cast(Any, SimpleNamespace(image_root=tmp_path))
    shards = RayExecutor(b"", None, tmp_path, 10_000, 0, print)._cut(
        catalogue, tasks, [None] * images, _HOW, n_workers=4
    )
    assert len(shards[0].images) == min(size, images)
    assert json.dumps([position for shard in shards for position in shard.positions]) == json.dumps(list(range(images)))
