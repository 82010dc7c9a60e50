"""Logs made by hand: objects put and removed one by one, shown to spectators as the observer shows them."""

from __future__ import annotations

import attrs

from engine import (
    Condition,
    Container,
    Deployment,
    DeploymentSpec,
    DeploymentStatus,
    KubeObject,
    LabelSelector,
    Node,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    OwnerReference,
    Pod,
    PodSpec,
    PodStatus,
    PodTemplateSpec,
    Quantity,
    ReplicaSet,
    ReplicaSetSpec,
    ResourceRequirements,
    Taint,
    Uid,
    default_scheme,
    key_of,
)
from store import Cause, Event, EventType, Origin, Revision
from wavetank.observer import Spectator
from wavetank.view import ClusterState, View


@attrs.define(eq=False)
class HandMade:
    """A log that grows by hand."""

    spectators: list[Spectator]
    seconds: float = 0.0
    view: View = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.view = View(ClusterState(default_scheme(), 1), lambda time_ns: f"{time_ns}")

    def put(
        self, obj: KubeObject, actor: str = "user", causes: tuple[Cause, ...] = ("user",)
    ) -> int:
        """Write it; returns the revision."""
        return self._add(EventType.PUT, obj, obj, actor, causes)

    def remove(
        self, obj: KubeObject, actor: str = "user", causes: tuple[Cause, ...] = ("user",)
    ) -> int:
        return self._add(EventType.DELETE, obj, None, actor, causes)

    def _add(
        self,
        kind: EventType,
        obj: KubeObject,
        value: KubeObject | None,
        actor: str,
        causes: tuple[Cause, ...],
    ) -> int:
        resource = self.view.state.scheme.resource_of(obj)
        revision = self.view.revision + 1
        event = Event(
            type=kind,
            key=resource.storage_key(*key_of(obj)),
            value=value,
            revision=Revision(revision),
            previous=Revision(0),
            create_revision=Revision(revision),
            version=1,
            lease=0,
            time_ns=round(self.seconds * 1e9),
            origin=Origin(actor, "", causes),
        )
        old = self.view.state.apply(event)
        for spectator in self.spectators:
            spectator.observe(event, old, self.view)
        return revision


def deployment(
    replicas: int, available: int, *, surge: str | int = 1, name: str = "web"
) -> Deployment:
    labels = {"app": name}
    return Deployment(
        metadata=ObjectMeta(name=name, namespace="default", uid=Uid(f"uid-{name}"), generation=1),
        spec=DeploymentSpec(
            replicas=replicas,
            selector=LabelSelector(match_labels=labels),
            template=PodTemplateSpec(metadata=ObjectMeta(labels=labels), spec=PodSpec()),
        ),
        status=DeploymentStatus(
            observed_generation=1,
            replicas=replicas,
            updated_replicas=replicas,
            available_replicas=available,
            conditions=(
                Condition(
                    type="Available", status="True" if available >= replicas - 1 else "False"
                ),
            ),
        ),
    )


def replica_set(replicas: int, name: str = "web-1") -> ReplicaSet:
    owner = OwnerReference(
        api_version="apps/v1", kind="Deployment", name="web", uid=Uid("uid-web"), controller=True
    )
    return ReplicaSet(
        metadata=ObjectMeta(
            name=name, namespace="default", uid=Uid(f"uid-{name}"), owner_references=(owner,)
        ),
        spec=ReplicaSetSpec(replicas=replicas, selector=LabelSelector()),
    )


def pod(
    name: str,
    *,
    node: str = "",
    owner: str = "",
    cpu: str = "",
    phase: str = "Running",
    ready: bool | None = None,
    metadata: ObjectMeta | None = None,
) -> Pod:
    owners = (
        OwnerReference(
            api_version="apps/v1",
            kind="ReplicaSet",
            name=owner,
            uid=Uid(f"uid-{owner}"),
            controller=True,
        ),
    )
    resources = (
        ResourceRequirements(requests={"cpu": Quantity.parse(cpu)})
        if cpu
        else ResourceRequirements()
    )
    conditions = () if ready is None else (Condition(type="Ready", status=str(ready)),)
    return Pod(
        metadata=metadata
        or ObjectMeta(
            name=name,
            namespace="default",
            uid=Uid(f"uid-{name}"),
            owner_references=owners if owner else (),
        ),
        spec=PodSpec(node_name=node, containers=(Container(name="c", resources=resources),)),
        status=PodStatus(phase=phase, conditions=conditions),
    )


def node(
    name: str,
    *,
    ready: str = "True",
    cpu: str = "1",
    pods: str = "110",
    taints: tuple[Taint, ...] = (),
) -> Node:
    amounts = {"cpu": Quantity.parse(cpu), "pods": Quantity.parse(pods)}
    message = (
        "kubelet is posting ready status"
        if ready == "True"
        else "Kubelet stopped posting node status."
    )
    return Node(
        metadata=ObjectMeta(name=name, uid=Uid(f"uid-{name}")),
        spec=NodeSpec(taints=taints),
        status=NodeStatus(
            allocatable=amounts,
            conditions=(Condition(type="Ready", status=ready, message=message),),
        ),
    )
