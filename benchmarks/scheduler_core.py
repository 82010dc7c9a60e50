"""Pods per second of the scheduler's core alone: deciding, without API, events or binding.

    python benchmarks/scheduler_core.py [--nodes 1000,5000] [--pods 5000] [--only NAME] [--profile]

Each shape places pods on an empty cluster of equal nodes in three zones; the figure counts all that the core does for a pod:
taking it in, deciding, and seeing it bound. `preemption` starts from a full cluster and counts preemptors.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import time
from collections.abc import Callable

import attrs

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


def node(number: int) -> Node:
    name = f"node-{number}"
    amounts = {"cpu": "32", "memory": "256Gi", "pods": "110"}
    return Node(
        metadata=ObjectMeta(
            name=name, uid=Uid(name), labels={HOSTNAME: name, ZONE: f"zone-{number % 3}"}
        ),
        status=NodeStatus(allocatable={k: Quantity.parse(v) for k, v in amounts.items()}),
    )


def pod(
    number: int, *, cpu: str = "100m", app: str = "app", owner: str = "", **spec: object
) -> Pod:
    name = f"pod-{number}"
    requests = {"cpu": Quantity.parse(cpu), "memory": Quantity.parse("200Mi")}
    owners = ()
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
    for number in range(nodes):
        core.node_changed(None, node(number), 0)
    for group in range(1000):
        name = f"rs-{group}"
        owner = ReplicaSet(metadata=ObjectMeta(name=name, namespace="default", uid=Uid(name)))
        selector = LabelSelector(match_labels={"app": f"app-{group}"})
        owner = attrs.evolve(owner, spec=attrs.evolve(owner.spec, selector=selector))
        core.workloads.set_owner("ReplicaSet", "default", name, owner)
    return core


def run(core: SchedulerCore, pods: list[Pod]) -> int:
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
    """Fill the cluster, then bring in pods of high priority until 500 nodes are cleared."""
    run(core, [pod(n, cpu="8") for n in range(nodes * 4)])
    pods = [pod(10**6 + n, cpu="8", priority=1000) for n in range(min(nodes, 500))]
    for waiting in pods:
        core.pod_changed(None, waiting, 0)
    cleared = 0
    start = time.process_time()
    while (decision := core.next(0)) is not None:
        cleared += isinstance(decision, Fail) and decision.preempted is not None
    print(f"{'preemption':26} {nodes:6} {cleared:7} {cleared / (time.process_time() - start):9.0f}")
    return cleared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", default="1000,5000")
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--only", default="")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    gc.disable()  # as in a simulation
    print(f"{'shape':26} {'nodes':>6} {'bound':>7} {'pods/s':>9}")
    for nodes in map(int, options.nodes.split(",")):
        for name, make in SHAPES.items():
            if options.only in name:
                core = core_with(nodes)
                pods = [make(number) for number in range(options.pods)]
                profile = cProfile.Profile()
                if options.profile:
                    profile.enable()
                start = time.process_time()
                bound = run(core, pods)
                seconds = time.process_time() - start
                profile.disable()
                print(f"{name:26} {nodes:6} {bound:7} {len(pods) / seconds:9.0f}")
                if options.profile:
                    pstats.Stats(profile).sort_stats("tottime").print_stats(18)
        if options.only in "preemption":
            preempt(core_with(nodes), nodes)


if __name__ == "__main__":
    main()
