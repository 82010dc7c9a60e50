"""What a run measured, from logs made by hand: seconds to the microsecond."""

from __future__ import annotations

import attrs

from engine import Time
from tests.wavetank.handmade import HandMade, deployment, node, pod
from wavetank.measures import DeploymentMeasure, FaultMeasure, Measures


def measured() -> tuple[HandMade, Measures]:
    measures = Measures()
    return HandMade([measures]), measures


def deleted(name: str, on: str) -> object:
    victim = pod(name, node=on)
    return attrs.evolve(victim, metadata=attrs.evolve(victim.metadata, deletion_timestamp=Time(1)))


def test_seconds_of_each_shortage() -> None:
    """10 s one short, 5 s two short (unavailable), 2 s none at all; before `begin` nothing counts."""
    log, measures = measured()
    log.put(deployment(3, 0))
    log.put(deployment(3, 3))
    log.seconds = 100
    measures.begin(log.view, 100)
    for seconds, available in ((110, 2), (115, 1), (118, 0), (120, 3), (130, 2)):
        log.seconds = seconds
        log.put(deployment(3, available))

    assert [
        DeploymentMeasure(
            namespace="default",
            name="web",
            replicas=3,
            degraded_seconds=20,
            unavailable_seconds=5,
            down_seconds=2,
        )
    ] == measures.deployments(log.view, 140)


def test_the_answer_to_a_fault() -> None:
    """Detected when the node is not ready, evicted at the first deletion there, recovered when all Deployments are full."""
    log, measures = measured()
    log.put(deployment(3, 3))
    log.put(deployment(1, 1, name="db"))
    log.put(node("a-0"))
    log.put(pod("p", node="a-0"))
    log.put(pod("q", node="a-1"))
    measures.begin(log.view, 10)
    measures.fault("crashNode", "a-0", ["a-0"], 70)
    log.seconds = 112
    log.put(node("a-0", ready="Unknown"))
    log.put(deployment(3, 2))
    log.put(deployment(1, 0, name="db"))
    log.seconds = 150
    log.put(deleted("q", "a-1"))  # type: ignore[arg-type]
    log.seconds = 417
    log.put(deleted("p", "a-0"))  # type: ignore[arg-type]
    log.put(deployment(3, 3))
    log.seconds = 420
    log.put(deployment(1, 1, name="db"))
    log.seconds = 500
    log.put(deployment(1, 0, name="db"))

    assert [
        FaultMeasure(
            at=60,
            kind="crashNode",
            target="a-0",
            detected_seconds=42,
            evicted_seconds=347,
            recovered_seconds=350,
        )
    ] == measures.faults()


def test_a_fault_that_nobody_notices() -> None:
    log, measures = measured()
    log.put(deployment(3, 3))
    measures.begin(log.view, 0)
    measures.fault("pauseKubelet", "a-0", ["a-0"], 5)
    log.seconds = 50
    log.put(deployment(3, 2))
    log.seconds = 60
    log.put(deployment(3, 3))

    assert [FaultMeasure(at=5, kind="pauseKubelet", target="a-0")] == measures.faults()


def test_a_deployment_that_goes_ends_its_shortage() -> None:
    log, measures = measured()
    log.put(deployment(3, 3))
    measures.begin(log.view, 0)
    log.seconds = 10
    log.put(deployment(3, 0))
    log.seconds = 14
    log.remove(deployment(3, 0))
    (found,) = measures.deployments(log.view, 100)

    assert (4, 4, 0) == (found.degraded_seconds, found.down_seconds, found.replicas)
