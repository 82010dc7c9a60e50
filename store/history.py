"""The key space through time: every key at every revision that is kept. Pure and synchronous.

Theory of operation. Each key has its events, the newest apart; the state of the key at revision R is its last event at or below R. Two
sorted sets tell which keys exist at the head and which are deleted but still have history, so that a range at the head costs
O(log n + answer) and one in the past looks at the keys of that range alone. Beside them stand all events by revision, the
commits, which is what a watch reads.

A transaction is applied at once, in the open revision `head + 1`, so that its later operations see its earlier ones; then it is
sealed (it has happened) or aborted (it never did). Nothing awaits in between.

What is kept: `window` is the oldest revision whose state and whose events are in memory. `forget(R)` moves it up, and keeps for each key only what
a read at R or later can see. Take the key of store.records, with events at 2, 3, 5 (deleted) and 6:

    forget(2)    2 3 5 6      a read at 2 sees event 2
    forget(4)      3 5 6      a read at 4 sees event 3
    forget(5)          6      a read at 5 sees no key, and needs no event for that
    forget(9)          6      the head is never forgotten

The commit of the window's own revision is kept, tombstones included: a watch may begin at it. etcd lost deletions
there (its issue 19179; tests/store/test_history.py, test_a_deletion_at_the_compacted_revision_is_watched).

Cost: put and delete O(log n) when the key appears or disappears, else O(1); forgetting O(1) per event forgotten.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Final, TypeAlias

import attrs

from store.drafts import maker
from store.errors import Compacted, FutureRevision
from store.keys import KeyRange, SortedKeys
from store.records import (
    EMPTY_REVISION,
    Event,
    EventType,
    Get,
    KeyValue,
    Origin,
    RangeResult,
    Revision,
    SortTarget,
)

Commit: TypeAlias = tuple[Event, ...]
"""The events of one revision, in the order of the operations."""

Encode: TypeAlias = Callable[[object], bytes]
"""Turns a value into its canonical bytes."""

_revision_of: Final = attrgetter("revision")
_PUT: Final = EventType.PUT
_DELETE: Final = EventType.DELETE

_event: Final = maker(Event)
_key_value: Final = maker(KeyValue)


def key_value(event: Event) -> KeyValue:
    """The state that a PUT leaves."""
    return _key_value(
        event.key, event.value, event.create_revision, event.revision, event.version, event.lease
    )


def put_event(kv: KeyValue, origin: Origin, time_ns: int) -> Event:
    """A key of a state as the PUT that left it; what was before is not known."""
    return Event(
        type=_PUT,
        key=kv.key,
        value=kv.value,
        revision=kv.mod_revision,
        previous=0,
        create_revision=kv.create_revision,
        version=kv.version,
        lease=kv.lease,
        time_ns=time_ns,
        origin=origin,
    )


@attrs.define(eq=False, repr=False)
class History:
    """The key space through time; the module tells how."""

    head: Revision = EMPTY_REVISION
    window: Revision = EMPTY_REVISION
    _newest: dict[str, Event] = attrs.field(factory=dict, init=False)
    """The last event of every key."""
    _older: dict[str, list[Event]] = attrs.field(factory=dict, init=False)
    """Those before it, oldest first, of the keys that have some: most have none."""
    _live: SortedKeys = attrs.field(factory=SortedKeys, init=False)
    _dead: SortedKeys = attrs.field(factory=SortedKeys, init=False)
    _commits: list[Commit] = attrs.field(factory=list, init=False)
    """The commits of the revisions from `_first` to the head, without a gap; empty for a revision that was skipped."""
    _open: list[Event] = attrs.field(factory=list, init=False)

    def __repr__(self) -> str:
        return f"<History head={self.head} window={self.window} keys={len(self._live)}>"

    def __len__(self) -> int:
        return len(self._live)

    @property
    def _first(self) -> int:
        return self.head + 1 - len(self._commits)

    # -- writing -------------------------------------------------------------------------------

    def put(self, key: str, value: object, lease: int, origin: Origin, time_ns: int) -> Event:
        """Write a key in the open revision."""
        revision = Revision(self.head + 1)
        last = self._newest.get(key)
        before = None
        if last is not None:
            # The one object for it: a key is a hundred bytes, and each request makes it anew.
            key = last.key
            if last.type is _PUT:
                before = last
        event = _event(
            _PUT,
            key,
            value,
            revision,
            before.revision if before else 0,
            before.create_revision if before else revision,
            before.version + 1 if before else 1,
            lease,
            time_ns,
            origin,
        )
        self._append(event, last)
        if before is None:
            self._move(key, alive=True, known=last is not None)
        return event

    def _append(self, event: Event, last: Event | None) -> None:
        """Have `event` follow `last`, the newest of its key."""
        if last is not None:
            older = self._older.get(event.key)
            if older is None:
                self._older[event.key] = [last]
            else:
                older.append(last)
        self._newest[event.key] = event
        self._open.append(event)

    def delete(self, gone: Sequence[Event], origin: Origin, time_ns: int) -> None:
        """Delete keys in the open revision, given by their newest PUTs."""
        revision = Revision(self.head + 1)
        for before in gone:
            self._add(
                _event(
                    _DELETE, before.key, None, revision, before.revision, 0, 0, 0, time_ns, origin
                )
            )

    def _add(self, event: Event) -> None:
        last = self._newest.get(event.key)
        alive = last is not None and last.type is _PUT
        self._append(event, last)
        if alive is not (event.type is _PUT):
            self._move(event.key, alive=not alive, known=last is not None)

    def _move(self, key: str, *, alive: bool, known: bool) -> None:
        """File a key under those that exist, or under those deleted; `known`: it was filed before."""
        here, there = (self._live, self._dead) if alive else (self._dead, self._live)
        if known:
            there.remove(key)
        here.add(key)

    @property
    def current(self) -> Revision:
        """The head, or the open revision if it has written."""
        return Revision(self.head + 1) if self._open else self.head

    def open_commit(self) -> Commit:
        """What the open revision has written so far; empty when there is none."""
        return tuple(self._open)

    def seal(self, commit: Commit) -> None:
        """End the open revision, whose events are `commit`: it has happened."""
        assert commit, "a revision without events"
        assert len(commit) == len(self._open), "the open revision has other events"
        self._open.clear()
        self._commits.append(commit)
        self.head = commit[0].revision

    def abort(self) -> None:
        """Undo the open revision."""
        for event in reversed(self._open):
            key = event.key
            assert self._newest[key] is event, f"{key!r} has changed since"
            older = self._older.get(key)
            if older is None:
                del self._newest[key]
                (self._live if event.type is _PUT else self._dead).remove(key)
                continue
            last = self._newest[key] = older.pop()
            if not older:
                del self._older[key]
            if (last.type is _PUT) is not (event.type is _PUT):
                self._move(key, alive=last.type is _PUT, known=True)
        self._open.clear()

    def restore(self, commit: Commit) -> None:
        """Apply a commit that a log holds."""
        assert not self._open, "a revision is open"
        assert commit[0].revision == self.head + 1, f"{commit[0].revision} after {self.head}"
        for event in commit:
            self._add(event)
        self.seal(commit)

    def begin(self, revision: Revision, state: Sequence[Event]) -> None:
        """Begin anew at `revision`, with the newest PUTs of a state whose past is not known, in the order of revisions."""
        self._newest, self._older = {}, {}
        self._live, self._dead = SortedKeys(), SortedKeys()
        for event in state:
            self._add(event)
        now = [event for event in state if event.revision == revision]
        self._open.clear()
        self._commits = [tuple(now)]
        self.head = self.window = revision

    def skip(self) -> None:
        """Pass a revision in which no key of this store changed: a store may share the revisions of an etcd with others."""
        assert not self._open, "a revision is open"
        self._commits.append(())
        self.head = Revision(self.head + 1)

    def load(self, states: Commit, last: Commit) -> None:
        """Begin with the state at the revision of `last`, as `forget` would leave it."""
        assert not self._newest, "something has been written"
        self._newest = {event.key: event for event in states}
        self._live = SortedKeys(self._newest)
        for event in last:
            if event.type is not _PUT:
                self._newest[event.key] = event
                self._dead.add(event.key)
        self._commits = [last]
        self.head = self.window = last[0].revision

    # -- reading -------------------------------------------------------------------------------

    def newest(self, key: str) -> Event | None:
        """The last PUT of a key that exists, the open revision included."""
        last = self._newest.get(key)
        return last if last is not None and last.type is _PUT else None

    def newest_within(self, keys: KeyRange) -> list[Event]:
        """The last PUT of each key of a range that exists, in order, the open revision included."""
        newest = self._newest
        return [newest[key] for key in self._live.within(keys)]

    def versions(self, key: str) -> list[Event]:
        """The events of a key that are in memory, oldest first."""
        last = self._newest.get(key)
        return [] if last is None else [*self._older.get(key, ()), last]

    def states(self) -> Iterator[Event]:
        """The last PUT of each key that exists at the head, whatever the open revision has done, in the order of their first making."""
        for key, last in self._newest.items():
            event = last if last.revision <= self.head else self._last_by(key, self.head)
            if event is not None and event.type is _PUT:
                yield event

    def _last_by(self, key: str, revision: int) -> Event | None:
        """The last event of a key up to a revision, and not the newest of all."""
        older = self._older.get(key)
        position = bisect_right(older, revision, key=_revision_of) if older else 0
        return older[position - 1] if older and position else None

    def at(self, key: str, revision: int) -> Event | None:
        """The PUT that a key of `revision` stems from. Not below the window."""
        last = self._newest.get(key)
        if last is None:
            return None
        event = last if last.revision <= revision else self._last_by(key, revision)
        return event if event is not None and event.type is _PUT else None

    def check_readable(self, revision: int) -> None:
        """Raises FutureRevision, or Compacted for what is below the window; 0 and less mean the head."""
        if revision > self.head:
            raise FutureRevision(revision, self.head)
        if 0 < revision < self.window:
            raise Compacted(revision, self.window)

    def range(self, get: Get, encode: Encode) -> RangeResult:
        """Answer a Get. Raises InvalidRequest, then Compacted, FutureRevision."""
        keys = KeyRange.of(get.key, get.range_end)
        self.check_readable(get.revision)
        # What an open transaction wrote is seen at revision 0 alone: its revision has not happened yet.
        if get.revision <= 0 or (get.revision == self.head and not self._open):
            count, found = self._range_now(get, keys)
        else:
            found = self._range_then(get, keys)
            count = len(found)
        return answer(get, found, count, self.current, encode)

    def _range_now(self, get: Get, keys: KeyRange) -> tuple[int, list[Event]]:
        if get.range_end is None:
            event = self.newest(get.key)
            return (1, [event]) if event else (0, [])
        count = self._live.count(keys)
        if get.count_only:
            return count, []
        limit = get.limit if _cuts_early(get) else 0
        newest = self._newest
        return count, [newest[key] for key in self._live.within(keys, limit)]

    def _range_then(self, get: Get, keys: KeyRange) -> list[Event]:
        if get.range_end is None:
            names = [get.key]
        else:
            names = self._live.within(keys) + self._dead.within(keys)
            names.sort()
        states = (self.at(name, get.revision) for name in names)
        return [event for event in states if event is not None]

    def commits(self, first: int, last: int) -> Iterator[Commit]:
        """The commits of the revisions first..last, both included, as far as they are in memory; skipped ones have none."""
        start = self._first
        for revision in range(max(first, start), min(last, self.head) + 1):
            commit = self._commits[revision - self._first]
            if commit:
                yield commit

    def before(self, event: Event) -> KeyValue | None:
        """The key before an event; None when it did not exist or that is no longer in memory."""
        if event.previous == 0:
            return None
        found = self._last_by(event.key, event.previous)
        if found is None or found.revision != event.previous:
            return None
        return key_value(found)

    # -- forgetting ----------------------------------------------------------------------------

    def forget(self, revision: int) -> None:
        """Make `revision` the oldest that can be read; the module shows what stays."""
        assert self.window <= revision <= self.head, f"{self.window} <= {revision} <= {self.head}"
        assert not self._open, "a revision is open"
        first = self._first
        changed: dict[str, None] = {}
        for commit in self._commits[: max(0, revision + 1 - first)]:
            for event in commit:
                if event.key in self._older or event.type is not _PUT:
                    changed[event.key] = None
        for key in changed:
            self._forget_key(key, revision)
        del self._commits[: max(0, revision - first)]
        self.window = Revision(revision)

    def _forget_key(self, key: str, revision: int) -> None:
        last = self._newest.get(key)
        if last is None:
            return
        if last.revision <= revision:
            self._older.pop(key, None)
            if last.type is not _PUT:
                del self._newest[key]
                self._dead.remove(key)
            return
        older = self._older.get(key)
        if older is None:
            return
        position = bisect_right(older, revision, key=_revision_of)
        if position and older[position - 1].type is _PUT:
            position -= 1
        del older[:position]
        if not older:
            del self._older[key]

    # -- checking ------------------------------------------------------------------------------

    @property
    def revisions_in_memory(self) -> int:
        """How many commits are in memory."""
        return len(self._commits)

    def check(self) -> None:
        """Assert every invariant; O(everything)."""
        assert not self._open, "a revision is open"
        assert self.window <= self.head, f"window {self.window} above head {self.head}"
        assert self._first <= max(self.window, EMPTY_REVISION + 1), "the window lacks commits"
        for offset, commit in enumerate(self._commits):
            assert all(event.revision == self._first + offset for event in commit), "misplaced"
        self._live.check()
        self._dead.check()
        for key, last in self._newest.items():
            versions = self.versions(key)
            alive = last.type is _PUT
            assert (key in self._live) is alive, f"{key!r} misfiled"
            assert (key in self._dead) is not alive, f"{key!r} misfiled"
            assert all(event.key == key for event in versions), f"{key!r} has another's event"
            for older, newer in pairwise(versions):
                assert older.revision < newer.revision, f"{key!r} out of order"
                assert newer.previous == (older.revision if older.type is _PUT else 0)
        assert len(self._newest) == len(self._live) + len(self._dead), "a key filed in vain"
        assert all(self._older.values()), "a list that is empty and still there"
        assert all(key in self._newest for key in self._older), "older events of no key"


def _cuts_early(get: Get) -> bool:
    """Whether the limit may be applied while reading: the order is the keys' own and nothing is left out."""
    return (
        get.sort_by is SortTarget.KEY
        and not get.descending
        and not get.min_mod_revision
        and not get.max_mod_revision
        and not get.min_create_revision
        and not get.max_create_revision
    )


