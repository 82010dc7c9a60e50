"""The store in a real etcd: what the conformance suite does not ask, as it takes more than one client, or an etcd that fails.

Here real time passes, but no claim depends on how much.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from store import (
    ALL_KEYS,
    Compacted,
    Delete,
    Event,
    Get,
    Origin,
    OutcomeUnknown,
    Put,
    Store,
    StoreFailed,
    StoreUnavailable,
    Txn,
    open_etcd,
    read_etcd,
)
from store.etcd import EtcdStore
from store.etcd_address import EtcdTiming
from store.etcd_wire import Wire
from tests.store.etcd.judge import Judge
from tests.store.etcd.pair import TextCodec
from tests.store.etcd.process import EtcdPool, EtcdProcess, free_port
from tests.store.support import USER, as_state, brief, events_until, fold, keys

ALL, END = ALL_KEYS
CODEC = TextCodec()
IMPATIENT = EtcdTiming(request_seconds=0.5, connect_seconds=0.2, stall_seconds=1)


@pytest.fixture
def etcd(etcd_pool: EtcdPool) -> Iterator[EtcdProcess]:
    """A new etcd for each test: they break it."""
    with etcd_pool.one() as one:
        yield one


def opened(
    etcd: EtcdProcess, timing: EtcdTiming | None = None
) -> AbstractAsyncContextManager[EtcdStore]:
    return open_etcd(etcd.store_url, codec=CODEC, timing=timing)


# -- several clients --------------------------------------------------------------------------------


async def test_clients_see_each_others_writes(etcd: EtcdProcess) -> None:
    """At once when they read, and in their watches."""
    async with opened(etcd) as one, opened(etcd) as other, other.watch("a") as watch:
        await one.put("a", "x", origin=USER)
        assert (await other.range("a")).kvs[0].value == "x"
        await other.put("a", "y", origin=USER)
        assert (await one.range("a")).kvs[0].value == "y"
        assert brief(await events_until(watch, 3)) == [("PUT", "a", "x", 2), ("PUT", "a", "y", 3)]


async def test_origin_and_time_travel_with_the_write(etcd: EtcdProcess) -> None:
    """Of puts, of deletes of something, of nested ones; and equal histories have equal digests."""
    writer = Origin("controller/deployment", "r-7", (2, "timer:resync"))
    exists = Txn(success=(Delete("a"), Txn(success=(Delete("b", "d"),))))
    async with opened(etcd) as one:
        await one.txn(Txn(success=(Put("a", "1"), Put("b", "2"), Put("c", "3"))), origin=writer)
        await one.txn(Txn(success=(exists, Delete("nothing"))), origin=USER)
        mine = list(one.history())
        async with opened(etcd) as other:
            assert mine == list(other.history())
            assert one.digest == other.digest

    assert [writer] * 3 + [USER] * 3 == [event.origin for event in mine]
    assert 0 <= mine[0].time_ns <= mine[-1].time_ns


async def test_times_of_clients_with_other_clocks_are_since_the_same_moment(
    etcd: EtcdProcess,
) -> None:
    """The header of the first says since when; the second's header is not taken."""
    async with (
        open_etcd(
            etcd.store_url, codec=CODEC, clock=lambda: 5, epoch_us=10**9, header={"epochUs": 10**9}
        ) as first,
        open_etcd(
            etcd.store_url, codec=CODEC, clock=lambda: 7, epoch_us=10**9 + 1, header={"epochUs": 1}
        ) as second,
    ):
        await first.put("a", "x", origin=USER)
        await second.put("a", "y", origin=USER)
        await first.range("a")  # what it is shown by then it has mirrored

        assert {"epochUs": 10**9} == first.header == second.header
        assert [5, 1007] == [event.time_ns for event in first.history()]
        assert list(first.history()) == list(second.history())


