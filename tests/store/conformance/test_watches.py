"""Watches are ordered, unique, reliable, atomic, resumable and bookmarkable, whatever else goes on."""

from __future__ import annotations

import itertools

import attrs
import pytest
import trio
import trio.testing

from store import (
    Event,
    EventType,
    Limits,
    Put,
    Store,
    StoreClosed,
    Txn,
    WatchBatch,
    prefix_end,
)
from store.keys import KeyRange
from tests.store.conformance.conftest import Maker
from tests.store.support import USER, brief, events_until, nothing_comes, receive_until

ALL = "\0"


async def put(store: Store, *names: str) -> None:
    for name in names:
        await store.put(name, name, origin=USER)


def check_stream(
    batches: list[WatchBatch], expected: list[Event], start_revision: int
) -> list[Event]:
    """The validators of etcd: ordered, unique, atomic, bookmarkable, resumable, reliable. Returns the events."""
    bookmark = start_revision - 1
    for batch in batches:
        for event in batch.events:
            assert event.revision > bookmark, (
                "ordered, unique, atomic: no revision comes in two parts"
            )
            assert event.revision <= batch.revision, "bookmarkable"
        revisions = [event.revision for event in batch.events]
        assert revisions == sorted(revisions), "ordered"
        assert batch.revision >= bookmark, "bookmarkable: progress does not go back"
        bookmark = batch.revision
    events = [event for batch in batches for event in batch.events]
    assert events == expected, "reliable: exactly what happened"
    return events


async def test_a_watch_of_the_present_sees_what_happens_next(store: Store) -> None:
    """And nothing of before."""
    await put(store, "a")
    async with store.watch("a") as watch:
        assert await nothing_comes(watch)
        await put(store, "a", "b", "a")
        events = await events_until(watch, 5)

    assert brief(events) == [("PUT", "a", "a", 3), ("PUT", "a", "a", 5)]


async def test_a_watch_of_the_past_replays_and_goes_on(store: Store) -> None:
    """From any revision on: first what happened, then what happens, without a seam."""
    await put(store, *"abcab")
    for start in range(1, 7):
        async with store.watch(ALL, range_end=ALL, start_revision=start) as watch:
            await put(store, "c")
            head = store.head
            batches = await receive_until(watch, head)
            await put(store, "d")
            batches += await receive_until(watch, head + 1)
        check_stream(batches, list(store.history(start)), start)


async def test_a_watch_of_the_very_beginning_waits(store: Store) -> None:
    """Nothing happened at revision 1: the watch is synced at once, can tell its progress, and goes on."""
    async with store.watch("a", start_revision=1) as watch:
        watch.request_progress()
        with trio.fail_after(5):
            assert await watch.receive() == WatchBatch(events=(), revision=store.head)
        assert await nothing_comes(watch)
        await put(store, "a")
        assert brief(await events_until(watch, 2)) == [("PUT", "a", "a", 2)]


async def test_a_watch_of_the_future_waits(store: Store) -> None:
    """What is before its start is not for it."""
    async with store.watch("a", start_revision=4) as watch:
        await put(store, "a", "a")
        assert await nothing_comes(watch)
        await put(store, "a")
        events = await events_until(watch, 4)

    assert brief(events) == [("PUT", "a", "a", 4)]


@pytest.mark.parametrize(
    ("key", "range_end"),
    [
        ("p/1", None),
        ("p/", prefix_end("p/")),
        ("a", "p/2"),
        ("p/2", ALL),
        (ALL, ALL),
        ("absent", None),
        ("z", "a"),
    ],
)
@pytest.mark.parametrize("start_revision", [0, 1])
async def test_a_watch_sees_its_range_and_nothing_else(
    store: Store, key: str, range_end: str | None, start_revision: int
) -> None:
    """The same range forms as reads, live and from history."""
    names = ["p/1", "p", "q", "p/2", "a", "p0", "p/1", "p/3"]
    async with store.watch(key, range_end=range_end, start_revision=start_revision) as watch:
        await put(store, *names)
        await store.delete("p", range_end="q", origin=USER)
        watch.request_progress()
        batches = await receive_until(watch, store.head)

    inside = KeyRange.of(key, range_end)
    check_stream(batches, [event for event in store.history() if event.key in inside], 1)