def answer(get: Get, found: list[Event], count: int, head: Revision, encode: Encode) -> RangeResult:
    """Filter, sort, cut and strip the states found, `count` in all, as etcd does, in that order."""
    if get.count_only:
        return RangeResult(kvs=(), count=count, more=False, revision=head)
    if not _cuts_early(get):
        found = [event for event in found if _within_bounds(get, event)]
        _sort(get, found, encode)
        total = len(found)
    else:
        total = count
    more = 0 < get.limit < total
    if more:
        found = found[: get.limit]
    kvs = tuple(map(key_value, found))
    if get.keys_only:
        kvs = tuple(attrs.evolve(kv, value=None) for kv in kvs)
    return RangeResult(kvs=kvs, count=count, more=more, revision=head)


def _within_bounds(get: Get, event: Event) -> bool:
    return (
        get.min_mod_revision <= event.revision
        and (not get.max_mod_revision or event.revision <= get.max_mod_revision)
        and get.min_create_revision <= event.create_revision
        and (not get.max_create_revision or event.create_revision <= get.max_create_revision)
    )


def _sort(get: Get, found: list[Event], encode: Encode) -> None:
    if get.sort_by is SortTarget.VALUE:
        found.sort(key=lambda event: encode(event.value), reverse=get.descending)
    else:
        found.sort(key=_SORT_KEYS[get.sort_by], reverse=get.descending)


_SORT_KEYS: Final[dict[SortTarget, attrgetter[int | str]]] = {
    SortTarget.KEY: attrgetter("key"),
    SortTarget.VERSION: attrgetter("version"),
    SortTarget.CREATE: attrgetter("create_revision"),
    SortTarget.MOD: attrgetter("revision"),
}