async def test_the_header_takes_a_revision_without_events(etcd: EtcdProcess) -> None:
    """Watches and reads pass it over."""
    async with open_etcd(etcd.store_url, codec=CODEC, header={"seed": 1}) as store:
        assert store.head == 2
        async with store.watch(ALL, range_end=END, start_revision=1) as watch:
            watch.request_progress()
            assert (await watch.receive()).revision == 2
            await store.put("a", "x", origin=USER)
            assert [event.revision for event in await events_until(watch, 3)] == [3]
        assert keys((await store.range(ALL, range_end=END)).kvs) == ["a"]
        assert (await store.range(ALL, range_end=END, count_only=True)).count == 1


async def test_the_stores_own_keys_are_out_of_reach(etcd: EtcdProcess) -> None:
    """Deleting everything leaves who deleted it."""
    async with opened(etcd) as store:
        await store.put("a", "x", origin=USER)
        answer = await store.delete(ALL, range_end=END, origin=USER, prev_kv=True)

        assert (1, ["a"]) == (answer.deleted, keys(answer.prev_kvs))
        assert next(store.history(3)).origin == USER


async def test_what_others_write_is_foreign(etcd: EtcdProcess) -> None:
    """Values are plain bytes, so etcdctl can write them; keys that are no text are not seen."""
    judge = Judge(Wire(CODEC), etcd.client_port)
    async with opened(etcd) as store:
        judge.call("/v3/kv/put", {"key": "YQ==", "value": "eA=="})
        judge.call("/v3/kv/put", {"key": "/w==", "value": "eA=="})
        judge.call("/v3/kv/deleterange", {"key": "YQ=="})
        assert (await store.range("a")).revision == store.head == 4
        events = list(store.history())
    judge.close()

    assert brief(events) == [("PUT", "a", "x", 2), ("DELETE", "a", None, 4)]
    assert {Origin("etcd", "", ("foreign",))} == {event.origin for event in events}


async def test_a_lease_ends_by_itself(etcd: EtcdProcess) -> None:
    """Its keys go in one revision, whose cause names the lease."""
    async with opened(etcd) as store, store.watch(ALL, range_end=END) as watch:
        lease = await store.lease_grant(1)
        puts = (Put("b", "1", lease=lease.id), Put("a", "1", lease=lease.id), Put("c", "1"))
        await store.txn(Txn(success=puts), origin=USER)
        with trio.fail_after(20):
            events: list[Event] = []
            while len(events) < 5:
                events += (await watch.receive()).events

    ended = Origin("store", "", (f"timer:lease/{lease.id}",))
    assert [("DELETE", "a", None, 3), ("DELETE", "b", None, 3)] == sorted(brief(events[3:]))
    assert [ended, ended] == [event.origin for event in events[3:]]


# -- an etcd that fails -----------------------------------------------------------------------------


