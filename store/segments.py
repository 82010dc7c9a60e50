"""A log as a directory of segments: `run.wtl/00000001.seg`, `00000002.seg`, ... read in order.

Each segment begins with a head record, which says where the segment carries on: its number, the revision and the digest before it, and the version of
the events' schema. So reading can begin at any segment, and a segment that is missing, swapped or changed is noticed. What the user put in
front of the log (what replay needs) stands in the head of the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from struct import Struct
from struct import error as struct_error
from typing import Final, TypeAlias, cast

import attrs
import msgpack

from store.encoding import EVENT_SCHEMA, BadEncoding, Digest, decode_event
from store.errors import (
    InvalidRequest,
    LogCorrupt,
    LogMissing,
    UnsupportedVersion,
)
from store.files import DISK, FileLayer
from store.frames import Frame, Scanner, Torn, frame_of, unprefixed
from store.history import Commit
from store.journal import CompactedTo, LeaseEnded, LeaseGranted, Mark
from store.names import BASE_SUFFIX, SUFFIX, list_names, numbered, segment_name
from store.protocol import Codec
from store.records import EMPTY_REVISION, Revision

_HEAD_BYTES: Final = 64 * 1024
"""More than the head of any segment but the first."""

_COMMIT: Final = Struct("<cqq")
_COMMIT_AND_LENGTH: Final = Struct("<cqqI")
_LENGTH: Final = Struct("<I")


@attrs.frozen(kw_only=True)
class Head:
    """The first record of a segment."""

    number: int
    revision: int
    """The newest revision before the segment."""
    digest: bytes
    """The digest of all events before the segment."""
    schema: int
    header: Mapping[str, object]


@attrs.frozen(kw_only=True)
class RawCommit:
    """The events of one revision, still encoded, and the lease that ended with it (0: none)."""

    revision: int
    ends_lease: int
    events: tuple[bytes, ...]


@attrs.frozen(kw_only=True)
class Closed:
    """The log was closed here, on purpose."""

    revision: int
    digest: bytes


Raw: TypeAlias = Head | RawCommit | Mark | Closed


@attrs.frozen
class Located:
    """A record, where it lies, and the schema of the events in it."""

    raw: Raw
    segment: str
    offset: int
    schema: int


# -- payloads ----------------------------------------------------------------------------------


def canonical(value: object) -> object:
    """The value with the keys of all its mappings sorted. Raises TypeError for keys that are no strings."""
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("the keys of a header are strings")
        return {key: canonical(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    return value


def head_payload(head: Head) -> bytes:
    """The record of a segment's head. Raises InvalidRequest for a header that cannot be written."""
    fields = {
        "digest": head.digest,
        "event": head.schema,
        "header": head.header,
        "revision": head.revision,
        "segment": head.number,
    }
    try:
        return b"H" + cast("bytes", msgpack.packb(canonical(fields)))
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequest(f"the header cannot be written: {error}") from error


def commit_frame(
    revision: int, ends_lease: int, events: Sequence[bytes], prefix: bytes = b""
) -> bytes:
    """The record of a commit, framed: every event passes here, so its bytes are joined once."""
    first = events[0]
    parts = [prefix + _COMMIT_AND_LENGTH.pack(b"E", revision, ends_lease, len(first)), first]
    for event in events[1:]:
        parts.append(_LENGTH.pack(len(event)))
        parts.append(event)
    return frame_of(parts)


def mark_payload(mark: Mark) -> bytes:
    """The record of a mark."""
    match mark:
        case LeaseGranted(lease, ttl_seconds):
            fields = ["lease granted", lease, ttl_seconds]
        case LeaseEnded(lease):
            fields = ["lease ended", lease]
        case CompactedTo(revision):
            fields = ["compacted", revision]
    return b"M" + cast("bytes", msgpack.packb(fields))


def closed_payload(closed: Closed) -> bytes:
    """The record at the end of a log that was closed."""
    fields = {"digest": closed.digest, "revision": closed.revision}
    return b"Z" + cast("bytes", msgpack.packb(fields))


