"""Reading a log without a store: for the command line, while its process still writes, after it was killed, or long after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from store.encoding import BadEncoding, decode_event, put_key
from store.errors import Compacted, FutureRevision, LogCorrupt
from store.files import DISK, FileLayer
from store.frames import Torn
from store.history import key_value
from store.limits import Limits
from store.names import snapshot_name
from store.protocol import Codec
from store.records import EMPTY_REVISION, Event, KeyValue, Revision
from store.segments import Chain, Head, Located, LogFiles, RawCommit, decode_commit
from store.snapshot_file import (
    chained_commits,
    first_snapshot,
    header_of,
    oldest_revision,
    snapshot_at,
)


@attrs.frozen(kw_only=True)
class Verified:
    """What a log that holds together holds."""

    events: int
    head: Revision
    digest: str
    closed: bool
    """Whether it ends where it was closed; else its process is still writing, was killed, or the end was cut off."""
    torn: Torn | None
    """An incomplete record at the end, which was never acknowledged."""
    oldest: int = EMPTY_REVISION
    """What was before was dropped, and is known by its snapshot alone; `events` and `digest` count it."""


@attrs.define(eq=False, repr=False)
class LogReader:
    """A log on disk. Every method reads it anew, as far as it is written by then; all but `header` raise LogCorrupt, UnsupportedVersion."""

    path: Path
    header: Mapping[str, object]
    """What was put in front of the log."""
    _codec: Codec
    _files: LogFiles

    def __repr__(self) -> str:
        return f"<LogReader {self.path}>"

    @property
    def oldest(self) -> int:
        """The oldest revision that can be read: later than the first where the oldest segments were dropped."""
        return oldest_revision(self._files)

    def head(self) -> int:
        """The newest revision; only the last segment is read, and the one before where a crash left that without a head."""
        for number in reversed(self._files.numbers()):
            records = [located.raw for located in self._files.records(segment=number)]
            found = [raw.revision for raw in records if isinstance(raw, Head | RawCommit)]
            if found:
                return found[-1]
        return EMPTY_REVISION

    def events(self, from_revision: int = 0, to_revision: int | None = None) -> Iterator[Event]:
        """The events of the revisions from..to, both included, in order; 0 begins with the oldest kept. Raises Compacted at once."""
        oldest = self.oldest
        asked = [at for at in (from_revision or None, to_revision) if at is not None]
        if oldest > EMPTY_REVISION and asked and min(asked) < oldest:
            raise Compacted(min(asked), oldest)
        return self._events(from_revision, to_revision)

    def _events(self, first: int, last: int | None) -> Iterator[Event]:
        for commit in chained_commits(self._files, self._codec, first):
            if last is not None and commit[0].revision > last:
                return
            yield from commit
        for raw, located in self._commits(self._files.records(first), last):
            if raw.revision >= first:
                yield from decode_commit(raw, located, self._codec)

    @staticmethod
    def _commits(
        records: Iterator[Located], last: int | None
    ) -> Iterator[tuple[RawCommit, Located]]:
        """The commits among records, up to revision `last`."""
        for located in records:
            raw = located.raw
            if not isinstance(raw, RawCommit):
                continue
            if last is not None and raw.revision > last:
                return
            yield raw, located

    def state(self, at: int | None = None, *, prefix: str = "") -> dict[str, KeyValue]:
        """Every key with that prefix as it was at a revision (None: at the end), in the order of keys.

        Begins at the nearest snapshot before, and decodes no value but those it returns. Raises FutureRevision, Compacted.
        """
        snapshot = snapshot_at(self._files, at)
        newest: dict[str, _Encoded] = {}
        head: int = EMPTY_REVISION
        segment = 0
        if snapshot is not None:
            head, segment = snapshot.revision, snapshot.number
            for data in snapshot.states:
                _fold(newest, _Encoded(data, snapshot.schema, snapshot_name(segment), 0))
        for raw, located in self._commits(self._files.records(segment=segment), at):
            head = raw.revision
            for data in raw.events:
                _fold(newest, _Encoded(data, located.schema, located.segment, located.offset))
        if at is not None and at > head:
            raise FutureRevision(at, head)
        found = sorted(key for key in newest if key.startswith(prefix))
        return {key: key_value(newest[key].decode(self._codec)) for key in found}

    def verify(self) -> Verified:
        """Read all of it, and check that each record continues the one before."""
        snapshot = first_snapshot(self._files)
        chain = Chain() if snapshot is None else snapshot.chain()
        for located in self._files.records():
            chain.follow(located)
        return Verified(
            events=chain.events,
            head=chain.revision,
            digest=chain.digest.hex,
            closed=chain.closed,
            torn=self._files.torn,
            oldest=EMPTY_REVISION if snapshot is None else snapshot.revision,
        )


@attrs.frozen
class _Encoded:
    """The newest PUT of a key, not decoded yet, and where it was found."""

    data: bytes
    schema: int
    segment: str
    offset: int

    def decode(self, codec: Codec) -> Event:
        try:
            return decode_event(self.data, codec, self.schema)
        except BadEncoding as error:
            raise LogCorrupt(self.segment, self.offset, str(error)) from error


def _fold(newest: dict[str, _Encoded], event: _Encoded) -> None:
    """Take one event into a state. Raises LogCorrupt."""
    try:
        put, key = put_key(event.data, event.schema)
    except BadEncoding as error:
        raise LogCorrupt(event.segment, event.offset, str(error)) from error
    if put:
        newest[key] = event
    else:
        newest.pop(key, None)


def read_log(
    path: Path | str, codec: Codec, *, limits: Limits | None = None, layer: FileLayer = DISK
) -> LogReader:
    """Open a log for reading. Raises LogMissing, LogCorrupt, UnsupportedVersion."""
    files = LogFiles(Path(path), (limits or Limits()).frame_bytes, layer)
    return LogReader(Path(path), header_of(files), codec, files)
