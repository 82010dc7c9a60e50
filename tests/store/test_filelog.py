"""The file log as a store sees it: opening, durabilities, failures of the disk."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import trio
import trio.testing

from store import (
    Durability,
    InvalidRequest,
    Limits,
    LogBusy,
    LogError,
    LogExists,
    LogMissing,
    NoSpace,
    Put,
    Store,
    StoreError,
    StoreFailed,
    Txn,
    open_store,
    read_log,
    remove_log,
)
from tests.store.memory_layer import MemoryLayer
from tests.store.support import CODEC, USER, pairs

RUN = Path("run.wtl")
SEGMENT = RUN / "00000001.seg"
ALL = "\0"


@pytest.fixture
def layer() -> MemoryLayer:
    return MemoryLayer()


async def write_some(store: Store) -> None:
    for n in range(3):
        await store.put(f"k{n}", n, origin=USER)


# -- opening -------------------------------------------------------------------------------------


async def test_a_log_is_closed_and_continued(tmp_path: Path) -> None:
    """Revisions, state, digest and header go on where they were."""
    path = tmp_path / "deep" / "run.wtl"
    header = {"seed": 7, "experiment": {"b": [1, 2.5, None], "a": "x"}}
    async with open_store(path, codec=CODEC, header=header) as store:
        await write_some(store)
        digest = store.digest
    async with open_store(path, codec=CODEC, resume=True) as store:
        assert (4, digest) == (store.head, store.digest)
        assert pairs((await store.range("k", range_end="l")).kvs) == [
            ("k0", 0),
            ("k1", 1),
            ("k2", 2),
        ]
        await store.put("k0", "new", origin=USER)
        assert (await store.range("k0")).kvs[0].version == 2
        digest = store.digest
    log = read_log(path, CODEC)
    verified = log.verify()

    assert header == log.header
    assert (4, 5, digest, True, None) == (
        verified.events,
        verified.head,
        verified.digest,
        verified.closed,
        verified.torn,
    )


async def test_a_new_log_never_overwrites(tmp_path: Path) -> None:
    """Whatever is at the path, unless it is an empty directory, is left alone."""
    path = tmp_path / "run.wtl"
    path.mkdir()
    async with open_store(path, codec=CODEC) as store:
        await write_some(store)
    before = {file: file.read_bytes() for file in path.iterdir()}
    with pytest.raises(LogExists):
        async with open_store(path, codec=CODEC):
            pass
    (tmp_path / "file").write_text("mine")
    for taken in (tmp_path / "file", tmp_path / "file" / "under"):
        with pytest.raises(LogExists):
            async with open_store(taken, codec=CODEC):
                pass

    assert before == {file: file.read_bytes() for file in path.iterdir()}


async def test_resuming_needs_a_log_with_that_header(tmp_path: Path) -> None:
    """No log, no directory, another header, or memory: each is refused by name."""
    path = tmp_path / "run.wtl"
    with pytest.raises(LogMissing):
        async with open_store(path, codec=CODEC, resume=True):
            pass
    path.mkdir()
    with pytest.raises(LogMissing):
        async with open_store(path, codec=CODEC, resume=True):
            pass
    with pytest.raises(InvalidRequest, match="memory"):
        async with open_store(codec=CODEC, resume=True):
            pass
    async with open_store(path, codec=CODEC, header={"seed": 1}):
        pass
    with pytest.raises(InvalidRequest, match="header"):
        async with open_store(path, codec=CODEC, resume=True, header={"seed": 2}):
            pass
    async with open_store(path, codec=CODEC, resume=True, header={"seed": 1}) as store:
        assert store.head == 1


async def test_a_header_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """Before anything is there."""
    for header in ({"a": object()}, {"a": {1: 2}}, {"a": 2**70}):
        with pytest.raises(InvalidRequest, match="header"):
            async with open_store(tmp_path / "run.wtl", codec=CODEC, header=header):
                pass
        assert not (tmp_path / "run.wtl" / "00000001.seg").exists()


async def test_one_writer_at_a_time(tmp_path: Path) -> None:
    """The second is told; readers are not kept out; nor may the log be removed."""
    path = tmp_path / "run.wtl"
    async with open_store(path, codec=CODEC) as store:
        await write_some(store)
        with pytest.raises(LogBusy):
            async with open_store(path, codec=CODEC, resume=True):
                pass
        with pytest.raises(LogBusy):
            remove_log(path)
        assert read_log(path, CODEC).verify().events == 3


async def test_removing_a_log_removes_nothing_else(tmp_path: Path) -> None:
    """A directory with something foreign in it is left as it is."""
    path = tmp_path / "run.wtl"
    async with open_store(path, codec=CODEC):
        pass
    (path / "notes.txt").write_text("mine")
    with pytest.raises(LogError, match=r"notes\.txt"):
        remove_log(path)
    (path / "notes.txt").unlink()
    remove_log(path)

    assert not path.exists()
    with pytest.raises(LogMissing):
        remove_log(path)


async def test_an_error_in_the_body_is_not_wrapped(tmp_path: Path) -> None:
    """The store's own task does not turn it into a group, and the log is closed."""
    with pytest.raises(KeyError, match="mine"):
        async with open_store(tmp_path / "run.wtl", codec=CODEC):
            raise KeyError("mine")

    assert read_log(tmp_path / "run.wtl", CODEC).verify().closed


