"""Converges: whether a cluster comes to rest in time, and stays so."""

from __future__ import annotations

import attrs
import trio

import wavetank
from engine import Lease, LeaseSpec, ObjectMeta
from tests.wavetank.contract import DEPLOYMENT
from tests.wavetank.handmade import HandMade, node, pod
from tests.wavetank.invariants.planting import fault
from wavetank import Cluster
from wavetank.invariants import Convergence, Converges


def made() -> tuple[HandMade, Converges]:
    converges = Converges(within=100, stays=30)
    log = HandMade([converges])
    log.put(node("n-0"), actor="kubelet/n-0")
    log.put(pod("a", node="n-0", ready=True), actor="kubelet/n-0")
    log.seconds = 10
    log.put(fault("x.y", "z", "Healed"), actor="chaos")
    return log, converges


def test_it_settles_and_stays() -> None:
    """In time; the verdict says since when."""
    log, converges = made()
    log.put(pod("a", node="n-0", ready=False), actor="kubelet/n-0")
    log.seconds = 60
    log.put(pod("a", node="n-0", ready=True), actor="kubelet/n-0")
    found = converges.verdict(log.view, 90)

    assert found.converged
    assert (10, 60, 10) == (found.fault_seconds, found.settled_seconds, found.unsettled_seconds)
    assert 130 == converges.patience
    early = converges.verdict(log.view, 89)
    assert not early.converged
    assert "it has been settled for 29s; 30s are asked for" == early.message


def test_it_settles_too_late_or_never() -> None:
    """What is left is named."""
    log, converges = made()
    log.put(pod("a", node="n-0", ready=False), actor="kubelet/n-0")
    never = converges.verdict(log.view, 150)
    log.seconds = 111
    log.put(pod("a", node="n-0", ready=True), actor="kubelet/n-0")
    late = converges.verdict(log.view, 1000)

    assert never.message.startswith(
        "140s after the last fault it is not settled: Pod default/a: Running, not ready"
    )
    assert ("Pod default/a: Running, not ready",) == never.left
    assert "it settled 101s after the last fault; allowed are 100s" == late.message


def test_it_does_not_stay() -> None:
    """Who unsettled it again is named; what the user or a fault does begins a new count instead."""
    log, converges = made()
    log.seconds = 50
    revision = log.put(pod("a", node="n-0", ready=False), actor="controller/x")
    restless = converges.verdict(log.view, 60)
    log.seconds = 70
    log.put(node("n-0", ready="Unknown"), actor="controller/node-lifecycle")
    log.put(fault("x.y", "z", "Active"), actor="chaos")
    again = converges.verdict(log.view, 80)

    assert restless.message.endswith(f"(controller/x unsettled it again with r{revision})")
    assert 70 == again.fault_seconds
    assert "controller/x" not in again.message


def test_heartbeats_are_not_looked_at() -> None:
    """A settled cluster that only breathes stays settled since the fault."""
    log, converges = made()
    for seconds in range(20, 100, 10):
        log.seconds = seconds
        breathing = node("n-0")
        metadata = attrs.evolve(breathing.metadata, labels={"beat": f"{seconds}"})
        log.put(attrs.evolve(breathing, metadata=metadata), actor="kubelet/n-0")
        lease = Lease(
            metadata=ObjectMeta(name="n-0", namespace="kube-node-lease"),
            spec=LeaseSpec(holder_identity="n-0"),
        )
        log.put(lease, actor="kubelet/n-0")

    assert 10 == converges.verdict(log.view, 100).settled_seconds


def test_a_cluster_after_a_partition() -> None:
    """The real thing: it is unsettled by the fault, and comes back."""

    async def main(cluster: Cluster) -> Convergence:
        converges = Converges(within=600, stays=60)
        cluster.observer.add(converges)
        await cluster.apply(DEPLOYMENT.format(name="web", replicas=4, version=1))
        await cluster.settled()
        await cluster.chaos.partition("node-0", 120)
        await trio.sleep(120 + converges.patience)
        return converges.verdict(cluster.view, cluster.clock.now())

    found = wavetank.run(main, invariants=()).value

    assert found is not None
    assert found.converged
    assert found.settled_seconds is not None
    assert 0 < found.unsettled_seconds <= found.settled_seconds
    assert found.fault_seconds > 100
