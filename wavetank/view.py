"""A read-only view of the cluster: the log folded up to a revision, with the questions people ask of it.

`ClusterState` is the fold; `View` is what predicates, checks and invariants are given. Both read the log and nothing else,
so that what is checked does not depend on what any process believes.
"""

from __future__ import annotations

from builtins import list as List  # noqa: N812 - `list` is a method of View
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar, cast

import attrs

from engine import (
    Deployment,
    Key,
    KubeObject,
    Node,
    Pod,
    ReplicaSet,
    ReplicationController,
    Resource,
    Scheme,
    condition_of,
    decorated,
    is_ready,
    is_terminal,
    key_of,
    parse_label_selector,
)
from store import Event as LogEvent
from store import EventType

T = TypeVar("T", bound=KubeObject)


@attrs.define(eq=False)
class ClusterState:
    """Every object by kind and key, with pods by node and by controller; O(1) for each event."""

    scheme: Scheme
    revision: int = 0
    time_ns: int = 0
    _newest: dict[str, LogEvent] = attrs.field(factory=dict, init=False)
    """The event that each object stems from, by storage key."""
    _objects: dict[str, dict[Key, KubeObject]] = attrs.field(factory=dict, init=False)
    """By kind, for those that somebody has asked for: of most objects, which are Events, nobody ever asks."""
    _prefixes: dict[str, str] = attrs.field(factory=dict, init=False)
    """What the storage keys of a kind begin with."""
    _pods_by_node: dict[str, dict[Key, Pod]] = attrs.field(factory=dict, init=False)
    _by_controller: dict[str, dict[str, KubeObject]] = attrs.field(factory=dict, init=False)

    def apply(self, event: LogEvent) -> KubeObject | None:
        """Fold one event of the log; returns the state of the object before it."""
        self.revision, self.time_ns = event.revision, event.time_ns
        before = self._newest.get(event.key)
        old = None if before is None else cast("KubeObject", before.value)
        if event.type is EventType.DELETE:
            if old is not None:
                del self._newest[event.key]
                objects = self._objects.get(_kind_in(event.key, old))
                if objects is not None:
                    del objects[key_of(old)]
                self._index(event.key, old, None)
            return old
        new = cast("KubeObject", event.value)
        self._newest[event.key] = event
        kind = _kind_in(event.key, new)
        objects = self._objects.get(kind)
        if objects is not None:
            objects[key_of(new)] = new
        if kind not in self._prefixes:
            self._prefixes[kind] = event.key.removesuffix(str(key_of(new)))
        self._index(event.key, old, new)
        return old

    def _index(self, storage_key: str, old: KubeObject | None, new: KubeObject | None) -> None:
        for obj, present in ((old, False), (new, True)):
            if obj is None:
                continue
            if isinstance(obj, Pod) and obj.spec.node_name:
                _file(self._pods_by_node, obj.spec.node_name, key_of(obj), obj if present else None)
            owner = obj.metadata.controller
            if owner is not None:
                _file(self._by_controller, owner.uid, storage_key, obj if present else None)

    def raw(self, kind: str) -> dict[Key, KubeObject]:
        """The objects of a kind as stored, without resourceVersion; not to be changed.

        A kind of Kubernetes' is called "Pod", one of a user's by `kind_name`: "Website.example.org".
        """
        objects = self._objects.get(kind)
        if objects is None:
            objects = self._objects[kind] = {}
            for event in self._newest.values():
                obj = cast("KubeObject", event.value)
                if obj.kind == kind.partition(".")[0] and _kind_in(event.key, obj) == kind:
                    objects[key_of(obj)] = obj
        return objects

    def kinds(self) -> list[str]:
        """The kinds that have objects, sorted."""
        return sorted(
            {
                _kind_in(key, cast("KubeObject", event.value)): None
                for key, event in self._newest.items()
            }
        )

    def get(self, kind: str, key: Key) -> KubeObject | None:
        """One object as the API would show it."""
        obj = self.raw(kind).get(key)
        if obj is None:
            return None
        event = self._newest.get(f"{self._prefixes[kind]}{key}")
        if event is None or event.value is not obj:  # stored by others, under a key of another form
            event = next(each for each in self._newest.values() if each.value is obj)
        return decorated(obj, event.revision)

    def pods_on(self, node: str) -> Iterable[Pod]:
        """The pods bound to a node, as stored."""
        return self._pods_by_node.get(node, {}).values()

    def controlled_by(self, uid: str) -> Iterable[KubeObject]:
        """The objects whose controller has that uid, as stored."""
        return self._by_controller.get(uid, {}).values()

    def objects(self) -> Iterator[tuple[str, KubeObject]]:
        """All objects by storage key, in key order, as the API would show them."""
        for storage_key in sorted(self._newest):
            event = self._newest[storage_key]
            yield storage_key, decorated(cast("KubeObject", event.value), event.revision)


