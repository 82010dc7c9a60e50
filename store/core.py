"""The store without waiting: history, leases, watchers and the journal, in one critical section per request. Pure but for the journal.

Theory of operation of a write. The transaction runs in the history's open revision; its events go to the journal; only then has the revision
happened: it is sealed, leases follow it, and every watcher is offered it. Nothing awaits in between, so there is no moment at which a reader or a
new watcher sees half of it. If the journal cannot take it, the open revision is undone and nothing has happened.

Whoever answers a caller must call `settle` first, after having yielded to the scheduler: that is the group commit. All
transactions that were ready to run have then been written, and the first one to settle syncs for all. As reads and
watches settle too, nobody is ever shown what is not durable.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

import attrs

from store.errors import Compacted, FutureRevision
from store.history import Commit, History, answer, key_value
from store.journal import CompactedTo, Entry, Journal, LeaseEnded, LeaseGranted, Restored
from store.keys import KeyRange
from store.leases import SECOND_NS, Leases
from store.limits import Limits
from store.protocol import Codec, StoreStatistics
from store.records import (
    Delete,
    Event,
    EventType,
    Get,
    KeyValue,
    LeaseStatus,
    Origin,
    RangeResult,
    Revision,
    Txn,
    TxnResult,
    WatchBatch,
)
from store.transactions import Execution, validate
from store.watchers import Watcher, WatcherGroup, WatcherState

TIMER: Final = "store"
"""The actor of what the store does by itself: ending leases."""

NEVER_COMPACTED: Final = Revision(0)

_WINDOW_SLACK: Final = 16
"""Memory may hold this part more than its window (1/16), so that forgetting is done in bulk."""


@attrs.define(eq=False, repr=False)
class Core:
    """The state of an embedded store, and each thing that can be done to it in one step.

    Methods that change something return the watchers whose `wake` the caller calls.
    """

    journal: Journal
    codec: Codec
    limits: Limits
    history: History = attrs.field(factory=History)
    leases: Leases = attrs.field(
        default=attrs.Factory(lambda self: Leases(self.limits), takes_self=True)
    )
    watchers: WatcherGroup = attrs.field(
        default=attrs.Factory(lambda self: WatcherGroup(self.limits), takes_self=True)
    )
    compacted: Revision = NEVER_COMPACTED
    time_ns: int = 0
    """Time of the last event; the log's time never goes back, even if the clock does (a log opened again)."""
    _progress_ns: int = attrs.field(default=0, init=False)
    """When the next round of progress notifications is due, if a watcher wants them."""
    _execution: Execution = attrs.field(init=False)
    _most_revisions: int = attrs.field(init=False)
    """How many revisions may be in memory before some are forgotten, if the journal has them."""
    _feeds: dict[Watcher, Iterator[Commit]] = attrs.field(factory=dict, init=False)
    """Where each watcher that catches up from the log has got to in it."""

    def __attrs_post_init__(self) -> None:
        self._execution = Execution(self.history, self.leases, self.range, self.codec.encode)
        self.journal.attach(self.history.states)
        window = self.limits.window_revisions
        self._most_revisions = window + window // _WINDOW_SLACK

    def __repr__(self) -> str:
        return f"<Core {self.history!r} {self.watchers!r} {self.leases!r}>"

    # -- writing -------------------------------------------------------------------------------

    def commit(self, txn: Txn, origin: Origin, now_ns: int) -> tuple[TxnResult, list[Watcher]]:
        """Run a transaction. Raises InvalidRequest, LeaseNotFound, Compacted, FutureRevision, NoSpace, StoreFailed."""
        validate(txn, self.limits)
        return self._commit(txn, origin, now_ns)

    def _commit(
        self, txn: Txn, origin: Origin, now_ns: int, ends_lease: int = 0
    ) -> tuple[TxnResult, list[Watcher]]:
        history = self.history
        time_ns = now_ns if now_ns > self.time_ns else self.time_ns  # noqa: FURB136 - a call less
        try:
            result = self._execution.execute(txn, origin, time_ns)
            commit = history.open_commit()
            if not commit:
                return result, []
            self.journal.append(commit, ends_lease)
        except BaseException:
            history.abort()
            raise
        history.seal(commit)
        self.time_ns = time_ns
        self.leases.follow(commit)
        self._shrink()
        return result, self.watchers.post(commit)

    def _shrink(self) -> None:
        if not self.journal.keeps_history:
            return
        if self.history.revisions_in_memory > self._most_revisions:
            self.history.forget(Revision(self.history.head + 1 - self.limits.window_revisions))
        oldest = self.journal.oldest
        if oldest > 1 and oldest > self.compacted:
            # Dropped from the log; the window may have it still.
            self.compacted = Revision(max(self.compacted, self.oldest))

    def compact(self, revision: int) -> None:
        """Give up what is older than the state at `revision`. Raises Compacted, FutureRevision, NoSpace."""
        if revision <= self.compacted:
            raise Compacted(revision, self.compacted)
        if revision > self.history.head:
            raise FutureRevision(revision, self.history.head)
        self.journal.note(CompactedTo(revision))
        self._compacted(revision)

    def _compacted(self, revision: int) -> None:
        self.compacted = Revision(revision)
        if revision > self.history.window:
            self.history.forget(revision)

    def restore(self, entry: Entry, now_ns: int) -> None:
        """Apply what a log holds. A lease runs its full time again from now, so that it never ends early."""
        match entry:
            case LeaseGranted(lease, ttl_seconds):
                self.leases.grant(lease, ttl_seconds, now_ns)
            case LeaseEnded(lease):
                self.leases.end(lease)
            case CompactedTo(revision):
                self._compacted(revision)
            case Restored():
                self._load(entry, now_ns)
            case _:
                self.history.restore(entry)
                self.leases.follow(entry)
                self.time_ns = max(self.time_ns, entry[0].time_ns)
                self._shrink()

    def _load(self, entry: Restored, now_ns: int) -> None:
        self.history.load(entry.states, entry.last)
        self.leases.load(entry.leases, entry.next_lease, entry.states, now_ns)
        self.compacted = Revision(entry.compacted)
        self.time_ns = entry.time_ns
        self._shrink()

    # -- leases and time -----------------------------------------------------------------------

    def grant(self, ttl_seconds: int, lease: int, now_ns: int) -> LeaseStatus:
        """Grant a lease. Raises LeaseExists, InvalidRequest, NoSpace."""
        chosen, ttl_seconds = self.leases.choose(ttl_seconds, lease)
        self.journal.note(LeaseGranted(chosen, ttl_seconds))
        return self.leases.grant(chosen, ttl_seconds, now_ns)

    def revoke(self, lease: int, origin: Origin, now_ns: int) -> list[Watcher]:
        """End a lease and delete its keys, in one transaction. Raises LeaseNotFound, NoSpace."""
        keys = self.leases.keys(lease)
        to_wake: list[Watcher] = []
        if keys:
            # However many keys there are: the limit on operations is for callers.
            deletes = Txn(success=tuple(map(Delete, keys)))
            _, to_wake = self._commit(deletes, origin, now_ns, ends_lease=lease)
        else:
            self.journal.note(LeaseEnded(lease))
        self.leases.end(lease)
        return to_wake

    def next_tick(self) -> int | None:
        """When `tick` has something to do, in nanoseconds; None for never."""
        deadline = self.leases.next_deadline()
        if not self.watchers.wanting_progress:
            return deadline
        return self._progress_ns if deadline is None else min(deadline, self._progress_ns)

    def tick(self, now_ns: int) -> list[Watcher]:
        """End the leases whose time is up, and notify quiet watchers. Raises NoSpace: ask again later."""
        to_wake: list[Watcher] = []
        while (lease := self.leases.due(now_ns)) is not None:
            to_wake += self.revoke(lease, Origin(TIMER, "", (f"timer:lease/{lease}",)), now_ns)
        if self.watchers.wanting_progress and now_ns >= self._progress_ns:
            to_wake += self.watchers.progress_round()
            self._begin_round(now_ns)
        return to_wake

    def _begin_round(self, now_ns: int) -> None:
        self._progress_ns = now_ns + int(self.limits.progress_interval_seconds * SECOND_NS)

    # -- reading -------------------------------------------------------------------------------

    def range(self, get: Get) -> RangeResult:
        """Read a range. Raises Compacted, FutureRevision, InvalidRequest."""
        if 0 < get.revision < self.history.window and self.journal.keeps_history:
            return self._range_in_log(get)
        return self.history.range(get, self.codec.encode)

    def _range_in_log(self, get: Get) -> RangeResult:
        keys = KeyRange.of(get.key, get.range_end)
        if get.revision < self.compacted:
            raise Compacted(get.revision, self.compacted)
        base, known = self.journal.state(get.revision)
        states = {event.key: event for event in known if event.key in keys}
        for event in self.events(base + 1, get.revision):
            if event.key not in keys:
                continue
            if event.type is EventType.PUT:
                states[event.key] = event
            else:
                states.pop(event.key, None)
        found = [states[key] for key in sorted(states)]
        return answer(get, found, len(found), self.history.head, self.codec.encode)

    def commits(self, first: int) -> Iterator[Commit]:
        """The commits from `first` on, from memory or from the journal. Raises Compacted."""
        oldest = self.oldest
        if first < oldest and first != 0:
            raise Compacted(first, oldest)
        first = max(first, oldest)
        if first < self.history.window:
            for commit in self.journal.commits(first):
                if commit[0].revision >= self.history.window:
                    break
                yield commit
                first = commit[0].revision + 1
        yield from self.history.commits(max(first, self.history.window), self.history.head)

    @property
    def oldest(self) -> int:
        """The oldest revision of which the events can be read."""
        window = self.history.window
        return min(self.journal.oldest, window) if self.journal.keeps_history else window

    def events(self, first: int, last: int | None) -> Iterator[Event]:
        """The events of the revisions first..last, both included. Raises Compacted."""
        for commit in self.commits(first):
            if last is not None and commit[0].revision > last:
                return
            yield from commit

    # -- watching ------------------------------------------------------------------------------

    def watch(self, watcher: Watcher, start_revision: int, now_ns: int) -> None:
        """Begin to feed `watcher`; 0 begins with the next revision."""
        if watcher.wants_progress and not self.watchers.wanting_progress:
            self._begin_round(now_ns)
        watcher.next_revision = start_revision if start_revision > 0 else self.history.head + 1
        self._file(watcher)
        self.watchers.add(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """Feed `watcher` no more."""
        self.watchers.remove(watcher)
        self._feeds.pop(watcher, None)

    def _file(self, watcher: Watcher) -> bool:
        """Put a watcher in the state it belongs; returns whether it is synced."""
        synced = watcher.next_revision > self.history.head
        watcher.state = WatcherState.SYNCED if synced else WatcherState.CATCHING_UP
        return synced

    def deliver(self, watcher: Watcher, *, prev_kv: bool) -> WatchBatch | None:
        """What there is for `watcher`; None for nothing yet. One that catches up may have to be asked again: see `ready`.

        Raises Compacted when the next thing it would be given is gone.
        """
        head = self.history.head
        if watcher.state is WatcherState.CATCHING_UP:
            events = self._catch_up(watcher)
            synced = self._file(watcher)
            if not events and not (synced and watcher.progress_due):
                return None
            watcher.progress_due = watcher.progress_due and not synced
            watcher.delivered = True
        elif watcher.pending or watcher.progress_due:
            events = watcher.take(head)
        else:
            return None
        return WatchBatch(
            events=events,
            revision=Revision(min(head, watcher.next_revision - 1)),
            previous=tuple(map(self.before, events)) if prev_kv else (),
        )

    def _catch_up(self, watcher: Watcher) -> tuple[Event, ...]:
        first = watcher.next_revision
        oldest = max(self.compacted, self.oldest)
        if first < oldest:
            raise Compacted(first, oldest)
        count = self.limits.catch_up_revisions
        if first < self.history.window:
            feed = self._feeds.get(watcher)
            if feed is None:
                feed = self._feeds[watcher] = self.journal.commits(first)
            commits: Iterator[Commit] = islice(feed, count)
        else:
            self._feeds.pop(watcher, None)
            commits = self.history.commits(first, first + count - 1)
        events: list[Event] = []
        position = first
        for commit in commits:
            events += (event for event in commit if watcher.wants(event))
            position = watcher.next_revision = commit[0].revision + 1
        if position < first + count:
            # The end of what the log held when the feed began.
            self._feeds.pop(watcher, None)
        if first >= self.history.window:
            # Revisions without an event have been passed as well (test_a_watch_of_the_very_beginning_waits).
            watcher.next_revision = min(first + count, self.history.head + 1)
        return tuple(events)

    def before(self, event: Event) -> KeyValue | None:
        """The key before an event; None when it did not exist, or that state is compacted."""
        if event.previous == 0 or event.revision <= self.compacted:
            return None
        found = self.history.before(event)
        if found is None and event.previous < self.oldest:
            get = Get(event.key, revision=event.revision - 1)
            return next(iter(self._range_in_log(get).kvs), None)
        if found is None and self.journal.keeps_history:
            for earlier in next(self.journal.commits(event.previous)):
                if earlier.key == event.key:
                    return key_value(earlier)
        return found

    # -- condition -----------------------------------------------------------------------------

    def statistics(self) -> StoreStatistics:
        """The condition of the store."""
        journal = self.journal.statistics()
        watchers = self.watchers.watchers()
        return StoreStatistics(
            head=self.history.head,
            compacted=self.compacted,
            window=self.history.window,
            keys=len(self.history),
            revisions_in_memory=self.history.revisions_in_memory,
            watchers=len(self.watchers),
            watchers_catching_up=sum(
                watcher.state is WatcherState.CATCHING_UP for watcher in watchers
            ),
            leases=len(self.leases),
            log_segments=journal.segments,
            log_bytes=journal.bytes,
            log_syncs=journal.syncs,
        )

    def check(self) -> None:
        """Assert every invariant of every part."""
        self.history.check()
        self.watchers.check()
        self.leases.check()
        assert self.compacted <= self.history.window, "compacted revisions are readable"
        attached = {
            event.key: event.lease
            for event in self.history.newest_within(KeyRange("", None))
            if event.lease
        }
        for key, lease in attached.items():
            assert key in self.leases.keys(lease), f"{key!r} would outlive its lease"