def parse(payload: bytes) -> Raw:
    """The record of a payload. Raises BadEncoding."""
    payload = unprefixed(payload)
    try:
        match payload[:1]:
            case b"E":
                return _parse_commit(payload)
            case b"H":
                return _parse_head(cast("dict[str, object]", msgpack.unpackb(payload[1:])))
            case b"M":
                return _parse_mark(cast("list[object]", msgpack.unpackb(payload[1:])))
            case b"Z":
                fields = cast("dict[str, object]", msgpack.unpackb(payload[1:]))
                return Closed(
                    revision=cast("int", fields["revision"]),
                    digest=cast("bytes", fields["digest"]),
                )
    except (ValueError, TypeError, KeyError, struct_error, msgpack.UnpackException) as error:
        raise BadEncoding(f"a record cannot be read: {error}") from error
    raise BadEncoding(f"a record of unknown kind {payload[:1]!r}")


def _parse_commit(payload: bytes) -> RawCommit:
    _, revision, ends_lease = _COMMIT.unpack_from(payload)
    events: list[bytes] = []
    position = _COMMIT.size
    while position < len(payload):
        (length,) = _LENGTH.unpack_from(payload, position)
        position += _LENGTH.size
        if position + length > len(payload):
            raise BadEncoding("an event is longer than its record")
        events.append(payload[position : position + length])
        position += length
    return RawCommit(revision=revision, ends_lease=ends_lease, events=tuple(events))


def _parse_head(fields: dict[str, object]) -> Head:
    return Head(
        number=cast("int", fields["segment"]),
        revision=cast("int", fields["revision"]),
        digest=cast("bytes", fields["digest"]),
        schema=cast("int", fields["event"]),
        header=cast("dict[str, object]", fields["header"]),
    )


def _parse_mark(fields: list[object]) -> Mark:
    match fields:
        case ["lease granted", int(lease), int(ttl_seconds)]:
            return LeaseGranted(lease, ttl_seconds)
        case ["lease ended", int(lease)]:
            return LeaseEnded(lease)
        case ["compacted", int(revision)]:
            return CompactedTo(revision)
    raise BadEncoding(f"an unknown mark {fields!r}")


def decode_commit(raw: RawCommit, located: Located, codec: Codec) -> Commit:
    """The events of the commit that was found there. Raises LogCorrupt."""
    try:
        commit = tuple(decode_event(event, codec, located.schema) for event in raw.events)
    except BadEncoding as error:
        raise LogCorrupt(located.segment, located.offset, str(error)) from error
    if not commit or any(event.revision != raw.revision for event in commit):
        what = f"the events of revision {raw.revision} are not its own"
        raise LogCorrupt(located.segment, located.offset, what)
    return commit


# -- reading -----------------------------------------------------------------------------------


@attrs.define(eq=False)
class Chain:
    """What has been read so far, to check what comes next against."""

    revision: Revision = EMPTY_REVISION
    digest: Digest = attrs.field(factory=Digest)
    events: int = 0
    closed: bool = False

    def follow(self, located: Located) -> None:
        """Take the next record. Raises LogCorrupt when it does not continue what came before."""
        raw = located.raw
        self.closed = isinstance(raw, Closed)
        match raw:
            case RawCommit():
                if raw.revision != self.revision + 1:
                    self._broken(located, f"revision {raw.revision} follows {self.revision}")
                self.revision = Revision(raw.revision)
                self.events += len(raw.events)
                for event in raw.events:
                    self.digest.add(event)
            case Head() | Closed():
                if raw.revision != self.revision:
                    self._broken(
                        located, f"it says revision {raw.revision}, but this is {self.revision}"
                    )
                if raw.digest != self.digest.value:
                    self._broken(located, "its digest is not that of the events before it")

    def _broken(self, located: Located, what: str) -> None:
        raise LogCorrupt(located.segment, located.offset, what)


def _next(located: Located, last: int | None) -> int | None:
    """The newest revision after a record. Raises LogCorrupt for a gap.

    Whoever reads from the beginning has a `Chain` as well; this is for those who begin in the middle: a loss of power may have taken what nobody
    synced of a segment, and left the next (test_every_crash_point[segments dropped]).
    """
    raw = located.raw
    if isinstance(raw, RawCommit):
        now, before = raw.revision, raw.revision - 1
    elif isinstance(raw, Head):
        now = before = raw.revision
    else:
        return last
    if last is not None and last != before:
        what = f"revision {before} should be here, but the last is {last}"
        raise LogCorrupt(located.segment, located.offset, what)
    return now


