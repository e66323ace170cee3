"""The cache's bounds and its order."""

from twisted.internet.task import Clock

from mailgw.net.dns_cache import CACHE_ENTRIES, CACHE_OCTETS, ENTRY_OCTETS, Cache


def test_entries_live_until_their_time() -> None:
    clock = Clock()
    cache: Cache[str] = Cache(clock.seconds)
    cache.keep("a", "1", 10, 0)
    cache.keep("b", "2", 0, 0)
    cache.keep("c", "3", -1, 0)
    clock.advance(9.9)
    assert [cache.get(key) for key in "abcd"] == ["1", None, None, None]
    clock.advance(0.1)
    assert cache.get("a") is None
    assert (len(cache), cache.size_octets) == (0, 0)


def test_what_is_not_asked_for_goes_first() -> None:
    cache: Cache[int] = Cache(Clock().seconds, entries=3)
    for key in range(3):
        cache.keep(key, key, 10, 0)
    assert cache.get(0) == 0
    cache.keep(3, 3, 10, 0)
    assert [cache.get(key) for key in range(4)] == [0, None, 2, 3]
    cache.keep(2, 22, 10, 0)
    assert (cache.get(2), len(cache)) == (22, 3)


def test_octets_are_bounded() -> None:
    cache: Cache[int] = Cache(Clock().seconds, octets=3 * ENTRY_OCTETS + 100)
    for key in range(3):
        cache.keep(key, key, 10, 0)
    cache.keep(2, 2, 10, 100)
    assert (len(cache), cache.size_octets) == (3, 3 * ENTRY_OCTETS + 100)
    cache.keep(2, 2, 10, 101)
    assert [cache.get(key) for key in range(3)] == [None, 1, 2]
    cache.keep(1, 1, 10, 2 * ENTRY_OCTETS + 101)
    assert [cache.get(key) for key in range(3)] == [None, None, 2], "too large for the whole cache: not kept"
    cache.keep(3, 3, 10, 2 * ENTRY_OCTETS + 100)
    assert [cache.get(key) for key in range(4)] == [None, None, None, 3]
    assert cache.size_octets == 3 * ENTRY_OCTETS + 100


def test_the_bounds() -> None:
    cache: Cache[int] = Cache(Clock().seconds)
    for key in range(CACHE_ENTRIES + 1):
        cache.keep(key, key, 10, 0)
    assert (len(cache), cache.get(0), cache.get(1)) == (CACHE_ENTRIES, None, 1)
    assert CACHE_OCTETS > CACHE_ENTRIES * ENTRY_OCTETS
