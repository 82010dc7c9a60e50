"""The taint eviction controller in a cluster, in virtual time."""

from __future__ import annotations

import attrs
import pytest
import trio

from engine import (
    Node,
    Pod,
    Settings,
    Taint,
    Toleration,
    condition_of,
)
from reconcilers.taint_eviction import TaintEviction
from tests.reconcilers.node_cluster import (
    DEFAULT_TOLERATIONS,
    NodeCluster,
    simulate,
    tolerate,
)

UNREACHABLE = Taint(key="node.kubernetes.io/unreachable", effect="NoExecute")
OTHER = Taint(key="maintenance", effect="NoExecute")


async def set_taints(cluster: NodeCluster, name: str, *taints: Taint) -> None:
    node = await cluster.client.get(Node, name)
    await cluster.client.update(attrs.evolve(node, spec=attrs.evolve(node.spec, taints=taints)))


def deleted_at(cluster: NodeCluster, name: str) -> float:
    return cluster.when(Pod, name, lambda pod: pod.metadata.deletion_timestamp is not None)


def test_a_pod_that_tolerates_nothing_goes_at_once() -> None:
    """2.5.2: an untolerated NoExecute taint deletes now, and only the pods of that node."""

    async def taints(cluster: NodeCluster) -> None:
        for name in ("n", "m"):
            await cluster.add_node(name)
            await cluster.add_pod(f"p-{name}", name, *DEFAULT_TOLERATIONS)
        await trio.sleep(10)
        await set_taints(cluster, "n", OTHER)
        await trio.sleep(10)

    cluster = simulate(taints, TaintEviction())

    assert deleted_at(cluster, "p-n") == pytest.approx(10, abs=0.1)
    assert all(pod.metadata.deletion_timestamp is None for _, pod in cluster.states(Pod, "p-m"))


def test_a_recovery_in_time_calls_it_off() -> None:
    """10.5: taints gone before 300 s: no deletion, and an Event says so; a second outage counts
    from its own start.
    """

    async def recovers(cluster: NodeCluster) -> None:
        await cluster.add_node("n")
        await cluster.add_pod("p", "n", *DEFAULT_TOLERATIONS)
        await set_taints(cluster, "n", UNREACHABLE)
        await trio.sleep(200)
        await set_taints(cluster, "n")
        await trio.sleep(200)
        await set_taints(cluster, "n", UNREACHABLE)
        await trio.sleep(310)

    cluster = simulate(recovers, TaintEviction())

    assert deleted_at(cluster, "p") == pytest.approx(700, abs=0.1)
    assert [event[2] for event in cluster.events("TaintManagerEviction")] == [
        "Cancelling deletion of Pod nodefail/p",
        "Marking for deletion Pod nodefail/p",
    ]


def test_a_pod_that_comes_later_has_its_whole_time() -> None:
    """A pod bound to a node that is tainted already counts from when it was seen."""

    async def comes(cluster: NodeCluster) -> None:
        await cluster.add_node("n", taints=(UNREACHABLE,))
        await trio.sleep(50)
        await cluster.add_pod("p", "n", tolerate("unreachable", 30))
        await trio.sleep(40)

    cluster = simulate(comes, TaintEviction())

    assert deleted_at(cluster, "p") == pytest.approx(80, abs=0.1)


def test_a_deleted_pod_is_forgotten() -> None:
    """A pod that goes by itself is told as called off, and a successor of its name is not deleted
    for it.
    """

    async def goes(cluster: NodeCluster) -> None:
        await cluster.add_node("n", taints=(UNREACHABLE,))
        await cluster.add_pod("p", "n", *DEFAULT_TOLERATIONS)
        await trio.sleep(100)
        await cluster.client.delete(Pod, "p", "nodefail", grace_period_seconds=0)
        await cluster.add_pod("p", "n", Toleration(operator="Exists"))
        await trio.sleep(300)

    cluster = simulate(goes, TaintEviction())
    _, last = list(cluster.states(Pod, "p"))[-1]

    assert last.metadata.deletion_timestamp is None
    assert all("Marking" not in event[2] for event in cluster.events("TaintManagerEviction"))


def test_a_restart_begins_the_count_again() -> None:
    """2.5.3: timers are in memory: after 200 s and a restart the pod has 300 s more."""

    async def restarts(cluster: NodeCluster) -> None:
        await cluster.add_node("n", taints=(UNREACHABLE,))
        await cluster.add_pod("p", "n", *DEFAULT_TOLERATIONS)
        await trio.sleep(200)
        cluster.crash("taint-eviction")
        await trio.sleep(1)
        cluster.start(TaintEviction())
        await trio.sleep(310)

    cluster = simulate(restarts, TaintEviction())

    assert deleted_at(cluster, "p") == pytest.approx(501, abs=0.2)


@pytest.mark.parametrize(
    ("compat", "component", "marked"),
    [
        ("1.20", "taint-controller", False),
        ("1.25", "taint-controller", False),
        ("1.26", "taint-controller", True),
        ("1.28", "taint-controller", True),
        ("1.29", "taint-eviction-controller", True),
        ("1.35", "taint-eviction-controller", True),
    ],
)
def test_versions(compat: str, component: str, marked: bool) -> None:
    """2.5.4: DisruptionTarget is put on the pod before it is deleted from 1.26 on; the Events'
    source has a new name from 1.29.
    """

    async def taints(cluster: NodeCluster) -> None:
        await cluster.add_node("n", taints=(OTHER,))
        await cluster.add_pod("p", "n")
        await trio.sleep(5)

    cluster = simulate(taints, TaintEviction(), settings=Settings.for_version(compat))
    pod = next(
        pod for _, pod in cluster.states(Pod, "p") if pod.metadata.deletion_timestamp is not None
    )
    condition = condition_of(pod.status.conditions, "DisruptionTarget")

    assert [event[3] for event in cluster.events("TaintManagerEviction")] == [component]
    assert marked is (condition is not None)
    if condition is not None:
        assert (condition.status, condition.reason, condition.message) == (
            "True",
            "DeletionByTaintManager",
            "Taint manager: deleting due to NoExecute taint",
        )


def test_two_evictions_of_one_pod_are_one() -> None:
    """A duplicate of the controller changes nothing: the pod keeps its first deletion time."""

    async def two(cluster: NodeCluster) -> None:
        cluster.start(TaintEviction())
        await cluster.add_node("n", taints=(UNREACHABLE,))
        await cluster.add_pod("p", "n", *DEFAULT_TOLERATIONS)
        await trio.sleep(310)

    cluster = simulate(two, TaintEviction())
    times = [
        pod.metadata.deletion_timestamp
        for _, pod in cluster.states(Pod, "p")
        if pod.metadata.deletion_timestamp is not None
    ]

    assert len(dict.fromkeys(times)) == 1


def test_a_refused_deletion_is_tried_again() -> None:
    """With the server away when the time comes, the pod goes soon after it is back."""

    async def refused(cluster: NodeCluster) -> None:
        await cluster.add_node("n", taints=(UNREACHABLE,))
        await cluster.add_pod("p", "n", tolerate("unreachable", 30))
        await trio.sleep(20)
        cluster.wires["taint-eviction"].down = True
        await trio.sleep(20)
        cluster.wires["taint-eviction"].down = False
        await trio.sleep(60)

    cluster = simulate(refused, TaintEviction())

    assert 40 <= deleted_at(cluster, "p") <= 61
