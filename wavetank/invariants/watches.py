"""Invariants of what watchers of the API server are given: it is the log, and it is durable."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import ClassVar, Final, TypeAlias

import attrs

from engine import KubeObject, WatchEvent, WatchRequest
from store import Event as LogEvent
from wavetank.invariants.model import Surroundings
from wavetank.invariants.watch_track import KindTracks, OpenWatch
from wavetank.view import View

REGISTRY_LENGTH: Final = len("/registry/")


@attrs.frozen
class _Opened:
    watch: int
    request: WatchRequest
    after: int
    from_state: bool


@attrs.frozen
class _Delivered:
    watch: int
    events: tuple[WatchEvent, ...]


@attrs.frozen
class _Ended:
    watch: int
    upto: int | None


_Report: TypeAlias = _Opened | _Delivered | _Ended


@attrs.define
class WatchEqualsLog:
    """What the server hands out on a watch is exactly what the log holds for it, by etcd's rules for watches.

    Filter: nothing that the request does not select. Ordered, unique: revisions grow. Reliable, resumable: nothing is left out after the
    revision that the watch began after, up to what was handed out last. Atomic: a revision is never split between batches. Previous value: DELETED carries
    the last state. Bookmarkable: nothing up to a bookmark comes after it. A watch that begins with the state is given objects
    that the request selects, each once, and from then on the log.

    The server may be ahead of the log's observer: its reports wait until the log has passed the revision they are about.
    """

    name: ClassVar[str] = "watchEqualsLog"
    _kinds: dict[str, KindTracks] = attrs.field(factory=dict)
    """By storage prefix: the kinds that are, or were, watched."""
    _watches: dict[int, OpenWatch] = attrs.field(factory=dict)
    _reports: deque[tuple[int, _Report]] = attrs.field(factory=deque)
    """With the revision that the log must have passed."""
    _revision: int = 0
    """The newest of the log; all before it is complete."""

    def begin(self, surroundings: Surroundings) -> None:
        """Listen to the server."""
        self._revision = surroundings.revision
        if surroundings.listen is not None:
            surroundings.listen(self)

    # -- what the server says: see WatchListener -------------------------------------------------

    def opened(self, watch: int, request: WatchRequest, after: int, *, from_state: bool) -> None:
        """Part of the protocol of listeners."""
        prefix = request.resource.storage_prefix
        kind = self._kinds.get(prefix)
        if kind is None:
            kind = self._kinds[prefix] = KindTracks(request.resource, self._revision)
        # Its index must be kept from now on, though its turn comes later.
        kind.track_for(request)
        self._reports.append((after, _Opened(watch, request, after, from_state)))

    def delivered(self, watch: int, events: tuple[WatchEvent, ...]) -> None:
        """Part of the protocol of listeners."""
        self._reports.append((events[-1].revision if events else 0, _Delivered(watch, events)))

    def ended(self, watch: int, upto: int | None) -> None:
        """Part of the protocol of listeners."""
        self._reports.append((upto or 0, _Ended(watch, upto)))

    # -- what the log says -----------------------------------------------------------------------

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> str | None:
        del view
        revision = event.revision
        message = None
        if revision > self._revision:
            reports = self._reports
            while reports and reports[0][0] < revision and message is None:
                message = self._judge(reports.popleft()[1])
            self._revision = revision
        key = event.key
        slash = key.find("/", REGISTRY_LENGTH) + 1
        kind = self._kinds.get(key[:slash])
        if kind is None:
            kind = self._kinds.get(key[: key.find("/", slash) + 1])
        if kind is not None:
            kind.observe(event, old)
        return message

    def finish(self, view: View, now_ns: int) -> Iterator[str]:
        """The reports that are left: the log is complete."""
        del view, now_ns
        while self._reports:
            revision, report = self._reports.popleft()
            if revision > self._revision:
                yield f"the server tells of revision {revision}; the log ends at {self._revision}"
                continue
            message = self._judge(report)
            if message is not None:
                yield message

    def _judge(self, report: _Report) -> str | None:
        watch = self._watches.get(report.watch)
        if isinstance(report, _Opened):
            kind = self._kinds[report.request.resource.storage_prefix]
            self._watches[report.watch] = kind.open(
                report.watch, report.request, report.after, from_state=report.from_state
            )
            return None
        if watch is None:
            return None  # it has been found wrong, and nothing more is said of it
        if isinstance(report, _Delivered):
            message = watch.take(report.events)
        else:
            message = None if report.upto is None else watch.missing_upto(report.upto)
        if message is not None or isinstance(report, _Ended):
            watch.close()
            del self._watches[report.watch]
        return message


@attrs.define
class VisibleAfterDurable:
    """No watcher is handed what the store has not yet made as durable as it promises.

    It needs a reading of the newest durable revision (`Surroundings.durable`).
    """

    name: ClassVar[str] = "visibleAfterDurable"
    kinds: ClassVar = ()
    _surroundings: Surroundings = attrs.field(factory=Surroundings)
    _found: list[str] = attrs.field(factory=list)

    def begin(self, surroundings: Surroundings) -> None:
        """Listen to the server."""
        self._surroundings = surroundings
        if surroundings.listen is not None and surroundings.durable is not None:
            surroundings.listen(self)

    def opened(self, watch: int, request: WatchRequest, after: int, *, from_state: bool) -> None:
        """Part of the protocol of listeners: nothing has been shown."""

    def delivered(self, watch: int, events: tuple[WatchEvent, ...]) -> None:
        """Part of the protocol of listeners."""
        durable = self._surroundings.durable
        newest = max((event.revision for event in events), default=0)
        if durable is not None and newest > durable():
            self._found.append(
                f"watch {watch} was handed revision {newest} when {durable()} was durable"
            )

    def ended(self, watch: int, upto: int | None) -> None:
        """Part of the protocol of listeners: nothing is shown."""

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> str | None:
        del event, old, view
        return None

    def finish(self, view: View, now_ns: int) -> Iterator[str]:
        """What was found."""
        del view, now_ns
        yield from self._found
