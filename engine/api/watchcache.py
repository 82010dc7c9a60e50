"""The API server's picture of the cluster: the newest state of every object, a window of recent changes, and who wants to know.

Theory of operation. One store watch feeds the whole cache. `WatchCache.apply` takes a batch of store events, all of a revision together,
and does three things for each: put the object in its `KindCache`, append a `Change` to that kind's window, and offer the change to the watchers
it concerns. It returns the watchers that were idle and now have something to deliver: the caller wakes them, once for the batch. The object as
clients see it, with its resourceVersion, is made when the first of them is shown it, and then shared by all: most kubelets' Events nobody ever sees.

A watcher is filed under the most selective thing it asks for: a field it wants to equal a value (`spec.nodeName=node-3`,
`metadata.name=node-3`), else its namespace, else nothing. A change looks up its own old and new values in those
indexes, and so costs a watcher of another node nothing: 5,000 kubelets that watch their pods are 5,000 entries
of a dictionary.

Example: a watch of `spec.nodeName=n1`. Pod created unbound: neither state matches, no watcher is found. Bound to n1 at revision
12: the new value finds the watcher, the old state did not match: ADDED. Status change at 15: MODIFIED. Removed at 20: DELETED,
with the last state and resourceVersion 20.

Everything here is synchronous. Costs: a change is O(watchers it concerns), a read O(1), a list O(objects in its namespace) plus a
sort after objects came or went.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeAlias

import attrs

from engine.api.refusals import too_old
from engine.api.request import WatchEvent, WatchEventType
from engine.api.shape import decorated
from engine.api.storage import Stored
from engine.objects.meta import KubeObject
from engine.objects.scheme import FieldGetter, Resource
from engine.objects.selectors import FieldRequirement, FieldSelector, Selector
from store import maker

NAMESPACE: Final = "metadata.namespace"
_LAST: Final = "\U0010ffff"
_event: Final = maker(WatchEvent)


@attrs.define(eq=False)
class Change:
    """One object's change: `old` is None when it was created, `new` when it was deleted."""

    revision: int
    old: Stored | None
    new: Stored | None
    _plain: WatchEvent | None = attrs.field(default=None, init=False)
    _gone: WatchEvent | None = attrs.field(default=None, init=False)

    def plain(self) -> WatchEvent:
        """The event for a watcher that both states match; made once, shared by all."""
        event = self._plain
        if event is None:
            if self.new is None:
                return self.gone()
            type_ = WatchEventType.ADDED if self.old is None else WatchEventType.MODIFIED
            event = self._plain = _event(type_, self.new.object, self.revision)
        return event

    def states(self) -> tuple[KubeObject | None, KubeObject | None]:
        """The object before and after, as it was shown then and is now."""
        old, new = self.old, self.new
        return None if old is None else old.object, None if new is None else new.object

    def gone(self) -> WatchEvent:
        """DELETED: the old content with the revision of the change."""
        event = self._gone
        if event is None:
            assert self.old is not None
            last = decorated(self.old.value, self.revision)
            event = self._gone = WatchEvent(WatchEventType.DELETED, last, self.revision)
        return event


@attrs.define(eq=False)
class Watcher:
    """One open watch: what it selects, and what waits to be delivered.

    Its life: filled with the objects or changes it starts from, then offered each change that its index finds; `take` empties it. More than
    `limit` undelivered events end it: what it holds is still delivered, then its stream ends and the client watches
    on from the last revision it saw.
    """

    labels: Selector
    fields: tuple[tuple[FieldGetter, FieldRequirement], ...]
    index: tuple[str, str] | None
    """Field and value under which it is filed; that field is not repeated in `fields`."""
    after: int
    """Changes up to this revision are known to the client."""
    limit: int
    wake: Callable[[], None] = attrs.field(default=lambda: None)
    ended: bool = attrs.field(default=False, init=False)
    overflowed: bool = attrs.field(default=False, init=False)
    buffer: list[WatchEvent] = attrs.field(factory=list, init=False)
    _selective: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._selective = bool(self.fields) or not self.labels.empty

    def selects(self, obj: KubeObject) -> bool:
        """Whether the selectors, the index apart, match the object."""
        if not self._selective:
            return True
        for getter, requirement in self.fields:
            if (getter(obj) == requirement.value) is not requirement.equal:
                return False
        return self.labels.matches(obj.metadata.labels)

    def offer(self, change: Change, old: KubeObject | None, new: KubeObject | None) -> bool:
        """Take a change; `old` and `new` are its states that match the index.

        Returns whether the watcher must be woken: it had nothing to deliver, and now has.
        """
        if change.revision <= self.after or self.ended:
            return False
        if self._selective:
            if old is not None and not self.selects(old):
                old = None
            if new is not None and not self.selects(new):
                new = None
        if new is None:
            if old is None:
                return False
            event = change.gone()
        elif old is None and change.old is not None:
            event = WatchEvent(WatchEventType.ADDED, new, change.revision)
        else:
            event = change.plain()
        buffer = self.buffer
        if len(buffer) >= self.limit:
            self.ended = self.overflowed = True
            return False
        buffer.append(event)
        return len(buffer) == 1

    def take(self) -> tuple[WatchEvent, ...]:
        """All that waits to be delivered."""
        events = tuple(self.buffer)
        self.buffer.clear()
        return events