async def test_leases_and_compaction_survive(tmp_path: Path, autojump_clock: object) -> None:
    """A lease runs its full time again; what was compacted stays compacted; history is all there."""
    path = tmp_path / "run.wtl"
    async with open_store(path, codec=CODEC) as store:
        kept, ended = await store.lease_grant(10), await store.lease_grant(10)
        await store.put("a", 1, lease=kept.id, origin=USER)
        await store.put("b", 1, lease=ended.id, origin=USER)
        await store.lease_revoke(ended.id, origin=USER)
        await store.compact(3)
        await trio.sleep(9)
    async with open_store(path, codec=CODEC, resume=True) as store:
        assert (3, (kept.id,)) == (store.compacted, await store.leases())
        assert (await store.lease_grant(10)).id not in (kept.id, ended.id)
        await trio.sleep(9)
        assert (await store.range("a")).count == 1
        await trio.sleep(2)
        assert (await store.range("a")).count == 0
        assert [event.revision for event in store.history()] == [2, 3, 4, 5]


# -- durability ----------------------------------------------------------------------------------


async def test_none_writes_at_the_end(layer: MemoryLayer) -> None:
    """Nothing reaches the system until the buffer is full or the store is closed."""
    async with open_store(RUN, codec=CODEC, durability="none", layer=layer) as store:
        size = len(layer.files[SEGMENT])
        await write_some(store)
        assert size == len(layer.files[SEGMENT])

    assert read_log(RUN, CODEC, layer=layer).verify().events == 3
    assert "sync" not in layer.calls


async def test_none_writes_when_the_buffer_is_full(layer: MemoryLayer) -> None:
    """Memory does not grow."""
    limits = Limits(write_buffer_bytes=100)
    async with open_store(RUN, codec=CODEC, durability="none", layer=layer, limits=limits) as store:
        for n in range(20):
            await store.put("k", n, origin=USER)
        assert read_log(RUN, CODEC, layer=layer).verify().events > 10


async def test_buffered_has_it_in_the_system_when_acknowledged(layer: MemoryLayer) -> None:
    """What a killed process leaves is every acknowledged write."""
    async with open_store(RUN, codec=CODEC, durability="buffered", layer=layer) as store:
        for n in range(3):
            await store.put("k", n, origin=USER)
            assert read_log(RUN, CODEC, layer=layer.crashed()).verify().head == store.head

    assert "sync" not in layer.calls


async def test_fsync_has_it_on_the_disk_when_acknowledged(layer: MemoryLayer) -> None:
    """The file, and the names of files."""
    async with open_store(RUN, codec=CODEC, durability="fsync", layer=layer) as store:
        assert layer.calls == ["write", "sync", "sync directory", "sync directory"]
        for n in range(3):
            await store.put("k", n, origin=USER)
            assert layer.synced[SEGMENT] == layer.files[SEGMENT]


async def test_writers_of_the_same_moment_share_a_sync(layer: MemoryLayer) -> None:
    """Group commit: 64 writers, one sync each round."""
    async with open_store(RUN, codec=CODEC, durability="fsync", layer=layer) as store:
        before = store.statistics().log_syncs

        async def write(n: int) -> None:
            for _ in range(10):
                await store.put(f"k{n}", n, origin=USER)

        async with trio.open_nursery() as nursery:
            for n in range(64):
                nursery.start_soon(write, n)
        assert store.head == 641
        assert store.statistics().log_syncs - before <= 11


