"""Snapshots: the state before a segment, so that opening a log and reading an old revision need not begin at its first event.

`00000005.snap` holds what segments 1 to 4 leave: every key's newest PUT, the events of the last revision (deletions too, for a watch that begins
there), the leases in force, and where the chain of revisions and digests stands. One is written only when the log has grown since the last by
that one's size: a log that rewrites what it has gets as many bytes of snapshots as of events at the most, one that only grows twice as many,
and no event is encoded for them more often than that. (Their bytes could be kept from when they were appended: a kilobyte for each key,
as much again as all that the store remembers.)

A snapshot can be made again from the segments, so one that is missing, incomplete or damaged is passed over, and reading begins further
back; unless the segments before it were dropped (store.retention): then the damage is an error. Dropping is decided by one empty file,
`00000005.base`: "the log begins with segment 5". It is made when the snapshot and all segments from 5 on are synced, whatever the durability, and
what is before it is removed after it is synced itself; so a crash at any point leaves a log that opens, and a segment that is missing without such a
mark is an error still (tests/store/test_crash.py).

    file    magic "wtsnap" and the version in two digits: 8 bytes; head; body
    head    length and crc-32, 4 bytes each; msgpack map: revision, digest, events, time
    body    length (8 bytes) and crc-32; msgpack map
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from struct import Struct
from typing import Final, TypeAlias, cast
from zlib import crc32

import attrs
import msgpack

from store.encoding import EVENT_SCHEMA, BadEncoding, Digest, decode_event, encode_event
from store.errors import Compacted, LogCorrupt
from store.files import AppendFile, FileLayer
from store.history import Commit
from store.journal import CompactedTo, LeaseEnded, LeaseGranted, Mark, Restored
from store.limits import Limits
from store.names import base_name, segment_name, snapshot_name, snapshot_numbers
from store.protocol import Codec
from store.records import EMPTY_REVISION, Event, Revision
from store.retention import Base, Keep
from store.segments import Chain, LogFiles

_MAGIC: Final = b"wtsnap01"
_HEAD: Final = Struct("<II")
_BODY: Final = Struct("<QI")
_HEAD_BYTES: Final = 4096
"""More than magic and head of any snapshot."""

_Fields: TypeAlias = dict[str, object]


@attrs.frozen(kw_only=True)
class Snapshot:
    """What one file holds; events still encoded."""

    number: int
    revision: int
    digest: bytes
    events: int
    time_ns: int
    body: Mapping[str, object]

    def chain(self) -> Chain:
        """The chain from here on."""
        return Chain(
            revision=Revision(self.revision), digest=Digest(self.digest), events=self.events
        )

    @property
    def header(self) -> Mapping[str, object]:
        """What stands in front of the log."""
        return cast("Mapping[str, object]", self.body["header"])

    @property
    def states(self) -> list[bytes]:
        """The newest PUT of every key."""
        return cast("list[bytes]", self.body["states"])

    @property
    def schema(self) -> int:
        """The version of the events' schema."""
        return cast("int", self.body["event"])

    @property
    def last(self) -> list[bytes]:
        """The events of the snapshot's own revision."""
        return cast("list[bytes]", self.body["last"])

    def decode(self, events: Sequence[bytes], codec: Codec) -> Commit:
        """Events of the snapshot. Raises LogCorrupt."""
        try:
            return tuple(decode_event(event, codec, self.schema) for event in events)
        except BadEncoding as error:
            raise LogCorrupt(snapshot_name(self.number), 0, str(error)) from error

    def restored(self, codec: Codec) -> Restored:
        """The snapshot as an entry of the journal."""
        return Restored(
            states=self.decode(self.states, codec),
            last=self.decode(self.last, codec),
            leases=tuple(cast("list[tuple[int, int]]", self.body["leases"])),
            next_lease=cast("int", self.body["next_lease"]),
            compacted=cast("int", self.body["compacted"]),
            time_ns=self.time_ns,
        )


# -- reading -------------------------------------------------------------------------------------


def read_snapshot(files: LogFiles, number: int) -> Snapshot | None:
    """The snapshot before segment `number`; None when it is missing, incomplete, damaged, or not what that segment continues."""
    path = files.path / snapshot_name(number)
    try:
        data = files.layer.read(path)
    except (FileNotFoundError, KeyError):
        return None
    fields = _head_of(data)
    if fields is None:
        return None
    start = len(_MAGIC) + _HEAD.size + _HEAD.unpack_from(data, len(_MAGIC))[0]
    body = data[start + _BODY.size :]
    if len(data) < start + _BODY.size or _BODY.unpack_from(data, start) != (len(body), crc32(body)):
        return None
    snapshot = Snapshot(
        number=number,
        revision=cast("int", fields["revision"]),
        digest=cast("bytes", fields["digest"]),
        events=cast("int", fields["events"]),
        time_ns=cast("int", fields["time_ns"]),
        body=cast("_Fields", msgpack.unpackb(body, use_list=True)),
    )
    head = files.head(number)
    if head is not None and (head.revision, head.digest) != (snapshot.revision, snapshot.digest):
        return None
    return snapshot