def kind_name(resource: Resource) -> str:
    """What a state calls a kind: a user's may be called Service too, and is told apart by its group."""
    return resource.group_kind if resource.custom else resource.kind


def _kind_in(storage_key: str, obj: KubeObject) -> str:
    """`kind_name` of what is stored under a key: kinds of users lie below their group."""
    group = obj.api_version.rpartition("/")[0]
    return f"{obj.kind}.{group}" if storage_key.startswith(f"/registry/{group}/") else obj.kind


P = TypeVar("P")
K = TypeVar("K")


def _file(index: dict[str, dict[K, P]], value: str, key: K, obj: P | None) -> None:
    if obj is not None:
        index.setdefault(value, {})[key] = obj
        return
    bucket = index.get(value)
    if bucket is not None:
        bucket.pop(key, None)
        if not bucket:
            del index[value]


@attrs.frozen
class NodeView:
    """What is known of one node."""

    object: Node

    @property
    def ready(self) -> bool:
        """Its Ready condition is True."""
        condition = condition_of(self.object.status.conditions, "Ready")
        return condition is not None and condition.status == "True"

    @property
    def zone(self) -> str:
        return self.object.metadata.labels.get("topology.kubernetes.io/zone", "")


@attrs.frozen
class DeploymentView:
    """What is known of one Deployment."""

    object: Deployment

    @property
    def desired(self) -> int:
        """`spec.replicas`."""
        replicas = self.object.spec.replicas
        return 1 if replicas is None else replicas

    @property
    def observed(self) -> bool:
        """The controller has seen the newest spec."""
        return self.object.status.observed_generation >= self.object.metadata.generation

    @property
    def available(self) -> bool:
        """Its Available condition is True for the newest spec, as `kubectl wait --for=condition=Available` asks."""
        condition = condition_of(self.object.status.conditions, "Available")
        return self.observed and condition is not None and condition.status == "True"

    @property
    def complete(self) -> bool:
        """Rolled out: all replicas are of the newest template and available, and no other is left."""
        status = self.object.status
        return self.observed and (
            status.updated_replicas == status.replicas == status.available_replicas == self.desired
        )


