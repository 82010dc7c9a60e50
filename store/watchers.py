"""Who watches what, and what each has yet to be given. Pure and synchronous.

Theory of operation. A watcher is in one of two states. *Synced*: it has been offered every commit, and what concerns it lies in its
`pending` events. *Catching up*: it is behind, has no pending events, and will be fed from history from `next_revision`
on. A new watcher of the past begins catching up, one of the present or the future begins synced; a synced one
whose buffer is full loses the buffer and goes back to catching up at the first event it has not been given. So it never skips, and never delays the writer.

The writer posts a commit in the same critical section in which it happens. A watcher that has caught up to the head becomes synced
in the step that looked at the head, with no await in between: so it misses nothing and repeats nothing.

The index. The ranges of all watchers cut the key space into intervals at their ends; each interval lists the watchers that cover it. An event costs one
binary search and one step for each watcher that covers its key, so watchers of other keys cost nothing:

    watch [a, c)  as 1      ""   a    c
    watch [b, d)  as 2      -    1    -       then      ""  a   b    c  d
                                                         -  1  1,2   2  -
"""

from __future__ import annotations

import enum
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from typing import Final

import attrs

from store.history import Commit
from store.keys import KeyRange
from store.limits import Limits
from store.records import Event, EventType, Revision


class WatcherState(enum.Enum):
    """Where what comes next is found."""

    SYNCED = "synced"
    CATCHING_UP = "catching-up"


_SYNCED: Final = WatcherState.SYNCED

_FEW_INTERVALS: Final = 4
"""Among so few a key is found by halving as fast as it is remembered: an API server's store has two watchers, and a key for each Event."""
_KNOWN_KEYS: Final = 65_536
"""Keys whose watchers are remembered at most."""


def nobody_waits() -> None:
    """The `wake` of a watcher that nobody receives from."""


@attrs.define(eq=False, repr=False)
class Watcher:
    """One watch's place in the stream."""

    keys: KeyRange
    next_revision: int = 0
    """The first revision it has not been given; greater than the head when it waits for the future."""
    wake: Callable[[], None] = nobody_waits
    """Wakes whoever waits for this watcher; the one that posts calls it."""
    without: tuple[EventType, ...] = ()
    wants_progress: bool = False
    state: WatcherState = WatcherState.CATCHING_UP
    pending: list[Event] = attrs.field(factory=list, init=False)
    waiting: bool = attrs.field(default=False, init=False)
    """Somebody waits, and is to be woken once."""
    progress_due: bool = attrs.field(default=False, init=False)
    delivered: bool = attrs.field(default=False, init=False)
    """Something was delivered since the last round of progress notifications."""
    overflows: int = attrs.field(default=0, init=False)

    def __repr__(self) -> str:
        return f"<Watcher {self.keys} {self.state.value} next={self.next_revision} pending={len(self.pending)}>"

    @property
    def ready(self) -> bool:
        """Whether there may be something to deliver."""
        return bool(self.pending) or self.progress_due or self.state is not _SYNCED

    def wants(self, event: Event) -> bool:
        """Whether the event is for this watcher."""
        return (
            event.revision >= self.next_revision
            and event.type not in self.without
            and event.key in self.keys
        )

    def take(self, head: Revision) -> tuple[Event, ...]:
        """Deliver all that is pending; the watcher has then been given everything up to the head."""
        events = tuple(self.pending)
        self.pending.clear()
        self.next_revision = max(self.next_revision, head + 1)
        self.progress_due = False
        self.delivered = True
        return events

    def overflow(self) -> None:
        """Too slow: begin again from history at the first event not given."""
        self.next_revision = self.pending[0].revision
        self.pending = []
        self.state = WatcherState.CATCHING_UP
        self.overflows += 1


