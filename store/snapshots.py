"""Snapshots: the state before a segment, so that opening a log and reading an old revision need not begin at its first event.

`00000005.snap` holds what segments 1 to 4 leave: every key's newest PUT, the events of the last revision (deletions too, for a watch that begins
there), the leases in force, and where the chain of revisions and digests stands. One is written only when the log has grown since the last by
twice that one's size: a log that rewrites what it has gets half as many bytes of snapshots as of events at the most, one that only grows one and a
half times as many, and no event is encoded for them more often than that. (Their bytes could be kept from when they were appended: a kilobyte
for each key, as much again as all that the store remembers.)

A snapshot can be made again from the segments, so one that is missing, incomplete or damaged is passed over, and reading begins further
back; unless the segments before it were dropped (store.retention): then the damage is an error. Dropping is decided by one empty file,
`00000005.base`: "the log begins with segment 5". It is made when the snapshot and all segments from 5 on are synced, whatever the durability, and
what is before it is removed after it is synced itself; so a crash at any point leaves a log that opens, and a segment that is missing without such a
mark is an error still (tests/store/test_crash.py).

It is written a piece at a time, with the records that follow, and is there when it has its end (store.snapshot_file).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from store.encoding import EVENT_SCHEMA
from store.files import FileLayer
from store.history import Commit
from store.journal import CompactedTo, LeaseEnded, LeaseGranted, Mark, Restored
from store.limits import Limits
from store.names import base_name, segment_name, snapshot_name, snapshot_numbers
from store.protocol import Codec
from store.records import Event
from store.retention import Base, Keep
from store.segments import LogFiles
from store.snapshot_file import Snapshot, SnapshotWriter, bases, first_snapshot, read_snapshot

GROWTH: Final = 2
"""A snapshot is due when the log has grown by so many times the last one's size."""
SHARE: Final = 4
"""Bytes of a snapshot that are written with each byte that is appended, so that it is there long before the next is due."""


def nobody_knows() -> Iterable[Event]:
    """The states before anything is attached: a snapshot of nothing would be taken for the truth."""
    raise AssertionError("a log is written, and nobody has said where its state is")


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
    states: Callable[[], Iterable[Event]] = attrs.field(default=nobody_knows, init=False)
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
    """Bytes of log since the last snapshot that was finished was begun."""
    _before: int = attrs.field(default=0, init=False)
    """Those of them that came before the one that is being written."""
    _writing: SnapshotWriter | None = attrs.field(default=None, init=False)
    _base: Base = attrs.field(default=Base(0, 0, 0), init=False)
    """What is being written, or was last."""

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
        """Segment `number` has begun: begin to write what is before it, if it is time. Raises OSError; a full disk only costs the snapshot."""
        due = self._since >= max(self.limits.snapshot_bytes, GROWTH * self._size)
        if not due or not self._last or self._writing is not None:
            return
        end = {
            "compacted": self._compacted,
            "event": EVENT_SCHEMA,
            "header": self.header,
            "last": list(self._last),
            "leases": list(self._leases.items()),
            "next_lease": self._next_lease,
        }
        head = {
            "digest": digest,
            "events": self._events,
            "revision": revision,
            "time_ns": self._time_ns,
        }
        self._base = Base(number, revision, self._time_ns)
        try:
            file = self.layer.append(self.path / snapshot_name(number))
        except OSError:
            return
        self._writing = SnapshotWriter(file, self.codec, self.states(), end)
        self._before = self._since
        try:
            self._writing.begin(head)
        except OSError:
            self.discard()
        else:
            self.go_on(number, self.limits.snapshot_first_bytes)

    @property
    def writing(self) -> bool:
        """Whether a snapshot is not finished yet."""
        return self._writing is not None

    def go_on(self, segment: int, most_bytes: int) -> None:
        """Write a piece of what is not finished; when it is, drop what need not be kept any more, `segment` being the newest. Raises OSError."""
        writing = self._writing
        assert writing is not None, "nothing is being written"
        try:
            finished = writing.write(most_bytes)
        except OSError:
            self.discard()
            return
        except BaseException:
            self.discard()  # a value that was changed after it was put: what is left would be taken for the state
            raise
        if finished:
            self._writing, self._size = None, writing.size
            self._since -= self._before
            self.found.append(self._base)
            self._drop_old(segment)

    def _drop_old(self, segment: int) -> None:
        """Drop what need not be kept any more. Raises OSError."""
        files = LogFiles(self.path, self.limits.frame_bytes, self.layer)
        while True:
            base = self.keep.base(self.found, self._base.revision, self._base.time_ns)
            if base is None or base.number <= self.first:
                return
            if read_snapshot(files, base.number):
                self._drop(base, segment)
                return
            # It has been damaged since: the log must not begin with it
            # (test_nothing_is_dropped_before_a_snapshot_that_a_crash_cut_short).
            self.found.remove(base)

    def discard(self) -> None:
        """Give up what is not finished; it is tried again with the next segment."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.discard(self.layer, self.path / snapshot_name(self._base.number))

    def close(self) -> None:
        """Leave what is not finished as it is."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.close()

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

    def tidy(self, files: LogFiles, newest: int) -> None:
        """Take over the snapshots of a log that is continued, up to the `newest` that is intact; remove what a crash left half done."""
        self.found = [base for base in bases(files) if base.number <= newest]
        usable = dict.fromkeys(base.number for base in self.found)
        for number in snapshot_numbers(self.layer, self.path):
            if number not in usable:
                self.layer.remove(self.path / snapshot_name(number))
        first = first_snapshot(files)
        if first is not None:
            self._remove_before(Base(first.number, first.revision, first.time_ns))
