"""What a kubelet says of its node: the object it registers, the status it reports, and when it reports it (2.1, 2.2).

`StatusReport.due` decides without waiting: given the node as last seen and the time, the node to write, or None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from engine import (
    Condition,
    ContainerImage,
    Draws,
    Node,
    NodeAddress,
    NodeSpec,
    NodeStatus,
    NodeSystemInfo,
    ObjectMeta,
    Quantity,
    Settings,
    Taint,
    Time,
    condition_of,
)
from sim_nodes.disturbances import PressureKind
from sim_nodes.pressure import PressureWatch
from sim_nodes.runtime import Runtime
from sim_nodes.units import to_ns

_MAX_IMAGES: Final = 50
"""Images a node reports, the largest first (nodeStatusMaxImages)."""

_MANAGED_ATTACH: Final = "volumes.kubernetes.io/controller-managed-attach-detach"

DEFAULT_CAPACITY: Final[Mapping[str, Quantity]] = {
    "cpu": Quantity.parse("4"),
    "memory": Quantity.parse("8Gi"),
    "pods": Quantity.parse("110"),
}


@attrs.frozen(kw_only=True)
class SimulatedNode:
    """A node to simulate, as an experiment describes it.

    `SimulatedNode(name="a-0", zone="zone-a", capacity={"cpu": Quantity.parse("8")})` has 8 cores and the default of all it does not
    name. Allocatable is the capacity less what `reserved` names: nothing by default, so that users' numbers come out even (a real
    kubelet would also take 100Mi of memory for its eviction threshold).
    """

    name: str
    zone: str = ""
    region: str = ""
    capacity: Mapping[str, Quantity] = attrs.field(factory=dict)
    reserved: Mapping[str, Quantity] = attrs.field(factory=dict)
    labels: Mapping[str, str] = attrs.field(factory=dict)
    taints: tuple[Taint, ...] = ()
    max_parallel_image_pulls: int | None = 1
    """1: serializeImagePulls, the kubelet's default; None: all at once."""
    internal_ip: str = ""
    """Empty: drawn by the node's name from 172.16.0.0/12."""

    @property
    def full_capacity(self) -> Mapping[str, Quantity]:
        """The capacity with its defaults."""
        return {**DEFAULT_CAPACITY, **self.capacity}

    @property
    def allocatable(self) -> Mapping[str, Quantity]:
        """What pods may request together."""
        return {
            name: amount - self.reserved[name] if name in self.reserved else amount
            for name, amount in self.full_capacity.items()
        }


@attrs.frozen
class NodeRemark:
    """One Event about the node."""

    type: str
    reason: str
    message: str


def node_ip(description: SimulatedNode, draws: Draws) -> str:
    """The node's address."""
    if description.internal_ip:
        return description.internal_ip
    bits = draws.integer(f"node/{description.name}/ip", 0, 1 << 20)
    return f"172.{16 + (bits >> 16)}.{bits >> 8 & 255}.{bits & 255}"


def labels_of(description: SimulatedNode) -> dict[str, str]:
    """The labels a kubelet gives its node, and those of the description."""
    labels = {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": description.name,
        "kubernetes.io/os": "linux",
    }
    if description.region:
        labels["topology.kubernetes.io/region"] = description.region
    if description.zone:
        labels["topology.kubernetes.io/zone"] = description.zone
    return {**labels, **description.labels}


# One row per condition: type, status when healthy, reason, message, and the Event said when it turns so (2.1.4, 2.2.4).
_HEALTHY: Final = (
    (
        "MemoryPressure",
        "False",
        "KubeletHasSufficientMemory",
        "kubelet has sufficient memory available",
        "NodeHasSufficientMemory",
    ),
    (
        "DiskPressure",
        "False",
        "KubeletHasNoDiskPressure",
        "kubelet has no disk pressure",
        "NodeHasNoDiskPressure",
    ),
    (
        "PIDPressure",
        "False",
        "KubeletHasSufficientPID",
        "kubelet has sufficient PID available",
        "NodeHasSufficientPID",
    ),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status", "NodeReady"),
)
_PRESSED: Final = {
    "MemoryPressure": (
        "MemoryPressure",
        "True",
        "KubeletHasInsufficientMemory",
        "kubelet has insufficient memory available",
        "NodeHasInsufficientMemory",
    ),
    "DiskPressure": (
        "DiskPressure",
        "True",
        "KubeletHasDiskPressure",
        "kubelet has disk pressure",
        "NodeHasDiskPressure",
    ),
    "PIDPressure": (
        "PIDPressure",
        "True",
        "KubeletHasInsufficientPID",
        "kubelet has insufficient PID available",
        "NodeHasInsufficientPID",
    ),
}