@attrs.define(eq=False)
class LogFiles:
    """The segments of one log, for reading. A process may be appending to it."""

    path: Path
    most_bytes: int
    layer: FileLayer = DISK
    torn: Torn | None = None
    """The torn tail met by the last complete reading."""

    def numbers(self) -> list[int]:
        """The numbers of the segments, without a gap. Raises LogMissing, LogCorrupt.

        The first is 1, unless those before it were dropped: then a base mark says where the log begins, and what may be left of
        them, by a crash, is not part of it.
        """
        names = list_names(self.layer, self.path)
        if not any(name.endswith(SUFFIX) for name in names):
            raise LogMissing(f"{self.path}: there is no log; a log is a directory with segments")
        first = max(numbered(names, BASE_SUFFIX), default=1)
        found = [name for name in names if name.endswith(SUFFIX) and name >= segment_name(first)]
        for number, name in enumerate(found, start=first):
            if name != segment_name(number):
                raise LogCorrupt(
                    segment_name(number), 0, f"the segment is missing; {name} is there"
                )
        if not found:
            raise LogCorrupt(segment_name(first), 0, "the segment is missing")
        return list(range(first, first + len(found)))

    def header(self) -> Mapping[str, object]:
        """What stands in front of the log that begins with segment 1. Raises LogCorrupt, UnsupportedVersion."""
        for most in (_HEAD_BYTES, -1):
            data = self.layer.read(self.path / segment_name(1), most)
            is_last = most > 0 or self.numbers() == [1]
            for found in Scanner(segment_name(1), data, is_last, self.most_bytes).frames():
                raw = self._parse(1, found)
                if not isinstance(raw, Head):
                    raise LogCorrupt(
                        segment_name(1), found.offset, "a head in the wrong place, or none"
                    )
                self._check_head(raw, 1)
                return raw.header
            if len(data) < most:
                break
        raise LogCorrupt(segment_name(1), 0, "the log ends before its header; it was never opened")

    def records(self, first: int = 0, *, segment: int = 0) -> Iterator[Located]:
        """All records from the segment on that holds revision `first`, or from `segment`. Raises LogCorrupt, UnsupportedVersion."""
        self.torn = None
        numbers = self.numbers()
        start = numbers.index(segment) if segment else self._index_of(first, numbers)
        last: int | None = None
        for number in numbers[start:]:
            for located in self._segment(number, is_last=number == numbers[-1]):
                last = _next(located, last)
                yield located

    def _index_of(self, first: int, numbers: list[int]) -> int:
        """The position of the last segment that begins before `first`; found by halving, from the heads alone."""
        low, high = 0, len(numbers)
        while high - low > 1:
            middle = (low + high) // 2
            head = self.head(numbers[middle])
            if head is not None and head.revision < first:
                low = middle
            else:
                high = middle
        return low

    def head(self, number: int) -> Head | None:
        """The head of a segment, if it is there and intact."""
        data = self.layer.read(self.path / segment_name(number), _HEAD_BYTES)
        scanner = Scanner(segment_name(number), data, True, self.most_bytes)
        for found in scanner.frames():
            raw = self._parse(number, found)
            return raw if isinstance(raw, Head) else None
        return None

    def _segment(self, number: int, *, is_last: bool) -> Iterator[Located]:
        name = segment_name(number)
        data = self.layer.read(self.path / name)
        scanner = Scanner(name, data, is_last, self.most_bytes)
        schema = 0
        for found in scanner.frames():
            raw = self._parse(number, found)
            if isinstance(raw, Head) is not (schema == 0):
                raise LogCorrupt(name, found.offset, "a head in the wrong place, or none")
            if isinstance(raw, Head):
                schema = self._check_head(raw, number)
            yield Located(raw, name, found.offset, schema)
        self.torn = scanner.torn
        if schema == 0:
            # Nothing was ever in it, so recovery begins it anew.
            self.torn = self._headless(number, len(data), is_last=is_last)

    def _headless(self, number: int, length: int, *, is_last: bool) -> Torn:
        name = segment_name(number)
        if number == 1:
            raise LogCorrupt(name, 0, "the log ends before its header; it was never opened")
        if not is_last:
            raise LogCorrupt(name, 0, "the segment has no head")
        return Torn(name, 0, length)

    def _parse(self, number: int, found: Frame) -> Raw:
        try:
            return parse(found.payload)
        except BadEncoding as error:
            raise LogCorrupt(segment_name(number), found.offset, str(error)) from error

    def _check_head(self, head: Head, number: int) -> int:
        name = segment_name(number)
        if head.schema > EVENT_SCHEMA:
            raise UnsupportedVersion(
                name, f"event schema {head.schema}", f"event schema {EVENT_SCHEMA}"
            )
        if head.number != number:
            raise LogCorrupt(name, 0, f"this is segment {head.number}, under another's name")
        return head.schema
