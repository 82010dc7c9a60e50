"""The lives of all objects of a run, from its log: who began each, who ended it, and because of what.

An identity (kind, namespace, name) may have several lives, one after another; each has a uid of its own. A life has ended when the object is
removed; from the first deletionTimestamp on it is about to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple, cast

import attrs

from engine import KubeObject, key_of
from store import Event as LogEvent
from store import EventType
from wavetank.view import ClusterState, View

UNCOMPARED: Final = ("Event", "Lease", "Fault")
"""Kinds that are no state of the cluster: remarks, heartbeats, and the records of what is done to it."""


class Identity(NamedTuple):
    """What an object is called."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return (
            f"{self.kind} {self.namespace}/{self.name}"
            if self.namespace
            else f"{self.kind} {self.name}"
        )


@attrs.define(kw_only=True)
class Life:
    """One life of an object."""

    identity: Identity
    generated: str
    """`generateName`; empty when its name was given."""
    uid: str
    owner: str
    """The uid of its controller; empty for none."""
    begun: int
    """The revision; 0 when it was there when the history began."""
    begun_seconds: float
    maker: str
    ended: int = 0
    """0 as long as it lives."""
    ended_seconds: float = 0.0
    marked: int = 0
    """The revision that set its deletionTimestamp; that of its removal when nothing had."""
    remover: str = ""
    """Who wrote that."""
    remover_reconcile: str = ""

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return not self.ended


@attrs.frozen
class Deed:
    """What a revision did, for chains of causes."""

    identity: Identity
    ends: bool
    """It marked the object for deletion, or removed it."""
    causes: tuple[int, ...]


@attrs.define(eq=False)
class History:
    """A spectator of the log."""

    lives: dict[Identity, list[Life]] = attrs.field(factory=dict, init=False)
    deeds: dict[int, list[Deed]] = attrs.field(factory=dict, init=False)

    def begin(self, state: ClusterState) -> None:
        """What there is already."""
        for kind in state.kinds():
            if kind not in UNCOMPARED:
                for obj in state.raw(kind).values():
                    self._begin(kind, obj, 0, 0.0, "")

    def _begin(self, kind: str, obj: KubeObject, revision: int, seconds: float, actor: str) -> None:
        metadata = obj.metadata
        identity = Identity(kind, *key_of(obj))
        controller = metadata.controller
        self.lives.setdefault(identity, []).append(
            Life(
                identity=identity,
                generated=metadata.generate_name,
                uid=metadata.uid,
                owner=controller.uid if controller is not None else "",
                begun=revision,
                begun_seconds=seconds,
                maker=actor,
            )
        )

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> None:
        """As a Spectator."""
        del view
        obj = cast("KubeObject | None", event.value if event.value is not None else old)
        if obj is None:
            return
        kind = _kind(event.key, obj)
        if kind in UNCOMPARED:
            return
        identity = Identity(kind, *key_of(obj))
        removed = event.type is EventType.DELETE
        marked = (
            not removed
            and obj.metadata.deletion_timestamp is not None
            and (old is None or old.metadata.deletion_timestamp is None)
        )
        if old is None and not removed:
            self._begin(kind, obj, event.revision, event.time_ns / 1e9, event.origin.actor)
        if removed or marked:
            self._end(identity, event, removed=removed)
        causes = tuple(cause for cause in event.origin.causes if isinstance(cause, int))
        self.deeds.setdefault(event.revision, []).append(Deed(identity, removed or marked, causes))

    def _end(self, identity: Identity, event: LogEvent, *, removed: bool) -> None:
        lives = self.lives.get(identity)
        if not lives:
            return
        life = lives[-1]
        if not life.marked:
            life.marked = event.revision
            life.remover, life.remover_reconcile = event.origin.actor, event.origin.reconcile
        if removed:
            life.ended, life.ended_seconds = event.revision, event.time_ns / 1e9

    def ends_behind(self, revision: int) -> Iterator[Identity]:
        """The objects whose end is among the causes of a revision, nearest first; not those that it ends itself."""
        own = [deed.identity for deed in self.deeds.get(revision, []) if deed.ends]
        for cause in self.behind(revision):
            for deed in self.deeds.get(cause, []):
                if deed.ends and deed.identity not in own:
                    yield deed.identity

    def behind(self, revision: int) -> Iterator[int]:
        """A revision, its causes, theirs, and so on; the nearest first."""
        asked: dict[int, None] = {revision: None}
        waiting = deque([revision])
        while waiting:
            current = waiting.popleft()
            yield current
            for deed in self.deeds.get(current, []):
                for cause in deed.causes:
                    if cause not in asked:
                        asked[cause] = None
                        waiting.append(cause)


def _kind(storage_key: str, obj: KubeObject) -> str:
    """`view.kind_name` of what is stored under a key."""
    group = obj.api_version.rpartition("/")[0]
    return f"{obj.kind}.{group}" if storage_key.startswith(f"/registry/{group}/") else obj.kind
