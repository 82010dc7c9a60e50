"""The front of a store that faults disturb: out of the way until one does, and again afterwards.

That it keeps the protocol, disturbed and not, is in tests/store/conformance.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from store import (
    CrashPoint,
    Delete,
    DisturbedStore,
    Down,
    Get,
    NoRoom,
    NoSpace,
    Origin,
    OutcomeUnknown,
    Put,
    ReadOnly,
    SlowCommits,
    StoreUnavailable,
    Txn,
    open_store,
)
from tests.store.support import CODEC

ORIGIN = Origin(actor="test")


@pytest.fixture
async def front() -> AsyncIterator[DisturbedStore]:
    async with open_store(codec=CODEC) as inner:
        yield DisturbedStore(inner)


async def test_an_undisturbed_front_is_not_in_the_way(front: DisturbedStore) -> None:
    """Its methods are the other store's own, before a disturbance and after it."""
    for _ in range(2):
        assert front.txn == front.inner.txn
        assert front.range == front.inner.range
        disturbance = NoRoom(reason="a test")
        front.disturb(disturbance)
        assert front.txn != front.inner.txn
        assert list(front.reasons) == ["a test"]
        front.recover(disturbance)
        front.recover(disturbance)
        assert list(front.reasons) == []


async def test_what_needs_room_is_refused_as_etcd_does(front: DisturbedStore) -> None:
    """A transaction with a put in either branch, nested ones included; deletes and reads go on."""
    await front.put("/a", b"1", origin=ORIGIN)
    front.disturb(NoRoom(reason="a test"))
    for txn in (
        Txn(success=(Put("/b", b"1"),)),
        Txn(success=(Get("/a"),), failure=(Txn(success=(Put("/b", b"1"),)),)),
    ):
        with pytest.raises(NoSpace):
            await front.txn(txn, origin=ORIGIN)
    with pytest.raises(NoSpace):
        await front.lease_grant(10)
    await front.txn(Txn(success=(Delete("/a"),)), origin=ORIGIN)
    assert (await front.range("/a")).kvs == ()
    assert front.inner.head == 3


async def test_two_disturbances_end_one_by_one(front: DisturbedStore) -> None:
    """What the one refuses is refused until it ends, whatever becomes of the other."""
    full, sealed = NoRoom(reason="full"), ReadOnly(reason="sealed")
    front.disturb(full)
    front.disturb(sealed)
    front.recover(full)
    with pytest.raises(NoSpace, match="read-only"):
        await front.put("/a", b"1", origin=ORIGIN)
    front.recover(sealed)
    await front.put("/a", b"1", origin=ORIGIN)


async def test_a_store_that_is_down_has_no_head(front: DisturbedStore) -> None:
    """Nor anything else, except for those who are spared."""
    spared = False
    front = DisturbedStore(front.inner, spares=lambda: spared)
    front.disturb(Down(reason="a test", error=lambda: StoreUnavailable("down")))
    with pytest.raises(StoreUnavailable):
        _ = front.head
    with pytest.raises(StoreUnavailable):
        await front.range("/a")
    spared = True
    await front.put("/a", b"1", origin=ORIGIN)
    assert front.head == 2


async def test_slow_commits_keep_their_order(
    front: DisturbedStore, autojump_clock: MockClock
) -> None:
    """A quick one waits for the slow one before it; both at once take no longer than the slower."""
    delays = [5.0, 1.0]
    front.disturb(SlowCommits(reason="a test", delay=delays.__getitem__))

    async def put(key: str) -> None:
        await front.put(key, b"1", origin=ORIGIN)

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(put, "/slow")
        await trio.sleep(0.1)
        nursery.start_soon(put, "/quick")
    assert trio.current_time() == pytest.approx(began + 5)
    order = [event.key for event in front.history()]
    assert order == ["/slow", "/quick"]


async def test_a_slow_commit_that_is_cancelled_has_not_happened(
    front: DisturbedStore, autojump_clock: MockClock
) -> None:
    """While it waits nothing is done."""
    front.disturb(SlowCommits(reason="a test", delay=lambda _: 10.0))
    with trio.move_on_after(5):
        await front.put("/a", b"1", origin=ORIGIN)
    await trio.sleep(10)
    assert front.inner.head == 1


@pytest.mark.parametrize(("before", "head"), [(True, 1), (False, 2)])
async def test_a_crash_point(front: DisturbedStore, before: bool, head: int) -> None:
    """Before, the write has not happened; after, it has, and its answer is lost."""
    front.disturb(CrashPoint(reason="a test", before=before, hit=lambda: OutcomeUnknown("crash")))
    with pytest.raises(OutcomeUnknown):
        await front.put("/a", b"1", origin=ORIGIN)
    assert front.inner.head == head
