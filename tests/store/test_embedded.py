"""The trio shell of an embedded store: cancellation, time, condition."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from store import InvalidRequest, open_store
from tests.store.support import CODEC, USER


async def test_cancelled_after_it_has_happened_means_it_is_answered() -> None:
    """Between the act and the answer a write cannot be cancelled: its result is not lost."""
    scope = trio.CancelScope()

    def clock() -> int:
        scope.cancel()  # the clock is read in the middle of the act
        return 0

    answered = False
    async with open_store(codec=CODEC, clock=clock) as store:
        scope = trio.CancelScope()
        with scope:
            assert (await store.put("a", 1, origin=USER)).revision == 2
            answered = True
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught

    assert answered


async def test_the_time_of_the_log_does_not_go_back() -> None:
    """Whatever the clock does."""
    times = [5, 3, 3, 9]
    async with open_store(codec=CODEC, clock=lambda: times.pop(0)) as store:
        for n in range(4):
            await store.put("a", n, origin=USER)

        assert [event.time_ns for event in store.history()] == [5, 5, 5, 9]


async def test_by_default_time_counts_from_the_opening(autojump_clock: trio.abc.Clock) -> None:
    """In nanoseconds, by trio's clock."""
    await trio.sleep(100)
    async with open_store(codec=CODEC) as store:
        await trio.sleep(1.5)
        await store.put("a", 1, origin=USER)

        assert next(store.history()).time_ns == 1_500_000_000


async def test_two_tasks_cannot_receive_from_one_watch() -> None:
    """Each would get a part: it is refused."""
    async with (
        open_store(codec=CODEC) as store,
        store.watch("a") as watch,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(watch.receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(InvalidRequest, match="two tasks"):
            await watch.receive()
        nursery.cancel_scope.cancel()


async def test_statistics_and_repr_tell_the_condition() -> None:
    """What is in memory, who watches, and whether it is open."""
    async with open_store(codec=CODEC) as store:
        await store.put("a", 1, origin=USER)
        await store.put("b", 1, origin=USER)
        await store.delete("a", origin=USER)
        await store.lease_grant(10)
        async with store.watch("a"):
            statistics = store.statistics()
        assert "open head=4" in repr(store)
    figures = (
        statistics.head,
        statistics.keys,
        statistics.revisions_in_memory,
        statistics.watchers,
        statistics.leases,
    )

    assert figures == (4, 1, 3, 1, 1)
    assert "closed" in repr(store)
