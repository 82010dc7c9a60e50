"""The store's speed, memory and recovery in one table, beside its floor and a real etcd: `python -m benchmarks.store [--size full]`.

Every ratio compares two rows of the same run, on the same disk. `put` is the public call, answered; `append` is the same without the scheduler
around it (transaction, history, log). The floors pack, checksum and write in a bare loop.
"""

from __future__ import annotations

import argparse
import gc
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import attrs
import trio

from benchmarks.machine import machine, versions
from benchmarks.store_append import (
    CODEC,
    USER,
    VALUE,
    WRITERS,
    Rate,
    etcd_put,
    floor,
    log_append,
    store_put,
)
from store import Durability, Get, Limits, Put, Store, Txn, open_store, prefix_end, read_log
from store.core import Core
from store.filelog import FileJournal
from store.files import DISK
from store.journal import MemoryJournal

SMALL_VALUE = b"v" * 128
STATE_KEYS = 10_000
"""Keys of the long log."""


@attrs.frozen
class Size:
    """How much is measured."""

    appends: int
    syncs: int
    keys: tuple[int, ...]
    watchers: tuple[int, ...]
    events: int


SIZES = {
    "tiny": Size(2_000, 64, (1, 100), (1, 10), 20_000),
    "small": Size(20_000, 400, (1, 1_000, 10_000), (1, 100, 1_000), 100_000),
    "full": Size(50_000, 1_000, (1, 1_000, 100_000), (1, 100, 10_000), 1_000_000),
}


@attrs.frozen
class Row:
    """One line of the table."""

    name: str
    figure: str
    ratio: str = ""


def rate_row(name: str, rate: Rate, base: Rate | None = None, what: str = "") -> Row:
    """A rate; its ratio to `base` in time taken."""
    ratio = f"{rate.microseconds / base.microseconds:.2f}x {what}" if base else ""
    figure = f"{rate.per_second:>9,.0f} /s {rate.microseconds:>8.1f} us"
    return Row(name, f"{figure}, {rate.processor:.0%} of a core", ratio)


# -- writing -------------------------------------------------------------------------------------


def append_rows(folder: Path, size: Size) -> Iterator[Row]:
    """Appends in every durability, with floors and etcd."""
    gathered = floor(folder, size.appends, gather=1000)
    direct = floor(folder, size.appends)
    yield rate_row("floor: none (one write per 1,000)", gathered)
    yield rate_row("floor: buffered (one write each)", direct)
    append = partial(log_append, folder, size.appends)
    yield rate_row("append none", append(Durability.NONE), gathered, "its floor")
    yield rate_row("append buffered", append(Durability.BUFFERED), direct, "its floor")
    put = partial(store_put, folder)
    for durability, base in (("none", gathered), ("buffered", direct)):
        yield rate_row(
            f"put {durability}, 1 writer", put(size.appends, durability, 1), base, "floor"
        )
        rate = put(size.appends, durability, 1, 64)
        yield rate_row(f"put {durability}, 64 puts a transaction", rate, base, "floor")
    yield from sync_rows(folder, size)


def sync_rows(folder: Path, size: Size) -> Iterator[Row]:
    """Durable writes."""
    one = floor(folder, size.syncs, sync=True)
    group = floor(folder, size.syncs * 32, gather=WRITERS, sync=True)
    yield rate_row("floor: fsync each", one)
    yield rate_row("floor: fsync per 64", group)
    ours_one = store_put(folder, size.syncs, "fsync", 1)
    ours = store_put(folder, size.syncs * 32, "fsync", WRITERS)
    yield rate_row("put fsync, 1 writer", ours_one, one, "its floor")
    yield rate_row("put fsync, 64 writers", ours, group, "its floor")
    for clients, mine in ((1, ours_one), (WRITERS, ours)):
        etcd = etcd_put(folder, size.syncs * (8 if clients > 1 else 1), clients)
        if etcd is None:
            yield Row(f"etcd, {clients} clients", "no binary here")
        else:
            ratio = f"ours is {mine.per_second / etcd.per_second:.1f}x as fast"
            yield attrs.evolve(rate_row(f"etcd put, {clients} clients (JSON)", etcd), ratio=ratio)


