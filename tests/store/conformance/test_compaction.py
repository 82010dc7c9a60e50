"""Compaction: what is below it is gone, what is above it is whole."""

from __future__ import annotations

import pytest

from store import Compacted, FutureRevision, Get, Put, Store, Txn
from tests.store.support import (
    USER,
    as_state,
    brief,
    events_until,
    fold,
    nothing_comes,
    receive_until,
)

ALL = "\0"


async def fill(store: Store) -> None:
    """Revisions 2 to 9 of a and b, with a deletion at 5."""
    for n, key in enumerate("aab", start=2):
        await store.put(key, n, origin=USER)
    await store.delete("a", origin=USER)
    for n, key in enumerate("bcca", start=6):
        await store.put(key, n, origin=USER)


async def test_reads_below_are_compacted_and_reads_above_are_right(store: Store) -> None:
    """At every point: below it Compacted, from it on exactly the fold of all that happened."""
    await fill(store)
    events = list(store.history())
    for point in range(2, 10):
        await store.compact(point)
        assert store.compacted == point
        for revision in range(1, point):
            with pytest.raises(Compacted) as caught:
                await store.range(ALL, range_end=ALL, revision=revision)
            assert (revision, point) == (caught.value.revision, caught.value.compacted)
        for revision in range(point, 10):
            result = await store.range(ALL, range_end=ALL, revision=revision)
            assert fold(events, revision) == as_state(result.kvs)


async def test_compacting_twice_or_ahead_is_refused(store: Store) -> None:
    """Compacted for what is done already, FutureRevision for what has not happened."""
    await fill(store)
    await store.compact(5)
    for revision in (5, 4):
        with pytest.raises(Compacted):
            await store.compact(revision)
    with pytest.raises(FutureRevision):
        await store.compact(10)

    assert (5, 9) == (store.compacted, store.head)


async def test_the_head_can_be_compacted_to(store: Store) -> None:
    """The state stays, the books go on."""
    await fill(store)
    await store.compact(9)
    await store.put("a", 10, origin=USER)

    kv = (await store.range("a")).kvs[0]
    assert (2, 9, 10) == (kv.version, kv.create_revision, kv.mod_revision)


async def test_transactions_read_the_past_under_the_same_rule(store: Store) -> None:
    """A read inside a transaction that is compacted undoes the transaction."""
    await fill(store)
    await store.compact(5)
    with pytest.raises(Compacted):
        await store.txn(Txn(success=(Put("new", 1), Get("a", revision=4))), origin=USER)

    assert store.head == 9


async def test_a_watch_from_below_ends_with_compacted(store: Store) -> None:
    """It is told the oldest revision it could begin at."""
    await fill(store)
    await store.compact(5)
    async with store.watch("a", start_revision=4) as watch:
        with pytest.raises(Compacted) as caught:
            await watch.receive()

    assert (4, 5) == (caught.value.revision, caught.value.compacted)


async def test_a_watch_from_the_compacted_revision_sees_its_deletion(store: Store) -> None:
    """A deletion at the very revision is not lost (etcd's issue 19179)."""
    await fill(store)
    await store.compact(5)
    async with store.watch("a", start_revision=5) as watch:
        events = await events_until(watch, 9)

    assert brief(events) == [("DELETE", "a", None, 5), ("PUT", "a", 9, 9)]


async def test_a_synced_watch_survives_a_compaction(store: Store) -> None:
    """What was offered to it is its own, even if it has not taken it yet."""
    async with store.watch(ALL, range_end=ALL) as watch:
        await fill(store)
        await store.compact(9)
        events = await events_until(watch, 9)
        assert await nothing_comes(watch)

    assert [event.revision for event in events] == list(range(2, 10))


@pytest.mark.parametrize(("point", "expected"), [(7, [None, 7, None]), (8, [None, None])])
async def test_prev_kv_of_what_is_compacted_is_absent(
    store: Store, point: int, expected: list[object]
) -> None:
    """The state before the compacted revision cannot be told, even where the log would know; later ones can."""
    await fill(store)
    await store.compact(point)
    async with store.watch(ALL, range_end=ALL, start_revision=point, prev_kv=True) as watch:
        batches = await receive_until(watch, 9)

    assert expected == [kv and kv.value for batch in batches for kv in batch.previous]
    events = [event for batch in batches for event in batch.events]
    assert [0, 7, 0][-len(events) :] == [event.previous for event in events]


async def test_the_digest_does_not_depend_on_compaction(store: Store) -> None:
    """It is over all that ever happened."""
    await fill(store)
    before = store.digest
    await store.compact(9)

    assert before == store.digest
    await store.put("z", 1, origin=USER)
    assert before != store.digest
