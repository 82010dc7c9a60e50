"""The recorded node failure, in virtual time: what shared/data/real-node-failure.txt says of the
node and its pods.

Times in the docstrings are the recording's: seconds since the last renewal of fake-0's Lease.
"""

from __future__ import annotations

import attrs
import pytest

from engine import (
    Event,
    Node,
    Pod,
    Settings,
    Taint,
    Time,
    WatchEventType,
    condition_of,
)
from reconcilers.node_lifecycle import NodeLifecycle
from reconcilers.taint_eviction import TaintEviction
from tests.reconcilers.node_cluster import (
    BACK,
    LAST_RENEWAL,
    NodeCluster,
    ready_of,
    recorded_scenario,
    simulate,
    taint_keys,
)


@pytest.fixture(scope="module")
def recorded() -> NodeCluster:
    return simulate(recorded_scenario, NodeLifecycle(), TaintEviction())


MONITOR_PERIOD = 5.0


def since(seconds: float) -> float:
    """On the recording's clock: 0 is the last renewal."""
    return seconds - LAST_RENEWAL


def test_unknown_comes_when_recorded(recorded: NodeCluster) -> None:
    """44.64 s: Ready Unknown after 40 to 50 s, within one monitor period of the recording."""
    unknown = since(recorded.when(Node, "fake-0", lambda node: ready_of(node) == "Unknown"))

    assert 40 <= unknown <= 50
    assert unknown == pytest.approx(44.64, abs=MONITOR_PERIOD)


def test_unknown_is_one_write_with_the_recorded_words(recorded: NodeCluster) -> None:
    """All four conditions in one status, heartbeat as it was, transition now."""
    seconds, node = next(
        (seconds, node)
        for seconds, node in recorded.states(Node, "fake-0")
        if ready_of(node) == "Unknown"
    )
    first = next(node for _, node in recorded.states(Node, "fake-0") if node.status.conditions)
    now = Time.of(recorded.simulation.clock.epoch_us + round(seconds * 1_000_000))

    assert len(node.status.conditions) == 4
    for before, after in zip(first.status.conditions, node.status.conditions, strict=True):
        assert after == attrs.evolve(
            before,
            status="Unknown",
            reason="NodeStatusUnknown",
            message="Kubelet stopped posting node status.",
            last_transition_time=now,
        )
    assert node.spec.taints == ()


def test_the_taints_come_in_their_order(recorded: NodeCluster) -> None:
    """44.65 and 49.92: NoSchedule at once, NoExecute one monitor pass later, both with their
    second, neither with a value.
    """
    unknown = recorded.when(Node, "fake-0", lambda node: ready_of(node) == "Unknown")
    # Admission put not-ready:NoSchedule on the new node; the controller took that off when it was Ready.
    no_schedule = recorded.when(
        Node,
        "fake-0",
        lambda node: bool(taint_keys(node, "NoSchedule")),
        after=LAST_RENEWAL,
    )
    no_execute = recorded.when(Node, "fake-0", lambda node: bool(taint_keys(node, "NoExecute")))
    epoch = recorded.simulation.clock.epoch_us
    tainted = next(
        node for _, node in recorded.states(Node, "fake-0") if len(node.spec.taints) == 2
    )

    assert no_schedule == pytest.approx(unknown, abs=0.05)
    assert no_execute == pytest.approx(unknown + 5.27, abs=0.5)
    assert tainted.spec.taints == tuple(
        Taint(
            key="node.kubernetes.io/unreachable",
            effect=effect,
            time_added=Time.of(epoch + round(seconds * 1_000_000)),
        )
        for effect, seconds in (("NoSchedule", no_schedule), ("NoExecute", no_execute))
    )


def test_all_pods_of_the_node_are_marked_and_nothing_else(recorded: NodeCluster) -> None:
    """44.65 to 44.82: one by one, Ready False and its transition time only, the DaemonSet's and the
    bare pod too.
    """
    unknown = recorded.when(Node, "fake-0", lambda node: ready_of(node) == "Unknown")
    names = ("bare", "ds-1", "fast-1", "web-1", "web-2")
    for name in names:
        marked = recorded.when(Pod, name, lambda pod: ready_of(pod) == "False")
        assert marked == pytest.approx(unknown, abs=0.5)
        pod = next(pod for _, pod in recorded.states(Pod, name) if ready_of(pod) == "False")
        contained = condition_of(pod.status.conditions, "ContainersReady")
        assert contained is not None
        assert contained.status == "True"
        assert (pod.status.phase, pod.status.reason) == ("Running", "")
        assert pod.metadata.deletion_timestamp is None

    assert all(ready_of(pod) != "False" for _, pod in recorded.states(Pod, "web-3"))
    assert sorted(event[1:] for event in recorded.events("NodeNotReady")) == [
        ("Node/fake-0", "Node fake-0 status is now: NodeNotReady", "node-controller"),
        *((f"Pod/{name}", "Node is not ready", "node-controller") for name in names),
    ]


