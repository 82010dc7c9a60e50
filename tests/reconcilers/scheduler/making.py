"""Short makers of nodes and pods for the scheduler's tests."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from engine import (
    Affinity,
    Container,
    ContainerPort,
    LabelSelector,
    LabelSelectorRequirement,
    Node,
    NodeAffinity,
    NodeSelector,
    NodeSelectorTerm,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    PodSpec,
    PodStatus,
    PreferredSchedulingTerm,
    Quantity,
    ResourceRequirements,
    Settings,
    Taint,
    Time,
    Toleration,
    TopologySpreadConstraint,
    Uid,
    WeightedPodAffinityTerm,
)
from reconcilers.scheduler import Bind, Decision, SchedulerCore

ZONE = "topology.kubernetes.io/zone"
HOSTNAME = "kubernetes.io/hostname"
SECOND = 1_000_000_000


def amounts(**named: str) -> dict[str, Quantity]:
    return {name.replace("_", "-"): Quantity.parse(value) for name, value in named.items()}


def make_node(
    name: str,
    *,
    cpu: str = "4",
    memory: str = "8Gi",
    pods: str = "110",
    zone: str = "",
    labels: Mapping[str, str] | None = None,
    taints: tuple[Taint, ...] = (),
    unschedulable: bool = False,
    **others: str,
) -> Node:
    every = {HOSTNAME: name, **({ZONE: zone} if zone else {}), **(labels or {})}
    return Node(
        metadata=ObjectMeta(name=name, uid=Uid(f"uid-{name}"), labels=every),
        spec=NodeSpec(taints=taints, unschedulable=unschedulable),
        status=NodeStatus(allocatable=amounts(cpu=cpu, memory=memory, pods=pods, **others)),
    )


def make_pod(
    name: str,
    *,
    cpu: str = "",
    memory: str = "",
    labels: Mapping[str, str] | None = None,
    node: str = "",
    priority: int = 0,
    host_port: int = 0,
    started: int | None = None,
    namespace: str = "default",
    requests: Mapping[str, str] | None = None,
    **spec: object,
) -> Pod:
    wanted = {**({"cpu": cpu} if cpu else {}), **({"memory": memory} if memory else {})}
    wanted |= requests or {}
    resources = {key: Quantity.parse(value) for key, value in wanted.items()}
    ports = (ContainerPort(container_port=80, host_port=host_port),) if host_port else ()
    return Pod(
        metadata=ObjectMeta(
            name=name, namespace=namespace, uid=Uid(f"uid-{name}"), labels=labels or {}
        ),
        spec=PodSpec(
            containers=(
                Container(
                    name="c",
                    image="nginx",
                    resources=ResourceRequirements(requests=resources),
                    ports=ports,
                ),
            ),
            node_name=node,
            priority=priority,
            **spec,  # type: ignore[arg-type]  # fields of PodSpec by name
        ),
        status=PodStatus(
            phase="Running" if node else "Pending",
            start_time=Time(started * 1_000_000) if started is not None else None,
        ),
    )


def bound_to(pod: Pod, node: str) -> Pod:
    return attrs.evolve(pod, spec=attrs.evolve(pod.spec, node_name=node))


def terminating(pod: Pod) -> Pod:
    return attrs.evolve(pod, metadata=attrs.evolve(pod.metadata, deletion_timestamp=Time(1)))


def selecting(**labels: str) -> LabelSelector:
    return LabelSelector(match_labels=labels)


def spread(
    key: str,
    *,
    max_skew: int = 1,
    soft: bool = False,
    min_domains: int | None = None,
    **labels: str,
) -> TopologySpreadConstraint:
    return TopologySpreadConstraint(
        max_skew=max_skew,
        topology_key=key,
        when_unsatisfiable="ScheduleAnyway" if soft else "DoNotSchedule",
        label_selector=selecting(**labels),
        min_domains=min_domains,
    )


def near(key: str, **labels: str) -> Affinity:
    term = PodAffinityTerm(topology_key=key, label_selector=selecting(**labels))
    return Affinity(
        pod_affinity=PodAffinity(required_during_scheduling_ignored_during_execution=(term,))
    )


def far(key: str, **labels: str) -> Affinity:
    term = PodAffinityTerm(topology_key=key, label_selector=selecting(**labels))
    return Affinity(
        pod_anti_affinity=PodAffinity(required_during_scheduling_ignored_during_execution=(term,))
    )


def rather_near(key: str, weight: int, **labels: str) -> Affinity:
    term = PodAffinityTerm(topology_key=key, label_selector=selecting(**labels))
    weighted = WeightedPodAffinityTerm(weight=weight, pod_affinity_term=term)
    return Affinity(
        pod_affinity=PodAffinity(preferred_during_scheduling_ignored_during_execution=(weighted,))
    )


def node_term(key: str, operator: str, *values: str) -> NodeSelectorTerm:
    return NodeSelectorTerm(
        match_expressions=(LabelSelectorRequirement(key=key, operator=operator, values=values),)
    )


def on_nodes(*terms: NodeSelectorTerm) -> Affinity:
    return Affinity(
        node_affinity=NodeAffinity(
            required_during_scheduling_ignored_during_execution=NodeSelector(
                node_selector_terms=terms
            )
        )
    )


def rather_on(weight: int, term: NodeSelectorTerm) -> Affinity:
    preferred = PreferredSchedulingTerm(weight=weight, preference=term)
    return Affinity(
        node_affinity=NodeAffinity(
            preferred_during_scheduling_ignored_during_execution=(preferred,)
        )
    )


def tolerating(key: str, operator: str = "Exists", value: str = "", effect: str = "") -> Toleration:
    return Toleration(key=key, operator=operator, value=value, effect=effect)


def first(label: str, number: int, bound: int) -> int:
    """A pick that draws nothing: always the first."""
    del label, number, bound
    return 0


def make_core(*nodes: Node, compat: str = "1.35", pods: tuple[Pod, ...] = ()) -> SchedulerCore:
    core = SchedulerCore(Settings.for_version(compat), first)
    for node in nodes:
        core.node_changed(None, node, 0)
    for pod in pods:
        core.pod_changed(None, pod, 0)
    return core


def decide(core: SchedulerCore, pod: Pod, now: int = 0) -> Decision:
    """Take the pod in and decide on it."""
    core.pod_changed(None, pod, now)
    decision = core.next(now)
    assert decision is not None
    return decision


def place(core: SchedulerCore, pod: Pod, now: int = 0) -> str:
    """Take the pod in, decide, and see it bound; the node's name."""
    decision = decide(core, pod, now)
    assert isinstance(decision, Bind), decision
    core.bound(decision.pod.uid, now)
    core.pod_changed(pod, bound_to(pod, decision.node), now)
    return decision.node