# -- reading -------------------------------------------------------------------------------------


def seconds_of(work: Callable[[], object], least: float = 0.2) -> float:
    """Seconds of one call: as many calls as fill the time, the best of three rounds."""
    best = float("inf")
    for _ in range(3):
        start, count = time.perf_counter(), 0
        while (spent := time.perf_counter() - start) < least or count == 0:
            work()
            count += 1
        best = min(best, spent / count)
    return best


def memory_core() -> Core:
    """A store in memory, without a scheduler."""
    return Core(MemoryJournal(CODEC), CODEC, Limits())


def range_rows(size: Size) -> Iterator[Row]:
    """A range at the head, and at the revision half-way."""
    for count in size.keys:
        core = memory_core()
        for turn in range(2):
            for number in range(count):
                core.commit(Txn(success=(Put(f"key/{number:06}", SMALL_VALUE),)), USER, turn)
        get = Get("key/", prefix_end("key/"))
        head = seconds_of(partial(core.range, get))
        old = seconds_of(partial(core.range, attrs.evolve(get, revision=1 + count)))
        each = f"{head / count * 1e6:.2f} us a key"
        yield Row(f"range of {count:,} keys at the head", _time(head), each)
        ratio = f"{old / head:.2f}x the head"
        yield Row(f"range of {count:,} keys at an old revision", _time(old), ratio)


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:>9,.1f} us" if seconds < 0.01 else f"{seconds * 1e3:>9,.1f} ms"


# -- watching ------------------------------------------------------------------------------------


