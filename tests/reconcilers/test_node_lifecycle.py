"""The node lifecycle controller in a cluster, in virtual time: what the recording does not show,
and faults.
"""

from __future__ import annotations

import itertools

import attrs
import pytest
import trio

from engine import Node, Pod
from reconcilers.node_lifecycle import NodeLifecycle
from reconcilers.taint_eviction import TaintEviction
from tests.reconcilers.node_cluster import (
    DEFAULT_TOLERATIONS,
    LAST_RENEWAL,
    NodeCluster,
    ready_of,
    recorded_scenario,
    simulate,
    taint_keys,
)


def test_heartbeats_alone_make_no_writes() -> None:
    """A healthy cluster is left alone: the controller writes nothing but the Events of the first pass."""

    async def healthy(cluster: NodeCluster) -> None:
        for number in range(3):
            await cluster.add_node(f"n{number}", zone=f"z{number}")
        await trio.sleep(600)

    cluster = simulate(healthy, NodeLifecycle())
    queue = cluster.runtimes["node-lifecycle"].statistics().queue

    assert queue.adds <= 9  # three nodes: created, posted, labelled
    assert [seen.seconds for seen in cluster.history if seen.seconds > 10] == []


def test_a_pod_bound_to_a_silent_node_later_is_marked_too() -> None:
    """2.3.6: a pod that is bound after the pass that found its node silent gets the same treatment."""

    async def late(cluster: NodeCluster) -> None:
        await cluster.add_node("up", zone="a")
        await cluster.add_node("down", zone="b")
        cluster.silence("down")
        await trio.sleep(60)
        await cluster.add_pod("late", "")
        await cluster.client.bind(await cluster.client.get(Pod, "late", "nodefail"), "down")
        await trio.sleep(1)

    cluster = simulate(late, NodeLifecycle())
    marked = cluster.when(Pod, "late", lambda pod: ready_of(pod) == "False")

    assert marked == pytest.approx(60, abs=0.1)
    assert [event[1] for event in cluster.events("NodeNotReady")] == ["Node/down", "Pod/late"]


def test_a_kubelet_that_reports_not_ready_is_tainted_but_its_pods_are_its_own() -> None:
    """2.3.6: Ready False from the kubelet gives not-ready taints, no NodeNotReady from the
    controller, no marked pods.
    """

    async def reports(cluster: NodeCluster) -> None:
        await cluster.add_node("good", zone="a")
        await cluster.add_node("bad", zone="a")
        await cluster.add_pod("p", "bad", *DEFAULT_TOLERATIONS)
        await trio.sleep(30)
        await cluster.post("bad", ready="False")
        await trio.sleep(30)

    cluster = simulate(reports, NodeLifecycle())
    _, node = list(cluster.states(Node, "bad"))[-1]
    _, pod = list(cluster.states(Pod, "p"))[-1]

    assert taint_keys(node, "NoSchedule") == ["not-ready"]
    assert taint_keys(node, "NoExecute") == ["not-ready"]
    assert cluster.events("NodeNotReady") == []
    assert ready_of(pod) == "True"


def test_not_ready_becomes_unreachable_by_a_swap() -> None:
    """2.4.2: when a node that reported False falls silent, its taints are exchanged at once, added
    before removed.
    """

    async def falls_silent(cluster: NodeCluster) -> None:
        for name in ("g1", "g2", "bad"):
            await cluster.add_node(name, zone="a")
        await trio.sleep(30)
        await cluster.post("bad", ready="False")
        await trio.sleep(30)
        cluster.silence("bad")
        await trio.sleep(60)

    cluster = simulate(falls_silent, NodeLifecycle())
    steps = [taint_keys(node, "NoExecute") for _, node in cluster.states(Node, "bad")]
    changes = [step for place, step in enumerate(steps) if place == 0 or step != steps[place - 1]]

    assert changes == [[], ["not-ready"], ["not-ready", "unreachable"], ["unreachable"]]


def test_pressure_and_cordon_show_at_once() -> None:
    """2.4.1: each pressure condition and spec.unschedulable have their NoSchedule taint, and lose
    it at once.
    """

    async def presses(cluster: NodeCluster) -> None:
        await cluster.add_node("n")
        await cluster.post("n", MemoryPressure="True", PIDPressure="True")
        await trio.sleep(1)
        node = await cluster.client.get(Node, "n")
        assert sorted(taint_keys(node, "NoSchedule")) == ["memory-pressure", "pid-pressure"]
        await cluster.client.update(
            attrs.evolve(node, spec=attrs.evolve(node.spec, unschedulable=True))
        )
        await cluster.post("n")
        await trio.sleep(1)
        node = await cluster.client.get(Node, "n")
        assert taint_keys(node, "NoSchedule") == ["unschedulable"]

    simulate(presses, NodeLifecycle())