@attrs.define(eq=False, repr=False)
class WatcherGroup:
    """All watchers of a store, indexed by the keys they watch."""

    limits: Limits
    _watchers: dict[Watcher, None] = attrs.field(factory=dict, init=False)
    _starts: list[str] = attrs.field(factory=lambda: [""], init=False)
    _covering: list[tuple[Watcher, ...]] = attrs.field(factory=lambda: [()], init=False)
    """The watchers of the interval that begins at the start of the same position."""
    _cuts: dict[str, int] = attrs.field(factory=dict, init=False)
    """How many ranges begin or end at a start."""

    _known: dict[str, tuple[Watcher, ...]] = attrs.field(factory=dict, init=False)
    """What `covering` found for the keys of late; empty again when a watcher comes or goes."""
    wanting_progress: int = attrs.field(default=0, init=False)
    """How many watchers want to be notified of progress."""

    def __len__(self) -> int:
        return len(self._watchers)

    def __repr__(self) -> str:
        return f"<WatcherGroup {len(self._watchers)} watchers>"

    def watchers(self) -> Iterable[Watcher]:
        """All watchers, in the order of their adding."""
        return self._watchers

    # -- the index -----------------------------------------------------------------------------

    def add(self, watcher: Watcher) -> None:
        """Offer `watcher` every commit from now on."""
        self._watchers[watcher] = None
        self.wanting_progress += watcher.wants_progress
        if watcher.keys.empty:
            return
        self._known.clear()
        first, last = self._cut(watcher.keys)
        for position in range(first, last):
            self._covering[position] += (watcher,)

    def remove(self, watcher: Watcher) -> None:
        """Offer `watcher` nothing more."""
        del self._watchers[watcher]
        self.wanting_progress -= watcher.wants_progress
        if watcher.keys.empty:
            return
        self._known.clear()
        first, last = self._span(watcher.keys)
        for position in range(first, last):
            self._covering[position] = tuple(
                other for other in self._covering[position] if other is not watcher
            )
        self._mend(watcher.keys.start)
        if watcher.keys.end is not None:
            self._mend(watcher.keys.end)

    def _cut(self, keys: KeyRange) -> tuple[int, int]:
        for key in (keys.start, keys.end):
            if key is None:
                continue
            position = bisect_left(self._starts, key)
            if position == len(self._starts) or self._starts[position] != key:
                self._starts.insert(position, key)
                self._covering.insert(position, self._covering[position - 1])
            self._cuts[key] = self._cuts.get(key, 0) + 1
        return self._span(keys)

    def _span(self, keys: KeyRange) -> tuple[int, int]:
        """The positions of the intervals of a range whose ends are cuts."""
        first = bisect_left(self._starts, keys.start)
        last = len(self._starts) if keys.end is None else bisect_left(self._starts, keys.end)
        return first, last

    def _mend(self, key: str) -> None:
        """Undo one cut; both sides of it have the same watchers when nobody needs it any more."""
        self._cuts[key] -= 1
        if self._cuts[key] == 0:
            del self._cuts[key]
            position = bisect_left(self._starts, key)
            del self._starts[position]
            del self._covering[position]

    def covering(self, key: str) -> tuple[Watcher, ...]:
        """The watchers whose range holds `key`, in the order of their adding."""
        if len(self._starts) <= _FEW_INTERVALS:
            return self._covering[bisect_right(self._starts, key) - 1]
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _KNOWN_KEYS:
                self._known.clear()
            found = self._known[key] = self._covering[bisect_right(self._starts, key) - 1]
        return found

    # -- commits -------------------------------------------------------------------------------

    def post(self, commit: Commit) -> list[Watcher]:
        """Offer a commit that has just happened; returns the watchers whose `wake` is to be called."""
        to_wake: list[Watcher] = []
        for event in commit:
            for watcher in self.covering(event.key):
                if (
                    watcher.state is not _SYNCED
                    or event.revision < watcher.next_revision
                    or event.type in watcher.without
                ):
                    continue
                watcher.pending.append(event)
                if len(watcher.pending) > self.limits.watch_buffer_events:
                    # Events of this commit still to come are not lost: history has them.
                    watcher.overflow()
                if watcher.waiting:
                    watcher.waiting = False
                    to_wake.append(watcher)
        return to_wake

    def progress_round(self) -> list[Watcher]:
        """Owe every quiet watcher that asked for it a notification; returns those to wake."""
        to_wake: list[Watcher] = []
        for watcher in self._watchers:
            if watcher.wants_progress and not watcher.delivered:
                watcher.progress_due = True
                if watcher.waiting:
                    watcher.waiting = False
                    to_wake.append(watcher)
            watcher.delivered = False
        return to_wake

    def check(self) -> None:
        """Assert every invariant."""
        for key, known in self._known.items():
            assert known == self._covering[bisect_right(self._starts, key) - 1], f"{key!r} is stale"
        assert self._starts == sorted(dict.fromkeys(self._starts)), "intervals out of order"
        assert self._starts[0] == "", "keys before the first interval"
        assert len(self._starts) == len(self._covering) == len(self._cuts) + 1, "a stray interval"
        for watcher in self._watchers:
            assert watcher.state is _SYNCED or not watcher.pending, "behind, with events pending"
            assert len(watcher.pending) <= self.limits.watch_buffer_events, "buffer too long"
            revisions = [event.revision for event in watcher.pending]
            assert revisions == sorted(revisions), "pending out of order"
        for start, covering in zip(self._starts, self._covering, strict=True):
            expected = tuple(watcher for watcher in self._watchers if start in watcher.keys)
            assert covering == expected, f"the interval at {start!r} lists others"
