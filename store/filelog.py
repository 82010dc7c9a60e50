"""The journal of a store with a log: appends records to segments, in one of three durabilities.

Theory of operation. A record is written whole before what it says happens. With `buffered` and `fsync` it goes to the operating system
at once, so that a full disk is met before the commit and not after it; `fsync` syncs when the store settles, once for all
that was written since. With `none` records gather in memory and are written when they are many.

What fails: a write that finds no space is taken back (the segment is cut to where it was) and reported as NoSpace; the store
goes on and may be asked again. Any other failure, of a sync above all, leaves unknown what the disk has: the journal has failed for
good, and only opening the log again tells what is there.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, ParamSpec

import attrs

from store.encoding import EVENT_SCHEMA, Digest, encode_event
from store.errors import (
    InvalidRequest,
    LogError,
    LogExists,
    NoSpace,
    StoreError,
    StoreFailed,
)
from store.files import AppendFile, FileLayer
from store.frames import MAGIC, Torn, frame, synced_prefix
from store.history import Commit
from store.journal import Entry, JournalStatistics, LeaseEnded, Mark
from store.limits import Limits
from store.names import LOCK, lock_log, segment_name
from store.protocol import Codec
from store.records import EMPTY_REVISION, Durability, Event
from store.retention import KEEP_ALL, Keep
from store.segments import (
    Chain,
    Closed,
    Head,
    Located,
    LogFiles,
    RawCommit,
    canonical,
    closed_payload,
    commit_frame,
    decode_commit,
    head_payload,
    mark_payload,
)
from store.snapshot_file import chained_commits, header_of, snapshot_at
from store.snapshots import SHARE, Snapshots

P = ParamSpec("P")

_NONE: Final = Durability.NONE
_FSYNC: Final = Durability.FSYNC
"""A member of an enumeration costs a look-up at every use; these are asked for with every record."""

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@attrs.define(eq=False, repr=False)
class FileJournal:
    """A log being written. First `create` or `recover`, at the end `close`."""

    path: Path
    codec: Codec
    durability: Durability
    limits: Limits
    layer: FileLayer
    keep: Keep = KEEP_ALL
    torn: Torn | None = attrs.field(default=None, init=False)
    """The tail that recovery cut off."""
    header: Mapping[str, object] = attrs.field(factory=dict, init=False)
    _snapshots: Snapshots = attrs.field(init=False)
    _lock: AppendFile | None = attrs.field(default=None, init=False)
    _file: AppendFile | None = attrs.field(default=None, init=False)
    _number: int = attrs.field(default=0, init=False)
    _written: int = attrs.field(default=0, init=False)
    """Bytes of the segment that the operating system has."""
    _position: int = attrs.field(default=0, init=False)
    """Records written since the log was opened."""
    _synced: int = attrs.field(default=0, init=False)
    """Those of them that the disk has."""
    _prefix: bytes = attrs.field(default=b"", init=False)
    """With `fsync`: what each record says of how much of the segment the disk has (store.frames)."""
    _buffer: list[bytes] = attrs.field(factory=list, init=False)
    _buffered: int = attrs.field(default=0, init=False)
    _revision: int = attrs.field(default=EMPTY_REVISION, init=False)
    _digest: Digest = attrs.field(factory=Digest, init=False)
    _syncs: int = attrs.field(default=0, init=False)
    _failure: StoreError | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._snapshots = Snapshots(self.path, self.layer, self.limits, self.keep, self.codec)

    def __repr__(self) -> str:
        state = "failed" if self._failure else "open" if self._file else "closed"
        return f"<FileJournal {self.path} {self.durability.value} {state} segment={self._number}>"

    @property
    def keeps_history(self) -> bool:
        """Yes, as much of it as the policy says."""
        return True

    @property
    def digest(self) -> str:
        """The rolling hash over all events appended."""
        return self._digest.hex

    def attach(self, states: Callable[[], Iterable[Event]]) -> None:
        """Where snapshots find the newest PUT of every key, as of the last revision that has happened."""
        self._snapshots.states = states

    # -- opening -------------------------------------------------------------------------------

    def create(self, header: Mapping[str, object]) -> None:
        """Begin a new log. Raises LogExists, LogBusy, LogError, NoSpace."""
        self.header = self._snapshots.header = header
        self._head_bytes(1)  # a header that cannot be written is refused before anything is made
        try:
            if self._is_taken():
                raise LogExists(f"{self.path}: there is something already; resume it, or remove it")
            self.layer.make_directory(self.path)
            self._lock = lock_log(self.layer, self.path)
        except (NotADirectoryError, FileExistsError) as error:
            raise LogExists(f"{self.path}: there is a file; a log is a directory") from error
        except OSError as error:
            raise LogError(f"{self.path}: {error.strerror}") from error
        try:
            self._next_segment()
        except BaseException:
            self.abandon()
            raise

    def _is_taken(self) -> bool:
        """Whether there is anything at the path but an empty directory, or one that a failed `create` left."""
        return self.layer.exists(self.path) and any(
            name != LOCK for name in self.layer.names(self.path)
        )

    def recover(self, header: Mapping[str, object] | None) -> Iterator[Entry]:
        """Continue a log: yields all it holds, and is ready to append once it has.

        Raises LogMissing, LogBusy, LogCorrupt, UnsupportedVersion; InvalidRequest when `header` is not the log's.
        """
        files = self._files()
        files.numbers()
        self._lock = lock_log(self.layer, self.path)
        self.header = self._snapshots.header = header_of(files)
        if header is not None and canonical(header) != canonical(self.header):
            raise InvalidRequest(f"{self.path}: the log has another header than the one given")
        snapshot = snapshot_at(files, None)
        chain, segment = Chain(), 0
        if snapshot is not None:
            restored = snapshot.restored(self.codec)
            self._snapshots.load(snapshot, restored)
            chain, segment = snapshot.chain(), snapshot.number
        self._snapshots.tidy(files, 0 if snapshot is None else snapshot.number)
        if snapshot is not None:
            yield restored
        for located in files.records(segment=segment):
            chain.follow(located)
            yield from self._entries(located)
        self._revision, self._digest, self.torn = chain.revision, chain.digest, files.torn
        self._continue(files.numbers())

    def _continue(self, numbers: list[int]) -> None:
        """Append to the last segment, without its torn tail."""
        path = self.path / segment_name(number := numbers[-1])
        self._file, self._number = self.layer.append(path), number
        self._written = len(self.layer.read(path))
        if self.torn is not None:
            self._written = self.torn.offset
            self._file.truncate(self._written)
            self._position += 1
        if self._written == 0:
            self._append_to(self._file, self._head_bytes(number))
        if self.durability is Durability.FSYNC:
            self._sync_recovered(numbers)

    def _sync_recovered(self, numbers: list[int]) -> None:
        """Have the disk keep what was found: a killed process, or one that did not sync, may have left it to the operating system alone.

        Else a reader would be shown what a loss of power then takes back (tests/store/test_crash.py, check_again).
        """
        for number in numbers[:-1]:
            file = self.layer.append(self.path / segment_name(number))
            try:
                self._sync(file)
            finally:
                file.close()
        self._sync(self._open_file())
        self._sync_names()

    def _entries(self, located: Located) -> Iterator[Entry]:
        raw = located.raw
        if isinstance(raw, RawCommit):
            commit = decode_commit(raw, located, self.codec)
            self._snapshots.follow(commit, raw.events)
            yield commit
            if raw.ends_lease:
                self._snapshots.note(LeaseEnded(raw.ends_lease))
                yield LeaseEnded(raw.ends_lease)
        elif not isinstance(raw, Head | Closed):
            self._snapshots.note(raw)
            yield raw

    def _files(self) -> LogFiles:
        return LogFiles(self.path, self.limits.frame_bytes, self.layer)

    # -- appending -----------------------------------------------------------------------------

    def append(self, commit: Commit, ends_lease: int) -> None:
        """Write a commit, and with it the end of a lease. Raises NoSpace, StoreFailed, and what the codec raises."""
        codec = self.codec
        events: list[bytes] = []
        for event in commit:
            events.append(encode_event(event, codec))  # noqa: PERF401 - most commits are one event, and a comprehension is a call
        revision = commit[0].revision
        self._write(commit_frame(revision, ends_lease, events, self._prefix))
        self._revision = revision
        for data in events:
            self._digest.add(data)
        self._snapshots.follow(commit, events)
        if ends_lease:
            self._snapshots.note(LeaseEnded(ends_lease))

    def note(self, mark: Mark) -> None:
        """Write a mark. Raises NoSpace, StoreFailed."""
        self._write(frame(self._prefix + mark_payload(mark)))
        self._snapshots.note(mark)

    def _write(self, data: bytes) -> None:
        if self._failure is not None:
            self._check_usable()
        if self._snapshots.writing:
            self._have_snapshots(self._snapshots.go_on, self._number, SHARE * len(data))
        size = self._written + self._buffered
        if size + len(data) > self.limits.segment_bytes and size > len(MAGIC):
            self._next_segment()
        if self.durability is not _NONE:
            self._append_to(self._open_file(), data)
            return
        if self._buffered >= self.limits.write_buffer_bytes:
            self._flush()
        self._buffer.append(data)
        self._buffered += len(data)

    def _flush(self) -> None:
        """Write what has gathered. Raises NoSpace, and then it is still there."""
        if self._buffer:
            self._append_to(self._open_file(), b"".join(self._buffer))
            self._buffer.clear()
            self._buffered = 0

    def _append_to(self, file: AppendFile, data: bytes) -> None:
        """Write all of `data`, or nothing. Raises NoSpace, StoreFailed."""
        rest = data
        try:
            while rest:
                taken = file.write(rest)
                assert taken > 0, "the file layer took nothing, and raised nothing"
                rest = rest[taken:]
        except OSError as error:
            self._take_back(file, error)
        self._written += len(data)
        self._position += 1

    def _take_back(self, file: AppendFile, error: OSError) -> None:
        if error.errno not in _FULL:
            self._fail(f"a write failed: {error.strerror}", error)
        try:
            file.truncate(self._written)
        except OSError as second:
            self._fail(f"a write that found no space cannot be undone: {second.strerror}", second)
        if self.durability is Durability.FSYNC:
            # Else a loss of power could bring back what was cut, in the midst of what is written next.
            self._sync(file)
        raise NoSpace(f"{self.path}: no space is left; nothing was written") from error

    def _fail(self, what: str, error: OSError) -> None:
        self._failure = StoreFailed(f"{self.path}: {what}; open the log again to see what it holds")
        raise self._failure from error

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise StoreFailed(str(self._failure)) from self._failure

    def _open_file(self) -> AppendFile:
        assert self._file is not None, "the log is not open"
        return self._file

    @property
    def position(self) -> int:
        """How many records have been written."""
        return self._position

    def settle(self, position: int) -> None:
        """With `fsync`, wait until the disk has the records up to `position`. Raises StoreFailed, from then on always.

        A later record does not make a caller wait: else the first writer of a round, once answered, would have its next record
        synced by the second, and so on (tests/store/test_filelog.py, test_writers_of_the_same_moment_share_a_sync).
        """
        if self._failure is not None:
            self._check_usable()
        if position > self._synced and self.durability is _FSYNC:
            self._sync(self._open_file())

    def _sync(self, file: AppendFile) -> None:
        try:
            file.sync()
        except OSError as error:
            self._fail(f"a sync failed: {error.strerror}", error)
        self._synced = self._position
        self._syncs += 1
        if file is self._file:
            self._prefix = synced_prefix(self._written)

    # -- segments ------------------------------------------------------------------------------

    def _head_bytes(self, number: int) -> bytes:
        head = Head(
            number=number,
            revision=self._revision,
            digest=self._digest.value,
            schema=EVENT_SCHEMA,
            header=self.header if number == 1 else {},
        )
        return MAGIC + frame(head_payload(head))

    def _next_segment(self) -> None:
        """Finish the segment and begin the next. Raises NoSpace, and then goes on with the present one."""
        present, size = self._file, self._written
        if present is not None:
            self._flush()
            self.settle(self._position)
            size = self._written
        number = self._number + 1
        path = self.path / segment_name(number)
        data = self._head_bytes(number)
        try:
            following = self.layer.append(path)
        except OSError as error:
            if error.errno in _FULL:
                raise NoSpace(f"{self.path}: no space is left for a new segment") from error
            self._fail(f"a new segment cannot be made: {error.strerror}", error)
        self._written = 0
        try:
            self._append_to(following, data)
        except NoSpace:
            following.close()
            self.layer.remove(path)
            self._written = size
            raise
        self._file, self._number = following, number
        if present is not None:
            present.close()
        if self.durability is Durability.FSYNC:
            self.settle(self._position)
            self._sync_names()
        if present is not None:
            self._have_snapshots(
                self._snapshots.segment_begun, self._number, self._revision, self._digest.value
            )

    def _have_snapshots(self, do: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """What they do beyond an index that a full disk may cost, the dropping of segments, fails as the log itself does."""
        try:
            do(*args, **kwargs)
        except OSError as error:
            self._fail(f"a snapshot failed: {error.strerror}", error)

    def _sync_names(self) -> None:
        try:
            self.layer.sync_directory(self.path)
            self.layer.sync_directory(self.path.parent)
        except OSError as error:
            self._fail(f"a sync failed: {error.strerror}", error)

    # -- reading back, closing -----------------------------------------------------------------

    def commits(self, first: int) -> Iterator[Commit]:
        """The commits from revision `first` on that have been appended by now. Raises LogCorrupt, NoSpace."""
        self._flush()
        yield from chained_commits(self._files(), self.codec, first)
        for located in self._files().records(first):
            raw = located.raw
            if isinstance(raw, RawCommit) and raw.revision >= first:
                yield decode_commit(raw, located, self.codec)

    @property
    def oldest(self) -> int:
        """The oldest revision that the log has."""
        return self._snapshots.oldest

    def state(self, revision: int) -> tuple[int, Commit]:
        """What the snapshot before a revision holds; nothing, at the beginning. Raises LogCorrupt, Compacted, NoSpace."""
        self._flush()
        snapshot = snapshot_at(self._files(), revision)
        return (
            (snapshot.revision, snapshot.decode(snapshot.states, self.codec))
            if snapshot
            else (0, ())
        )

    def close(self) -> None:
        """Write what is left, and that the log was closed. Raises NoSpace, StoreFailed; is closed even so."""
        try:
            if self._failure is None:
                closed = Closed(revision=self._revision, digest=self._digest.value)
                # Once all else is synced, it is a witness for all else (store.frames).
                self.settle(self._position)
                self._write(frame(self._prefix + closed_payload(closed)))
                self._flush()
                self.settle(self._position)
                self._snapshots.discard()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close without writing anything."""
        self._snapshots.close()
        for file in filter(None, (self._file, self._lock)):
            file.close()
        self._file = self._lock = None

    def statistics(self) -> JournalStatistics:
        """The condition of the log."""
        return JournalStatistics(
            segments=self._number, bytes=self._written + self._buffered, syncs=self._syncs
        )