def _head_of(data: bytes) -> _Fields | None:
    start = len(_MAGIC) + _HEAD.size
    if not data.startswith(_MAGIC) or len(data) < start:
        return None
    length, checksum = _HEAD.unpack_from(data, len(_MAGIC))
    head = data[start : start + length]
    if crc32(head) != checksum or len(head) != length:
        return None
    return cast("_Fields", msgpack.unpackb(head))


def bases(files: LogFiles) -> list[Base]:
    """Where reading can begin, oldest first, from the heads of the snapshots alone."""
    found: list[Base] = []
    kept = dict.fromkeys(files.numbers())
    for number in snapshot_numbers(files.layer, files.path):
        fields = _head_of(files.layer.read(files.path / snapshot_name(number), _HEAD_BYTES))
        if fields is not None and number in kept:
            found.append(
                Base(number, cast("int", fields["revision"]), cast("int", fields["time_ns"]))
            )
    return found


def snapshot_at(files: LogFiles, revision: int | None) -> Snapshot | None:
    """The newest intact snapshot of `revision` or before (None: of all); None when reading begins with the first event.

    Raises Compacted when that revision was dropped, LogCorrupt when the snapshot that must be there is damaged.
    """
    numbers = files.numbers()
    found = bases(files)
    for base in reversed(found):
        if revision is None or base.revision <= revision:
            snapshot = read_snapshot(files, base.number)
            if snapshot is not None:
                return snapshot
    if numbers[0] == 1:
        return None
    oldest = first_snapshot(files)
    assert oldest is not None, "the log begins with a snapshot"
    assert revision is not None, "it would have been found"
    raise Compacted(revision, oldest.revision)


def first_snapshot(files: LogFiles) -> Snapshot | None:
    """What the log begins with when its first segments were dropped. Raises LogCorrupt."""
    first = files.numbers()[0]
    if first == 1:
        return None
    snapshot = read_snapshot(files, first)
    if snapshot is None:
        what = "the snapshot is damaged, and the segments before it were dropped"
        raise LogCorrupt(snapshot_name(first), 0, what)
    return snapshot


def oldest_revision(files: LogFiles) -> int:
    """The oldest revision that can be read. Raises LogMissing, LogCorrupt."""
    snapshot = first_snapshot(files)
    return EMPTY_REVISION if snapshot is None else snapshot.revision


def header_of(files: LogFiles) -> Mapping[str, object]:
    """What stands in front of the log. Raises LogMissing, LogCorrupt, UnsupportedVersion."""
    snapshot = first_snapshot(files)
    return files.header() if snapshot is None else snapshot.header


def chained_commits(files: LogFiles, codec: Codec, first: int) -> Iterator[Commit]:
    """The events of the first snapshot's own revision, if they are asked for: their segment was dropped."""
    snapshot = first_snapshot(files)
    if snapshot is not None and first <= snapshot.revision:
        yield snapshot.decode(snapshot.last, codec)


