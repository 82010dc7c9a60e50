"""What comes back from a damaged log: everything that was acknowledged, or a clear error; nothing in silence."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from zlib import crc32

import msgpack
import pytest

from store import (
    Durability,
    Event,
    FutureRevision,
    Limits,
    LogCorrupt,
    Origin,
    Put,
    Txn,
    UnsupportedVersion,
    open_store,
    read_log,
)
from store.core import Core
from store.encoding import EVENT_SCHEMA, Digest
from store.filelog import FileJournal
from store.frames import MAGIC, Scanner, frame
from store.segments import Head, head_payload
from tests.store.memory_layer import MemoryLayer
from tests.store.support import CODEC, USER, as_state, fold

RUN = Path("run.wtl")
ONE = RUN / "00000001.seg"


def write(
    layer: MemoryLayer,
    limits: Limits,
    *,
    close: bool = False,
    durability: Durability = Durability.BUFFERED,
) -> list[tuple[int, int]]:
    """A small log of every kind of record; returns (segment, size of it) after each revision."""
    journal = FileJournal(RUN, CODEC, durability, limits, layer)
    journal.create({"seed": 7})
    core = Core(journal, CODEC, limits)
    marks = [(1, len(layer.files[ONE]))]

    def mark() -> None:
        number = journal.statistics().segments
        marks.append((number, len(layer.files[RUN / f"{number:08}.seg"])))

    core.grant(10, 5, 0)
    for n in range(4):
        puts = (Put(f"k{n % 2}", "v" * n, lease=5), Put("x", n))
        core.commit(Txn(success=puts), Origin("kubelet/a", str(n), (n, "timer:t")), n)
        mark()
    core.compact(3)
    core.revoke(5, USER, 5)
    mark()
    if close:
        journal.close()
    return marks


def recovered(layer: MemoryLayer, limits: Limits) -> tuple[Core, FileJournal]:
    journal = FileJournal(RUN, CODEC, Durability.BUFFERED, limits, layer)
    core = Core(journal, CODEC, limits)
    try:
        for entry in journal.recover(None):
            core.restore(entry, 0)
    except BaseException:
        journal.abandon()
        raise
    return core, journal


def check_usable(layer: MemoryLayer, limits: Limits, events: list[Event]) -> None:
    """Recover, check against the events, write more, and find that in order, twice."""
    expected = list(events)
    for n in range(2):
        core, journal = recovered(layer, limits)
        core.check()
        assert list(core.events(0, None)) == expected
        assert core.history.head == (expected[-1].revision if expected else 1)
        core.commit(Txn(success=(Put("new", n),)), USER, 9)
        expected += core.events(core.history.head, None)
        digest = journal.digest
        layer = layer.crashed()
        verified = read_log(RUN, CODEC, layer=layer).verify()
        assert (len(expected), digest, None) == (
            verified.events,
            verified.digest,
            verified.torn,
        )


LIMITS = {"one segment": Limits(), "several segments": Limits(segment_bytes=260)}


@pytest.fixture(params=LIMITS)
def limits(request: pytest.FixtureRequest) -> Limits:
    return LIMITS[request.param]


def test_truncated_at_every_byte(limits: Limits) -> None:
    """A log cut anywhere in its last segment holds exactly the revisions that were whole by then, and can be continued."""
    whole = MemoryLayer()
    marks = write(whole, limits)
    events = list(read_log(RUN, CODEC, layer=whole).events())
    last = max(path for path in whole.files if path.suffix == ".seg")
    number = int(last.stem)
    head_end = next(Scanner("", bytes(whole.files[last]), True, 1 << 20).frames()).end
    for size in range(len(whole.files[last])):
        layer = whole.crashed()
        del layer.files[last][size:]
        if number == 1 and size < head_end:
            with pytest.raises(LogCorrupt, match="header"):
                read_log(RUN, CODEC, layer=layer)
            with pytest.raises(LogCorrupt):
                recovered(layer, limits)
            continue
        survivors = [
            revision for revision, mark in enumerate(marks, start=1) if mark <= (number, size)
        ]
        expected = [event for event in events if event.revision <= max(survivors)]
        log = read_log(RUN, CODEC, layer=layer)
        verified = log.verify()
        assert expected == list(log.events())
        assert (max(survivors), False) == (verified.head, verified.closed)
        if verified.torn is not None:
            assert (last.name, size) == (
                verified.torn.segment,
                verified.torn.offset + verified.torn.length,
            )
        check_usable(layer, limits, expected)


def test_every_byte_flipped(limits: Limits) -> None:
    """No damage goes unnoticed: the segment and an offset not behind the damage are named, and nothing is written."""
    whole = MemoryLayer()
    write(whole, limits, close=True)
    for path in [path for path in whole.files if path.suffix == ".seg"]:
        for position in range(len(whole.files[path])):
            for flip in (0x01, 0x80, 0xFF):
                layer = whole.crashed()
                layer.files[path][position] ^= flip
                before = {name: bytes(data) for name, data in layer.files.items()}
                with pytest.raises((LogCorrupt, UnsupportedVersion)) as caught:
                    read_log(RUN, CODEC, layer=layer).verify()
                if isinstance(caught.value, LogCorrupt):
                    assert path.name == caught.value.segment
                    assert caught.value.offset <= position
                with pytest.raises((LogCorrupt, UnsupportedVersion)):
                    recovered(layer, limits)
                assert before == layer.files


def test_sectors_that_were_never_written_are_a_torn_tail() -> None:
    """After a loss of power the end may read as zeros: whole, or in one sector of the last record."""
    layer = MemoryLayer()
    journal = FileJournal(RUN, CODEC, Durability.BUFFERED, Limits(), layer)
    journal.create({})
    core = Core(journal, CODEC, Limits())
    core.commit(Txn(success=(Put("a", "kept"),)), USER, 1)
    start = len(layer.files[ONE])
    core.commit(Txn(success=(Put("b", "lost" * 500),)), USER, 2)
    end = len(layer.files[ONE])
    edges = [start, *range(start - start % 512 + 512, end, 512), end]
    for first, stop in pairwise(edges):
        for zeroed_to in (stop, end):
            damaged = layer.crashed()
            damaged.files[ONE][first:zeroed_to] = bytes(zeroed_to - first)
            verified = read_log(RUN, CODEC, layer=damaged).verify()
            assert verified.torn is not None
            assert (2, start, end - start) == (
                verified.head,
                verified.torn.offset,
                verified.torn.length,
            )
    padded = layer.crashed()
    padded.files[ONE] += bytes(4096)
    assert read_log(RUN, CODEC, layer=padded).verify().head == 3


def test_a_torn_record_with_an_intact_one_after_it_is_damage() -> None:
    """Then what is torn had been followed by more, so it may have been acknowledged."""
    layer = MemoryLayer()
    marks = write(layer, Limits())
    start, stop = marks[2][1], marks[3][1]
    layer.files[ONE][start:stop] = bytes(stop - start)
    with pytest.raises(LogCorrupt, match="intact record follows") as caught:
        read_log(RUN, CODEC, layer=layer).verify()

    assert (ONE.name, start) == (caught.value.segment, caught.value.offset)


def test_only_the_last_segment_may_be_torn() -> None:
    """Others were whole before the next was begun."""
    layer = MemoryLayer()
    write(layer, LIMITS["several segments"])
    del layer.files[ONE][-5:]
    with pytest.raises(LogCorrupt, match="other segments follow"):
        read_log(RUN, CODEC, layer=layer).verify()


def test_segments_missing_swapped_or_shortened() -> None:
    """Each segment says where it carries on, so none can be lost without notice."""
    whole = MemoryLayer()
    write(whole, LIMITS["several segments"])
    two, three = RUN / "00000002.seg", RUN / "00000003.seg"
    missing, swapped, shortened = whole.crashed(), whole.crashed(), whole.crashed()
    del missing.files[two]
    swapped.files[two], swapped.files[three] = swapped.files[three], swapped.files[two]
    records = list(Scanner("", bytes(shortened.files[two]), True, 1 << 20).frames())
    del shortened.files[two][records[-1].offset :]

    for layer, what in (
        (missing, "00000002.seg at offset 0: the segment is missing"),
        (swapped, "this is segment 3"),
        (shortened, "00000003.seg"),
    ):
        with pytest.raises(LogCorrupt, match=what):
            read_log(RUN, CODEC, layer=layer).verify()


def test_a_segment_of_another_run() -> None:
    """It has the right number and carries on at the right revision, but not from these events: the digest tells."""
    limits = LIMITS["several segments"]
    logs: list[MemoryLayer] = []
    for value in ("mine", "more"):
        layer = MemoryLayer()
        journal = FileJournal(RUN, CODEC, Durability.BUFFERED, limits, layer)
        journal.create({})
        core = Core(journal, CODEC, limits)
        for n in range(6):
            core.commit(Txn(success=(Put("a", value * (n + 1)),)), USER, n)
        logs.append(layer)
    two = RUN / "00000002.seg"
    assert logs[0].files.keys() == logs[1].files.keys()
    logs[0].files[two] = logs[1].files[two]
    with pytest.raises(LogCorrupt, match="digest") as caught:
        read_log(RUN, CODEC, layer=logs[0]).verify()

    assert (two.name, len(MAGIC)) == (caught.value.segment, caught.value.offset)


def test_a_torn_segment_that_had_just_been_begun(tmp_path: Path) -> None:
    """Its head is written anew."""
    layer = MemoryLayer()
    limits = LIMITS["several segments"]
    write(layer, limits)
    events = list(read_log(RUN, CODEC, layer=layer).events())
    last = max(path for path in layer.files if path.suffix == ".seg")
    following = RUN / f"{int(last.stem) + 1:08}.seg"
    for begun in (b"", MAGIC[:3], MAGIC, MAGIC + b"\x10\0"):
        damaged = layer.crashed()
        damaged.files[following] = bytearray(begun)
        check_usable(damaged, limits, events)


def future_log(magic: bytes, schema: int) -> MemoryLayer:
    head = Head(number=1, revision=1, digest=Digest().value, schema=schema, header={})
    layer = MemoryLayer()
    layer.make_directory(RUN)
    layer.files[ONE] = bytearray(magic + frame(head_payload(head)))
    return layer


@pytest.mark.parametrize(
    ("layer", "found"),
    [
        (future_log(b"wtlog002", EVENT_SCHEMA), "format 2"),
        (future_log(MAGIC, EVENT_SCHEMA + 1), f"event schema {EVENT_SCHEMA + 1}"),
    ],
)
def test_a_log_of_a_future_version(layer: MemoryLayer, found: str) -> None:
    """It is not called damaged: the error says what it is and what can be read."""
    with pytest.raises(UnsupportedVersion, match="use the version that wrote it") as caught:
        read_log(RUN, CODEC, layer=layer)
    with pytest.raises(UnsupportedVersion):
        recovered(layer, Limits())

    assert found == caught.value.found


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"?",
        b"E",
        b"E" + bytes(16),
        b"E" + (2).to_bytes(8, "little") + bytes(8) + b"\xff\0\0\0",
        b"E" + (2).to_bytes(8, "little") + bytes(8) + b"\x01\0\0\0\x90",
        b"M" + msgpack.packb(["unheard of", 1]),
        b"M\xc1",
        b"Z" + msgpack.packb({}),
        b"H" + msgpack.packb([]),
    ],
)
def test_records_that_make_no_sense(payload: bytes) -> None:
    """A checksum that fits does not make a record: it is LogCorrupt, at its offset."""
    layer = future_log(MAGIC, EVENT_SCHEMA)
    offset = len(layer.files[ONE])
    layer.files[ONE] += frame(payload)
    with pytest.raises(LogCorrupt) as caught:
        list(read_log(RUN, CODEC, layer=layer).events())

    assert offset == caught.value.offset


def test_a_length_that_cannot_be_is_damage() -> None:
    """A frame longer than allowed is not taken for one cut off."""
    layer = future_log(MAGIC, EVENT_SCHEMA)
    lengths = (1 << 31).to_bytes(4, "little") + bytes(4)
    layer.files[ONE] += lengths + crc32(lengths).to_bytes(4, "little") + b"x" * 100
    verified = read_log(RUN, CODEC, layer=layer).verify()

    assert verified.torn is not None, "it ends early whatever the limit, so it is a torn tail"


def test_state_at_any_revision_is_the_fold() -> None:
    """In the order of keys; the future is refused."""
    layer = MemoryLayer()
    write(layer, LIMITS["several segments"], close=True)
    log = read_log(RUN, CODEC, layer=layer)
    events = list(log.events())
    for revision in range(1, 7):
        state = log.state(revision)
        assert fold(events, revision) == as_state(list(state.values()))
        assert list(state) == sorted(state)
    assert log.state() == log.state(6)
    with pytest.raises(FutureRevision):
        log.state(7)


def test_events_between_revisions() -> None:
    """Both ends included; segments before the first are not read."""
    layer = MemoryLayer()
    write(layer, LIMITS["several segments"], close=True)
    log = read_log(RUN, CODEC, layer=layer)
    everything = list(log.events())
    for first in range(8):
        for last in range(first, 8):
            expected = [event for event in everything if first <= event.revision <= last]
            assert expected == list(log.events(first, last))
    layer.files[ONE][40] ^= 1
    assert list(log.events(6)) == [event for event in everything if event.revision >= 6]


async def test_a_log_is_read_while_it_is_written(tmp_path: Path) -> None:
    """A reader sees what has been written by then, and says that the log is not closed."""
    path = tmp_path / "run.wtl"
    async with open_store(path, codec=CODEC, limits=Limits(segment_bytes=300)) as store:
        log = read_log(path, CODEC)
        for n in range(1, 30):
            await store.put("a", n, origin=USER)
            verified = log.verify()
            assert (n, n + 1, store.digest, False) == (
                verified.events,
                verified.head,
                verified.digest,
                verified.closed,
            )
        assert store.statistics().log_segments > 3
    assert log.verify().closed


GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", ["version-1", "version-1-fsync"])
def test_the_golden_log_of_version_1(name: str) -> None:
    """Written once by `write` above, in several segments; whatever changes later must still read it so."""
    log = read_log(GOLDEN / name, CODEC)
    verified = log.verify()
    fresh = MemoryLayer()
    write(fresh, LIMITS["several segments"], close=True)

    assert log.header == {"seed": 7}
    assert (10, 6, True) == (verified.events, verified.head, verified.closed)
    assert verified.digest == GOLDEN_DIGEST
    assert list(log.events()) == list(read_log(RUN, CODEC, layer=fresh).events())


GOLDEN_DIGEST = "3203dd208ba400049e196ef14617f9ed"
