"""Invariants: what must hold at every revision of the log.

Each is a small class with one sentence of meaning. It is shown every event in order, with the object before it and the state
after it, and says what is wrong or nothing; its work is in proportion to the change, never to the cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final, Protocol, TypeAlias, cast

import attrs

from engine import (
    Deployment,
    Key,
    KubeObject,
    Lease,
    Node,
    Pod,
    Quantity,
    ReplicaSet,
    is_active,
    is_terminal,
    key_of,
    pod_requests,
)
from reconcilers import max_surge
from store import Event as LogEvent
from store import EventType
from wavetank.errors import BadInput
from wavetank.view import View


class Invariant(Protocol):
    """One rule. A fresh one is made for each run."""

    @property
    def name(self) -> str:
        """What an experiment and its result call it."""
        ...

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> str | None:
        """What `event` breaks, as a sentence with names and numbers, or None."""
        ...


@attrs.define
class BoundOnce:
    """A pod is bound to at most one node in its life."""

    name: ClassVar[str] = "boundOnce"

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> str | None:
        del view
        new = event.value
        if not (isinstance(new, Pod) and isinstance(old, Pod)):
            return None
        before, after = old.spec.node_name, new.spec.node_name
        if old.metadata.uid == new.metadata.uid and before and after != before:
            return (
                f"pod {key_of(new)} was bound to {before} and is now bound to {after or 'no node'}"
            )
        return None


@attrs.define
class NoOvercommit:
    """The requests of the pods bound to a node never exceed what it can allocate, nor do they number more than it takes."""

    name: ClassVar[str] = "noOvercommit"

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> str | None:
        new = event.value
        if not isinstance(new, Pod) or not new.spec.node_name:
            return None
        if isinstance(old, Pod) and old.spec.node_name == new.spec.node_name:
            return None
        node = cast("Node | None", view.state.get("Node", Key("", new.spec.node_name)))
        if node is None:
            return None
        pods = [pod for pod in view.state.pods_on(new.spec.node_name) if not is_terminal(pod)]
        used: dict[str, Quantity] = {"pods": Quantity.parse(str(len(pods)))}
        for pod in pods:
            for resource, amount in pod_requests(pod).items():
                used[resource] = used[resource] + amount if resource in used else amount
        for resource, allocatable in node.status.allocatable.items():
            if resource in used and used[resource] > allocatable:
                return (
                    f"node {node.metadata.name} has {allocatable} {resource} to allocate and pods "
                    f"that request {used[resource]}, after pod {key_of(new)} was bound"
                )
        return None


@attrs.define
class WithinSurge:
    """A Deployment never has more pods than its replicas plus maxSurge; terminating pods do not count.

    After a change that lowers the bound the old one stays in force until the pods have come down to the new one.
    """

    name: ClassVar[str] = "withinSurge"
    _ceilings: dict[str, int] = attrs.field(factory=dict)

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> str | None:
        obj = event.value if event.value is not None else old
        deployment = _deployment_of(cast("KubeObject | None", obj), view)
        if deployment is None:
            return None
        replicas = 1 if deployment.spec.replicas is None else deployment.spec.replicas
        bound = replicas + max_surge(deployment)
        live = sum(
            1
            for replica_set in view.state.controlled_by(deployment.metadata.uid)
            for pod in view.state.controlled_by(replica_set.metadata.uid)
            if isinstance(pod, Pod) and is_active(pod)
        )
        uid = deployment.metadata.uid
        ceiling = max(self._ceilings.get(uid, bound), bound)
        self._ceilings[uid] = bound if live <= bound else ceiling
        if live > ceiling:
            return f"Deployment {key_of(deployment)} has {live} pods, {ceiling} are allowed"
        return None


def _deployment_of(obj: KubeObject | None, view: View) -> Deployment | None:
    if isinstance(obj, Deployment):
        return obj
    if isinstance(obj, Pod):
        owner = obj.metadata.controller
        if owner is None or owner.kind != "ReplicaSet":
            return None
        found = view.state.raw("ReplicaSet").get(Key(obj.metadata.namespace, owner.name))
        obj = found if found is not None and found.metadata.uid == owner.uid else None
    if isinstance(obj, ReplicaSet):
        owner = obj.metadata.controller
        if owner is not None and owner.kind == "Deployment":
            found = view.state.raw("Deployment").get(Key(obj.metadata.namespace, owner.name))
            return cast("Deployment | None", found)
    return None


@attrs.define
class OneLeader:
    """Nobody takes over a leader's Lease before it has expired or was released."""

    name: ClassVar[str] = "oneLeader"
    _renewed_ns: dict[str, int] = attrs.field(factory=dict)

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> str | None:
        del view
        new = event.value
        if not isinstance(new, Lease) or new.metadata.namespace != "kube-system":
            return None
        renewed = self._renewed_ns.get(event.key)
        self._renewed_ns[event.key] = event.time_ns
        if event.type is EventType.DELETE or not isinstance(old, Lease) or renewed is None:
            return None
        before, after = old.spec.holder_identity, new.spec.holder_identity
        if not before or not after or before == after:  # the first, a release, a renewal
            return None
        age = (event.time_ns - renewed) / 1e9
        duration = old.spec.lease_duration_seconds or 0
        if age < duration:
            return (
                f"{after} took the Lease {new.metadata.name} from {before} "
                f"{age:.1f}s after its renewal; it was good for {duration}s"
            )
        return None


@attrs.frozen
class FunctionInvariant:
    """A user's own rule: a function of the view, called at every revision.

    It returns True or None when all is well, and False or a sentence when it is not; an exception is a finding too.
    """

    name: str
    function: Callable[[View], object]

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> str | None:
        del event, old
        try:
            outcome = self.function(view)
        except Exception as error:  # noqa: BLE001 - a user's function may raise anything
            return f"{type(error).__name__}: {error}"
        if outcome is None or outcome is True:
            return None
        return outcome if isinstance(outcome, str) else f"{self.name} does not hold"


INVARIANTS: Final[dict[str, Callable[[], Invariant]]] = {
    invariant.name: invariant for invariant in (WithinSurge, NoOvercommit, OneLeader, BoundOnce)
}
"""The invariants by the name an experiment calls them."""

Rule: TypeAlias = str | Invariant | Callable[[View], object]
"""An invariant as a program may give it: by its name, as it is, or as a function of the view."""


def as_invariant(rule: Rule) -> Invariant:
    """A rule ready for one run. Raises BadInput for an unknown name."""
    if isinstance(rule, str):
        make = INVARIANTS.get(rule)
        if make is None:
            raise BadInput(f"unknown invariant {rule!r}; allowed: {', '.join(INVARIANTS)}")
        return make()
    if callable(rule):
        return FunctionInvariant(getattr(rule, "__name__", repr(rule)), rule)
    return rule


@attrs.frozen
class Violation:
    """An invariant that did not hold at `revision`."""

    name: str
    revision: int
    seconds: float
    message: str


@attrs.define(eq=False)
class InvariantChecker:
    """Shows every event to every invariant and keeps what they found, at most `limit` findings of each."""

    invariants: Sequence[Invariant]
    limit: int = 10
    violations: list[Violation] = attrs.field(factory=list, init=False)
    _found: dict[str, int] = attrs.field(factory=dict, init=False)

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> None:
        for invariant in self.invariants:
            found = self._found.get(invariant.name, 0)
            if found >= self.limit:
                continue
            message = invariant.observe(event, old, view)
            if message is not None:
                self._found[invariant.name] = found + 1
                self.violations.append(
                    Violation(invariant.name, event.revision, event.time_ns / 1e9, message)
                )