@asynccontextmanager
async def writing(store: Store, done: list[tuple[int, str]]) -> AsyncIterator[None]:
    """Write numbers one after the other, and note the acknowledged ones with their revisions."""

    async def write() -> None:
        number = 0
        while True:
            number += 1
            try:
                answer = await store.put(f"k{number % 5}", str(number), origin=USER)
            except (OutcomeUnknown, StoreUnavailable):
                continue
            done.append((answer.revision, str(number)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        yield
        nursery.cancel_scope.cancel()


async def test_nothing_is_lost_when_etcd_is_killed_and_comes_back(etcd: EtcdProcess) -> None:
    """What was acknowledged is there; every watch goes on, in order, without a gap or a repetition."""
    done: list[tuple[int, str]] = []
    async with (
        opened(etcd, IMPATIENT) as store,
        store.watch(ALL, range_end=END) as all_of_it,
        store.watch("k3", start_revision=1) as some_of_it,
    ):
        async with writing(store, done):
            await more(done)
            for _ in range(2):
                etcd.kill()
                await trio.sleep(1)
                etcd.start()
                await more(done)
        openings = store.follower.openings
        head = (await store.range(ALL, range_end=END)).revision
        everything = await events_until(all_of_it, head)
        some_of_it.request_progress()
        some: list[Event] = []
        while some_of_it.revision < head:
            some += (await some_of_it.receive()).events
        state = as_state((await store.range(ALL, range_end=END)).kvs)

    assert openings >= 3
    assert list(range(2, head + 1)) == [event.revision for event in everything]
    assert [event for event in everything if event.key == "k3"] == some
    assert set(done) <= {(event.revision, event.value) for event in everything}
    assert fold(everything, head) == state


async def more(done: list[tuple[int, str]]) -> None:
    """Wait until some more have been written."""
    enough = len(done) + 20
    with trio.fail_after(30):
        while len(done) < enough:  # noqa: ASYNC110 - the writer tells nobody
            await trio.sleep(0.01)


async def test_a_write_whose_answer_is_lost_has_an_unknown_outcome(etcd: EtcdProcess) -> None:
    """Whether the server hangs up or says nothing; a read is asked again elsewhere."""
    for count, hangs_up in enumerate((True, False)):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(_deaf_server, hangs_up)
            deaf = listeners[0].socket.getsockname()[1]
            url = f"etcd://127.0.0.1:{etcd.client_port},127.0.0.1:{deaf}"
            async with open_etcd(url, codec=CODEC, timing=IMPATIENT) as store:
                store.gateway.leave(store.gateway.endpoint)
                with pytest.raises(OutcomeUnknown):
                    await store.put("a", "x", origin=USER)
                store.gateway.leave(store.gateway.endpoint)
                assert (await store.range("a")).count == count
                assert (await store.put("a", "x", origin=USER)).revision == 2 + count
            nursery.cancel_scope.cancel()


async def _deaf_server(
    hangs_up: bool, task_status: trio.TaskStatus[list[trio.SocketListener]]
) -> None:
    async def deaf(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        if not hangs_up:
            await trio.sleep_forever()

    await trio.serve_tcp(deaf, 0, host="127.0.0.1", task_status=task_status)


async def test_an_endpoint_that_is_away_is_passed_over(etcd: EtcdProcess) -> None:
    """When it is away from the beginning, and when no endpoint is there the error says so."""
    away = f"127.0.0.1:{free_port()}"
    url = f"etcd://{away},127.0.0.1:{etcd.client_port}"
    async with open_etcd(url, codec=CODEC, timing=IMPATIENT) as store:
        assert (await store.put("a", "x", origin=USER)).revision == 2
        etcd.kill()
        with pytest.raises(StoreUnavailable, match="no endpoint of etcd answers"):
            await store.put("a", "y", origin=USER)
        etcd.start()
        assert (await store.put("a", "z", origin=USER)).revision == 3

    with pytest.raises(StoreUnavailable):
        async with open_etcd(f"etcd://{away}", codec=CODEC, timing=IMPATIENT):
            pass


async def test_a_write_is_not_cancelled_half_way(etcd: EtcdProcess) -> None:
    """Cancelled before it began it has not happened, and else it has, and is answered."""
    async with opened(etcd) as store:
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.put("a", "x", origin=USER)
        assert store.head == 1
        async with trio.open_nursery() as nursery:
            answers: list[int] = []

            async def write() -> None:
                answers.append((await store.put("a", "y", origin=USER)).revision)

            nursery.start_soon(write)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert answers == [2]


async def test_what_was_compacted_while_cut_off_ends_the_watches_behind(etcd: EtcdProcess) -> None:
    """The mirror begins anew with the state there is; a watch that was not as far is told, and a new one goes on."""
    judge = Judge(Wire(CODEC), etcd.client_port)
    async with opened(etcd, IMPATIENT) as store, store.watch("a") as behind:
        await store.put("a", "1", origin=USER)
        await store.put("b", "1", origin=USER)
        await events_until(behind, 2)
        async with cut_off(store):
            for value in ("2", "3", "4"):
                judge.txn(Txn(success=(Put("a", value),)))
            judge.compact(5, physical=True)
            judge.txn(Txn(success=(Put("c", "1"),)))
        assert (await store.range("c")).revision == store.head == 7
        with pytest.raises(Compacted) as caught:
            await behind.receive()
        async with store.watch(ALL, range_end=END, start_revision=6, prev_kv=True) as anew:
            batch = await anew.receive()
        assert (5, ["6 a 4", "7 c 1"]) == (store.compacted, _short(batch.events))
        assert [kv and kv.mod_revision for kv in batch.previous] == [5, None]
    judge.close()

    assert caught.value.compacted == 5


@asynccontextmanager
async def cut_off(store: EtcdStore) -> AsyncIterator[None]:
    """For the length of the block the store cannot reach its etcd."""
    address = store.gateway.address
    nowhere = f"http://127.0.0.1:{free_port()}"
    store.gateway.address = attrs.evolve(address, endpoints=(nowhere,))
    store.follower.reopen()
    yield
    store.gateway.address = address


@pytest.mark.parametrize("ours", [True, False])
async def test_a_deletion_that_was_compacted_at_once_is_not_missed(
    etcd: EtcdProcess, *, ours: bool
) -> None:
    """Etcd does not tell a watch that begins at the compacted revision what that one deleted (its issue 19179): such a watch must not be trusted.

    `ours`: deleted by another store, whose origin is told, so that not even a revision seems to be missing.
    """
    judge = Judge(Wire(CODEC), etcd.client_port)
    async with opened(etcd) as other, opened(etcd, IMPATIENT) as store, store.watch("a") as watch:
        await store.put("a", "1", origin=USER)
        await events_until(watch, 2)
        async with cut_off(store):
            if ours:
                await other.delete("a", origin=USER)
            else:
                judge.txn(Txn(success=(Delete("a"),)))
            judge.compact(3, physical=True)
        with trio.fail_after(5):
            assert (await store.range("a")).count == 0
            with pytest.raises(Compacted):
                await watch.receive()
        async with store.watch("a", start_revision=3) as anew:
            with pytest.raises(Compacted):
                await anew.receive()
        revision = (await store.put("b", "1", origin=USER)).revision

        assert ["b"] == [kv.key for kv in store.core.range(Get(ALL, END)).kvs]
        assert revision == store.head == 4
    judge.close()


async def test_sweeping_an_etcd_is_a_change_like_others(etcd: EtcdProcess) -> None:
    """`etcdctl del "" --from-key` takes the store's own keys as well, and leaves no origin."""
    judge = Judge(Wire(CODEC), etcd.client_port)
    async with opened(etcd) as store, store.watch("a") as watch:
        await store.put("a", "1", origin=USER)
        judge.clear()
        await store.put("a", "2", origin=USER)
        first, swept, last = await events_until(watch, store.head)
    judge.close()

    assert [("PUT", "a", "1", 2), ("DELETE", "a", None, 3)] == brief([first, swept])
    assert [USER, Origin("etcd", "", ("foreign",)), USER] == [
        each.origin for each in (first, swept, last)
    ]


class PickyCodec(TextCodec):
    """Raises what no other does, for one value."""

    def decode(self, data: bytes) -> object:
        if data == b"foreign":
            raise LookupError("no such kind")
        return super().decode(data)


async def test_a_value_that_is_none_ends_the_store(etcd: EtcdProcess) -> None:
    """Whatever its codec raises, and however the store meets it: while it runs, when it is opened, in what is compacted."""
    judge = Judge(Wire(CODEC), etcd.client_port)
    url = etcd.store_url
    async with open_etcd(url, codec=PickyCodec()) as store, store.watch("a") as watch:
        judge.txn(Txn(success=(Put("a", "foreign"),)))
        with trio.fail_after(5), pytest.raises(StoreFailed, match="'a': no such kind"):
            await watch.receive()
        with pytest.raises(StoreFailed):
            await store.range("a")
    for _ in range(2):
        with trio.fail_after(5), pytest.raises(StoreFailed, match="'a': no such kind"):
            async with open_etcd(url, codec=PickyCodec()):
                pass
        judge.txn(Txn(success=(Put("b", "x"),)))
        judge.compact(judge.head(), physical=True)
    judge.close()


async def test_a_watch_that_moves_is_not_opened_again(etcd: EtcdProcess) -> None:
    """However many wait for it: else a slow one would be cut off by each of them in turn, and never come to an end."""
    async with opened(etcd) as store:
        openings = store.follower.openings
        await store.put("a", "x", origin=USER)
        for _ in range(10):
            store.follower.reopen_if_stalled()
            await store.put("a", "y", origin=USER)
        assert openings == store.follower.openings


def _short(events: tuple[Event, ...]) -> list[str]:
    return [f"{event.revision} {event.key} {event.value}" for event in events]


async def test_a_store_is_opened_on_what_was_compacted(etcd: EtcdProcess) -> None:
    """The state is there, history begins at the compacted revision, and the reader folds to the same."""
    async with opened(etcd) as store:
        for number in range(10):
            await store.put(f"k{number % 3}", str(number), origin=USER)
        await store.delete("k0", origin=USER)
        await store.compact(9)
        expected = as_state((await store.range(ALL, range_end=END)).kvs)
        old = as_state((await store.range(ALL, range_end=END, revision=9)).kvs)
    async with opened(etcd) as again:
        assert (12, 9) == (again.head, again.compacted)
        assert [9, 10, 11, 12] == [event.revision for event in again.history()]
        assert expected == as_state((await again.range(ALL, range_end=END)).kvs)
        with pytest.raises(Compacted):
            async with again.watch("k1", start_revision=8) as watch:
                await watch.receive()
    reader = await trio.to_thread.run_sync(read_etcd, etcd.store_url, CODEC)

    events = list(reader.events())
    assert expected == fold(events, 12) == as_state(list(reader.state().values()))
    assert old == fold(events, 9) == as_state(list(reader.state(9).values()))
    assert {USER, Origin("etcd", "", ("compacted",))} >= {event.origin for event in events}
    assert [9, 10, 11] == [event.revision for event in reader.events(9, 11)]
    for asked in ((8, None), (0, 8), (1, 8)):
        with pytest.raises(Compacted):
            reader.events(*asked)


async def test_an_etcd_that_has_lost_revisions_ends_the_store(etcd: EtcdProcess) -> None:
    """Going on would tell another history than before; whoever waits is told."""
    async with opened(etcd, IMPATIENT) as store, store.watch("a") as watch:
        for _ in range(5):
            await store.put("b", "x", origin=USER)
        etcd.kill()
        etcd.data = etcd.data.with_name(f"{etcd.data.name}-new")
        etcd.start()
        with trio.fail_after(10), pytest.raises(StoreFailed, match="it has lost what was written"):
            await watch.receive()
        with pytest.raises(StoreFailed):
            await store.put("a", "x", origin=USER)


async def test_a_reader_reads_what_a_store_wrote(etcd: EtcdProcess) -> None:
    """Header, events, state and digest, without a store."""
    async with open_etcd(etcd.store_url, codec=CODEC, header={"seed": 7}) as store:
        await store.put("a", "x", origin=USER)
        await store.put("b", "y", origin=USER)
        await store.delete("a", origin=USER)
        events, digest = list(store.history()), store.digest
    reader = await trio.to_thread.run_sync(read_etcd, etcd.store_url, CODEC)

    assert {"seed": 7} == reader.header
    assert events == list(reader.events())
    assert events[1:2] == list(reader.events(4, 4))
    assert ["b"] == list(reader.state())
    assert ["a", "b"] == list(reader.state(4))
    verified = reader.verify()
    assert (3, 5, digest) == (verified.events, verified.head, verified.digest)
