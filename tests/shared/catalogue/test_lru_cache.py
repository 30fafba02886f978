"""A memory of the last few results."""

from shared.catalogue.lru_cache import LruCache


def test_the_one_not_used_for_longest_is_forgotten() -> None:
    memory: LruCache[str, int] = LruCache(2)
    assert memory.get("a") is None
    memory.put("a", 1)
    memory.put("b", 2)
    assert memory.get("a") == 1
    assert "b" in memory
    memory.put("c", 3)
    assert "b" not in memory
    assert (memory.get("a"), memory.get("b"), memory.get("c")) == (1, None, 3)
