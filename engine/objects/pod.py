"""Pod and all that a pod is made of (core/v1)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

import attrs

from engine.objects.base import EMPTY, ApiType, Time
from engine.objects.meta import (
    Condition,
    LabelSelector,
    LabelSelectorRequirement,
    LocalObjectReference,
    ObjectMeta,
    TypedObject,
    condition_of,
)
from engine.objects.quantity import NO_RESOURCES, Quantity


@attrs.frozen(kw_only=True, repr=False)
class ResourceRequirements(ApiType):
    """What a container asks for (`requests`) and may use at the most (`limits`)."""

    requests: Mapping[str, Quantity] = NO_RESOURCES
    limits: Mapping[str, Quantity] = NO_RESOURCES


@attrs.frozen(kw_only=True, repr=False)
class ContainerPort(ApiType):
    container_port: int
    name: str = ""
    host_port: int = 0
    host_ip: str = ""
    protocol: str = ""


@attrs.frozen(kw_only=True, repr=False)
class EnvVar(ApiType):
    """`value_from` is kept in `extra`: the simulated container does not read its environment."""

    name: str
    value: str = ""


@attrs.frozen(kw_only=True, repr=False)
class ExecAction(ApiType):
    command: tuple[str, ...] = ()


@attrs.frozen(kw_only=True, repr=False)
class HTTPGetAction(ApiType):
    port: int | str
    path: str = ""
    host: str = ""
    scheme: str = ""


@attrs.frozen(kw_only=True, repr=False)
class TCPSocketAction(ApiType):
    port: int | str
    host: str = ""


@attrs.frozen(kw_only=True, repr=False)
class GRPCAction(ApiType):
    port: int
    service: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class Probe(ApiType):
    """A readiness, liveness or startup probe; times in seconds (defaults: Kubernetes core/v1)."""

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    grpc: GRPCAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 0
    period_seconds: int = 0
    success_threshold: int = 0
    failure_threshold: int = 0
    termination_grace_period_seconds: int | None = None


@attrs.frozen(kw_only=True, repr=False)
class VolumeMount(ApiType):
    name: str
    mount_path: str
    read_only: bool = False
    sub_path: str = ""


@attrs.frozen(kw_only=True, repr=False)
class Container(ApiType):
    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    ports: tuple[ContainerPort, ...] = ()
    env: tuple[EnvVar, ...] = ()
    resources: ResourceRequirements | None = None
    volume_mounts: tuple[VolumeMount, ...] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    image_pull_policy: str = ""
    restart_policy: str | None = None
    termination_message_path: str = ""
    termination_message_policy: str = ""


@attrs.frozen(kw_only=True, repr=False)
class ConfigMapVolumeSource(ApiType):
    name: str = ""
    optional: bool | None = None
    default_mode: int | None = None


@attrs.frozen(kw_only=True, repr=False)
class SecretVolumeSource(ApiType):
    secret_name: str = ""
    optional: bool | None = None
    default_mode: int | None = None


@attrs.frozen(kw_only=True, repr=False)
class Volume(ApiType):
    """A volume; sources other than config maps and secrets are kept in `extra`."""

    name: str
    config_map: ConfigMapVolumeSource | None = None
    secret: SecretVolumeSource | None = None


@attrs.frozen(kw_only=True, repr=False)
class Toleration(ApiType):
    """`operator` is Equal (default) or Exists; `toleration_seconds` None means for ever."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


@attrs.frozen(kw_only=True, repr=False)
class NodeSelectorTerm(ApiType):
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()
    match_fields: tuple[LabelSelectorRequirement, ...] = ()


@attrs.frozen(kw_only=True, repr=False)
class NodeSelector(ApiType):
    node_selector_terms: tuple[NodeSelectorTerm, ...] = ()


@attrs.frozen(kw_only=True, repr=False)
class PreferredSchedulingTerm(ApiType):
    weight: int
    preference: NodeSelectorTerm


@attrs.frozen(kw_only=True, repr=False)
class NodeAffinity(ApiType):
    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredSchedulingTerm, ...] = ()


@attrs.frozen(kw_only=True, repr=False)
class PodAffinityTerm(ApiType):
    topology_key: str
    label_selector: LabelSelector | None = None
    namespaces: tuple[str, ...] = ()
    namespace_selector: LabelSelector | None = None


