"""Reading a log without a store: for the command line, while its process still writes, after it was killed, or long after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from store.errors import FutureRevision
from store.files import DISK, FileLayer
from store.frames import Torn
from store.history import key_value
from store.limits import Limits
from store.protocol import Codec
from store.records import EMPTY_REVISION, Event, EventType, KeyValue, Revision
from store.segments import Chain, LogFiles, RawCommit, decode_commit
from store.snapshots import chained_commits, first_snapshot, header_of, snapshot_at


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

    def events(self, from_revision: int = 0, to_revision: int | None = None) -> Iterator[Event]:
        """The events of the revisions from..to, both included, in order; from the oldest kept on."""
        for commit in chained_commits(self._files, self._codec, from_revision):
            if to_revision is not None and commit[0].revision > to_revision:
                return
            yield from commit
        for located in self._files.records(from_revision):
            raw = located.raw
            if not isinstance(raw, RawCommit) or raw.revision < from_revision:
                continue
            if to_revision is not None and raw.revision > to_revision:
                return
            yield from decode_commit(raw, located, self._codec)

    def state(self, at: int | None = None) -> dict[str, KeyValue]:
        """Every key as it was at a revision (None: at the end), in the order of keys. Raises FutureRevision, Compacted."""
        snapshot = snapshot_at(self._files, at)
        states: dict[str, Event] = {}
        head: int = EMPTY_REVISION
        if snapshot is not None:
            known = snapshot.decode(snapshot.states, self._codec)
            states = {event.key: event for event in known}
            head = snapshot.revision
        for event in self.events(head + 1, at):
            head = event.revision
            if event.type is EventType.PUT:
                states[event.key] = event
            else:
                del states[event.key]
        if at is not None and at > head:
            raise FutureRevision(at, head)
        return {key: key_value(states[key]) for key in sorted(states)}

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
        )


def read_log(
    path: Path | str, codec: Codec, *, limits: Limits | None = None, layer: FileLayer = DISK
) -> LogReader:
    """Open a log for reading. Raises LogMissing, LogCorrupt, UnsupportedVersion."""
    files = LogFiles(Path(path), (limits or Limits()).frame_bytes, layer)
    return LogReader(Path(path), header_of(files), codec, files)
