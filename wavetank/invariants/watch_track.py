"""What the log holds for each watch: the changes of a kind in tracks, one for each index that watches use, and a cursor per watch.

A change is put on the track of its kind and on those of its values of the indexed fields, before and after: a watch of another node's pods
never meets it. What a watch is handed is compared with its track from its cursor on. So a change costs O(tracks it is
on), a delivery O(changes of its track since the one before).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Final, TypeAlias, cast

import attrs

from engine import (
    FieldSelector,
    Key,
    KubeObject,
    Resource,
    WatchEvent,
    WatchEventType,
    WatchRequest,
    key_of,
    parse_label_selector,
)
from store import Event as LogEvent

KEPT: Final = 2_000
"""Changes that a track keeps beyond what its watches still need, for watches that begin in the past."""

_Getter: TypeAlias = Callable[[KubeObject], str]
_Index: TypeAlias = tuple[str, str]
_Expected: TypeAlias = tuple[WatchEventType, KubeObject]

_NAMESPACE: Final = "metadata.namespace"


@attrs.define(eq=False)
class Change:
    """One object's change; `plain` is the delivered event that was found to tell it to who selects everything."""

    revision: int
    old: KubeObject | None
    new: KubeObject | None
    plain: WatchEvent | None = attrs.field(default=None, init=False)


@attrs.define(eq=False)
class Track:
    """Changes in order; `first` is the position of the oldest that is kept, counted from the beginning."""

    floor: int
    """Changes up to this revision are not on it."""
    first: int = 0
    changes: deque[Change] = attrs.field(factory=deque, init=False)
    watches: dict[int, OpenWatch] = attrs.field(factory=dict, init=False)

    def append(self, change: Change) -> None:
        self.changes.append(change)
        if len(self.changes) > 2 * KEPT:
            self._trim()

    def _trim(self) -> None:
        """Forget what no watch needs, but for the newest."""
        end = self.first + len(self.changes)
        keep_from = min([end - KEPT, *(watch.cursor for watch in self.watches.values())])
        while self.first < keep_from:
            self.floor = self.changes.popleft().revision
            self.first += 1

    def position_after(self, revision: int) -> int:
        """Where the changes after `revision` begin."""
        position = self.first + len(self.changes)
        for change in reversed(self.changes):
            if change.revision <= revision:
                break
            position -= 1
        return position

    def since(self, position: int) -> Iterator[Change]:
        """The changes from a position on."""
        return islice(self.changes, position - self.first, None)


@attrs.define(eq=False)
class KindTracks:
    """The tracks of one kind; `floor` is the revision up to which the log is not known."""

    resource: Resource
    floor: int
    all: Track = attrs.field(init=False)
    _tracks: dict[_Index, Track] = attrs.field(factory=dict, init=False)
    _fields: dict[str, _Getter] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.all = Track(self.floor)

    def observe(self, event: LogEvent, old: KubeObject | None) -> None:
        """Take an event of this kind."""
        new = cast("KubeObject | None", event.value)
        change = Change(event.revision, old, new)
        self.all.append(change)
        for field, getter in self._fields.items():
            before = None if old is None else getter(old)
            after = None if new is None else getter(new)
            if before is not None:
                self._append(field, before, change)
            if after is not None and after != before:
                self._append(field, after, change)

    def _append(self, field: str, value: str, change: Change) -> None:
        track = self._tracks.get((field, value))
        if track is not None:
            track.append(change)

    def track_for(self, request: WatchRequest) -> Track:
        """The track that the request is held against; a new one has what the kind's has for it."""
        index = _index_of(request)
        if index is None:
            return self.all
        track = self._tracks.get(index)
        if track is None:
            field, value = index
            getter = self._fields[field] = self.resource.selectable_fields[field]
            track = self._tracks[index] = Track(self.all.floor)
            for change in self.all.changes:
                if any(
                    obj is not None and getter(obj) == value for obj in (change.old, change.new)
                ):
                    track.append(change)
        return track

    def open(self, watch: int, request: WatchRequest, after: int, *, from_state: bool) -> OpenWatch:
        """A watch; what the track does not know any more is not asked of it."""
        track = self.track_for(request)
        resource = request.resource
        opened = OpenWatch(
            serial=watch,
            request=request,
            track=track,
            cursor=track.position_after(after),
            last=after,
            known_after=max(after, track.floor),
            state_upto=after if from_state else 0,
            fields=resource.field_selector(request.field_selector),
            labels=parse_label_selector(request.label_selector).matches,
            plain=not (
                request.field_selector
                or request.label_selector
                or (request.namespace and resource.namespaced)
            ),
        )
        track.watches[watch] = opened
        return opened


def _index_of(request: WatchRequest) -> _Index | None:
    """The field and value that select the fewest objects; None when the request names none."""
    selector = request.resource.field_selector(request.field_selector)
    equal = [each for each in selector.requirements if each.equal]
    if equal:
        return equal[0].field, equal[0].value
    if request.namespace and request.resource.namespaced:
        return _NAMESPACE, request.namespace
    return None