# -- writing -------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Snapshots:
    """Follows a log that is written, writes its snapshots, and drops what the policy does not keep."""

    path: Path
    layer: FileLayer
    limits: Limits
    keep: Keep
    codec: Codec
    header: Mapping[str, object] = attrs.field(factory=dict, init=False)
    found: list[Base] = attrs.field(factory=list, init=False)
    first: int = attrs.field(default=1, init=False)
    """The first segment that is kept."""
    oldest: int = attrs.field(default=1, init=False)
    """The oldest revision that can be read."""
    states: Callable[[], Iterable[Event]] = attrs.field(default=tuple, init=False)
    """The newest PUT of every key, as of the last revision that was appended."""
    _size: int = attrs.field(default=0, init=False)
    """Bytes of the states in the last snapshot."""
    _last: Sequence[bytes] = attrs.field(default=(), init=False)
    _leases: dict[int, int] = attrs.field(factory=dict, init=False)
    _next_lease: int = attrs.field(default=1, init=False)
    _compacted: int = attrs.field(default=0, init=False)
    _time_ns: int = attrs.field(default=0, init=False)
    _events: int = attrs.field(default=0, init=False)
    _since: int = attrs.field(default=0, init=False)
    """Bytes of log since the last snapshot."""

    def follow(self, commit: Commit, encoded: Sequence[bytes]) -> None:
        """Take the events of a commit, with their bytes."""
        for data in encoded:
            self._since += len(data)
        self._last = encoded
        self._events += len(encoded)
        self._time_ns = commit[0].time_ns

    def note(self, mark: Mark) -> None:
        """Take a mark; counts the ids of leases as replaying the log does (store.leases, grant)."""
        match mark:
            case LeaseGranted(lease, ttl_seconds):
                self._leases[lease] = ttl_seconds
                self._next_lease += lease == self._next_lease
            case LeaseEnded(lease):
                self._leases.pop(lease, None)
            case CompactedTo(revision):
                self._compacted = revision

    def load(self, snapshot: Snapshot, restored: Restored) -> None:
        """Begin from a snapshot that is in the log."""
        self._size = sum(map(len, snapshot.states))
        self._last = snapshot.last
        self._leases = dict(restored.leases)
        self._next_lease, self._compacted = restored.next_lease, restored.compacted
        self._time_ns, self._events = snapshot.time_ns, snapshot.events

    def segment_begun(self, number: int, revision: int, digest: bytes) -> None:
        """Segment `number` has begun: write what is before it, if it is time, and drop what need not be kept.

        Raises OSError; a full disk only costs the snapshot.
        """
        if self._since < max(self.limits.snapshot_bytes, self._size) or not self._last:
            return
        path = self.path / snapshot_name(number)
        if not self._write(path, revision, digest):
            return
        self.found.append(Base(number, revision, self._time_ns))
        self._since = 0
        base = self.keep.base(self.found, revision, self._time_ns)
        if base is None or base.number <= self.first:
            return
        if read_snapshot(LogFiles(self.path, self.limits.frame_bytes, self.layer), base.number):
            self._drop(base, number)
        else:
            # A crash cut it short, and nothing looked at it since: the log must not begin with it
            # (test_nothing_is_dropped_before_a_snapshot_that_a_crash_cut_short).
            self.found.remove(base)

    def _write(self, path: Path, revision: int, digest: bytes) -> bool:
        head = _pack(
            {
                "digest": digest,
                "events": self._events,
                "revision": revision,
                "time_ns": self._time_ns,
            }
        )
        states = [encode_event(event, self.codec) for event in self.states()]
        body = _pack(
            {
                "compacted": self._compacted,
                "event": EVENT_SCHEMA,
                "header": self.header,
                "last": list(self._last),
                "leases": list(self._leases.items()),
                "next_lease": self._next_lease,
                "states": states,
            }
        )
        parts = (
            _MAGIC + _HEAD.pack(len(head), crc32(head)) + head + _BODY.pack(len(body), crc32(body)),
            body,
        )
        file = self.layer.append(path)
        try:
            for part in parts:
                _write_all(file, part)
        except OSError:
            # It is only an index: the log is whole without it.
            file.truncate(0)
            self.layer.remove(path)
            return False
        finally:
            file.close()
        self._size = sum(map(len, states))
        return True

    def _drop(self, base: Base, newest: int) -> None:
        """Have the log begin with `base`."""
        kept = [segment_name(number) for number in range(base.number, newest + 1)]
        self._sync(*kept, snapshot_name(base.number))
        # Only now may the mark be found: a loss of power could leave it, and of the segments that it counts on not even the names
        # (test_every_crash_point[segments dropped], with a snapshot before each segment).
        self._sync(base_name(base.number))
        self._remove_before(base)

    def _sync(self, *names: str) -> None:
        """Have the disk keep these files, and that they are there."""
        for name in names:
            file = self.layer.append(self.path / name)
            try:
                file.sync()
            finally:
                file.close()
        self.layer.sync_directory(self.path)

    def _remove_before(self, base: Base) -> None:
        """Remove what is not part of the log any more."""
        first = f"{base.number:08d}"
        for name in self.layer.names(self.path):
            if name.endswith((".seg", ".snap", ".base")) and name < first:
                self.layer.remove(self.path / name)
        self.found = [other for other in self.found if other.number >= base.number]
        self.first, self.oldest = base.number, base.revision

    def tidy(self, files: LogFiles) -> None:
        """Take over the snapshots of a log that is continued; remove what a crash left half done."""
        self.found = bases(files)
        usable = dict.fromkeys(base.number for base in self.found)
        for number in snapshot_numbers(self.layer, self.path):
            if number not in usable:
                self.layer.remove(self.path / snapshot_name(number))
        first = first_snapshot(files)
        if first is not None:
            self._remove_before(Base(first.number, first.revision, first.time_ns))


def _pack(fields: Mapping[str, object]) -> bytes:
    return cast("bytes", msgpack.packb(fields))


def _write_all(file: AppendFile, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(bytes(rest) if len(rest) != len(data) else data) :]