_Bucket: TypeAlias = dict[int, Watcher]


@attrs.frozen(kw_only=True)
class KindStatistics:
    """One kind's part of the cache; `floor` is the oldest revision from which a watch can resume."""

    kind: str
    objects: int
    window: int
    floor: int
    watchers: int


@attrs.define(eq=False)
class KindCache:
    """The objects of one kind, their recent changes and their watchers."""

    resource: Resource
    window_limit: int
    floor: int
    """Changes up to this revision are no longer kept."""
    _entries: dict[str, Stored] = attrs.field(factory=dict, init=False)
    _sorted: list[str] | None = attrs.field(default=None, init=False)
    _window: deque[Change] = attrs.field(factory=deque, init=False)
    _everything: _Bucket = attrs.field(factory=dict, init=False)
    _indexes: dict[str, tuple[FieldGetter, dict[str, _Bucket]]] = attrs.field(
        factory=dict, init=False
    )

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def watched(self) -> bool:
        """Whether anybody watches the kind."""
        return bool(self._everything or self._indexes)

    def get(self, key: str) -> Stored | None:
        """The object stored under `key`."""
        return self._entries.get(key)

    def load(self, key: str, entry: Stored) -> None:
        """Take an object without telling anyone: the state that the cache starts from."""
        self._entries[key] = entry
        self._sorted = None

    def entries(self, prefix: str, start: str = "") -> Iterator[tuple[str, Stored]]:
        """The objects whose keys begin with `prefix`, in key order, from `start` on."""
        if self._sorted is None:
            self._sorted = sorted(self._entries)
        keys = self._sorted
        first = bisect_left(keys, max(prefix, start))
        last = bisect_left(keys, prefix + _LAST)
        for position in range(first, last):
            yield keys[position], self._entries[keys[position]]

    def put(self, key: str, entry: Stored, woken: list[Watcher]) -> None:
        """An object was created or changed; adds to `woken` who must be woken."""
        before = self._entries.get(key)
        if before is None:
            self._sorted = None
        self._entries[key] = entry
        self._record(Change(entry.revision, before, entry), woken)

    def remove(self, key: str, revision: int, woken: list[Watcher]) -> None:
        """An object was deleted; adds to `woken` who must be woken."""
        before = self._entries.pop(key, None)
        if before is not None:
            self._sorted = None
            self._record(Change(revision, before, None), woken)

    def _record(self, change: Change, woken: list[Watcher]) -> None:
        window = self._window
        if len(window) >= self.window_limit:
            self.floor = window.popleft().revision
        window.append(change)
        if not self.watched:
            if change.new is not None:
                change.new.put_away()
            return
        old, new = change.states()
        for watcher in self._everything.values():
            if watcher.offer(change, old, new):
                woken.append(watcher)  # noqa: PERF401 -- `offer` does the work here
        for getter, buckets in self._indexes.values():
            before = getter(old) if old is not None else None
            after = getter(new) if new is not None else None
            if before == after:
                _offer(buckets.get(after or ""), change, old, new, woken)
                continue
            if before is not None:
                _offer(buckets.get(before), change, old, None, woken)
            if after is not None:
                _offer(buckets.get(after), change, None, new, woken)

    def forget(self, revision: int) -> None:
        """Give up the changes up to and with `revision`: no watch resumes from before it."""
        window = self._window
        while window and window[0].revision <= revision:
            window.popleft()
        self.floor = max(self.floor, revision)

    def changes_after(self, revision: int) -> list[Change]:
        """The changes after `revision`, oldest first. Raises Gone when some are no longer kept."""
        if revision < self.floor:
            raise too_old(revision, self.floor)
        found: list[Change] = []
        for change in reversed(self._window):
            if change.revision <= revision:
                break
            found.append(change)
        found.reverse()
        return found

    def add(self, serial: int, watcher: Watcher) -> None:
        """File a watcher under its index."""
        self._bucket(watcher)[serial] = watcher

    def discard(self, serial: int, watcher: Watcher) -> None:
        """Forget a watcher; unknown ones are no error."""
        bucket = self._bucket(watcher)
        bucket.pop(serial, None)
        if bucket or watcher.index is None:
            return
        field, value = watcher.index
        buckets = self._indexes[field][1]
        del buckets[value]
        if not buckets:
            del self._indexes[field]

    def _bucket(self, watcher: Watcher) -> _Bucket:
        if watcher.index is None:
            return self._everything
        field, value = watcher.index
        found = self._indexes.get(field)
        if found is None:
            found = self._indexes[field] = (self.resource.selectable_fields[field], {})
        return found[1].setdefault(value, {})

    def watchers(self) -> list[Watcher]:
        """All watchers, in a fixed order."""
        found = list(self._everything.values())
        for _, buckets in self._indexes.values():
            for bucket in buckets.values():
                found.extend(bucket.values())
        return found

    def fill(self, watcher: Watcher, revision: int | None) -> None:
        """Give a new watcher what it starts from: every object, or the changes after `revision`. Raises Gone."""
        getter = self.resource.selectable_fields[watcher.index[0]] if watcher.index else None
        value = watcher.index[1] if watcher.index else ""
        limit, watcher.limit = watcher.limit, self.window_limit + 1
        if revision is None:
            for _, entry in self.entries(self.resource.storage_prefix):
                obj = entry.object
                if (getter is None or getter(obj) == value) and watcher.selects(obj):
                    watcher.buffer.append(WatchEvent(WatchEventType.ADDED, obj, entry.revision))
        else:
            for change in self.changes_after(revision):
                old, new = change.states()
                if getter is not None:
                    old = old if old is not None and getter(old) == value else None
                    new = new if new is not None and getter(new) == value else None
                watcher.offer(change, old, new)
        # What it starts from is not the fault of a slow client.
        watcher.limit = limit + len(watcher.buffer)

    def statistics(self) -> KindStatistics:
        """How much there is of everything."""
        return KindStatistics(
            kind=self.resource.kind,
            objects=len(self._entries),
            window=len(self._window),
            floor=self.floor,
            watchers=len(self.watchers()),
        )

    def check(self) -> None:
        """Assert what must always hold."""
        revisions = [change.revision for change in self._window]
        assert revisions == sorted(revisions), "the window is out of order"
        assert all(revision > self.floor for revision in revisions), "the floor is above the window"
        assert len(self._window) <= self.window_limit, "the window is too long"
        if self._sorted is not None:
            assert self._sorted == sorted(self._entries), "the key order is stale"
        for field, (_, buckets) in self._indexes.items():
            assert buckets, f"the index {field} is empty and still there"
            for value, bucket in buckets.items():
                assert bucket, f"the bucket {field}={value} is empty and still there"
                assert all(w.index == (field, value) for w in bucket.values())