@attrs.define(eq=False, kw_only=True)
class OpenWatch:
    """One open watch: what it selects, and how far it has got on its track."""

    serial: int
    request: WatchRequest
    track: Track
    cursor: int
    last: int
    """The newest revision it was handed, or began after."""
    known_after: int
    """Deliveries up to this revision cannot be held against the log."""
    state_upto: int
    """The revision of the state that it begins with; 0 when it does not, or when that has been handed out."""
    fields: FieldSelector
    labels: Callable[[Mapping[str, str]], bool]
    plain: bool
    """It selects all objects of its kind."""
    _state: dict[Key, None] = attrs.field(factory=dict, init=False)

    def close(self) -> None:
        """It is over."""
        self.track.watches.pop(self.serial, None)

    def take(self, events: tuple[WatchEvent, ...]) -> str | None:
        """Hold a batch against the log; what is wrong with it, or None."""
        if self.state_upto:
            rest = self._past_the_state(events)
            if rest is None:
                return self._wrong(
                    "began with an object twice, or with one that it does not select"
                )
            events = rest
        if not events:
            return None
        if events[0].revision <= self.last:
            return self._wrong(
                f"was handed revision {events[0].revision} in a batch after the one that ended "
                f"with {self.last}"
            )
        changes = self.track.since(self.cursor)
        for event in events:
            if event.type is WatchEventType.BOOKMARK:
                message = self.missing_upto(event.revision)
                if message is not None:
                    return message
                changes = self.track.since(self.cursor)
            elif event.revision > self.known_after:
                message = self._compare(event, changes)
                if message is not None:
                    return message
            self.last = event.revision
        return None

    def _compare(self, event: WatchEvent, changes: Iterator[Change]) -> str | None:
        for change in changes:
            self.cursor += 1
            if self.plain and event is change.plain:
                return None
            expected = self._expected(change)
            if expected is None:
                continue
            if change.revision != event.revision:
                if change.revision > event.revision:
                    return self._wrong(f"was handed {_told(event)}, which the log does not have")
                return self._wrong(
                    f"was not handed {expected[0].value} r{change.revision}, but {_told(event)}"
                )
            if event.type is not expected[0] or not _same(event, expected[1]):
                return self._wrong(f"was handed {_told(event)}; the log says {expected[0].value}")
            if self.plain:
                change.plain = event
            return None
        return self._wrong(f"was handed {_told(event)}, which the log does not have")

    def _expected(self, change: Change) -> _Expected | None:
        """What a change is to this watch; None for nothing."""
        old, new = change.old, change.new
        was, is_ = self._selects(old), self._selects(new)
        if is_ and new is not None:
            return (WatchEventType.MODIFIED if was else WatchEventType.ADDED), new
        if was and old is not None:
            return WatchEventType.DELETED, old
        return None

    def _selects(self, obj: KubeObject | None) -> bool:
        if obj is None or self.plain:
            return obj is not None
        request, metadata = self.request, obj.metadata
        if request.resource.namespaced and request.namespace not in ("", metadata.namespace):
            return False
        return request.resource.matches_fields(self.fields, obj) and self.labels(metadata.labels)

    def missing_upto(self, revision: int) -> str | None:
        """What of the log up to a revision it was not handed, or None."""
        for change in self.track.since(self.cursor):
            if change.revision > revision:
                break
            self.cursor += 1
            expected = self._expected(change)
            if expected is not None and change.revision > max(self.known_after, self.state_upto):
                return self._wrong(f"was never handed {expected[0].value} r{change.revision}")
        return None

    def _past_the_state(self, events: tuple[WatchEvent, ...]) -> tuple[WatchEvent, ...] | None:
        """The events without those of the state that it begins with; None when one of these is wrong."""
        for position, event in enumerate(events):
            obj = event.object
            if obj is None or event.revision > self.state_upto:
                self.state_upto = 0
                self._state.clear()
                return events[position:]
            key = key_of(obj)
            if event.type is not WatchEventType.ADDED or key in self._state:
                return None
            if not self._selects(obj):
                return None
            self._state[key] = None
        return ()

    def _wrong(self, what: str) -> str:
        request = self.request
        selectors = ", ".join(
            each
            for each in (request.namespace, request.field_selector, request.label_selector)
            if each
        )
        return (
            f"watch {self.serial} of {request.resource.plural}"
            f"{f' ({selectors})' if selectors else ''} {what}"
        )


def _told(event: WatchEvent) -> str:
    name = "" if event.object is None else f" {event.object.metadata.name}"
    return f"{event.type.value}{name} r{event.revision}"


_names: Final[dict[type, tuple[str, ...]]] = {}


def _same(event: WatchEvent, stored: KubeObject) -> bool:
    """Whether the event shows the stored object, with the event's revision as its resourceVersion.

    Parts are compared by identity first: the server shares them with the log.
    """
    shown = event.object
    if shown is None or type(shown) is not type(stored):
        return False
    if shown.metadata.resource_version != str(event.revision):
        return False
    return _equal(shown, stored, "metadata") and _equal(
        shown.metadata, stored.metadata, "resource_version"
    )


def _equal(one: object, other: object, but: str) -> bool:
    """Whether all fields but one are equal."""
    cls = type(one)
    names = _names.get(cls)
    if names is None:
        names = _names[cls] = tuple(
            field.name for field in attrs.fields(cast("type[attrs.AttrsInstance]", cls))
        )
    for name in names:
        if name != but:
            before, after = getattr(one, name), getattr(other, name)
            if before is not after and before != after:
                return False
    return True