@attrs.frozen
class View:
    """The cluster at one revision. A view kept after the call it was given for shows the newest state."""

    state: ClusterState
    wall: Callable[[int], str]

    @property
    def revision(self) -> int:
        return self.state.revision

    @property
    def seconds(self) -> float:
        """Cluster time in seconds since the start of the run."""
        return self.state.time_ns / 1e9

    @property
    def time(self) -> str:
        """The same as RFC 3339."""
        return self.wall(self.state.time_ns)

    def get(
        self, kind: type[T] | Resource | str, name: str, namespace: str = "default"
    ) -> T | None:
        """One object, or None. The namespace of a cluster-wide kind is ignored."""
        resource = self.state.scheme.resource_of(kind)
        key = Key(namespace if resource.namespaced else "", name)
        return cast("T | None", self.state.get(kind_name(resource), key))

    def the(self, kind: type[T] | Resource | str, name: str, namespace: str = "default") -> T:
        """One object. Raises LookupError when there is none of that name, which `until` takes for "not yet"."""
        found: T | None = self.get(kind, name, namespace)
        if found is None:
            resource = self.state.scheme.resource_of(kind)
            called = f"{namespace}/{name}" if resource.namespaced else name
            raise LookupError(f"no {resource.kind} {called} at revision {self.revision}")
        return found

    def list(
        self, kind: type[T] | Resource | str, namespace: str | None = None, selector: str = ""
    ) -> List[T]:
        """The objects of a kind in key order, of one namespace or of all, whose labels match."""
        resource = self.state.scheme.resource_of(kind)
        matches = parse_label_selector(selector).matches
        name = kind_name(resource)
        objects = self.state.raw(name)
        return [
            cast("T", self.state.get(name, key))
            for key in sorted(objects)
            if namespace in (None, key.namespace) and matches(objects[key].metadata.labels)
        ]

    def deployment(self, name: str, namespace: str = "default") -> DeploymentView:
        """Raises LookupError when there is none of that name."""
        return DeploymentView(self.the(Deployment, name, namespace))

    def deployments(self) -> List[DeploymentView]:
        """All Deployments in key order."""
        return [DeploymentView(obj) for obj in self.list(Deployment)]

    def node(self, name: str) -> NodeView:
        """Raises LookupError when there is none of that name."""
        return NodeView(self.the(Node, name))

    def nodes(self) -> List[NodeView]:
        """All nodes in name order."""
        return [NodeView(obj) for obj in self.list(Node)]

    def pods(
        self, selector: str = "", namespace: str | None = None, node: str | None = None
    ) -> List[Pod]:
        """The pods in key order, by label selector, namespace and node."""
        if node is None:
            return self.list(Pod, namespace, selector)
        matches = parse_label_selector(selector).matches
        found = [
            pod
            for pod in self.state.pods_on(node)
            if namespace in (None, pod.metadata.namespace) and matches(pod.metadata.labels)
        ]
        return [
            cast("Pod", self.state.get("Pod", key_of(pod))) for pod in sorted(found, key=key_of)
        ]

    def has_unsettled(self) -> bool:
        """Whether something is still to be done; stops at the first. Whoever asks often asks an `UnsettledSearch`."""
        return UnsettledSearch().found(self)

    def unsettled(self) -> List[str]:
        """What is still to be done, one line each, empty when all desired states are reached.

        Pods that terminate on a node that is not ready are not counted: nothing can be done about them.
        """
        return [
            f"{kind} {key}: {reason}"
            for kind in _SETTLING
            for key, obj in sorted(self.state.raw(kind).items())
            if (reason := _unsettled(self.state, obj))
        ]


@attrs.define(eq=False)
class UnsettledSearch:
    """Asked after each change whether anything is still to be done; remembers what it found last, and looks there first.

    The newest object of a kind is the likeliest to be the last to settle, so the search begins with it: a cluster of 10,000 pods
    that comes up is then searched through a few times, not 10,000 times.
    """

    _last: tuple[str, Key] | None = None

    def found(self, view: View) -> bool:
        """Whether something is unsettled now."""
        state = view.state
        if self._last is not None:
            kind, key = self._last
            obj = state.raw(kind).get(key)
            if obj is not None and _unsettled(state, obj):
                return True
        for kind in _SETTLING:
            for key, obj in reversed(state.raw(kind).items()):
                if _unsettled(state, obj):
                    self._last = kind, key
                    return True
        self._last = None
        return False


_SETTLING: Final = ("Deployment", "ReplicaSet", "ReplicationController", "Pod", "Namespace")
"""The kinds that have something to reach."""


def _unsettled(state: ClusterState, obj: KubeObject) -> str:
    """What of the object is still to be done; an empty text for nothing."""
    if isinstance(obj, Pod):
        return _pod_unsettled(state, obj)
    if isinstance(obj, Deployment):
        view = DeploymentView(obj)
        if view.complete or obj.spec.paused:
            return ""
        return f"{obj.status.available_replicas} of {view.desired} available"
    if isinstance(obj, ReplicaSet | ReplicationController):
        desired = 1 if obj.spec.replicas is None else obj.spec.replicas
        available, observed = obj.status.available_replicas, obj.status.observed_generation
        if available == desired and observed >= obj.metadata.generation:
            return ""
        return f"{available} of {desired} available"
    return "terminating" if obj.metadata.deletion_timestamp is not None else ""


def _pod_unsettled(state: ClusterState, pod: Pod) -> str:
    if not pod.spec.node_name:
        if pod.spec.scheduling_gates:
            return ""
        condition = condition_of(pod.status.conditions, "PodScheduled")
        return f"not scheduled: {condition.message}" if condition is not None else "not scheduled"
    node = state.raw("Node").get(Key("", pod.spec.node_name))
    alive = node is not None and NodeView(cast("Node", node)).ready
    if pod.metadata.deletion_timestamp is not None:
        return "terminating" if alive else ""
    if is_terminal(pod):
        return ""
    if not alive:
        return f"on node {pod.spec.node_name}, which is not ready"
    return "" if is_ready(pod) else f"{pod.status.phase or 'Pending'}, not ready"
