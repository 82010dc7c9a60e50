"""What may be done to the batches of a process' watches: `Stage`s of its `Seam`.

Whatever they hold back is delivered when they are over, in order: a client's view then comes to equal the log's state again.
"""

from __future__ import annotations

from typing import Final

import attrs
import trio

from engine.api.errors import ApiError
from engine.api.request import WatchEvent, WatchEventType
from engine.control.seam import Connection, Events
from engine.objects.meta import ObjectMeta
from engine.sim.draws import Draws
from engine.sim.durations import DurationRange


@attrs.frozen(kw_only=True)
class Stalled:
    """Nothing is delivered; the connections stay open."""

    kind: str = ""
    """Which kind's watches; empty: all."""

    async def deliver(self, connection: Connection, events: Events, over: trio.Event) -> Events:
        """As `Stage`."""
        if concerns(self.kind, connection):
            await over.wait()
        return events


@attrs.define(eq=False, kw_only=True)
class Delayed:
    """Each batch takes a further time, and what comes meanwhile follows it, in order."""

    delay: DurationRange
    draws: Draws
    label: str
    """Of the draws; with the kind and the number of the batch."""
    kind: str = ""
    _batches: dict[str, int] = attrs.field(factory=dict, init=False)

    async def deliver(self, connection: Connection, events: Events, over: trio.Event) -> Events:
        """As `Stage`."""
        if concerns(self.kind, connection) and not over.is_set():
            kind = connection.request.resource.kind
            number = self._batches[kind] = self._batches.get(kind, 0) + 1
            with trio.move_on_after(
                self.draws.duration(f"{self.label}/{kind}", number, self.delay)
            ):
                await over.wait()
        return events


@attrs.frozen(kw_only=True)
class Coalesced:
    """Of several changes of one object within a window of time only the last is told, as a coalescing watch does."""

    window: float
    """Seconds from the first event."""
    kind: str = ""
    across_recreation: bool = False
    """Whether a deletion followed by a creation under the same name becomes one update."""

    async def deliver(self, connection: Connection, events: Events, over: trio.Event) -> Events:
        """As `Stage`."""
        if not concerns(self.kind, connection) or over.is_set():
            return events
        gathered = list(events)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_gather, connection, gathered)
            with trio.move_on_after(self.window):
                await over.wait()
            nursery.cancel_scope.cancel()
        return coalesced(tuple(gathered), across_recreation=self.across_recreation)


async def _gather(connection: Connection, gathered: list[WatchEvent]) -> None:
    try:
        while True:
            gathered.extend(await connection.source())
    except (ApiError, trio.EndOfChannel):
        return  # whoever reads on is told of it again


def concerns(kind: str, connection: Connection) -> bool:
    """Whether the watch is one of this kind's; an empty one means any."""
    return kind in ("", connection.request.resource.kind)


def coalesced(events: Events, *, across_recreation: bool = False) -> Events:
    """The last change of each object, in the order of their revisions; nothing of an object that came and went.

    ADDED then MODIFIED is ADDED, MODIFIED then DELETED is DELETED; DELETED then ADDED stays two events or is MODIFIED.
    """
    runs: dict[tuple[str, str], list[WatchEvent]] = {}
    kept: list[WatchEvent] = []
    for event in events:
        if event.object is None:
            kept.append(event)
            continue
        metadata: ObjectMeta = event.object.metadata
        runs.setdefault((metadata.namespace, metadata.name), []).append(event)
    for run in runs.values():
        kept.extend(_last_of(run, across_recreation=across_recreation))
    return tuple(sorted(kept, key=lambda event: event.revision))


def _last_of(run: list[WatchEvent], *, across_recreation: bool) -> list[WatchEvent]:
    """What is told of one object's changes."""
    first, last = run[0], run[-1]
    existed = first.type is not _ADDED
    if last.type is _DELETED:
        return [last] if existed else []
    if not existed:
        return [WatchEvent(_ADDED, last.object, last.revision)]
    deletions = [event for event in run if event.type is _DELETED]
    if deletions and not across_recreation:
        return [deletions[-1], WatchEvent(_ADDED, last.object, last.revision)]
    return [WatchEvent(WatchEventType.MODIFIED, last.object, last.revision)]


_ADDED: Final = WatchEventType.ADDED
_DELETED: Final = WatchEventType.DELETED