async def test_a_revision_comes_whole(store: Store) -> None:
    """All events of a transaction that concern the watch are in one batch, in the order of operations."""
    async with store.watch("k/", range_end=prefix_end("k/")) as watch:
        for n in range(5):
            operations = (*(Put(f"k/{m}", n) for m in (3, 1, 2)), Put("other", n))
            await store.txn(Txn(success=operations), origin=USER)
        batches = await receive_until(watch, store.head)

    events = [event for event in store.history() if event.key.startswith("k/")]
    check_stream(batches, events, 2)
    assert [event.key for event in events[:3]] == ["k/3", "k/1", "k/2"]


async def test_filters_leave_out_types(store: Store) -> None:
    """No puts, no deletes, or neither; live and from history."""
    for start, (without, expected) in itertools.product(
        (0, 1),
        [
            ((EventType.PUT,), ["DELETE"]),
            ((EventType.DELETE,), ["PUT"]),
            ((EventType.PUT, EventType.DELETE), []),
        ],
    ):
        first = store.head + 1
        async with store.watch("a", start_revision=start and first, without=without) as watch:
            await put(store, "a")
            await store.delete("a", origin=USER)
            watch.request_progress()
            batches = await receive_until(watch, store.head)
        assert [event.type.value for batch in batches for event in batch.events] == expected


async def test_prev_kv_is_the_state_before(store: Store) -> None:
    """For each event the key as it was; None for one that creates it."""
    await put(store, "a", "b")
    await store.put("a", "2", origin=USER)
    await store.delete("a", origin=USER)
    await store.put("a", "3", origin=USER)
    async with store.watch("a", start_revision=2, prev_kv=True) as watch:
        batches = await receive_until(watch, store.head)
        await store.put("a", "4", origin=USER)
        batches += await receive_until(watch, store.head)

    previous = [kv and (kv.value, kv.mod_revision) for b in batches for kv in b.previous]
    assert previous == [None, ("a", 2), ("2", 4), None, ("3", 6)]


async def test_without_prev_kv_none_is_given(store: Store) -> None:
    """It has a price, so it is given on request only."""
    async with store.watch("a") as watch:
        await put(store, "a")
        assert (await watch.receive()).previous == ()


async def test_the_bookmark_moves_with_foreign_events(store: Store) -> None:
    """A batch says up to where the watch is complete, and can be resumed from there."""
    async with store.watch("a") as watch:
        await put(store, "x", "a", "x", "x")
        batch = await watch.receive()

    assert brief(batch.events) == [("PUT", "a", "a", 3)]
    assert 3 <= batch.revision <= 5


async def test_a_watch_is_resumed_without_gap_or_repetition(store: Store) -> None:
    """Cut a stream at every batch and begin again after the bookmark: the events are the same."""
    await put(store, *"abcabcabc")
    batches: list[WatchBatch] = []
    start = 1
    while start <= store.head:
        async with store.watch(ALL, range_end=ALL, start_revision=start) as watch:
            batches.append(await watch.receive())
            start = watch.revision + 1

    check_stream(batches, list(store.history()), 1)


async def test_progress_on_request(store: Store) -> None:
    """A quiet watch answers with the head, a busy one with what is pending."""
    async with store.watch("a") as watch:
        await put(store, "x", "x")
        watch.request_progress()
        assert await watch.receive() == WatchBatch(events=(), revision=store.head)
        await put(store, "a")
        watch.request_progress()
        assert len((await watch.receive()).events) == 1
        assert await nothing_comes(watch)


async def test_progress_is_asked_for_while_waiting(store: Store) -> None:
    """The waiting receiver is woken."""
    async with store.watch("a") as watch, trio.open_nursery() as nursery:

        async def ask() -> None:
            await trio.testing.wait_all_tasks_blocked()
            watch.request_progress()

        nursery.start_soon(ask)
        with trio.fail_after(5):
            assert (await watch.receive()).events == ()


async def test_progress_is_notified_to_quiet_watches(
    make: Maker, autojump_clock: trio.testing.MockClock
) -> None:
    """One that asked for it hears of the head once an interval, unless it was told events in it."""
    async with (
        make(progress_interval_seconds=10) as store,
        store.watch("quiet", progress_notify=True) as quiet,
        store.watch("busy", progress_notify=True) as busy,
        store.watch("quiet") as silent,
    ):
        await put(store, "x", "busy")
        assert len((await busy.receive()).events) == 1
        await trio.sleep(15)
        assert await quiet.receive() == WatchBatch(events=(), revision=store.head)
        assert await nothing_comes(busy)
        await trio.sleep(10)
        assert (await busy.receive()).events == ()
        assert await nothing_comes(silent)


