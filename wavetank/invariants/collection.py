"""Invariants of what is to be collected: objects without owners, and pods on nodes that do not exist."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final, cast

import attrs

from engine import (
    Fault,
    Key,
    KubeObject,
    Node,
    OwnerReference,
    Pod,
    Resource,
    Settings,
    UnknownKind,
    key_of,
)
from store import Event as LogEvent
from wavetank.invariants.deadlines import Deadlines, Disturbances
from wavetank.invariants.model import NEVER, SECOND_NS, Surroundings
from wavetank.view import View, kind_name

COLLECTED_SECONDS: Final = 120.0
"""The default bound: the collector examines at once what it learns of, so it is generous."""


@attrs.frozen
class _Orphan:
    """An object, and since when it has had no owner."""

    resource: Resource
    key: Key
    uid: str
    since_ns: int


@attrs.define
class OwnerExists:
    """An object all of whose owners are gone is gone itself, or being deleted, within 120 s.

    Owners are looked up as the garbage collector does: by kind, the object's own namespace, name and uid; one of a kind that nobody serves
    counts as there, and a cluster-wide object is left alone when its owner would be in a namespace. What holds a
    deletion up afterwards (finalizers, a foreground deletion, a kubelet) is not the collector's. A disturbance of the control plane stops
    the clock, and its end may find the collector at the longest of its back-offs (`queueMaxDelay`). Without a garbage collector nothing is said.
    """

    name: ClassVar[str] = "ownerExists"
    within_seconds: float = COLLECTED_SECONDS
    _settings: Settings | None = None
    _dependants: dict[str, dict[str, tuple[Resource, Key]]] = attrs.field(factory=dict)
    """By the owner's uid and the storage key: those who name it as an owner."""
    _orphans: Deadlines[_Orphan] = attrs.field(factory=Deadlines)
    _disturbances: Disturbances = attrs.field(factory=Disturbances)

    def begin(self, surroundings: Surroundings) -> None:
        """Look on only if there is a garbage collector."""
        if "garbagecollector" in surroundings.reconcilers:
            self._settings = surroundings.settings

    @property
    def due_ns(self) -> int:
        """When the first orphan must be gone."""
        return self._orphans.due_ns

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> str | None:
        new = cast("KubeObject | None", event.value)
        if old is not None and new is not None:
            before, after = old.metadata, new.metadata
            references = before.owner_references
            if before.uid == after.uid and (
                references is after.owner_references or references == after.owner_references
            ):
                if type(new) is Fault:
                    self._disturbances.observe(event, old)
                return None
        obj = old if new is None else new
        if self._settings is None or obj is None:
            return None
        if type(obj) is Fault:
            self._disturbances.observe(event, old)
        if old is not None:
            self._left(event, old, None if new is None else new.metadata.uid, view)
        if new is not None and new.metadata.owner_references:
            self._arrived(event, new, view)
        return None

    def _left(self, event: LogEvent, old: KubeObject, uid: str | None, view: View) -> None:
        """`old`, or its owner references, are no more."""
        for reference in old.metadata.owner_references:
            named = self._dependants.get(reference.uid)
            if named is not None:
                named.pop(event.key, None)
                if not named:
                    del self._dependants[reference.uid]
        if uid == old.metadata.uid:
            return
        for resource, key in list(self._dependants.get(old.metadata.uid, {}).values()):
            dependant = view.state.raw(kind_name(resource)).get(key)
            if dependant is not None:
                self._judge(resource, dependant, event.time_ns, view)

    def _arrived(self, event: LogEvent, new: KubeObject, view: View) -> None:
        resource = view.state.scheme.resource_of(new)
        if not resource.garbage_collected:
            return
        place = (resource, key_of(new))
        for reference in new.metadata.owner_references:
            self._dependants.setdefault(reference.uid, {})[event.key] = place
        self._judge(resource, new, event.time_ns, view)

    def _judge(self, resource: Resource, obj: KubeObject, now_ns: int, view: View) -> None:
        if _is_orphan(resource, obj, view):
            orphan = _Orphan(resource, key_of(obj), obj.metadata.uid, now_ns)
            self._orphans.add(now_ns + round(self.within_seconds * SECOND_NS), orphan)

    def overdue(self, view: View, now_ns: int) -> Iterator[str]:
        """The orphans whose time is up, and which are there still."""
        settings = self._settings or Settings()
        for orphan in self._orphans.take(now_ns):
            obj = view.state.raw(kind_name(orphan.resource)).get(orphan.key)
            if obj is None or obj.metadata.uid != orphan.uid:
                continue
            if not _is_orphan(orphan.resource, obj, view):
                continue
            seconds = self.within_seconds
            if self._disturbances.since(orphan.since_ns):
                seconds += settings.queue_max_delay
                counted_ns = self._disturbances.ended_ns + round(seconds * SECOND_NS)
                if self._disturbances.active or counted_ns > now_ns:
                    self._orphans.add(max(counted_ns, now_ns + SECOND_NS), orphan)
                    continue
            age = (now_ns - orphan.since_ns) / 1e9
            owner = obj.metadata.owner_references[0]
            yield (
                f"{obj.kind} {orphan.key} is there {age:g}s after its last owner "
                f"({owner.kind} {owner.name}) was gone; it must be collected within {seconds:g}s"
            )


