"""Namespace, Node, Service, ConfigMap, Secret, ServiceAccount, Event (core/v1); Lease; PriorityClass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs

from engine.objects.base import EMPTY, ApiType, MicroTime, Time
from engine.objects.meta import Condition, LocalObjectReference, ObjectReference, TypedObject
from engine.objects.quantity import NO_RESOURCES, Quantity


@attrs.frozen(kw_only=True, repr=False)
class NamespaceSpec(ApiType):
    finalizers: tuple[str, ...] = ()


@attrs.frozen(kw_only=True, repr=False)
class NamespaceStatus(ApiType):
    """`phase` is Active or Terminating."""

    phase: str = ""
    conditions: tuple[Condition, ...] = ()


@attrs.frozen(kw_only=True, repr=False)
class Namespace(TypedObject):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Namespace"

    spec: NamespaceSpec = NamespaceSpec()
    status: NamespaceStatus = NamespaceStatus()


@attrs.frozen(kw_only=True, repr=False)
class Taint(ApiType):
    """`effect` is NoSchedule, PreferNoSchedule or NoExecute."""

    key: str
    effect: str
    value: str = ""
    time_added: Time | None = None


@attrs.frozen(kw_only=True, repr=False)
class NodeSpec(ApiType):
    pod_cidr: str = ""
    pod_cidrs: tuple[str, ...] = ()
    provider_id: str = ""
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


@attrs.frozen(kw_only=True, repr=False)
class NodeAddress(ApiType):
    type: str
    address: str


@attrs.frozen(kw_only=True, repr=False)
class NodeSystemInfo(ApiType):
    machine_id: str = ""
    system_uuid: str = ""
    boot_id: str = ""
    kernel_version: str = ""
    os_image: str = ""
    container_runtime_version: str = ""
    kubelet_version: str = ""
    kube_proxy_version: str = ""
    operating_system: str = ""
    architecture: str = ""


@attrs.frozen(kw_only=True, repr=False)
class ContainerImage(ApiType):
    names: tuple[str, ...] = ()
    size_bytes: int = 0


@attrs.frozen(kw_only=True, repr=False)
class NodeStatus(ApiType):
    capacity: Mapping[str, Quantity] = NO_RESOURCES
    allocatable: Mapping[str, Quantity] = NO_RESOURCES
    conditions: tuple[Condition, ...] = ()
    addresses: tuple[NodeAddress, ...] = ()
    node_info: NodeSystemInfo | None = None
    images: tuple[ContainerImage, ...] = ()


@attrs.frozen(kw_only=True, repr=False)
class Node(TypedObject):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Node"

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


@attrs.frozen(kw_only=True, repr=False)
class ServicePort(ApiType):
    port: int
    name: str = ""
    protocol: str = ""
    app_protocol: str | None = None
    target_port: int | str | None = None
    node_port: int = 0


@attrs.frozen(kw_only=True, repr=False)
class ServiceSpec(ApiType):
    ports: tuple[ServicePort, ...] = ()
    selector: Mapping[str, str] = EMPTY
    cluster_ip: str = ""
    cluster_ips: tuple[str, ...] = ()
    type: str = ""
    external_ips: tuple[str, ...] = ()
    session_affinity: str = ""
    external_name: str = ""
    internal_traffic_policy: str | None = None
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class Service(TypedObject):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Service"

    spec: ServiceSpec = ServiceSpec()


@attrs.frozen(kw_only=True, repr=False)
class ConfigMap(TypedObject):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "ConfigMap"

    data: Mapping[str, str] = EMPTY
    binary_data: Mapping[str, str] = EMPTY
    immutable: bool | None = None


@attrs.frozen(kw_only=True, repr=False)
class Secret(TypedObject):
    """`data` is base64 text; `string_data` is merged into it when written and then dropped."""

    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Secret"

    data: Mapping[str, str] = EMPTY
    string_data: Mapping[str, str] = EMPTY
    type: str = ""
    immutable: bool | None = None


@attrs.frozen(kw_only=True, repr=False)
class ServiceAccount(TypedObject):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "ServiceAccount"

    secrets: tuple[ObjectReference, ...] = ()
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    automount_service_account_token: bool | None = None


@attrs.frozen(kw_only=True, repr=False)
class EventSource(ApiType):
    component: str = ""
    host: str = ""


@attrs.frozen(kw_only=True, repr=False)
class Event(TypedObject):
    """A Kubernetes Event, what `kubectl describe` shows. (The log's events are `store.Event`.)"""

    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Event"

    involved_object: ObjectReference = ObjectReference()  # noqa: RUF009 -- frozen, and so safely shared
    reason: str = ""
    message: str = ""
    source: EventSource = EventSource()
    first_timestamp: Time | None = None
    last_timestamp: Time | None = None
    count: int = 0
    type: str = ""
    event_time: MicroTime | None = None
    action: str = ""
    reporting_component: str = ""
    reporting_instance: str = ""


@attrs.frozen(kw_only=True, repr=False)
class LeaseSpec(ApiType):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: MicroTime | None = None
    renew_time: MicroTime | None = None
    lease_transitions: int | None = None


@attrs.frozen(kw_only=True, repr=False)
class Lease(TypedObject):
    """A `coordination.k8s.io/v1` Lease: a node's heartbeat, or a leader's claim."""

    api_version: ClassVar[str] = "coordination.k8s.io/v1"
    kind: ClassVar[str] = "Lease"

    spec: LeaseSpec = LeaseSpec()


@attrs.frozen(kw_only=True, repr=False)
class PriorityClass(TypedObject):
    api_version: ClassVar[str] = "scheduling.k8s.io/v1"
    kind: ClassVar[str] = "PriorityClass"

    value: int = 0
    global_default: bool = False
    description: str = ""
    preemption_policy: str | None = None