async def test_many_watches_see_the_same(store: Store) -> None:
    """Each has its own place; a late one catches up."""
    streams: dict[int, list[WatchBatch]] = {}

    async def follow(number: int) -> None:
        async with store.watch(ALL, range_end=ALL, start_revision=1) as watch:
            for _ in range(number % 3):
                await trio.lowlevel.checkpoint()
            streams[number] = await receive_until(watch, 41)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(follow, number)
            await put(store, *"abcd")

    assert len(streams) == 10
    for batches in streams.values():
        check_stream(batches, list(store.history()), 1)


async def test_a_slow_watch_never_skips(make: Maker) -> None:
    """Its buffer overflows again and again, at every place in a revision, and it still sees everything once."""
    async with make(watch_buffer_events=3, catch_up_revisions=1000) as store:
        async with store.watch("k", range_end=prefix_end("k")) as watch:
            batches: list[WatchBatch] = []
            for n in range(30):
                operations = (*(Put(f"k{m}", n) for m in range(n % 5 + 1)), Put("x", n))
                await store.txn(Txn(success=operations), origin=USER)
                if n % 7 == 6:
                    batches.append(await watch.receive())
            batches += await receive_until(watch, store.head)
            overflows = watch.statistics().overflows
        events = [event for event in store.history() if event.key != "x"]

    assert overflows > 3
    check_stream(batches, events, 2)


async def test_a_slow_watch_does_not_delay_the_writer(store: Store) -> None:
    """Nobody receives, and writing goes on."""
    with trio.fail_after(5):
        async with store.watch(ALL, range_end=ALL):
            await put(store, *"abcdefghij" * 5)

    assert store.head == 51


async def test_one_wake_up_brings_many_events(store: Store) -> None:
    """Writes that were made before the receiver ran come in one batch."""
    async with store.watch(ALL, range_end=ALL) as watch, trio.open_nursery() as nursery:
        batches: list[WatchBatch] = []

        async def receive() -> None:
            batches.extend(await receive_until(watch, 21))

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        for n in range(20):
            nursery.start_soon(put, store, f"k{n}")

    assert len(batches) == 1


async def test_a_receiver_can_be_cancelled_and_loses_nothing(store: Store) -> None:
    """Cancelled while waiting means nothing was taken."""
    async with store.watch("a") as watch:
        for _ in range(3):
            assert await nothing_comes(watch)
        await put(store, "a", "a", "a")
        events = await events_until(watch, 4)

    assert [event.revision for event in events] == [2, 3, 4]


async def test_a_woken_watch_reads_at_least_what_it_was_told(store: Store) -> None:
    """The commit comes before the event."""
    async with store.watch("a") as watch, trio.open_nursery() as nursery:
        nursery.start_soon(put, store, "a", "a", "a")
        while watch.revision < 4:
            batch = await watch.receive()
            assert (await store.range("a")).kvs[0].mod_revision >= batch.revision


async def test_watches_end_with_the_store(make: Maker) -> None:
    """Whoever waits is told, and so is whoever asks afterwards."""
    async with trio.open_nursery() as nursery, make() as store:
        watch = store.watch("a")

        async def wait() -> None:
            with pytest.raises(StoreClosed):
                async with watch as opened:
                    await opened.receive()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()

    for call in (store.range("a"), store.put("a", 1, origin=USER), store.compact(1)):
        with pytest.raises(StoreClosed):
            await call


async def test_a_closed_watch_is_forgotten(store: Store) -> None:
    """It costs nothing any more, and receives nothing."""
    async with store.watch("a") as watch:
        assert store.statistics().watchers == 1
    await put(store, "a")

    assert store.statistics().watchers == 0
    with pytest.raises(StoreClosed):
        await watch.receive()


async def test_statistics_tell_a_watch_from_another(store: Store) -> None:
    """Pending events and state can be seen."""
    await put(store, "a", "a", "a")
    async with store.watch("a") as present, store.watch("a", start_revision=1) as past:
        await put(store, "a")
        now, then = present.statistics(), past.statistics()
        assert store.statistics().watchers_catching_up == 1

    assert ("synced", 1) == (now.state, now.pending)
    assert ("catching-up", 0) == (then.state, then.pending)


def test_limits_are_values() -> None:
    """They can be changed one at a time and do not change by themselves."""
    assert attrs.evolve(Limits(), watch_buffer_events=3) == Limits(watch_buffer_events=3)