def _is_orphan(resource: Resource, obj: KubeObject, view: View) -> bool:
    metadata = obj.metadata
    if metadata.deletion_timestamp is not None or not metadata.owner_references:
        return False
    return not any(
        _stands(reference, metadata.namespace, resource, view)
        for reference in metadata.owner_references
    )


def _stands(reference: OwnerReference, namespace: str, dependant: Resource, view: View) -> bool:
    """Whether the owner is there, or nothing may be concluded from its absence."""
    try:
        resource = view.state.scheme.resource_of((reference.api_version, reference.kind))
    except UnknownKind:
        return True
    if resource.namespaced and not dependant.namespaced:
        return True
    key = Key(namespace if resource.namespaced else "", reference.name)
    owner = view.state.raw(kind_name(resource)).get(key)
    return owner is not None and owner.metadata.uid == reference.uid


@attrs.frozen
class _Stranded:
    """A pod, and since when its node has been missing."""

    key: Key
    uid: str
    node: str
    since_ns: int


@attrs.define
class NothingOnMissingNode:
    """No pod stays bound to a node that does not exist for longer than the pod garbage collector may take.

    That is twice a look (`podGcPeriod`, 20 s) to see it missing, the quarantine (`podGcQuarantine`, 40 s) and a look to act; and as much
    again, since a refused deletion is tried in the next round: 160 s, and 20 s on top. A restart of the collector, like every disturbance of the
    control plane, begins the time anew; a pod that finalizers hold has been dealt with. Without a pod garbage collector nothing is said.
    """

    name: ClassVar[str] = "nothingOnMissingNode"
    kinds: ClassVar = (Pod, Node, Fault)
    _bound_ns: int = NEVER
    _stranded: Deadlines[_Stranded] = attrs.field(factory=Deadlines)
    _missing: dict[str, int] = attrs.field(factory=dict)
    """When each Node was removed, while it is missing."""
    _disturbances: Disturbances = attrs.field(factory=Disturbances)

    def begin(self, surroundings: Surroundings) -> None:
        """Take the periods from the settings, if there is a pod garbage collector."""
        if "pod-gc" in surroundings.reconcilers:
            settings = surroundings.settings
            rounds = 2 * (2 * settings.pod_gc_period + settings.pod_gc_quarantine)
            self._bound_ns = round((rounds + 20.0) * SECOND_NS)

    @property
    def due_ns(self) -> int:
        """When the first of them must be gone."""
        return self._stranded.due_ns

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> str | None:
        new = event.value
        if self._bound_ns == NEVER:
            return None
        if isinstance(new, Pod):
            node = new.spec.node_name
            fresh = not isinstance(old, Pod) or old.spec.node_name != node
            if node and fresh and Key("", node) not in view.state.raw("Node"):
                self._strand(new, event.time_ns)
        elif isinstance(new, Node):
            self._missing.pop(new.metadata.name, None)
        elif isinstance(old, Node):
            self._missing[old.metadata.name] = event.time_ns
            for pod in list(view.state.pods_on(old.metadata.name)):
                self._strand(pod, event.time_ns)
        else:
            self._disturbances.observe(event, old)
        return None

    def _strand(self, pod: Pod, now_ns: int) -> None:
        stranded = _Stranded(key_of(pod), pod.metadata.uid, pod.spec.node_name, now_ns)
        self._stranded.add(now_ns + self._bound_ns, stranded)

    def overdue(self, view: View, now_ns: int) -> Iterator[str]:
        """The pods whose time is up, and whose nodes are missing still."""
        for each in self._stranded.take(now_ns):
            pod = view.state.raw("Pod").get(each.key)
            if (
                pod is None
                or pod.metadata.uid != each.uid
                or Key("", each.node) in view.state.raw("Node")
            ):
                continue
            if pod.metadata.deletion_timestamp is not None and pod.metadata.finalizers:
                continue
            since = max(each.since_ns, self._missing.get(each.node, 0))
            if self._disturbances.since(since):
                since = max(since, self._disturbances.ended_ns)
            if self._disturbances.active:
                since = max(since, now_ns + SECOND_NS - self._bound_ns)
            if since + self._bound_ns > now_ns:
                self._stranded.add(since + self._bound_ns, each)
                continue
            yield (
                f"pod {each.key} is bound to node {each.node}, which has been missing for "
                f"{(now_ns - since) / 1e9:g}s; {self._bound_ns / 1e9:g}s are allowed"
            )
