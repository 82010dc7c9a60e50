"""Range reads: every option of etcd's, at the head and at any revision that is kept."""

from __future__ import annotations

import pytest

from store import (
    ALL_KEYS,
    FROM_KEY,
    FutureRevision,
    InvalidRequest,
    Put,
    SortTarget,
    Store,
    Txn,
    prefix_end,
)
from tests.store.support import USER, as_state, fold, keys, pairs

ALL, END = ALL_KEYS


async def fill(store: Store) -> None:
    """a: 2 versions, b: 1, c: 3, d: deleted; mod revisions b < a < c."""
    for key, value in (
        ("a", "q"),
        ("c", "z"),
        ("b", "m"),
        ("c", "y"),
        ("d", 1),
        ("a", "p"),
        ("c", "n"),
    ):
        await store.put(key, value, origin=USER)
    await store.delete("d", origin=USER)


@pytest.mark.parametrize(
    ("key", "range_end", "expected"),
    [
        ("a", None, ["a"]),
        ("absent", None, []),
        ("p/", prefix_end("p/"), ["p/1", "p/2"]),
        ("a", "p/2", ["a", "p", "p/1"]),
        ("p/1", FROM_KEY, ["p/1", "p/2", "p0", "\u00e9", "\U0001f600"]),
        (ALL, END, ["a", "p", "p/1", "p/2", "p0", "\u00e9", "\U0001f600"]),
        ("b", "b", []),
        ("z", "a", []),
    ],
)
async def test_the_forms_of_a_range(
    store: Store, key: str, range_end: str | None, expected: list[str]
) -> None:
    """One key, a prefix, an interval, from a key on, all keys; an inverted range is empty."""
    names = ["p0", "p/2", "\U0001f600", "a", "p", "\u00e9", "p/1"]
    await store.txn(Txn(success=tuple(Put(name, name) for name in names)), origin=USER)
    result = await store.range(key, range_end=range_end)

    assert expected == keys(result.kvs)
    assert (len(expected), False, 2) == (result.count, result.more, result.revision)


async def test_an_empty_key_is_refused(store: Store) -> None:
    """All keys are asked for as such; and no revision makes it right."""
    for revision in (0, 99):
        with pytest.raises(InvalidRequest):
            await store.range("", revision=revision)


async def test_limit_more_and_count(store: Store) -> None:
    """The limit cuts the answer and says so; the count is that of the whole range."""
    await fill(store)
    two = await store.range(ALL, range_end=END, limit=2)
    three = await store.range(ALL, range_end=END, limit=3)

    assert (["a", "b"], True, 3) == (keys(two.kvs), two.more, two.count)
    assert (["a", "b", "c"], False, 3) == (keys(three.kvs), three.more, three.count)


async def test_keys_only_and_count_only(store: Store) -> None:
    """Values, or everything, can be left out."""
    await fill(store)
    names = await store.range(ALL, range_end=END, keys_only=True)
    count = await store.range(ALL, range_end=END, count_only=True)
    old = await store.range(ALL, range_end=END, count_only=True, revision=2)

    assert pairs(names.kvs) == [("a", None), ("b", None), ("c", None)]
    assert [2, 1, 3] == [kv.version for kv in names.kvs]
    assert ((), 3, False) == (count.kvs, count.count, count.more)
    assert ((), 1) == (old.kvs, old.count)


@pytest.mark.parametrize(
    ("sort_by", "expected"),
    [
        (SortTarget.KEY, ["a", "b", "c"]),
        (SortTarget.VERSION, ["b", "a", "c"]),
        (SortTarget.CREATE, ["a", "c", "b"]),
        (SortTarget.MOD, ["b", "a", "c"]),
        (SortTarget.VALUE, ["b", "c", "a"]),
    ],
)
async def test_sorting(store: Store, sort_by: SortTarget, expected: list[str]) -> None:
    """By each target, both ways, and the limit counts in that order."""
    await fill(store)
    up = await store.range(ALL, range_end=END, sort_by=sort_by)
    down = await store.range(ALL, range_end=END, sort_by=sort_by, descending=True)
    first = await store.range(ALL, range_end=END, sort_by=sort_by, descending=True, limit=1)

    assert expected == keys(up.kvs)
    assert expected[::-1] == keys(down.kvs)
    assert (expected[-1:], True, 3) == (keys(first.kvs), first.more, first.count)


async def test_equals_stay_in_the_order_of_keys(store: Store) -> None:
    """Both ways, keys that the sort does not tell apart are in their own order."""
    await store.txn(Txn(success=tuple(Put(key, 0) for key in "cab")), origin=USER)
    for descending in (False, True):
        result = await store.range(
            ALL, range_end=END, sort_by=SortTarget.MOD, descending=descending
        )
        assert keys(result.kvs) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"min_mod_revision": 7}, ["a", "c"]),
        ({"max_mod_revision": 7}, ["a", "b"]),
        ({"min_mod_revision": 7, "max_mod_revision": 7}, ["a"]),
        ({"min_create_revision": 3}, ["b", "c"]),
        ({"max_create_revision": 3}, ["a", "c"]),
        ({"min_create_revision": 5}, []),
    ],
)
async def test_bounds_on_revisions(
    store: Store, bounds: dict[str, int], expected: list[str]
) -> None:
    """They leave keys out, before the limit and after the count."""
    await fill(store)
    whole = await store.range(ALL, range_end=END, **bounds)  # type: ignore[arg-type]
    one = await store.range(ALL, range_end=END, limit=1, **bounds)  # type: ignore[arg-type]

    assert (expected, 3, False) == (keys(whole.kvs), whole.count, whole.more)
    assert (expected[:1], 3, len(expected) > 1) == (keys(one.kvs), one.count, one.more)


async def test_any_kept_revision_can_be_read(store: Store) -> None:
    """A read at R is the fold of the events up to R, whatever has happened since."""
    await fill(store)
    events = list(store.history())
    for revision in range(1, store.head + 1):
        result = await store.range(ALL, range_end=END, revision=revision)
        assert fold(events, revision) == as_state(result.kvs)
        assert result.revision == store.head
        one = await store.range("c", revision=revision)
        assert [kv for kv in result.kvs if kv.key == "c"] == list(one.kvs)


async def test_a_past_range_has_limit_and_count_as_well(store: Store) -> None:
    """The options mean the same in the past."""
    await fill(store)
    result = await store.range(ALL, range_end=END, revision=6, limit=2)

    assert (["a", "b"], True, 4) == (keys(result.kvs), result.more, result.count)


async def test_the_future_cannot_be_read(store: Store) -> None:
    """FutureRevision names what was asked and what there is."""
    await fill(store)
    with pytest.raises(FutureRevision) as caught:
        await store.range("a", revision=10)

    assert (10, 9) == (caught.value.revision, caught.value.head)


async def test_history_is_what_happened(store: Store) -> None:
    """All events, or those of some revisions, both ends included."""
    await fill(store)
    everything = list(store.history())

    assert [event.revision for event in everything] == list(range(2, 10))
    assert everything == list(store.history(1))
    assert everything[2:5] == list(store.history(4, 6))
    assert list(store.history(10)) == []
