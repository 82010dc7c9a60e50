"""Scores: each plugin's figures, their weights by version, and the sample of nodes they are taken over."""

from __future__ import annotations

import attrs
import pytest

from engine import (
    ObjectMeta,
    OwnerReference,
    Pod,
    ReplicaSet,
    ReplicaSetSpec,
    Service,
    ServiceSpec,
    Settings,
    Taint,
    Uid,
)
from reconcilers.scheduler import Bind
from reconcilers.scheduler.node_info import NodeInfo
from reconcilers.scheduler.placement import nodes_to_find
from reconcilers.scheduler.plugins.resources import BalancedAllocation, LeastAllocated
from reconcilers.scheduler.pod_info import pod_info
from tests.reconcilers.scheduler.making import (
    ZONE,
    decide,
    make_core,
    make_node,
    make_pod,
    node_term,
    place,
    rather_near,
    rather_on,
    selecting,
    spread,
)


def loaded(*present: Pod, cpu: str = "4", memory: str = "8Gi") -> NodeInfo:
    info = NodeInfo("n")
    info.set_node(make_node("n", cpu=cpu, memory=memory))
    for pod in present:
        info.add_pod(pod_info(pod))
    return info


def test_least_allocated() -> None:
    """The mean of the free shares after the pod, in whole numbers."""
    pod = make_pod("p", cpu="1", memory="2Gi")
    present = make_pod("a", cpu="1", memory="1Gi")

    assert LeastAllocated().score(pod_info(pod).shape, loaded(present)) == (50 + 62) // 2


def test_least_allocated_counts_a_default_for_pods_without_requests() -> None:
    """100m of cpu and 200 MiB count for a container that names none."""
    node = loaded(make_pod("a"), cpu="1", memory="1000Mi")

    assert LeastAllocated().score(pod_info(make_pod("p")).shape, node) == (80 + 60) // 2


def test_balanced_allocation_by_version() -> None:
    """1 - deviation of the real requests; up to 1.22 1 - difference of the counted ones, 0 when full."""
    shape = pod_info(make_pod("p", cpu="2", memory="2Gi")).shape

    assert BalancedAllocation.of(Settings(compat="1.35")).score(shape, loaded()) == 87
    assert BalancedAllocation.of(Settings(compat="1.20")).score(shape, loaded()) == 75
    full = pod_info(make_pod("q", cpu="4", memory="1Gi")).shape
    assert BalancedAllocation.of(Settings(compat="1.20")).score(full, loaded()) == 0


def test_balanced_allocation_skips_best_effort() -> None:
    """From 1.33 on a pod without requests is not scored."""
    shape = pod_info(make_pod("p")).shape

    assert BalancedAllocation.of(Settings(compat="1.35")).score(shape, loaded()) == 0
    assert BalancedAllocation.of(Settings(compat="1.30")).score(shape, loaded()) == 100


@pytest.mark.parametrize(
    ("nodes", "percentage", "expected"),
    [(50, 0, 50), (100, 0, 100), (500, 0, 230), (1000, 0, 420), (5000, 0, 500), (6000, 0, 300),
     (5000, 100, 5000), (5000, 1, 100), (1000, 30, 300)],
)  # fmt: skip
def test_nodes_to_find(nodes: int, percentage: int, expected: int) -> None:
    """The sample: all of small clusters, then a falling share, never under 100."""
    assert expected == nodes_to_find(nodes, percentage)


def test_sample_rotates_through_the_cluster() -> None:
    """Each pod begins where the last one stopped looking."""
    core = make_core(*(make_node(f"n{i:03}") for i in range(250)))
    core.placement.settings = attrs.evolve(core.settings, percentage_of_nodes_to_score=40)

    decisions = [decide(core, make_pod(f"p{i}", cpu="1")) for i in range(3)]

    assert [d.node for d in decisions if isinstance(d, Bind)] == ["n000", "n100", "n200"]
    assert core.placement.start == 50


def test_node_order_alternates_between_zones() -> None:
    """Neighbours in the node order are of different zones, as long as there are."""
    nodes = [make_node(f"{zone}{i}", zone=zone) for zone in "ab" for i in range(2)]
    core = make_core(*nodes, make_node("c0", zone="c"))

    assert [n.name for n in core.cache.order] == ["a0", "b0", "c0", "a1", "b1"]


def test_preferred_node_affinity_wins() -> None:
    """A preferred term draws the pod, whatever else is equal."""
    core = make_core(make_node("a"), make_node("b", labels={"disk": "ssd"}))

    assert place(core, make_pod("p", affinity=rather_on(10, node_term("disk", "Exists")))) == "b"