def _offer(
    bucket: _Bucket | None,
    change: Change,
    old: KubeObject | None,
    new: KubeObject | None,
    woken: list[Watcher],
) -> None:
    if bucket is not None:
        for watcher in bucket.values():
            if watcher.offer(change, old, new):
                woken.append(watcher)  # noqa: PERF401 -- `offer` does the work here


def plan_watcher(  # noqa: PLR0913 -- the options of one watch
    resource: Resource,
    namespace: str,
    labels: Selector,
    fields: FieldSelector,
    *,
    after: int,
    limit: int,
) -> Watcher:
    """A watcher with these selectors, filed under the most selective of them."""
    requirements = list(fields.requirements)
    if namespace and resource.namespaced:
        requirements.append(FieldRequirement(field=NAMESPACE, equal=True, value=namespace))
    equal = [requirement for requirement in requirements if requirement.equal]
    equal.sort(key=lambda requirement: _SELECTIVITY.get(requirement.field, 1))
    index = (equal[0].field, equal[0].value) if equal else None
    rest = [r for r in requirements if not equal or r is not equal[0]]
    return Watcher(
        labels=labels,
        fields=tuple((resource.selectable_fields[r.field], r) for r in rest),
        index=index,
        after=after,
        limit=limit,
    )


_SELECTIVITY: Final = {"metadata.name": 0, NAMESPACE: 2}
"""Which equality to file a watcher under: the name first, the namespace last."""


def matching(
    found: Iterable[tuple[str, Stored]], resource: Resource, labels: Selector, fields: FieldSelector
) -> Iterator[tuple[str, Stored]]:
    """Those of `found` that both selectors match."""
    for key, entry in found:
        obj = entry.value
        if labels.matches(obj.metadata.labels) and resource.matches_fields(fields, obj):
            yield key, entry
