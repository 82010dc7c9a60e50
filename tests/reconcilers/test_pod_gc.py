"""Which pods the collector removes, and when."""

from __future__ import annotations

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from engine import (
    Condition,
    Node,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    Pod,
    PodSpec,
    PodStatus,
    Settings,
    Taint,
    Time,
    WatchEventType,
    condition_of,
    nodes,
)
from reconcilers.pod_gc import PodGC, Quarantine, count_node, kinds_of, plan
from tests.reconcilers.node_cluster import NodeCluster, simulate

SECOND = 1_000_000


def pod(
    name: str,
    phase: str = "Running",
    *,
    created: int = 0,
    node: str = "n",
    terminating: bool = False,
    reason: str = "",
) -> Pod:
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace="default",
            creation_timestamp=Time.of(created * SECOND),
            deletion_timestamp=Time.of(0) if terminating else None,
        ),
        spec=PodSpec(node_name=node),
        status=PodStatus(phase=phase, reason=reason),
    )


def planned(pods: list[Pod], settings: Settings, node: Node | None = None) -> list[str]:
    """Names of the pods to remove, with the lists made as the index makes them."""
    removals = plan(
        [each for each in pods if "finished" in kinds_of(each)],
        [each for each in pods if "terminating" in kinds_of(each)],
        lambda name: node if name == "n" else None,
        settings,
    )
    return [removal.pod.metadata.name for removal in removals]


@pytest.mark.parametrize(
    ("phase", "terminating", "expected"),
    [
        ("", False, ()),
        ("Pending", False, ()),
        ("Running", False, ()),
        ("Unknown", False, ()),
        ("Succeeded", False, ("finished",)),
        ("Failed", False, ("finished",)),
        ("Running", True, ("terminating",)),
        ("Failed", True, ("finished", "terminating")),
    ],
)
def test_kinds(phase: str, terminating: bool, expected: tuple[str, ...]) -> None:
    """2.8.1: finished is what is neither pending nor running nor unknown."""
    assert expected == kinds_of(pod("p", phase, terminating=terminating))


def test_the_oldest_finished_pods_beyond_the_threshold_go() -> None:
    """2.8.1: age decides, then the name; evicted ones go first, but only from 1.27 on; 0 switches
    it off.
    """
    pods = [
        pod("young", "Succeeded", created=30),
        pod("evicted", "Failed", created=20, reason="Evicted"),
        pod("b-old", "Failed", created=10),
        pod("a-old", "Succeeded", created=10),
        pod("running"),
    ]
    new = Settings(terminated_pod_gc_threshold=2)

    assert planned(pods, new) == ["evicted", "a-old"]
    assert planned(pods, attrs.evolve(new, compat="1.26")) == ["a-old", "b-old"]
    assert planned(pods, attrs.evolve(new, terminated_pod_gc_threshold=4)) == []
    assert planned(pods, attrs.evolve(new, terminated_pod_gc_threshold=0)) == []


def out_of_service(ready: str) -> Node:
    return Node(
        metadata=ObjectMeta(name="n"),
        spec=NodeSpec(
            taints=(
                Taint(key=nodes.TAINT_OUT_OF_SERVICE, value="nodeshutdown", effect="NoExecute"),
            )
        ),
        status=NodeStatus(conditions=(Condition(type="Ready", status=ready),)),
    )


def test_terminating_pods_of_a_node_out_of_service_go() -> None:
    """2.8.4: the taint and a node that is not ready, both; and only what is terminating already."""
    pods = [pod("going", terminating=True), pod("staying")]

    assert planned(pods, Settings(), out_of_service("Unknown")) == ["going"]
    assert planned(pods, Settings(), out_of_service("True")) == []
    assert planned(pods, Settings(), Node(metadata=ObjectMeta(name="n"))) == []
    assert planned(pods, Settings.for_version("1.25"), out_of_service("Unknown")) == []


def test_terminating_pods_that_were_never_bound_go() -> None:
    """2.8.3."""
    pods = [pod("bound", terminating=True), pod("unbound", node="", terminating=True)]

    assert planned(pods, Settings()) == ["unbound"]


def test_quarantine() -> None:
    """2.8.2: a node missing for 40 s is named once, and begins anew if it is missing still."""
    quarantine = Quarantine(Settings())

    assert quarantine.look(["gone", "late"], 0) == []
    assert quarantine.look(["gone", "late"], 20 * SECOND) == []
    assert quarantine.look(["gone"], 40 * SECOND) == ["gone"]
    assert quarantine.look(["gone"], 60 * SECOND) == []
    assert quarantine.look(["gone"], 100 * SECOND) == ["gone"]