def test_evictions_come_when_recorded(recorded: NodeCluster) -> None:
    """79.94 and 349.95: 30.0 s and 300.0 s after the NoExecute taint, with the recorded Event; the
    DaemonSet's pod stays.
    """
    tainted = recorded.when(Node, "fake-0", lambda node: bool(taint_keys(node, "NoExecute")))
    expected = {"fast-1": 79.94, "bare": 349.95, "web-1": 349.95, "web-2": 349.95}
    for name, seconds in expected.items():
        deleted = recorded.when(Pod, name, lambda pod: pod.metadata.deletion_timestamp is not None)
        assert since(deleted) == pytest.approx(seconds, abs=MONITOR_PERIOD)
        assert deleted - tainted == pytest.approx(30 if name == "fast-1" else 300, abs=0.1)
        pod = next(
            pod
            for _, pod in recorded.states(Pod, name)
            if pod.metadata.deletion_timestamp is not None
        )
        assert pod.metadata.deletion_grace_period_seconds == 30
        assert condition_of(pod.status.conditions, "DisruptionTarget") is None

    assert all(
        pod.metadata.deletion_timestamp is None
        for name in ("ds-1", "web-3")
        for _, pod in recorded.states(Pod, name)
    )
    assert sorted(event[1:] for event in recorded.events("TaintManagerEviction")) == [
        (f"Pod/{name}", f"Marking for deletion Pod nodefail/{name}", "taint-controller")
        for name in sorted(expected)
    ]


def test_terminating_pods_stay_while_the_node_is_away(recorded: NodeCluster) -> None:
    """Nobody but their kubelet (or pod GC) takes them away."""
    assert not [
        seen
        for seen in recorded.history
        if isinstance(seen.object, Pod) and seen.type is WatchEventType.DELETED
    ]


def test_the_node_comes_back(recorded: NodeCluster) -> None:
    """440 s: the NoSchedule taint goes with the posted status, the NoExecute taint at the next pass
    (444.93).
    """
    states = [(at, node) for at, node in recorded.states(Node, "fake-0") if at >= BACK]
    ready = next(at for at, node in states if ready_of(node) == "True")
    schedulable = next(at for at, node in states if not taint_keys(node, "NoSchedule"))
    clean = next(at for at, node in states if not node.spec.taints)

    assert schedulable == pytest.approx(ready, abs=0.05)
    assert ready < clean <= ready + MONITOR_PERIOD + 0.1


def test_the_order_of_what_was_seen(recorded: NodeCluster) -> None:
    """The recording's order for the node: Unknown, NoSchedule, NoExecute, Ready, NoExecute alone,
    nothing.
    """
    steps = [
        (ready_of(node), taint_keys(node, "NoSchedule"), taint_keys(node, "NoExecute"))
        for seconds, node in recorded.states(Node, "fake-0")
        if seconds > LAST_RENEWAL
    ]

    assert steps == [
        ("Unknown", [], []),
        ("Unknown", ["unreachable"], []),
        ("Unknown", ["unreachable"], ["unreachable"]),
        ("True", ["unreachable"], ["unreachable"]),
        ("True", [], ["unreachable"]),
        ("True", [], []),
    ]


def test_registered_node(recorded: NodeCluster) -> None:
    """Each node is told once, when it is first seen."""
    assert [event[1:] for event in recorded.events("RegisteredNode")] == [
        (
            f"Node/fake-{number}",
            f"Node fake-{number} event: Registered Node fake-{number} in Controller",
            "node-controller",
        )
        for number in range(5)
    ]
    assert all(
        seen.object.metadata.namespace == "default"
        for seen in recorded.history
        if isinstance(seen.object, Event) and seen.object.reason == "RegisteredNode"
    )


def test_the_newest_version_waits_ten_seconds_more() -> None:
    """2.3.1: 50 s from 1.32 on."""
    cluster = simulate(
        recorded_scenario, NodeLifecycle(), TaintEviction(), settings=Settings.for_version("1.35")
    )
    unknown = cluster.when(Node, "fake-0", lambda node: ready_of(node) == "Unknown")

    assert 50 <= since(unknown) <= 60