@attrs.frozen(kw_only=True, repr=False)
class WeightedPodAffinityTerm(ApiType):
    weight: int
    pod_affinity_term: PodAffinityTerm


@attrs.frozen(kw_only=True, repr=False)
class PodAffinity(ApiType):
    """Affinity and anti-affinity between pods have this one shape."""

    required_during_scheduling_ignored_during_execution: tuple[PodAffinityTerm, ...] = ()
    preferred_during_scheduling_ignored_during_execution: tuple[WeightedPodAffinityTerm, ...] = ()


@attrs.frozen(kw_only=True, repr=False)
class Affinity(ApiType):
    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


@attrs.frozen(kw_only=True, repr=False)
class TopologySpreadConstraint(ApiType):
    max_skew: int
    topology_key: str
    when_unsatisfiable: str
    label_selector: LabelSelector | None = None
    min_domains: int | None = None


@attrs.frozen(kw_only=True, repr=False)
class PodReadinessGate(ApiType):
    condition_type: str


@attrs.frozen(kw_only=True, repr=False)
class PodSchedulingGate(ApiType):
    name: str


@attrs.frozen(kw_only=True, repr=False)
class PodSpec(ApiType):
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    restart_policy: str = ""
    termination_grace_period_seconds: int | None = None
    active_deadline_seconds: int | None = None
    dns_policy: str = ""
    node_selector: Mapping[str, str] = EMPTY
    service_account_name: str = ""
    service_account: str = ""
    node_name: str = ""
    host_network: bool = False
    hostname: str = ""
    subdomain: str = ""
    affinity: Affinity | None = None
    scheduler_name: str = ""
    tolerations: tuple[Toleration, ...] = ()
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    priority_class_name: str = ""
    priority: int | None = None
    preemption_policy: str | None = None
    overhead: Mapping[str, Quantity] = NO_RESOURCES
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = ()
    readiness_gates: tuple[PodReadinessGate, ...] = ()
    scheduling_gates: tuple[PodSchedulingGate, ...] = ()
    enable_service_links: bool | None = None


@attrs.frozen(kw_only=True, repr=False)
class ContainerStateWaiting(ApiType):
    reason: str = ""
    message: str = ""


@attrs.frozen(kw_only=True, repr=False)
class ContainerStateRunning(ApiType):
    started_at: Time | None = None


@attrs.frozen(kw_only=True, repr=False)
class ContainerStateTerminated(ApiType):
    exit_code: int
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: Time | None = None
    finished_at: Time | None = None
    container_id: str = ""


@attrs.frozen(kw_only=True, repr=False)
class ContainerState(ApiType):
    """Exactly one of the three is set."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


@attrs.frozen(kw_only=True, repr=False)
class ContainerStatus(ApiType):
    name: str
    state: ContainerState | None = None
    last_state: ContainerState | None = None
    ready: bool = False
    restart_count: int = 0
    image: str = ""
    image_id: str = ""
    container_id: str = ""
    started: bool | None = None


@attrs.frozen(kw_only=True, repr=False)
class PodIP(ApiType):
    ip: str = ""


@attrs.frozen(kw_only=True, repr=False)
class PodStatus(ApiType):
    """`phase` is Pending, Running, Succeeded, Failed or Unknown."""

    phase: str = ""
    conditions: tuple[Condition, ...] = ()
    message: str = ""
    reason: str = ""
    nominated_node_name: str = ""
    host_ip: str = ""
    pod_ip: str = ""
    pod_ips: tuple[PodIP, ...] = ()
    start_time: Time | None = None
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    qos_class: str = ""
    observed_generation: int | None = None

    @cached_property
    def ready_condition(self) -> Condition | None:
        """The condition Ready, looked up once: it is asked for more often than anything else of a pod."""
        return condition_of(self.conditions, "Ready")


@attrs.frozen(kw_only=True, repr=False)
class Pod(TypedObject):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Pod"

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


@attrs.frozen(kw_only=True, repr=False)
class PodTemplateSpec(ApiType):
    """What a workload makes its pods from."""

    metadata: ObjectMeta = ObjectMeta()  # noqa: RUF009 -- frozen, and so safely shared
    spec: PodSpec = PodSpec()
