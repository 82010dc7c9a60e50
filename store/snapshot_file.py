"""A snapshot's file: how it is written, part by part, and how it is read.

    file    magic "wtsnap" and the version in two digits: 8 bytes; head; parts; end
    head    msgpack map: revision, digest, events, time
    part    msgpack array of events, each in the bytes of the log: the newest PUT of so many keys
    end     msgpack map: what else stands in a snapshot

Head, parts and end are preceded by their length and crc-32, 4 bytes each. A file without its end is none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import Final, TypeAlias, cast
from zlib import crc32

import attrs
import msgpack

from store.encoding import BadEncoding, Digest, decode_event, encode_event
from store.errors import Compacted, LogCorrupt, UnsupportedVersion
from store.files import AppendFile, FileLayer
from store.history import Commit
from store.journal import Restored
from store.names import snapshot_name, snapshot_numbers
from store.protocol import Codec
from store.records import EMPTY_REVISION, Event, Revision
from store.retention import Base
from store.segments import Chain, LogFiles

_KIND: Final = b"wtsnap"
_MAGIC: Final = _KIND + b"02"
_FRAME: Final = Struct("<II")
_HEAD_BYTES: Final = 4096
"""More than magic and head of any snapshot."""
_PART_BYTES: Final = 256 * 1024
"""What a part gathers before it is written."""

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
    fields, *parts = [*_frames(data)] or [None]
    if not isinstance(fields, dict) or not parts or not isinstance(parts[-1], dict):
        return None
    states = [state for part in parts[:-1] for state in cast("list[object]", part)]
    snapshot = Snapshot(
        number=number,
        revision=cast("int", fields["revision"]),
        digest=cast("bytes", fields["digest"]),
        events=cast("int", fields["events"]),
        time_ns=cast("int", fields["time_ns"]),
        body={**parts[-1], "states": states},
    )
    head = files.head(number)
    if head is not None and (head.revision, head.digest) != (snapshot.revision, snapshot.digest):
        return None
    return snapshot


def _frames(data: bytes) -> Iterator[object]:
    """What stands in the file, as far as it is intact; after the end comes nothing."""
    if not data.startswith(_MAGIC):
        return
    position = len(_MAGIC)
    while position + _FRAME.size <= len(data):
        length, checksum = _FRAME.unpack_from(data, position)
        position += _FRAME.size
        payload = data[position : position + length]
        # Of what was never written the zeros may be there: an empty payload, and its checksum.
        if not payload or len(payload) != length or crc32(payload) != checksum:
            return
        yield msgpack.unpackb(payload, use_list=True)
        position += length


def bases(files: LogFiles) -> list[Base]:
    """Where reading can begin, oldest first, from the heads of the snapshots alone."""
    found: list[Base] = []
    kept = dict.fromkeys(files.numbers())
    for number in snapshot_numbers(files.layer, files.path):
        data = files.layer.read(files.path / snapshot_name(number), _HEAD_BYTES)
        fields = cast("_Fields | None", next(_frames(data), None))
        if fields is not None and number in kept:
            found.append(
                Base(number, cast("int", fields["revision"]), cast("int", fields["time_ns"]))
            )
    return found


def snapshot_at(files: LogFiles, revision: int | None) -> Snapshot | None:
    """The newest intact snapshot of `revision` or before (None: of all); None when reading begins with the first event.

    Raises Compacted when that revision was dropped, LogCorrupt when the snapshot that must be there is damaged, UnsupportedVersion when
    it is of another format.
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
    """What the log begins with when its first segments were dropped. Raises LogCorrupt, UnsupportedVersion."""
    first = files.numbers()[0]
    if first == 1:
        return None
    snapshot = read_snapshot(files, first)
    if snapshot is None:
        magic = files.layer.read(files.path / snapshot_name(first), len(_MAGIC))
        if magic.startswith(_KIND) and magic != _MAGIC:
            version = magic[len(_KIND) :].decode(errors="replace")
            raise UnsupportedVersion(
                snapshot_name(first), f"snapshot format {version}", "snapshot format 02"
            )
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


class SnapshotWriter:
    """Writes one snapshot, as much at a time as it is told to: a state may have a million keys, and whoever appends waits for it.

    `states` and `end` are those of the moment in which it is made; what is appended later is not in it.
    """

    def __init__(
        self, file: AppendFile, codec: Codec, states: Iterable[Event], end: Mapping[str, object]
    ) -> None:
        self._file: Final = file
        self._codec: Final = codec
        self._left: Final = deque(states)
        self._end: Final = dict(end)
        self._part: list[bytes] = []
        self._part_bytes = 0
        self.size = 0
        """Bytes of the states written."""

    def begin(self, head: Mapping[str, object]) -> None:
        """Write what stands in front. Raises OSError."""
        _write_all(self._file, _MAGIC + _framed(head))

    def write(self, most_bytes: int) -> bool:
        """Write so much, or a little more; whether that was the last of it. Raises OSError."""
        left, enough = self._left, self.size + most_bytes
        while left and self.size < enough:
            data = encode_event(left[0], self._codec)
            left.popleft()
            self._part.append(data)
            self._part_bytes += len(data)
            self.size += len(data)
            if self._part_bytes >= _PART_BYTES:
                self._write_part()
        if left:
            return False
        self._write_part()
        _write_all(self._file, _framed(self._end))
        self._file.close()
        return True

    def _write_part(self) -> None:
        if self._part:
            _write_all(self._file, _framed(self._part))
            self._part, self._part_bytes = [], 0

    def close(self) -> None:
        """Give the file up as it is."""
        with suppress(OSError):
            self._file.close()

    def discard(self, layer: FileLayer, path: Path) -> None:
        """Remove what was written: it is only an index, and the log is whole without it."""
        with suppress(OSError):
            self._file.truncate(0)
        with suppress(OSError):
            layer.remove(path)
        self.close()


def _framed(value: object) -> bytes:
    payload = cast("bytes", msgpack.packb(value))
    return _FRAME.pack(len(payload), crc32(payload)) + payload


def _write_all(file: AppendFile, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(bytes(rest) if len(rest) != len(data) else data) :]