async def test_nothing_is_shown_before_it_is_durable(layer: MemoryLayer) -> None:
    """A reader and a watcher that run before the writer is answered find it synced."""
    async with (
        open_store(RUN, codec=CODEC, durability="fsync", layer=layer) as store,
        trio.open_nursery() as nursery,
    ):

        async def read() -> None:
            while not (await store.range("k")).kvs:
                pass
            assert layer.synced[SEGMENT] == layer.files[SEGMENT]

        async def watch() -> None:
            async with store.watch("k", start_revision=1) as opened:
                await opened.receive()
                assert layer.synced[SEGMENT] == layer.files[SEGMENT]

        for _ in range(20):
            nursery.start_soon(read)
            nursery.start_soon(watch)
        for n in range(5):
            nursery.start_soon(store_put, store, "k", n)


async def store_put(store: Store, key: str, value: object) -> None:
    await store.put(key, value, origin=USER)


async def test_the_digest_does_not_depend_on_where_the_log_goes(tmp_path: Path) -> None:
    """Memory and every durability: the same operations, the same digest."""
    digests: list[str] = []
    for number, durability in enumerate([None, *Durability]):
        path = None if durability is None else tmp_path / f"{number}.wtl"
        async with open_store(
            path, codec=CODEC, durability=durability or "none", clock=lambda: 5
        ) as store:
            await write_some(store)
            await store.delete("k1", origin=USER)
            digests.append(store.digest)

    assert [digests[0]] * 4 == digests


# -- failures of the disk ------------------------------------------------------------------------


async def test_a_failed_sync_is_fatal_and_not_retried(layer: MemoryLayer) -> None:
    """The writer, every watcher, and whoever asks afterwards are told; the disk is left alone."""
    async with open_store(RUN, codec=CODEC, durability="fsync", layer=layer) as store:
        await store.put("a", 1, origin=USER)
        async with store.watch("a") as watch, trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(StoreFailed):
                    await watch.receive()

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            layer.sync_errno = errno.EIO
            with pytest.raises(StoreFailed, match="sync"):
                await store.put("a", 2, origin=USER)
        layer.sync_errno = 0
        calls = list(layer.calls)
        for call in (store.put("b", 1, origin=USER), store.range("a"), store.leases()):
            with pytest.raises(StoreFailed):
                await call

    assert calls == layer.calls, "not even closing touches the log again"


@pytest.mark.parametrize("durability", ["buffered", "fsync"])
@pytest.mark.parametrize("short_write", [0, 1, 20])
async def test_no_space_means_nothing_happened(
    layer: MemoryLayer, durability: str, short_write: int
) -> None:
    """The write is taken back, reads and watches go on, and so do writes once there is room."""
    async with (
        open_store(RUN, codec=CODEC, durability=durability, layer=layer) as store,
        store.watch(ALL, range_end=ALL, start_revision=1) as watch,
    ):
        await store.put("a", 1, origin=USER)
        layer.write_errno, layer.short_write = errno.ENOSPC, short_write
        digest = store.digest
        for call in (
            store.txn(Txn(success=(Put("a", 2), Put("b", 2))), origin=USER),
            store.lease_grant(10),
            store.compact(2),
        ):
            with pytest.raises(NoSpace):
                await call
        assert pairs((await store.range(ALL, range_end=ALL)).kvs) == [("a", 1)]
        assert (2, 0, (), digest) == (
            store.head,
            store.compacted,
            await store.leases(),
            store.digest,
        )
        layer.write_errno = 0
        await store.put("a", 3, origin=USER)
        while watch.revision < 3:
            assert all(event.value != 2 for event in (await watch.receive()).events)

    verified = read_log(RUN, CODEC, layer=layer).verify()
    assert (3, True) == (verified.head, verified.closed)


