"""Invariants of pods and the nodes they are bound to."""

from __future__ import annotations

from typing import ClassVar, cast

import attrs

from engine import Key, KubeObject, Node, Pod, Quantity, is_terminal, key_of, pod_requests
from store import Event as LogEvent
from store import EventType
from wavetank.invariants.model import Surroundings
from wavetank.view import View


@attrs.define
class BoundOnce:
    """A pod is bound to at most one node in its life."""

    name: ClassVar[str] = "boundOnce"
    kinds: ClassVar = (Pod,)

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> str | None:
        del view
        new = event.value
        if not (isinstance(new, Pod) and isinstance(old, Pod)):
            return None
        before, after = old.spec.node_name, new.spec.node_name
        if before != after and before and old.metadata.uid == new.metadata.uid:
            return (
                f"pod {key_of(new)} was bound to {before} and is now bound to {after or 'no node'}"
            )
        return None


@attrs.define
class NoOvercommit:
    """The requests of the pods bound to a node never exceed what it can allocate, nor do they number more than it takes.

    The sums of a node are kept, and change with its pods.
    """

    name: ClassVar[str] = "noOvercommit"
    kinds: ClassVar = (Pod,)
    _used: dict[str, dict[str, Quantity]] = attrs.field(factory=dict)

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> str | None:
        new = event.value
        before = _node_of(cast("Pod | None", old))
        after = _node_of(cast("Pod | None", new))
        if before == after and (not after or _same_spec(old, new)):
            return None
        if before in self._used:
            _add(self._used[before], cast("Pod", old), -1)
        if not after:
            return None
        used = self._used.get(after)
        if used is None:
            used = self._used[after] = {"pods": Quantity.parse("0")}
            for pod in view.state.pods_on(after):
                if not is_terminal(pod):
                    _add(used, pod, +1)
        else:
            _add(used, cast("Pod", new), +1)
        if isinstance(old, Pod) and old.spec.node_name == after:
            return None
        node = cast("Node | None", view.state.raw("Node").get(Key("", after)))
        return None if node is None else self._excess(node, used, cast("Pod", new))

    def _excess(self, node: Node, used: dict[str, Quantity], pod: Pod) -> str | None:
        for resource, allocatable in node.status.allocatable.items():
            if resource in used and used[resource] > allocatable:
                return (
                    f"node {node.metadata.name} has {allocatable} {resource} to allocate and pods "
                    f"that request {used[resource].canonical}, after pod {key_of(pod)} was bound"
                )
        return None


_ONE = Quantity.parse("1")


def _node_of(pod: Pod | None) -> str:
    """Where the pod takes room; empty for nowhere."""
    return "" if pod is None or is_terminal(pod) else pod.spec.node_name


def _same_spec(old: KubeObject | None, new: object) -> bool:
    before, after = cast("Pod", old).spec, cast("Pod", new).spec
    return before is after or before == after


def _add(used: dict[str, Quantity], pod: Pod, sign: int) -> None:
    used["pods"] += _ONE * sign
    for resource, amount in pod_requests(pod).items():
        used[resource] = used.get(resource, amount * 0) + amount * sign


@attrs.define
class OnePodPerIdentity:
    """A pod leaves the API, and with it its name becomes free, only when none of its containers runs any more, or by force.

    So at most one pod of a namespace and name lives. By force is: with a grace of 0, by another than the kubelet of its node (the pod garbage
    collector among them), who thereby says that it is gone, as Kubernetes has it. The kubelet's own word is the pod's last status;
    with a reading of the machines, what they run.
    """

    name: ClassVar[str] = "onePodPerIdentity"
    kinds: ClassVar = (Pod,)
    _surroundings: Surroundings = attrs.field(factory=Surroundings)

    def begin(self, surroundings: Surroundings) -> None:
        """Take the reading of the machines."""
        self._surroundings = surroundings

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> str | None:
        del view
        if not isinstance(old, Pod):
            return None
        new = event.value
        if event.type is EventType.DELETE:
            return self._removed(old, event.origin.actor)
        if isinstance(new, Pod) and new.metadata.uid != old.metadata.uid:
            return f"pod {key_of(new)} took the place of a pod of that name that had not left"
        return None

    def _removed(self, pod: Pod, actor: str) -> str | None:
        node, metadata = pod.spec.node_name, pod.metadata
        if not node or is_terminal(pod):
            return None
        if metadata.deletion_timestamp is None or metadata.deletion_grace_period_seconds:
            return f"pod {key_of(pod)} left the API before its grace was over, by {actor}"
        if actor != f"kubelet/{node}":
            return None
        running = [each.name for each in pod.status.container_statuses if _runs(each.state)]
        if running:
            return f"{actor} let pod {key_of(pod)} go while its status says that {running[0]} runs"
        if self._surroundings.running is not None:
            count = self._surroundings.running(node, metadata.uid)
            if count:
                return f"{actor} let pod {key_of(pod)} go while {count} of its containers ran"
        return None


def _runs(state: object) -> bool:
    return getattr(state, "running", None) is not None