def watch_rows(size: Size) -> Iterator[Row]:
    """What one put costs with watchers of its key, each receiving, and with watchers of other keys."""
    first = 0.0
    for count in size.watchers:
        puts = max(20, 20_000 // count)
        seconds = trio.run(_fan_out, count, puts)
        yield Row(
            f"put to {count:,} matching watchers",
            _time(seconds),
            f"{seconds / count * 1e6:.2f} us a watcher",
        )
    for count in size.watchers:
        seconds = trio.run(_foreign, count)
        first = first or seconds
        yield Row(
            f"put beside {count:,} foreign watchers", _time(seconds), f"{seconds / first:.3f}x one"
        )


async def _fan_out(watchers: int, puts: int) -> float:
    async with open_store(codec=CODEC) as store, trio.open_nursery() as nursery:
        received = 0

        async def watch(*, task_status: trio.TaskStatus[None]) -> None:
            nonlocal received
            async with store.watch("key/", range_end=prefix_end("key/")) as opened:
                task_status.started()
                while True:
                    batch = await opened.receive()
                    received += len(batch.events)

        for _ in range(watchers):
            await nursery.start(watch)
        start = time.perf_counter()
        for number in range(puts):
            await store.put(f"key/{number % 100}", SMALL_VALUE, origin=USER)
        while received < watchers * puts:
            await trio.lowlevel.checkpoint()
        seconds = time.perf_counter() - start
        nursery.cancel_scope.cancel()
    return seconds / puts


async def _foreign(watchers: int) -> float:
    async with open_store(codec=CODEC) as store, trio.open_nursery() as nursery:

        async def watch(number: int, *, task_status: trio.TaskStatus[None]) -> None:
            prefix = f"foreign/{number:05}/"
            async with store.watch(prefix, range_end=prefix_end(prefix)) as opened:
                task_status.started()
                await opened.receive()

        for number in range(watchers):
            await nursery.start(watch, number)
        gc.collect()
        gc.disable()  # a collection costs what lives, and is not the event's
        best = float("inf")
        for _ in range(20):
            best = min(best, await _puts(store, 2_000))
        gc.enable()
        nursery.cancel_scope.cancel()
    return best


async def _puts(store: Store, count: int) -> float:
    start = time.perf_counter()
    for number in range(count):
        await store.put(f"key/{number % 100}", SMALL_VALUE, origin=USER)
    return (time.perf_counter() - start) / count


# -- keeping -------------------------------------------------------------------------------------


def memory_rows() -> Iterator[Row]:
    """Memory of the events kept, their values (128 B, each its own) included."""
    count = 100_000
    gc.collect()
    before = _resident()
    core = memory_core()
    for number in range(count):
        value = b"%0128d" % number
        core.commit(Txn(success=(Put(f"key/{number % STATE_KEYS}", value),)), USER, number)
    kept = _resident() - before
    yield Row("memory of 1,000 events kept", f"{kept / count * 1000 / 1024:>9,.0f} KiB")
    core.history.check()


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def open_rows(folder: Path, size: Size) -> Iterator[Row]:
    """A long log: opened at its head, read at random revisions."""
    path = folder / "long.wtl"
    journal = FileJournal(path, CODEC, Durability.NONE, Limits(), DISK)
    journal.create({})
    core = Core(journal, CODEC, Limits(window_revisions=1_000))
    start, slowest = time.perf_counter(), 0.0
    for number in range(size.events):
        began = time.perf_counter()
        key = f"key/{number * 7919 % STATE_KEYS}"
        core.commit(Txn(success=(Put(key, SMALL_VALUE),)), USER, number)
        slowest = max(slowest, time.perf_counter() - began)
    spent = time.perf_counter() - start
    journal.close()
    digest, head = journal.digest, core.history.head
    disk = sum(file.stat().st_size for file in path.iterdir())
    yield Row(
        f"write {size.events:,} events",
        f"{spent:>9,.1f} s",
        f"longest commit {slowest * 1e3:.0f} ms",
    )
    yield Row("  on the disk", f"{disk / 1e6:>9,.0f} MB")
    seconds = trio.run(_open, path, digest)
    yield Row("open it at its head", f"{seconds:>9,.2f} s")
    log = read_log(path, CODEC)
    times: list[float] = []
    for revision in random.Random(7).sample(range(2, head), 10):  # noqa: S311
        start = time.perf_counter()
        assert log.state(revision)
        times.append(time.perf_counter() - start)
    figure = f"{sum(times) / len(times):>9,.2f} s"
    yield Row("state at 10 random revisions, mean", figure, f"longest {max(times):.2f} s")
    start = time.perf_counter()
    assert log.verify().digest == digest
    yield Row("verify all of it", f"{time.perf_counter() - start:>9,.2f} s")


async def _open(path: Path, digest: str) -> float:
    start = time.perf_counter()
    async with open_store(path, codec=CODEC, resume=True) as store:
        seconds = time.perf_counter() - start
        assert store.digest == digest
    return seconds


GROUPS = ("append", "range", "watch", "memory", "open")


def rows(folder: Path, size: Size, groups: list[str]) -> Iterator[Row]:
    """The table, line by line."""
    made: dict[str, Callable[[], Iterator[Row]]] = {
        "append": lambda: append_rows(folder, size),
        "range": lambda: range_rows(size),
        "watch": lambda: watch_rows(size),
        "memory": memory_rows,
        "open": lambda: open_rows(folder, size),
    }
    for group in groups:
        yield from made[group]()


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description=__doc__)
    parser.add_argument("--size", choices=list(SIZES), default="small")
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to be measured")
    parser.add_argument("groups", nargs="*", default=list(GROUPS), help=", ".join(GROUPS))
    options = parser.parse_args()
    print(*(f"{name}: {value}" for name, value in (machine() | versions()).items()), sep=", ")
    print(f"values of {len(VALUE)} B where appended, {len(SMALL_VALUE)} B elsewhere\n")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for row in rows(Path(folder), SIZES[options.size], options.groups):
            print(f"{row.name:<42}{row.figure:<46}{row.ratio}", flush=True)


if __name__ == "__main__":
    main()
