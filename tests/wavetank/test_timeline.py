"""The story: what happened together is one line, with the reason that says most."""

from __future__ import annotations

import attrs

from engine import Event, ObjectMeta, ObjectReference, Taint, Time, Uid
from tests.wavetank.handmade import HandMade, deployment, node, pod
from wavetank.timeline import Line, Narrator


def telling() -> tuple[HandMade, list[Line], Narrator]:
    lines: list[Line] = []
    narrator = Narrator(lines.append)
    return HandMade([narrator]), lines, narrator


def unhealthy(about: str, message: str) -> Event:
    return Event(
        metadata=ObjectMeta(name=f"{about}.1", namespace="default"),
        type="Warning",
        reason="Unhealthy",
        message=message,
        involved_object=ObjectReference(kind="Pod", name=about, uid=Uid(f"uid-{about}")),
    )


def test_what_many_do_at_once_is_one_line() -> None:
    """Three kubelets join: they are named, and who did it is named by its kind."""
    log, lines, narrator = telling()
    for name in ("a-0", "a-1", "b-0", "b-1"):
        log.put(node(name), f"kubelet/{name}", ("start:kubelet",))
    narrator.flush()

    assert [("4 nodes join: a-0, a-1, b-0 and 1 more", "kubelets")] == [
        (line.what, line.why) for line in lines
    ]


def test_lines_come_when_time_moves_on() -> None:
    log, lines, _ = telling()
    log.put(node("a-0"), "kubelet/a-0", ("start:kubelet/a-0",))
    assert [] == lines

    log.seconds = 1.5
    log.put(node("a-0", ready="Unknown"), "controller/node-lifecycle", ("timer:node-monitor",))
    assert [("node a-0 joins", "kubelet/a-0: start kubelet/a-0", 0.0)] == [
        (line.what, line.why, line.seconds) for line in lines
    ]

    log.seconds = 2.0
    log.put(pod("p"))
    assert "node a-0 is Ready=Unknown: Kubelet stopped posting node status." == lines[1].what
    assert ("bad", 1.5, 3) == (lines[1].mood, lines[1].seconds, lines[1].revision)
    assert "controller/node-lifecycle: timer node-monitor" == lines[1].why


def test_a_told_revision_says_more_than_a_timer() -> None:
    """The eviction is caused by the taint, though a timer called."""
    log, lines, narrator = telling()
    log.put(pod("p", node="a-0"))
    log.put(node("a-0"))
    log.seconds = 1
    taint = Taint(key="node.kubernetes.io/unreachable", effect="NoExecute")
    tainted = log.put(node("a-0", taints=(taint,)), "controller/node-lifecycle", ("timer:x",))
    log.seconds = 301
    victim = pod("p", node="a-0")
    metadata = attrs.evolve(victim.metadata, deletion_timestamp=Time(1))
    log.put(
        attrs.evolve(victim, metadata=metadata), "controller/taint-eviction", (tainted, "timer:y")
    )
    narrator.flush()

    assert "pod p is to be deleted on a-0" == lines[-1].what
    assert (
        f"controller/taint-eviction: node a-0 is tainted unreachable:NoExecute (r{tainted})"
        == lines[-1].why
    )


def test_reasons_reach_through_what_is_not_told() -> None:
    """A pod is created because of a Deployment, though a ReplicaSet lay between."""
    log, lines, narrator = telling()
    made = log.put(deployment(2, 0))
    between = log.put(
        attrs.evolve(deployment(2, 0), status=attrs.evolve(deployment(2, 0).status, replicas=1)),
        "controller/deployment",
        (made,),
    )
    log.put(pod("web-1"), "controller/replicaset", (between,))
    narrator.flush()

    assert f"controller/replicaset: deployment web is created (r{made})" == lines[-1].why


def test_places_are_told_of_each() -> None:
    log, lines, narrator = telling()
    for name in ("p", "q"):
        log.put(pod(name))
    log.seconds = 1
    log.put(pod("p", node="a-0"), "scheduler")
    log.put(pod("q", node="b-0"), "scheduler")
    log.seconds = 2
    log.put(pod("p", node="a-0", ready=True), "kubelet/a-0")
    narrator.flush()

    assert [
        "2 pods are created: p, q",
        "2 pods are bound: p to a-0, q to b-0",
        "pod p is ready on a-0",
    ] == [line.what for line in lines]
    assert "good" == lines[-1].mood


def test_a_starting_pod_may_fail_its_probes() -> None:
    """No news until it has been ready once; liveness always is."""
    log, lines, narrator = telling()
    log.put(pod("p", node="a-0"))
    log.put(unhealthy("p", "Readiness probe failed: connection refused"))
    log.put(unhealthy("p", "Startup probe failed: connection refused"))
    narrator.flush()
    assert ["pod p is created"] == [line.what for line in lines]

    log.put(pod("p", node="a-0", ready=True))
    log.seconds = 1
    log.remove(unhealthy("p", ""))
    log.put(unhealthy("p", "Readiness probe failed: connection refused"))
    narrator.flush()
    assert "pod p Unhealthy: Readiness probe failed: connection refused" == lines[-1].what


def test_availability_agrees_with_its_number() -> None:
    log, lines, narrator = telling()
    for name in ("cart", "search"):
        log.put(deployment(3, 3, name=name))
    log.seconds = 1
    for name in ("cart", "search"):
        log.put(deployment(3, 2, name=name), "controller/deployment")
    log.seconds = 2
    log.put(deployment(3, 3, name="cart"), "controller/deployment")
    narrator.flush()

    assert "2 deployments have 2 of 3 available: cart, search" == lines[1].what
    assert "deployment cart has 3 of 3 available" == lines[2].what
    assert ("bad", "good") == (lines[1].mood, lines[2].mood)