@attrs.define(eq=False, kw_only=True)
class StatusReport:
    """The status of one node, and what was last sent of it."""

    description: SimulatedNode
    runtime: Runtime
    draws: Draws
    settings: Settings
    ip: str
    pressure: PressureWatch = attrs.field(
        default=attrs.Factory(
            lambda self: PressureWatch(self.runtime.disturbances), takes_self=True
        )
    )
    _sent_ns: int | None = attrs.field(default=None, init=False)
    _images_version: int = attrs.field(default=-1, init=False)
    _images: tuple[ContainerImage, ...] = attrs.field(default=(), init=False)

    def initial(self, time: Time, now: int) -> Node:
        """The object to register."""
        description = self.description
        return Node(
            metadata=ObjectMeta(
                name=description.name,
                labels=labels_of(description),
                annotations={_MANAGED_ATTACH: "true"},
            ),
            spec=NodeSpec(taints=description.taints),
            status=self._status(NodeStatus(), time, now),
        )

    def reconciled(self, existing: Node) -> Node:
        """The node as it was found at registration, with the labels and annotation of this kubelet put right (2.1.1)."""
        metadata = existing.metadata
        return attrs.evolve(
            existing,
            metadata=attrs.evolve(
                metadata,
                labels={**metadata.labels, **labels_of(self.description)},
                annotations={**metadata.annotations, _MANAGED_ATTACH: "true"},
            ),
        )

    def due(self, node: Node, time: Time, now: int) -> tuple[Node | None, list[NodeRemark]]:
        """The node to write now, and the Events that go with it; None when nothing but heartbeat times would change
        and the last report is younger than the report frequency (2.2.1).
        """
        status = self._status(node.status, time, now)
        changed = _without_heartbeats(status) != _without_heartbeats(node.status)
        if not changed and now < self.next_report_ns:
            return None, []
        return attrs.evolve(node, status=status), self._remarks(node, status)

    def _rows(self) -> tuple[tuple[str, str, str, str, str], ...]:
        """The conditions as the kubelet sees them."""
        pressure = self.pressure
        if not pressure:
            return _HEALTHY
        pressed = [kind.value for kind in PressureKind if pressure.under(kind)]
        return tuple(_PRESSED[row[0]] if row[0] in pressed else row for row in _HEALTHY)

    def healthy(self, node: Node) -> bool:
        """Whether the node's conditions say what this kubelet says of them."""
        conditions = node.status.conditions
        for type_, status, *_ in self._rows():
            found = condition_of(conditions, type_)
            if found is None or found.status != status:
                return False
        return True

    def sent(self, now: int) -> None:
        """The report has been written."""
        self._sent_ns = now

    @property
    def next_report_ns(self) -> int:
        """When a status is sent even if nothing changed: at once by a kubelet that has sent none yet."""
        if self._sent_ns is None:
            return 0
        return self._sent_ns + to_ns(self.settings.node_status_report_frequency)

    def _status(self, old: NodeStatus, time: Time, now: int) -> NodeStatus:
        own = [each[0] for each in _HEALTHY]
        others = tuple(condition for condition in old.conditions if condition.type not in own)
        return attrs.evolve(
            old,
            capacity=self.description.full_capacity,
            allocatable=self.description.allocatable,
            conditions=others + tuple(_condition(old, row, time) for row in self._rows()),
            addresses=(
                NodeAddress(type="InternalIP", address=self.ip),
                NodeAddress(type="Hostname", address=self.description.name),
            ),
            node_info=self._node_info(),
            images=self._node_images(now),
        )

    def _remarks(self, node: Node, status: NodeStatus) -> list[NodeRemark]:
        name = self.description.name
        remarks = []
        old_info = node.status.node_info
        boot_id = status.node_info.boot_id if status.node_info is not None else ""
        if old_info is not None and old_info.boot_id not in {"", boot_id}:
            message = f"Node {name} has been rebooted, boot id: {boot_id}"
            remarks.append(NodeRemark("Warning", "Rebooted", message))
        for type_, now, _, _, reason in self._rows():
            old = condition_of(node.status.conditions, type_)
            if old is not None and old.status != now:
                remarks.append(NodeRemark("Normal", reason, f"Node {name} status is now: {reason}"))
        return remarks

    def first_remarks(self, *, new: bool) -> list[NodeRemark]:
        """The Events of a kubelet that starts; on a node just registered each pressure is told once (2.1.4)."""
        name = self.description.name
        return [
            NodeRemark("Normal", "Starting", "Starting kubelet."),
            *(
                NodeRemark("Normal", reason, f"Node {name} status is now: {reason}")
                for type_, _, _, _, reason in _HEALTHY
                if new and type_ != "Ready"
            ),
            NodeRemark(
                "Normal", "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods"
            ),
        ]

    def _node_info(self) -> NodeSystemInfo:
        name, version = self.description.name, f"v{self.settings.compat}.0"
        return NodeSystemInfo(
            machine_id=self.draws.uid("machine", name).replace("-", ""),
            system_uuid=self.draws.uid("system", name),
            boot_id=self.draws.uid("boot", name, self.runtime.boot),
            kernel_version="6.1.0-wavetank",
            os_image="Wavetank",
            container_runtime_version="containerd://2.0.0",
            kubelet_version=version,
            kube_proxy_version=version,
            operating_system="linux",
            architecture="amd64",
        )

    def _node_images(self, now: int) -> tuple[ContainerImage, ...]:
        puller, catalogue = self.runtime.puller, self.runtime.images
        if puller.arrives_ns(now) is None and self._images_version == puller.version:
            return self._images
        images = [
            ContainerImage(names=(image,), size_bytes=catalogue.size_bytes(image))
            for image in puller.present_images(now)
        ]
        images.sort(key=lambda image: (-image.size_bytes, image.names))
        self._images = tuple(images[:_MAX_IMAGES])
        if puller.arrives_ns(now) is None:
            self._images_version = puller.version
        return self._images


def _condition(old: NodeStatus, row: tuple[str, str, str, str, str], time: Time) -> Condition:
    type_, status, reason, message, _ = row
    before = condition_of(old.conditions, type_)
    since = time
    if before is not None and before.status == status:
        since = before.last_transition_time or time
    return Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        last_heartbeat_time=time,
        last_transition_time=since,
    )


def _without_heartbeats(status: NodeStatus) -> NodeStatus:
    conditions = tuple(attrs.evolve(each, last_heartbeat_time=None) for each in status.conditions)
    return attrs.evolve(status, conditions=conditions)