async def test_no_space_for_a_new_segment(layer: MemoryLayer) -> None:
    """The store goes on with the present one, and begins the next when there is room."""
    limits = Limits(segment_bytes=300)
    async with open_store(RUN, codec=CODEC, layer=layer, limits=limits) as store:
        while store.statistics().log_bytes < 250:
            await store.put("a", 1, origin=USER)
        layer.write_errno, layer.short_write = errno.ENOSPC, 9
        with pytest.raises(NoSpace):
            await store.put("a", 2, origin=USER)
        assert layer.names(RUN) == ["00000001.seg", "lock"]
        layer.write_errno = 0
        await store.put("a", 3, origin=USER)
        assert layer.names(RUN) == ["00000001.seg", "00000002.seg", "lock"]
        head = store.head

    assert head == read_log(RUN, CODEC, layer=layer).verify().head


async def test_no_space_at_the_end_of_a_run_is_said(layer: MemoryLayer) -> None:
    """With durability none the loss shows on closing, and must not pass in silence."""

    async def run_out_of_space() -> None:
        async with open_store(RUN, codec=CODEC, durability="none", layer=layer) as store:
            await write_some(store)
            layer.write_errno = errno.ENOSPC

    with pytest.raises(NoSpace):
        await run_out_of_space()

    assert not layer.locks


async def test_any_other_failure_of_a_write_is_fatal(layer: MemoryLayer) -> None:
    """The store says so from then on."""
    async with open_store(RUN, codec=CODEC, layer=layer) as store:
        layer.write_errno = errno.EIO
        for _ in range(2):
            with pytest.raises(StoreFailed):
                await store.put("a", 1, origin=USER)
        layer.write_errno = 0
        with pytest.raises(StoreFailed):
            await store.range("a")


async def test_short_writes_are_finished(layer: MemoryLayer) -> None:
    """A system that takes a few bytes at a time gets them all."""
    layer.most_at_once = 7
    async with open_store(RUN, codec=CODEC, layer=layer) as store:
        await write_some(store)

    assert read_log(RUN, CODEC, layer=layer).verify().events == 3


async def test_a_lease_ends_when_there_is_room_again(
    layer: MemoryLayer, autojump_clock: object
) -> None:
    """The end of a lease that finds the disk full is tried again."""
    async with open_store(RUN, codec=CODEC, layer=layer) as store:
        lease = await store.lease_grant(10)
        await store.put("a", 1, lease=lease.id, origin=USER)
        layer.write_errno = errno.ENOSPC
        await trio.sleep(15)
        assert (await store.range("a")).count == 1
        layer.write_errno = 0
        await trio.sleep(2)
        assert (await store.range("a")).count == 0


@pytest.mark.parametrize("fault", ["write_errno", "sync_errno"])
async def test_a_failure_met_by_the_end_of_a_lease_is_fatal_too(
    layer: MemoryLayer, autojump_clock: object, fault: str
) -> None:
    """Nobody called, so whoever waits or calls next is told."""
    async with open_store(RUN, codec=CODEC, durability="fsync", layer=layer) as store:
        lease = await store.lease_grant(10)
        await store.put("a", 1, lease=lease.id, origin=USER)
        setattr(layer, fault, errno.EIO)
        async with store.watch("b") as watch:
            with pytest.raises(StoreFailed):
                await watch.receive()
        with pytest.raises(StoreFailed):
            await store.range("a")


async def test_a_value_that_cannot_be_encoded_changes_nothing(layer: MemoryLayer) -> None:
    """The codec's error reaches the caller, and the store goes on."""
    async with open_store(RUN, codec=CODEC, layer=layer) as store:
        with pytest.raises(TypeError):
            await store.txn(Txn(success=(Put("a", 1), Put("b", object()))), origin=USER)
        assert (await store.put("a", 2, origin=USER)).revision == 2

    assert [event.value for event in read_log(RUN, CODEC, layer=layer).events()] == [2]


def test_all_errors_have_one_root() -> None:
    """A caller can catch what the store raises by one name."""
    import store  # noqa: PLC0415

    errors = [
        value
        for name in store.__all__
        if isinstance(value := getattr(store, name), type) and issubclass(value, Exception)
    ]
    assert len(errors) > 15
    assert all(issubclass(error, StoreError) for error in errors)


def test_the_facade_is_sorted_and_complete() -> None:
    """Every name is there, once."""
    import store  # noqa: PLC0415

    assert len(store.__all__) == len(dict.fromkeys(store.__all__))
    assert all(hasattr(store, name) for name in store.__all__)
