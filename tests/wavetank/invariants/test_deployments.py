"""withinSurge of shrinking ReplicaSets; aboveMinAvailable: what a rolling update itself takes away leaves enough."""

from __future__ import annotations

import attrs
import pytest

from engine import (
    Deployment,
    DeploymentStrategy,
    Pod,
    RollingUpdateDeployment,
    Time,
)
from tests.wavetank.handmade import deployment, pod, replica_set
from tests.wavetank.invariants.planting import Checked, checked, fault

UPDATE = "controller/replicaset"


def web(unavailable: int | str = 1, replicas: int = 4, type_: str = "RollingUpdate") -> Deployment:
    made = deployment(replicas, replicas)
    rolling = RollingUpdateDeployment(max_surge=1, max_unavailable=unavailable)
    strategy = DeploymentStrategy(type=type_, rolling_update=rolling)
    return attrs.evolve(made, spec=attrs.evolve(made.spec, strategy=strategy))


def serving(deployed: Deployment | None = None) -> Checked:
    """Four pods that have been ready for a minute."""
    all_ = checked("aboveMinAvailable")
    all_.log.put(deployed or web())
    all_.log.put(replica_set(4))
    for number in range(4):
        all_.log.put(pod(f"web-{number}", owner="web-1", ready=True))
    all_.log.seconds = 1000
    return all_


def deleted(number: int, *, ready: bool = True) -> Pod:
    made = pod(f"web-{number}", owner="web-1", ready=ready)
    return attrs.evolve(made, metadata=attrs.evolve(made.metadata, deletion_timestamp=Time(1)))


FOUND = (
    "the deletion of pod default/web-1 left Deployment default/web with 2 available pods; "
    "its rolling update must leave 3"
)


def test_one_may_go_and_not_a_second() -> None:
    """Of 4, with 1 unavailable at the most."""
    all_ = serving()
    all_.log.put(deleted(0), actor=UPDATE)
    assert [] == all_.messages

    all_.log.put(deleted(1), actor=UPDATE)

    assert [FOUND] == all_.messages


def test_a_removal_at_once_counts_too() -> None:
    """Without a mark before it."""
    all_ = serving()
    all_.log.put(deleted(0), actor=UPDATE)
    all_.log.remove(pod("web-1", owner="web-1"), actor=f"{UPDATE}@kube-controller-manager-0")

    assert [FOUND] == all_.messages


def test_the_default_is_a_quarter_rounded_down() -> None:
    """25 % of 7 is 1: five are too few."""
    all_ = serving(deployment(7, 7))
    for number in range(4, 7):
        all_.log.put(pod(f"web-{number}", owner="web-1", ready=True))
    all_.log.seconds = 2000
    all_.log.put(deleted(0), actor=UPDATE)
    assert [] == all_.messages

    all_.log.put(deleted(1), actor=UPDATE)

    assert 1 == len(all_.messages)


def test_what_others_take_is_no_fault_of_the_update() -> None:
    """A crash takes one before or while the update takes its own."""
    all_ = serving()
    all_.log.put(pod("web-3", owner="web-1", ready=False), actor="controller/node-lifecycle")
    all_.log.put(deleted(2), actor="controller/taint-eviction")
    all_.log.put(deleted(0), actor=UPDATE)
    assert [] == all_.messages

    all_.log.put(deleted(1), actor=UPDATE)

    assert "with 0 available pods" in all_.messages[0]


def test_a_loss_that_everybody_knows_of_counts_no_more() -> None:
    """After ten minutes the update has to reckon with it."""
    all_ = serving()
    all_.log.put(pod("web-3", owner="web-1", ready=False), actor="kubelet/n-0")
    all_.log.seconds += 700
    all_.log.put(deleted(0), actor=UPDATE)

    assert 1 == len(all_.messages)


@pytest.mark.parametrize("changed", [web(replicas=3), web(type_="Recreate")])
def test_scaling_and_recreating_are_no_rolling_updates(changed: Deployment) -> None:
    """The user asked for fewer, or for none in between."""
    all_ = serving()
    all_.log.put(changed)
    for number in range(3):
        all_.log.put(deleted(number), actor=UPDATE)

    assert [] == all_.messages


def test_a_replica_set_sized_by_hand_is_let_be() -> None:
    """`kubectl scale rs`: its controller does as it is told."""
    all_ = serving()
    all_.log.put(replica_set(1))
    for number in range(3):
        all_.log.put(deleted(number), actor=UPDATE)

    assert [] == all_.messages


def test_pods_that_serve_nobody_may_go() -> None:
    """Not ready, or ready for so short a time that the one who chose them may not have known."""
    all_ = serving()
    all_.log.put(deleted(0, ready=False), actor=UPDATE)
    for number in (1, 2):
        all_.log.put(pod(f"web-{number}", owner="web-1", ready=False), actor="kubelet/n-0")
        all_.log.seconds += 700
        all_.log.put(pod(f"web-{number}", owner="web-1", ready=True), actor="kubelet/n-0")
        all_.log.seconds += 1
        all_.log.put(deleted(number), actor=UPDATE)

    assert [] == all_.messages


def test_a_disturbed_control_plane_is_excused() -> None:
    """Its picture may be old."""
    all_ = serving()
    all_.log.put(fault("link.delay", "controller/replicaset"), actor="chaos")
    for number in range(3):
        all_.log.put(deleted(number), actor=UPDATE)

    assert [] == all_.messages


def test_what_a_smaller_replica_set_is_about_to_lose_does_not_count() -> None:
    """The Deployment controller keeps within the surge in sizes: 3 + 2 of 5; the old one still has 4. Once it has come down, a pod too many counts."""
    all_ = checked("withinSurge")
    log = all_.log
    log.put(deployment(4, 4))
    log.put(replica_set(4))
    log.put(replica_set(1, "web-2"))
    for number in range(4):
        log.put(pod(f"web-{number}", owner="web-1"))
    log.put(pod("new-0", owner="web-2"))
    log.put(replica_set(3), actor="controller/deployment")
    log.put(replica_set(2, "web-2"), actor="controller/deployment")
    log.put(pod("new-1", owner="web-2"))
    log.remove(pod("web-0", owner="web-1"))
    log.put(pod("on-its-way", owner="web-1"))
    log.remove(pod("on-its-way", owner="web-1"))
    assert [] == all_.messages

    log.seconds = 700
    log.remove(pod("web-1", owner="web-1"))
    log.put(pod("web-4", owner="web-1"))
    log.put(pod("web-5", owner="web-1"))

    assert ["Deployment default/web has 6 pods, 5 are allowed"] == all_.messages