def test_soft_taint_is_avoided() -> None:
    """A node with a PreferNoSchedule taint comes after one without."""
    soft = Taint(key="old", effect="PreferNoSchedule")
    core = make_core(make_node("a", taints=(soft,)), make_node("b"))

    assert place(core, make_pod("p", cpu="1")) == "b"
    assert place(core, make_pod("q", cpu="1")) == "b", "3 x 100 outweighs the load"


def test_preferred_pod_affinity_in_both_directions() -> None:
    """The pod's own preference counts, and so does that of a pod already there."""
    friend = make_pod(
        "f", labels={"app": "db"}, node="b", affinity=rather_near(ZONE, 50, app="web")
    )
    nodes = (make_node("a", zone="a"), make_node("b", zone="b"))

    core = make_core(*nodes, pods=(friend,))
    assert place(core, make_pod("p", affinity=rather_near(ZONE, 50, app="db"))) == "b"
    core = make_core(*nodes, pods=(friend,))
    assert place(core, make_pod("p", labels={"app": "web"})) == "b"


def test_soft_spread_prefers_the_emptier_zone() -> None:
    """ScheduleAnyway scores by the pods in the domain."""
    nodes = [make_node(f"{zone}{i}", zone=zone) for zone in "ab" for i in range(2)]
    present = make_pod("x0", labels={"app": "x"}, node="a0")
    core = make_core(*nodes, pods=(present,))
    pod = make_pod(
        "p", labels={"app": "x"}, topology_spread_constraints=(spread(ZONE, soft=True, app="x"),)
    )

    assert place(core, pod) in ("b0", "b1")


def test_soft_spread_figures() -> None:
    """Count * ln(domains + 2) + maxSkew - 1, rounded, and 100 * (max + min - s) / max; no key: 0."""
    nodes = [make_node(n, zone=n) for n in "abc"] + [make_node("d")]
    present = [make_pod(f"x{i}", labels={"app": "x"}, node=n) for i, n in enumerate("aab")]
    core = make_core(*nodes, pods=tuple(present))
    constraint = (spread(ZONE, soft=True, max_skew=2, app="x"),)
    plugin = core.placement.spread
    state = plugin.weigh(pod_info(make_pod("p", topology_spread_constraints=constraint)))
    assert state is not None
    position = {node.name: node.position for node in core.cache.order}

    scores = plugin.scores(range(4), state, 1)

    # ln(5) = 1.609: a 2 * 1.609 + 1 = 4.22, b 2.61, c 1 -> 4, 3, 1
    expected = {"a": 100 * 1 // 4, "b": 100 * 2 // 4, "c": 100, "d": 0}
    assert expected == {name: scores[at] for name, at in position.items()}


def test_default_spread_follows_service_and_replicaset() -> None:
    """A pod without constraints of its own spreads softly among the pods of its Service and ReplicaSet."""
    core = make_core(make_node("a", zone="a"), make_node("b", zone="b"))
    rs = ReplicaSet(
        metadata=ObjectMeta(name="web", namespace="default", uid=Uid("rs")),
        spec=ReplicaSetSpec(selector=selecting(app="web", hash="1")),
    )
    core.workloads.set_owner("ReplicaSet", "default", "web", rs)
    owner = OwnerReference(
        api_version="apps/v1", kind="ReplicaSet", name="web", uid=Uid("rs"), controller=True
    )

    def replica(name: str, node: str = "") -> Pod:
        pod = make_pod(name, labels={"app": "web", "hash": "1"}, node=node)
        return attrs.evolve(pod, metadata=attrs.evolve(pod.metadata, owner_references=(owner,)))

    core.pod_changed(None, replica("w0", "a"), 0)
    core.pod_changed(None, make_pod("big", cpu="1", memory="1Gi", node="b"), 0)

    assert place(core, replica("w1")) == "b", "though b has less room"
    assert str(core.workloads.selector(pod_info(replica("w2")))) == "app=web,hash=1"
    service = Service(spec=ServiceSpec(selector={"app": "web"}))
    assert core.workloads.set_service("default", "web", service)
    assert not core.workloads.set_service("default", "web", service)
    assert str(core.workloads.selector(pod_info(replica("w2")))) == "app=web,hash=1"
    lone = make_pod("lone", labels={"app": "web"})
    assert str(core.workloads.selector(pod_info(lone))) == "app=web"
    core.workloads.set_service("default", "web", None)
    assert core.workloads.selector(pod_info(lone)).requirements is None


def test_soft_spread_by_host_without_the_label() -> None:
    """The default constraints need no zone label: nodes without it are still told apart by host."""
    nodes = [make_node("a"), make_node("b"), make_node("c")]
    core = make_core(*nodes)
    service = Service(spec=ServiceSpec(selector={"app": "web"}))
    core.workloads.set_service("default", "web", service)

    found = [place(core, make_pod(f"w{i}", labels={"app": "web"})) for i in range(6)]

    assert {n: found.count(n) for n in "abc"} == {"a": 2, "b": 2, "c": 2}