def test_a_lost_zone_is_tainted_one_node_in_ten_seconds() -> None:
    """10.21 in small: two zones, one lost: its nodes get their NoExecute taints 10 s apart, the
    first at once.
    """

    async def zone_fails(cluster: NodeCluster) -> None:
        for number in range(4):
            await cluster.add_node(f"a{number}", zone="a")
            await cluster.add_node(f"b{number}", zone="b")
        await trio.sleep(20)
        for number in range(4):
            cluster.silence(f"b{number}")
        await trio.sleep(120)

    cluster = simulate(zone_fails, NodeLifecycle())
    times = sorted(
        cluster.when(Node, f"b{number}", lambda node: bool(taint_keys(node, "NoExecute")))
        for number in range(4)
    )  # which of them is first follows the order in which they were seen, and so the seed

    assert [second - first for first, second in itertools.pairwise(times)] == [
        pytest.approx(10, abs=0.11)
    ] * 3
    assert all(
        not taint_keys(node, "NoExecute")
        for number in range(4)
        for _, node in cluster.states(Node, f"a{number}")
    )


def test_a_cluster_lost_as_a_whole_is_not_evicted() -> None:
    """2.6.3: all nodes silent: Unknown and NoSchedule, but no NoExecute taint; when one returns,
    all have a fresh grace.
    """

    async def all_fail(cluster: NodeCluster) -> None:
        for number in range(3):
            await cluster.add_node(f"n{number}", zone=f"z{number}")
        await trio.sleep(20)
        for number in range(3):
            cluster.silence(f"n{number}")
        await trio.sleep(200)
        await cluster.revive("n0")
        await trio.sleep(100)

    cluster = simulate(all_fail, NodeLifecycle())
    _, back = list(cluster.states(Node, "n0"))[-1]
    # One of them may be noticed a pass before the others, and is tainted until they are.
    tainted = [
        cluster.when(Node, name, lambda node: bool(taint_keys(node, "NoExecute")), after=70)
        for name in ("n1", "n2")
    ]

    assert back.spec.taints == ()
    # Entering and leaving emptied the buckets: the first node of each zone waits for its token.
    assert all(seconds == pytest.approx(230, abs=6) for seconds in tainted)


def test_a_restart_forgets_what_it_saw() -> None:
    """8.3.2: a new controller gives silent nodes a fresh grace, and takes their NoExecute taints
    off first.
    """

    async def restarts(cluster: NodeCluster) -> None:
        for name in ("good", "bad", "worse"):
            await cluster.add_node(name, zone="a")
        await trio.sleep(20)
        cluster.silence("bad")
        await trio.sleep(50)
        cluster.silence("worse")
        await trio.sleep(30)
        cluster.crash("node-lifecycle")
        await trio.sleep(1)
        cluster.start(NodeLifecycle())
        await trio.sleep(60)

    cluster = simulate(restarts, NodeLifecycle())
    steps = [taint_keys(node, "NoExecute") for _, node in cluster.states(Node, "bad")]
    changes = [step for place, step in enumerate(steps) if place == 0 or step != steps[place - 1]]
    worse = cluster.when(Node, "worse", lambda node: ready_of(node) == "Unknown")

    assert changes == [[], ["unreachable"], [], ["unreachable"]]
    assert worse == pytest.approx(101 + 40, abs=1)


def test_a_node_that_never_posts_turns_unknown_after_its_startup_grace() -> None:
    """2.3.3: 60 s from its creation, with the words for a kubelet never heard of."""

    async def never(cluster: NodeCluster) -> None:
        await cluster.add_node("good")
        await trio.sleep(7)
        await cluster.add_node("mute", posts=False)
        await trio.sleep(90)

    cluster = simulate(never, NodeLifecycle())
    unknown = cluster.when(Node, "mute", lambda node: ready_of(node) == "Unknown")
    _, node = list(cluster.states(Node, "mute"))[-1]

    assert 67 <= unknown <= 72
    assert [condition.type for condition in node.status.conditions] == [
        "Ready",
        "MemoryPressure",
        "DiskPressure",
        "PIDPressure",
    ]
    assert {condition.reason for condition in node.status.conditions} == {"NodeStatusNeverUpdated"}


