"""Snapshots and dropped segments: what is read is what was written, wherever reading begins."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import (
    ALL_KEYS,
    Compacted,
    Delete,
    Durability,
    EmbeddedStore,
    Event,
    Get,
    InvalidRequest,
    Keep,
    Limits,
    LogCorrupt,
    Op,
    Put,
    Txn,
    UnsupportedVersion,
    open_store,
    read_log,
    remove_log,
)
from store.core import Core
from store.filelog import FileJournal
from store.files import DISK
from store.frames import Scanner
from store.journal import MemoryJournal
from store.names import snapshot_numbers
from store.segments import LogFiles
from store.snapshot_file import bases, read_snapshot
from tests.store.memory_layer import MemoryLayer
from tests.store.support import CODEC, USER, JsonCodec, as_state, brief, events_until, fold

RUN = Path("run.wtl")
LIMITS = Limits(segment_bytes=400, snapshot_bytes=1, window_revisions=3)

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abc"), st.integers(0, 9)),
        st.tuples(st.just("delete"), st.sampled_from("abc"), st.just(0)),
        st.tuples(st.just("grant"), st.just(""), st.integers(1, 4)),
        st.tuples(st.just("revoke"), st.just(""), st.integers(1, 4)),
        st.tuples(st.just("attach"), st.sampled_from("abc"), st.integers(1, 4)),
    ),
    max_size=60,
)


def follow(core: Core, kind: str, key: str, number: int, now_ns: int) -> None:
    """One step, if it is possible."""
    if kind == "grant" and number not in core.leases:
        core.grant(60, number, now_ns)
    elif kind == "revoke" and number in core.leases:
        core.revoke(number, USER, now_ns)
    elif kind in ("put", "delete") or (kind == "attach" and number in core.leases):
        operation: Op = Put(key, "x" * 50, lease=number if kind == "attach" else 0)
        if kind == "delete":
            operation = Delete(key)
        core.commit(Txn(success=(operation, Put("n", number))), USER, now_ns)


@settings(deadline=None)
@given(steps=STEPS, keep=st.sampled_from([Keep.all(), Keep.revisions(4), Keep.duration(6e-9)]))
def test_a_recovered_store_is_the_one_that_was_written(
    steps: list[tuple[str, str, int]], keep: Keep
) -> None:
    """Whatever was snapshot and dropped: states, events, leases and digest are those of a store that never stopped."""
    layer = MemoryLayer()
    journal = FileJournal(RUN, CODEC, Durability.NONE, LIMITS, layer, keep)
    journal.create({"seed": 7})
    core = Core(journal, CODEC, LIMITS)
    model = Core(MemoryJournal(CODEC), CODEC, Limits())
    for now_ns, (kind, key, number) in enumerate(steps):
        follow(core, kind, key, number, now_ns)
        follow(model, kind, key, number, now_ns)
    check_same(core, model)
    journal.close()
    log = read_log(RUN, CODEC, layer=layer)
    verified = log.verify()
    events = list(model.events(0, None))
    assert (len(events), model.history.head) == (verified.events, verified.head)
    assert (model.journal.digest, {"seed": 7}) == (verified.digest, log.header)
    for revision in range(journal.oldest, model.history.head + 1):
        assert fold(events, revision) == as_state(list(log.state(revision).values()))

    again = FileJournal(RUN, CODEC, Durability.NONE, LIMITS, layer.crashed(), keep)
    recovered = Core(again, CODEC, LIMITS)
    for entry in again.recover(None):
        recovered.restore(entry, 0)
    check_same(recovered, model)


def check_same(core: Core, model: Core) -> None:
    """All that can be asked."""
    core.check()
    events = list(model.events(0, None))
    assert (model.history.head, model.journal.digest) == (core.history.head, core.journal.digest)
    assert model.leases.ids() == core.leases.ids()
    for lease in model.leases.ids():
        assert model.leases.keys(lease) == core.leases.keys(lease)
    assert [event for event in events if event.revision >= core.oldest] == list(
        core.events(0, None)
    )
    for revision in range(core.oldest, core.history.head + 1):
        found = core.range(Get(*ALL_KEYS, revision=revision)).kvs
        assert fold(events, revision) == as_state(list(found))
    if core.oldest > 2:
        with pytest.raises(Compacted):
            core.range(Get(*ALL_KEYS, revision=core.oldest - 1))
    for event in events:
        if event.revision > max(core.oldest, core.compacted):
            assert model.before(event) == core.before(event)


async def fill(path: Path, keep: Keep, count: int = 200) -> list[Event]:
    """A log of several segments."""
    async with open_store(path, codec=CODEC, limits=LIMITS, keep=keep, header={"seed": 7}) as store:
        async with store.watch(*ALL_KEYS[:1], range_end=ALL_KEYS[1], start_revision=1) as watch:
            for number in range(count):
                await store.put(f"k{number % 7}", number, origin=USER)
                await watch.receive()
        return list(store.history())


async def test_dropped_segments_bound_the_disk(tmp_path: Path) -> None:
    """The log stays short; reads, watches, history, verify and resume begin at the oldest revision kept, and say so."""
    path = tmp_path / "run.wtl"
    await fill(path, Keep.revisions(20))
    assert len(list(path.iterdir())) < 40
    async with open_store(
        path, codec=CODEC, limits=LIMITS, resume=True, keep=Keep.revisions(20)
    ) as store:
        assert (201, 200) == (store.head, read_log(path, CODEC).verify().events)
        oldest = store.compacted
        assert 100 < oldest <= 181
        with pytest.raises(Compacted):
            await store.range("k1", revision=oldest - 1)
        async with store.watch("\0", range_end="\0", start_revision=oldest - 1) as watch:
            with pytest.raises(Compacted):
                await watch.receive()
        async with store.watch("\0", range_end="\0", start_revision=oldest) as watch:
            events = await events_until(watch, 201)
        assert list(store.history()) == events
        assert brief(events)[0][3] == oldest
    log = read_log(path, CODEC)
    assert list(log.events()) == events
    assert {"seed": 7} == log.header
    with pytest.raises(Compacted):
        log.state(oldest - 1)
    remove_log(path)
    assert not path.exists()


class CountingCodec(JsonCodec):
    """Counts what it decodes."""

    def __init__(self) -> None:
        self.decoded = 0

    def decode(self, data: bytes) -> object:
        self.decoded += 1
        return super().decode(data)


async def test_a_state_is_read_from_the_nearest_snapshot(tmp_path: Path) -> None:
    """No value is decoded but those that are returned, and damage of what is far from the snapshot and the revision is not met."""
    path = tmp_path / "run.wtl"
    events = await fill(path, Keep.all())
    segments = sorted(path.glob("*.seg"))
    for damaged in (*segments[:3], *segments[-3:]):
        data = bytearray(damaged.read_bytes())
        data[-20] ^= 1
        damaged.write_bytes(data)
    codec = CountingCodec()
    log = read_log(path, codec)

    for revision in (90, 120, 150):
        codec.decoded = 0
        expected = fold(events, revision)
        assert expected == as_state(list(log.state(revision).values()))
        assert len(expected) == 7 == codec.decoded
        one = log.state(revision, prefix="k3")
        assert {"k3": expected["k3"]} == as_state(list(one.values()))
        assert 8 == codec.decoded
    with pytest.raises(LogCorrupt):
        log.verify()


async def test_the_head_of_a_log_is_read_from_its_last_segment(tmp_path: Path) -> None:
    """Also where that has nothing but its head record, or nothing yet."""
    path = tmp_path / "run.wtl"
    events = await fill(path, Keep.all())
    last = max(path.glob("*.seg"))
    log = read_log(path, CODEC)
    assert events[-1].revision == log.head()
    first = Scanner("", last.read_bytes(), True, 1 << 20).frames()
    last.write_bytes(last.read_bytes()[: next(first).end])
    before = log.head()
    last.write_bytes(b"")

    assert before == log.head() == log.verify().head
    async with open_store(tmp_path / "new.wtl", codec=CODEC):
        assert 1 == read_log(tmp_path / "new.wtl", CODEC).head()


async def test_a_reader_says_what_was_dropped(tmp_path: Path) -> None:
    """Who asks for it is refused at once; who asks for all gets all that is kept."""
    whole, short = tmp_path / "whole.wtl", tmp_path / "short.wtl"
    events = await fill(whole, Keep.all())
    await fill(short, Keep.revisions(20))
    log = read_log(short, CODEC)
    oldest = log.oldest
    kept = [event for event in events if event.revision >= oldest]

    assert (1, 1) == (read_log(whole, CODEC).oldest, read_log(whole, CODEC).verify().oldest)
    assert 100 < oldest == log.verify().oldest
    assert brief(kept) == brief(list(log.events())) == brief(list(log.events(oldest)))
    assert brief(kept[:1]) == brief(list(log.events(0, oldest)))
    for asked in ((1, None), (oldest - 1, None), (0, oldest - 1), (oldest, 5)):
        with pytest.raises(Compacted, match=f"the oldest that can be read is {oldest}"):
            log.events(*asked)
    with pytest.raises(Compacted):
        log.state(oldest - 1)
    assert fold(events, oldest) == as_state(list(log.state(oldest).values()))


async def test_a_damaged_snapshot_is_passed_over(tmp_path: Path) -> None:
    """As long as the segments before it are there; else the log refuses to open, naming it."""
    whole, short = tmp_path / "whole.wtl", tmp_path / "short.wtl"
    events = await fill(whole, Keep.all())
    await fill(short, Keep.revisions(20))
    for path in (whole, short):
        for file in path.glob("*.snap"):
            data = bytearray(file.read_bytes())
            data[len(data) // 2] ^= 1
            file.write_bytes(data)
    async with open_store(whole, codec=CODEC, limits=LIMITS, resume=True) as store:
        assert events == list(store.history())
    with pytest.raises(LogCorrupt, match="snap"):
        read_log(short, CODEC)
    with pytest.raises(LogCorrupt, match="snap"):
        async with open_store(short, codec=CODEC, resume=True):
            pass


async def test_opening_does_not_read_what_a_snapshot_holds(tmp_path: Path) -> None:
    """Damage far back in the log is found by whoever reads it, and does not keep the log from being opened at its head."""
    path = tmp_path / "run.wtl"
    await fill(path, Keep.all())
    first = path / "00000001.seg"
    data = bytearray(first.read_bytes())
    data[-20] ^= 1
    first.write_bytes(data)
    async with open_store(path, codec=CODEC, limits=LIMITS, resume=True) as store:
        assert store.head == 201
        assert (await store.range("k1")).count == 1
        with pytest.raises(LogCorrupt):
            list(store.history())
    with pytest.raises(LogCorrupt):
        read_log(path, CODEC).verify()


@pytest.mark.parametrize(
    ("text", "keep"),
    [
        ("all", Keep.all()),
        ("10000", Keep.revisions(10_000)),
        ("90s", Keep.duration(90)),
        ("2h", Keep.duration(7200)),
        ("1.5m", Keep.duration(90)),
        ("0.000000006s", Keep.duration(6e-9)),
    ],
)
def test_policies_are_read_from_text(text: str, keep: Keep) -> None:
    """As the command line takes them, and as they write themselves."""
    assert keep == Keep.parse(text) == Keep.parse(str(keep))


@pytest.mark.parametrize(
    "text", ["", "some", "-1", "0", "0s", "3w", "1e3", "2.5", "1.s", "9" * 20, "9" * 400 + "d"]
)
def test_policies_that_make_no_sense(text: str) -> None:
    """They are refused by name."""
    with pytest.raises(InvalidRequest, match="keep"):
        Keep.parse(text)


async def test_nothing_is_dropped_before_a_snapshot_that_a_crash_cut_short(tmp_path: Path) -> None:
    """A process killed while it wrote a snapshot leaves a whole head and half a body; a later process that drops segments
    does not begin the log there. (Found by kill -9: the log would not open any more.)
    """
    path = tmp_path / "run.wtl"
    await fill(path, Keep.all())
    for file in path.glob("*.snap"):
        file.write_bytes(file.read_bytes()[:-1])
    async with open_store(
        path, codec=CODEC, limits=LIMITS, resume=True, keep=Keep.revisions(20)
    ) as store:
        for number in range(8):
            await store.put(f"k{number % 7}", number, origin=USER)
        head, digest = store.head, store.digest
    log = read_log(path, CODEC)
    verified = log.verify()

    assert (head, digest) == (verified.head, verified.digest)
    assert log.state(head)


async def test_a_snapshot_is_written_in_pieces(tmp_path: Path) -> None:
    """Nobody waits for all of a large state; what is there in the end is the state of the moment in which it was begun."""
    path = tmp_path / "run.wtl"
    limits = Limits(segment_bytes=40_000, snapshot_bytes=1, snapshot_first_bytes=1_000)
    async with open_store(path, codec=CODEC, limits=limits) as store:
        for number in range(400):
            await store.put(f"k{number:03d}", "x" * 200, origin=USER)
        large = store.head
        written = [snapshot.stat().st_size for snapshot in path.glob("*.snap")]
        for number in range(400):
            await store.put(f"k{number:03d}", "y" * 200, origin=USER)
        events = list(store.history())
        await store.delete("k001", origin=USER)
    assert written, "the log has several segments, and a snapshot before some"
    codec = CountingCodec()
    log = read_log(path, codec)
    begun = [base.revision for base in bases(LogFiles(path, limits.frame_bytes))]
    assert len(begun) >= 2, f"{begun}: the second is begun when the log has grown by the first"
    for revision in (*begun, large):
        codec.decoded = 0
        expected = fold(events, revision)
        assert expected == as_state(list(log.state(revision).values()))
        assert codec.decoded <= len(expected), (
            "what is in the snapshot is not read from the log as well"
        )


async def test_a_snapshot_that_is_not_finished_is_removed_at_the_end(tmp_path: Path) -> None:
    """It would be passed over by everybody who opens the log."""
    path = tmp_path / "run.wtl"
    limits = Limits(segment_bytes=4_000, snapshot_bytes=1, snapshot_first_bytes=1)
    async with open_store(path, codec=CODEC, limits=limits) as store:
        number = 0
        while not list(path.glob("*.snap")):
            await store.put(f"k{number}", "x" * 500, origin=USER)
            number += 1
    assert not list(path.glob("*.snap"))
    async with open_store(path, codec=CODEC, limits=limits, resume=True) as store:
        assert number == len((await store.range("k", range_end="l")).kvs)


PIECES = Limits(segment_bytes=4_000, snapshot_bytes=1, snapshot_first_bytes=1)


async def begun(store: EmbeddedStore, path: Path) -> int:
    """Put keys of half a kilobyte until a snapshot is begun; returns how many."""
    number = 0
    while not snapshot_numbers(DISK, path):
        await store.put(f"k{number:04d}", "x" * 500, origin=USER)
        number += 1
    return number


async def test_a_kill_leaves_no_half_a_snapshot(tmp_path: Path) -> None:
    """The next process removes it, and retention does without it."""
    path, copy = tmp_path / "run.wtl", tmp_path / "killed.wtl"
    async with open_store(path, codec=CODEC, limits=PIECES) as store:
        number = await begun(store, path)
        shutil.copytree(path, copy)
    assert list(copy.glob("*.snap"))
    async with open_store(
        copy, codec=CODEC, limits=PIECES, resume=True, keep=Keep.revisions(5)
    ) as store:
        assert not list(copy.glob("*.snap"))
        for more in range(200):
            await store.put(f"k{more % number:04d}", "y" * 500, origin=USER)
        head = store.head
    assert head - 60 < read_log(copy, CODEC).oldest <= head - 5, "history is dropped as before"


async def test_the_end_of_a_log_begins_no_snapshot(tmp_path: Path) -> None:
    """Its last record may begin a segment."""
    for count in range(1, 40):
        path = tmp_path / f"{count}.wtl"
        async with open_store(path, codec=CODEC, limits=PIECES) as store:
            for number in range(count):
                await store.put(f"k{number}", "x" * 150, origin=USER)
        numbers = [base.number for base in bases(LogFiles(path, PIECES.frame_bytes))]
        assert numbers == snapshot_numbers(DISK, path)
        for base in numbers:
            assert read_snapshot(LogFiles(path, PIECES.frame_bytes), base) is not None


def test_a_full_disk_puts_a_snapshot_off_by_a_segment() -> None:
    """It costs the snapshot, and that is tried again as soon as the next segment begins."""
    layer = MemoryLayer()
    journal = FileJournal(RUN, CODEC, Durability.NONE, PIECES, layer)
    journal.create({})
    core = Core(journal, CODEC, PIECES)

    def put(number: int) -> None:
        core.commit(Txn(success=(Put(f"k{number}", "x" * 500),)), USER, number)

    number = 0
    while not journal._snapshots.writing:
        put(number := number + 1)
    layer.write_errno = errno.ENOSPC
    put(number := number + 1)
    assert not journal._snapshots.writing, "it is given up, and nobody else hears of it"
    layer.write_errno = 0
    segment = core.statistics().log_segments
    while not journal._snapshots.writing:
        put(number := number + 1)
    assert core.statistics().log_segments <= segment + 1


def test_a_value_that_was_changed_loses_no_key_of_a_snapshot() -> None:
    """Whoever appends is told, and the snapshot is none."""
    layer = MemoryLayer()
    journal = FileJournal(RUN, CODEC, Durability.NONE, PIECES, layer)
    journal.create({})
    core = Core(journal, CODEC, PIECES)
    value: list[object] = ["x" * 500]
    core.commit(Txn(success=(Put("changed", value),)), USER, 0)
    value.append(object())
    with pytest.raises(TypeError):  # noqa: PT012 - one of them
        for number in range(100):
            core.commit(Txn(success=(Put(f"k{number}", "x" * 500),)), USER, number)
    core.check()
    assert not journal._snapshots.writing
    assert not snapshot_numbers(layer, RUN)


async def test_a_gap_between_segments_is_met_wherever_reading_begins(tmp_path: Path) -> None:
    """A segment that has lost its records and not its head: whoever reads across it is told."""
    path = tmp_path / "run.wtl"
    await fill(path, Keep.all())
    segments = sorted(path.glob("*.seg"))
    middle = segments[len(segments) // 2]
    log = read_log(path, CODEC)
    first = LogFiles(path, LIMITS.frame_bytes).head(len(segments) // 2)
    assert first is not None
    frames = Scanner("", middle.read_bytes(), True, 1 << 20).frames()
    middle.write_bytes(middle.read_bytes()[: next(frames).end])
    with pytest.raises(LogCorrupt, match="should be here"):
        list(log.events(first.revision + 1))


def test_a_log_that_begins_with_a_snapshot_of_another_format_is_refused(tmp_path: Path) -> None:
    """And not called damaged."""
    path = tmp_path / "run.wtl"
    path.mkdir()
    (path / "00000003.seg").write_bytes(b"")
    (path / "00000003.base").write_bytes(b"")
    (path / "00000003.snap").write_bytes(b"wtsnap01" + bytes(30))
    with pytest.raises(UnsupportedVersion, match="snapshot format 01"):
        list(read_log(path, CODEC).events())
