"""Leases: they end when their time is up and not before, and take their keys with them in one transaction."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from store import (
    EventType,
    InvalidRequest,
    LeaseExists,
    LeaseNotFound,
    Put,
    Store,
    Txn,
)
from tests.store.support import USER, brief, events_until, keys

ALL = "\0"


async def test_grant_list_and_time_to_live(store: Store) -> None:
    """Ids are chosen or given; each lease tells its time and its keys in order."""
    first = await store.lease_grant(10)
    second = await store.lease_grant(20, id=77)
    await store.txn(Txn(success=(Put("b", 1, lease=77), Put("a", 1, lease=77))), origin=USER)

    assert (10, 10) == (first.granted_seconds, first.remaining_seconds)
    assert await store.leases() == tuple(sorted((first.id, 77)))
    status = await store.lease_time_to_live(77)
    assert (77, 20, ("a", "b")) == (status.id, status.granted_seconds, status.keys)
    assert second.id == 77
    assert (await store.range("a")).kvs[0].lease == 77


async def test_what_is_refused(store: Store) -> None:
    """A lease that exists, one that does not, times that make no sense."""
    await store.lease_grant(10, id=5)
    with pytest.raises(LeaseExists):
        await store.lease_grant(10, id=5)
    for seconds in (0, -1, 10**10):
        with pytest.raises(InvalidRequest):
            await store.lease_grant(seconds)
    for call in (
        store.lease_keep_alive(6),
        store.lease_revoke(6, origin=USER),
        store.lease_time_to_live(6),
        store.put("a", 1, lease=6, origin=USER),
    ):
        with pytest.raises(LeaseNotFound):
            await call

    assert store.head == 1


async def test_a_very_short_lease_is_granted_for_longer(store: Store) -> None:
    """As etcd does, and the answer says so."""
    assert (await store.lease_grant(1)).granted_seconds == 2


async def test_revoking_deletes_exactly_the_attached_keys_in_one_revision(store: Store) -> None:
    """In the order of keys; keys that left the lease, or belong to another, stay."""
    one, other = await store.lease_grant(60), await store.lease_grant(60)
    for key in ("d", "b", "moved", "detached", "deleted", "a"):
        await store.put(key, 1, lease=one.id, origin=USER)
    await store.put("moved", 2, lease=other.id, origin=USER)
    await store.put("detached", 2, origin=USER)
    await store.delete("deleted", origin=USER)
    await store.put("deleted", 2, origin=USER)
    await store.put("free", 1, origin=USER)
    before = store.head
    revision = await store.lease_revoke(one.id, origin=USER)

    assert revision == store.head == before + 1
    assert brief(list(store.history(revision))) == [
        ("DELETE", key, None, revision) for key in ("a", "b", "d")
    ]
    assert keys((await store.range(ALL, range_end=ALL)).kvs) == [
        "deleted",
        "detached",
        "free",
        "moved",
    ]
    assert await store.leases() == (other.id,)


async def test_revoking_a_lease_without_keys_takes_no_revision(store: Store) -> None:
    """Nothing has changed."""
    lease = await store.lease_grant(60)
    assert await store.lease_revoke(lease.id, origin=USER) == store.head == 1
    assert await store.leases() == ()


async def test_a_lease_ends_on_time_and_not_before(store: Store, autojump_clock: MockClock) -> None:
    """Its keys go in one transaction, whose actor is the store and whose cause names the lease."""
    lease = await store.lease_grant(10)
    await store.txn(
        Txn(success=(Put("b", 1, lease=lease.id), Put("a", 1, lease=lease.id))), origin=USER
    )
    await trio.sleep(9.99)
    assert (await store.range("a")).count == 1
    assert (await store.lease_time_to_live(lease.id)).remaining_seconds == 0
    await trio.sleep(0.02)

    events = list(store.history(3))
    assert brief(events) == [("DELETE", "a", None, 3), ("DELETE", "b", None, 3)]
    assert {("store", (f"timer:lease/{lease.id}",))} == {
        (event.origin.actor, event.origin.causes) for event in events
    }
    assert 10 * 10**9 <= events[0].time_ns - next(store.history()).time_ns + 10**6
    assert await store.leases() == ()


async def test_keeping_alive_gives_the_full_time_again(
    store: Store, autojump_clock: MockClock
) -> None:
    """As often as wanted."""
    lease = await store.lease_grant(10)
    await store.put("a", 1, lease=lease.id, origin=USER)
    for _ in range(5):
        await trio.sleep(9)
        assert (await store.lease_keep_alive(lease.id)).remaining_seconds == 10
    await trio.sleep(9.9)
    assert (await store.range("a")).count == 1
    await trio.sleep(0.2)
    assert (await store.range("a")).count == 0


async def test_leases_that_end_together_end_in_order(
    store: Store, autojump_clock: MockClock
) -> None:
    """Each in a transaction of its own; a shorter one granted later ends first."""
    for number in (30, 10, 20):
        await store.lease_grant(10, id=number)
        await store.put(f"k{number}", 1, lease=number, origin=USER)
    await store.lease_grant(5, id=40)
    await store.put("k40", 1, lease=40, origin=USER)
    await trio.sleep(11)

    ended = [(event.key, event.revision) for event in store.history(6)]
    assert ended == [("k40", 6), ("k10", 7), ("k20", 8), ("k30", 9)]


async def test_a_watcher_is_told_of_an_expiry(store: Store, autojump_clock: MockClock) -> None:
    """It is an event like any other."""
    lease = await store.lease_grant(10)
    async with store.watch("a") as watch:
        await store.put("a", 1, lease=lease.id, origin=USER)
        with trio.fail_after(20):
            while (await watch.receive()).events[-1].type is not EventType.DELETE:
                pass
    assert store.head == 3


async def test_a_waiting_watcher_is_woken_by_a_revocation(store: Store) -> None:
    """As by any other write."""
    lease = await store.lease_grant(60)
    await store.put("a", 1, lease=lease.id, origin=USER)
    async with store.watch("a") as watch, trio.open_nursery() as nursery:

        async def revoke() -> None:
            await trio.testing.wait_all_tasks_blocked()
            await store.lease_revoke(lease.id, origin=USER)

        nursery.start_soon(revoke)
        with trio.fail_after(5):
            assert brief((await watch.receive()).events) == [("DELETE", "a", None, 3)]


async def test_chosen_ids_are_not_chosen_again(store: Store) -> None:
    """A late keep-alive cannot prolong another's lease."""
    first = await store.lease_grant(10)
    await store.lease_revoke(first.id, origin=USER)
    second = await store.lease_grant(10)

    assert first.id != second.id


async def test_a_lease_outlives_a_compaction(store: Store) -> None:
    """Attachment is part of the state, not of history."""
    lease = await store.lease_grant(60)
    await store.put("a", 1, lease=lease.id, origin=USER)
    await store.put("b", 1, origin=USER)
    await store.compact(3)
    await store.lease_revoke(lease.id, origin=USER)

    assert keys((await store.range(ALL, range_end=ALL)).kvs) == ["b"]


async def test_a_lease_takes_any_number_of_keys(store: Store) -> None:
    """The limit on operations of a transaction is for callers."""
    lease = await store.lease_grant(60)
    for n in range(150):
        await store.put(f"k{n:03}", n, lease=lease.id, origin=USER)
    async with store.watch("k", range_end="l") as watch:
        revision = await store.lease_revoke(lease.id, origin=USER)
        events = await events_until(watch, revision)

    assert len(events) == 150