def test_a_removed_node_is_told() -> None:
    """RemovingNode, at the next pass."""

    async def removes(cluster: NodeCluster) -> None:
        await cluster.add_node("n")
        await trio.sleep(20)
        cluster.silence("n")
        await cluster.client.delete(Node, "n")
        await trio.sleep(20)

    cluster = simulate(removes, NodeLifecycle())

    assert [event[1:3] for event in cluster.events("RemovingNode")] == [
        ("Node/n", "Node n event: Removing Node n from Controller")
    ]


@pytest.mark.parametrize("seed", range(3))
def test_duplicates_of_the_controller_agree(seed: int) -> None:
    """Two of them at once (a leader that does not know it lost) write what one would: conflicts are
    read anew.
    """

    async def two(cluster: NodeCluster) -> None:
        cluster.start(NodeLifecycle())
        await recorded_scenario(cluster)

    cluster = simulate(two, NodeLifecycle(), seed=seed)
    steps = [
        (ready_of(node), taint_keys(node, "NoSchedule"), taint_keys(node, "NoExecute"))
        for seconds, node in cluster.states(Node, "fake-0")
        if seconds > LAST_RENEWAL
    ]

    assert steps[0] == ("Unknown", [], [])
    assert steps[-1] == ("True", [], [])
    assert ("Unknown", ["unreachable"], ["unreachable"]) in steps


@pytest.mark.parametrize(
    ("name", "writes"),
    [("node-lifecycle", n) for n in range(1, 17)] + [("taint-eviction", n) for n in range(1, 9)],
)
def test_a_crash_after_any_write_is_survived(name: str, writes: int) -> None:
    """12.9: cut off after the n-th write since the node fell silent and started anew, both come to
    the same end: every pod but the DaemonSet's is deleted, not before its time; and when the node
    is back it is clean.
    """

    async def cut(cluster: NodeCluster) -> None:
        async def arm() -> None:
            await trio.sleep(LAST_RENEWAL + 5)
            wire = cluster.wires[name]

            def crash() -> None:
                cluster.crash(name)
                cluster.nursery.start_soon(restart)

            wire.cut, wire.writes_left = crash, writes

        async def restart() -> None:
            await trio.sleep(1)
            cluster.start(reconcilers[name]())

        cluster.nursery.start_soon(arm)
        # Long enough for timers that begin anew after a cut in the middle of the evictions at 350 s.
        await recorded_scenario(cluster, away=800)

    reconcilers = {"node-lifecycle": NodeLifecycle, "taint-eviction": TaintEviction}
    cluster = simulate(cut, NodeLifecycle(), TaintEviction())
    unknown = cluster.when(Node, "fake-0", lambda node: ready_of(node) == "Unknown")
    _, node = list(cluster.states(Node, "fake-0"))[-1]

    assert node.spec.taints == ()
    for pod_name, least in (("fast-1", 30), ("web-1", 300), ("web-2", 300), ("bare", 300)):
        deleted = cluster.when(
            Pod, pod_name, lambda pod: pod.metadata.deletion_timestamp is not None
        )
        assert unknown + least <= deleted
    assert all(pod.metadata.deletion_timestamp is None for _, pod in cluster.states(Pod, "ds-1"))


def test_an_unreachable_server_delays_and_loses_nothing() -> None:
    """Refused for a while, a pass is repeated: Unknown, taints and pods come when the server is back."""

    async def refused(cluster: NodeCluster) -> None:
        async def outage() -> None:
            await trio.sleep(LAST_RENEWAL + 30)
            wire = cluster.wires["node-lifecycle"]
            wire.down = True
            await trio.sleep(40)
            wire.down = False

        cluster.nursery.start_soon(outage)
        await recorded_scenario(cluster)

    cluster = simulate(refused, NodeLifecycle(), TaintEviction())
    unknown = cluster.when(Node, "fake-0", lambda node: ready_of(node) == "Unknown")
    no_execute = cluster.when(Node, "fake-0", lambda node: bool(taint_keys(node, "NoExecute")))
    marked = cluster.when(Pod, "web-1", lambda pod: ready_of(pod) == "False")

    assert 70 <= unknown - LAST_RENEWAL <= 75.1
    assert 5 <= no_execute - unknown <= 5.2
    assert marked == pytest.approx(unknown, abs=0.1)
