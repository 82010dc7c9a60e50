"""Pods per second of the scheduler's core alone: deciding, without API, events or binding.

Each shape places pods on an empty cluster of equal nodes in three zones; the figure counts all that the core does for a pod:
taking it in, deciding, and seeing it bound. `preemption` starts from a full cluster and counts preemptors.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from benchmarks.model import Benchmark, Case, Figures, Meter, number, without_gc
from engine import (
    Affinity,
    Container,
    Draws,
    LabelSelector,
    Node,
    NodeStatus,
    ObjectMeta,
    OwnerReference,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    PodSpec,
    Quantity,
    ReplicaSet,
    ResourceRequirements,
    Settings,
    TopologySpreadConstraint,
    Uid,
    WeightedPodAffinityTerm,
)
from reconcilers.scheduler.core import Bind, Fail, SchedulerCore

HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"


def node(n: int) -> Node:
    name = f"node-{n}"
    amounts = {"cpu": "32", "memory": "256Gi", "pods": "110"}
    return Node(
        metadata=ObjectMeta(
            name=name, uid=Uid(name), labels={HOSTNAME: name, ZONE: f"zone-{n % 3}"}
        ),
        status=NodeStatus(allocatable={k: Quantity.parse(v) for k, v in amounts.items()}),
    )


def pod(
    number: int, *, cpu: str = "100m", app: str = "app", owner: str = "", **spec: object
) -> Pod:
    name = f"pod-{number}"
    requests = {"cpu": Quantity.parse(cpu), "memory": Quantity.parse("200Mi")}
    owners: tuple[OwnerReference, ...] = ()
    if owner:
        owners = (
            OwnerReference(
                api_version="apps/v1",
                kind="ReplicaSet",
                name=owner,
                uid=Uid(owner),
                controller=True,
            ),
        )
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace="default",
            uid=Uid(name),
            labels={"app": app},
            owner_references=owners,
        ),
        spec=PodSpec(
            containers=(Container(name="c", resources=ResourceRequirements(requests=requests)),),
            **spec,  # type: ignore[arg-type]  # the fields of PodSpec, by name
        ),
    )


SELECTOR = LabelSelector(match_labels={"app": "app"})


def term(key: str) -> PodAffinityTerm:
    return PodAffinityTerm(topology_key=key, label_selector=SELECTOR)


def plain(number: int) -> Pod:
    return pod(number)


def deployments(number: int) -> Pod:
    """Pods of ReplicaSets of 100, five at a time: with default soft spreading."""
    group = number // 500 * 5 + number % 5
    return pod(number, app=f"app-{group}", owner=f"rs-{group}")


def spread(key: str, when: str) -> Callable[[int], Pod]:
    constraint = TopologySpreadConstraint(
        max_skew=1, topology_key=key, when_unsatisfiable=when, label_selector=SELECTOR
    )
    return lambda number: pod(number, topology_spread_constraints=(constraint,))


def anti_affinity(number: int) -> Pod:
    required = PodAffinity(required_during_scheduling_ignored_during_execution=(term(HOSTNAME),))
    return pod(number, affinity=Affinity(pod_anti_affinity=required))


def affinity(number: int) -> Pod:
    required = PodAffinity(required_during_scheduling_ignored_during_execution=(term(ZONE),))
    return pod(number, affinity=Affinity(pod_affinity=required))


def preferred(number: int) -> Pod:
    weighted = WeightedPodAffinityTerm(weight=10, pod_affinity_term=term(HOSTNAME))
    soft = PodAffinity(preferred_during_scheduling_ignored_during_execution=(weighted,))
    return pod(number, affinity=Affinity(pod_anti_affinity=soft))


SHAPES: dict[str, Callable[[int], Pod]] = {
    "plain": plain,
    "deployments": deployments,
    "spread zone, hard": spread(ZONE, "DoNotSchedule"),
    "spread host, hard": spread(HOSTNAME, "DoNotSchedule"),
    "spread zone, soft": spread(ZONE, "ScheduleAnyway"),
    "anti-affinity host": anti_affinity,
    "affinity zone": affinity,
    "preferred anti-affinity": preferred,
}


def core_with(nodes: int) -> SchedulerCore:
    core = SchedulerCore(Settings(), Draws(1).integer)
    for n in range(nodes):
        core.node_changed(None, node(n), 0)
    for group in range(1000):
        name = f"rs-{group}"
        owner = ReplicaSet(metadata=ObjectMeta(name=name, namespace="default", uid=Uid(name)))
        selector = LabelSelector(match_labels={"app": f"app-{group}"})
        owner = attrs.evolve(owner, spec=attrs.evolve(owner.spec, selector=selector))
        core.workloads.set_owner("ReplicaSet", "default", name, owner)
    return core


def schedule(core: SchedulerCore, pods: list[Pod]) -> int:
    """Take the pods in, place them, see them bound; how many were."""
    bound = 0
    for waiting in pods:
        core.pod_changed(None, waiting, 0)
    while (decision := core.next(0)) is not None:
        if isinstance(decision, Bind):
            bound += 1
            core.bound(decision.pod.uid, 0)
            before = decision.pod.pod
            after = attrs.evolve(before, spec=attrs.evolve(before.spec, node_name=decision.node))
            core.pod_changed(before, after, 0)
    return bound


def preempt(core: SchedulerCore, nodes: int) -> int:
    """Bring pods of high priority into a full cluster; how many nodes were cleared for them."""
    for n in range(nodes):
        core.pod_changed(None, pod(10**6 + n, cpu="8", priority=1000), 0)
    cleared = 0
    while (decision := core.next(0)) is not None:
        cleared += isinstance(decision, Fail) and decision.preempted is not None
    return cleared


def measure(case: Case, meter: Meter) -> Figures:
    """One shape on one size of cluster."""
    nodes, shape, pods = number(case, "nodes"), str(case["shape"]), number(case, "pods")
    core = core_with(nodes)
    with without_gc():
        if shape == PREEMPTION:
            pods = min(nodes, pods // 10)
            schedule(core, [pod(n, cpu="8") for n in range(nodes * 4)])
            with meter.measured():
                placed = preempt(core, pods)
        else:
            if shape in ONE_A_NODE:
                pods = min(pods, nodes)  # what cannot be placed is another question
            waiting = [SHAPES[shape](n) for n in range(pods)]
            with meter.measured():
                placed = schedule(core, waiting)
    return {
        **meter.times(),
        "placed": placed,
        "pods_per_s": round(pods / meter.cpu_seconds, 1),
        "us_per_pod": round(meter.cpu_seconds / pods * 1e6, 1),
    }


PREEMPTION = "preemption"
ONE_A_NODE = ("anti-affinity host",)
"""Shapes of which a node takes one pod."""


def _cases(nodes: int, pods: int) -> tuple[Case, ...]:
    return tuple({"nodes": nodes, "shape": shape, "pods": pods} for shape in (*SHAPES, PREEMPTION))


BENCHMARK = Benchmark(
    name="scheduler",
    about="the scheduler's core, by the shapes of scheduler_perf; per second of CPU",
    cases={
        "tiny": _cases(5, 10),
        "small": _cases(1_000, 2_000),
        "full": (*_cases(1_000, 5_000), *_cases(5_000, 5_000)),
    },
    measure=measure,
)
