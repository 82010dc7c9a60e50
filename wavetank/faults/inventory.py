"""What a cluster will have that faults can strike, known before it runs: so plans are made without it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from engine import Deployment, KubeObject, Reconciler, ReplicaSet, ReplicationController, Settings
from sim_nodes import SimulatedNode
from wavetank.control_plane import LEASES, MANAGER
from wavetank.faults.model import TargetKind

ZONE_LABEL = "topology.kubernetes.io/zone"


@attrs.frozen(kw_only=True)
class Inventory:
    """The possible targets by kind, each list in the order of the cluster."""

    nodes: Mapping[str, Mapping[str, str]]
    """The labels of each node, with the one of its zone."""
    processes: tuple[str, ...]
    servers: tuple[str, ...]
    workloads: Mapping[str, int]
    """KIND/NAMESPACE/NAME of what makes pods, and how many."""
    objects: tuple[str, ...]
    """KIND/NAMESPACE/NAME of what the user applies."""

    def candidates(self, kind: TargetKind) -> tuple[str, ...]:
        """Whom a fault with such a target may strike."""
        match kind:
            case TargetKind.NODE:
                found: Iterable[str] = self.nodes
            case TargetKind.ZONE:
                zones = (labels.get(ZONE_LABEL, "") for labels in self.nodes.values())
                found = (zone for zone in dict.fromkeys(zones) if zone)
            case TargetKind.PROCESS:
                found = self.processes
            case TargetKind.SERVER:
                found = self.servers
            case TargetKind.POD:
                found = (
                    f"{workload}#{number}"
                    for workload, pods in self.workloads.items()
                    for number in range(pods)
                )
            case TargetKind.OBJECT:
                found = self.objects
            case TargetKind.NOTHING:
                found = ("",)
        return tuple(found)


def inventory_of(
    *,
    nodes: Sequence[SimulatedNode],
    reconcilers: Sequence[Reconciler],
    settings: Settings,
    api_servers: int,
    objects: Sequence[KubeObject],
) -> Inventory:
    """The inventory of a cluster that is made of this."""
    names = [_name_of(obj) for obj in objects]
    return Inventory(
        nodes={
            node.name: {**node.labels, **({ZONE_LABEL: node.zone} if node.zone else {})}
            for node in nodes
        },
        processes=(
            *_control_plane(reconcilers, settings.control_plane_replicas),
            *(f"kubelet/{node.name}" for node in nodes),
        ),
        servers=tuple(f"apiserver-{number}" for number in range(api_servers)),
        workloads={
            name: 1 if obj.spec.replicas is None else obj.spec.replicas
            for name, obj in zip(names, objects, strict=True)
            if isinstance(obj, Deployment | ReplicaSet | ReplicationController)
        },
        objects=tuple(names),
    )


def _control_plane(reconcilers: Sequence[Reconciler], replicas: int) -> list[str]:
    """The processes of the control plane: the reconcilers, and where they are elected the candidates."""
    if replicas <= 1:
        return [each.actor() for each in reconcilers]
    leases = dict.fromkeys(LEASES.get(each.name, MANAGER) for each in reconcilers)
    return [f"{lease}-{replica}" for lease in leases for replica in range(replicas)]


def _name_of(obj: KubeObject) -> str:
    metadata = obj.metadata
    if not metadata.namespace:
        return f"{obj.kind}/{metadata.name}"
    return f"{obj.kind}/{metadata.namespace}/{metadata.name}"