def test_a_node_that_appears_leaves_the_quarantine_when_its_time_is_over() -> None:
    """Missing, back, and missing again within the 40 s counts as one absence, as in the real delay
    queue.
    """
    quarantine = Quarantine(Settings())
    quarantine.look(["flaps"], 0)
    quarantine.look([], 20 * SECOND)

    assert quarantine.look(["flaps"], 40 * SECOND) == ["flaps"]

    quarantine.look(["back"], 60 * SECOND)
    quarantine.look([], 100 * SECOND)

    assert len(quarantine) == 0


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.sampled_from(["", "a", "b"]))))
def test_counting_pods_by_node(moves: list[tuple[str, str]]) -> None:
    """However pods come and go, a node is named exactly while some pod names it."""
    pods: list[str] = []
    counted: dict[str, int] = {}
    for old, new in moves:
        leaving = old if old in pods else ""
        if leaving:
            pods.remove(leaving)
        pods.append(new)
        count_node(counted, leaving, -1)
        count_node(counted, new, +1)

    assert {name: pods.count(name) for name in sorted({*pods}) if name} == dict(
        sorted(counted.items())
    )


def removed(cluster: NodeCluster) -> dict[str, float]:
    """When which pods vanished."""
    return {
        seen.object.metadata.name: seen.seconds
        for seen in cluster.history
        if isinstance(seen.object, Pod) and seen.type is WatchEventType.DELETED
    }


@pytest.mark.parametrize(("compat", "phase"), [("1.20", "Running"), ("1.35", "Failed")])
def test_pods_of_a_deleted_node_go_after_the_quarantine(compat: str, phase: str) -> None:
    """2.8.2: 40 to 60 s after its node a pod is removed at once; from 1.26 on it is Failed first
    and says why.
    """

    async def deletes(cluster: NodeCluster) -> None:
        for name in ("gone", "here"):
            await cluster.add_node(name)
            await cluster.add_pod(f"p-{name}", name)
        await trio.sleep(27)
        cluster.silence("gone")
        await cluster.client.delete(Node, "gone")
        await trio.sleep(100)

    cluster = simulate(deletes, PodGC(), settings=Settings.for_version(compat))
    _, last = list(cluster.states(Pod, "p-gone"))[-1]
    condition = condition_of(last.status.conditions, "DisruptionTarget")

    assert list(removed(cluster)) == ["p-gone"]
    assert 67 <= removed(cluster)["p-gone"] <= 88
    assert last.status.phase == phase
    assert (condition is not None) is (phase == "Failed")
    if condition is not None:
        assert condition.message == "PodGC: node no longer exists"
        assert condition.reason == "DeletionByPodGC"


def test_a_node_that_the_server_knows_keeps_its_pods() -> None:
    """A node that comes late, within the quarantine, loses nothing."""

    async def late(cluster: NodeCluster) -> None:
        await cluster.add_pod("p", "late")
        await trio.sleep(30)
        await cluster.add_node("late")
        await trio.sleep(100)

    assert removed(simulate(late, PodGC())) == {}


def test_finished_pods_beyond_the_threshold_are_removed() -> None:
    """2.8.1, at the first look after they have finished."""

    async def finish(cluster: NodeCluster) -> None:
        await cluster.add_node("n")
        for number in range(4):
            await cluster.add_pod(f"p{number}", "n")
            pod = await cluster.client.get(Pod, f"p{number}", "nodefail")
            status = attrs.evolve(pod.status, phase="Succeeded")
            await cluster.client.update_status(attrs.evolve(pod, status=status))
            await trio.sleep(2)
        await trio.sleep(30)

    settings = attrs.evolve(Settings(), terminated_pod_gc_threshold=1)

    assert list(removed(simulate(finish, PodGC(), settings=settings))) == ["p0", "p1", "p2"]


def test_an_out_of_service_node_gives_up_its_terminating_pods() -> None:
    """2.8.4: an administrator's taint on a node that is down frees what hangs there."""

    async def declares(cluster: NodeCluster) -> None:
        taint = Taint(key=nodes.TAINT_OUT_OF_SERVICE, value="nodeshutdown", effect="NoExecute")
        await cluster.add_node("n", taints=(taint,))
        await cluster.post("n", ready="False")
        await cluster.add_pod("going", "n")
        await cluster.add_pod("staying", "n")
        await cluster.client.delete(Pod, "going", "nodefail")
        await trio.sleep(25)

    assert list(removed(simulate(declares, PodGC(), settings=Settings()))) == ["going"]
