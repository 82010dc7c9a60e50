"""leaseNotEarly: Events live their TTL, nodes their grace."""

from __future__ import annotations

import attrs
import pytest

from engine import (
    Condition,
    Event,
    Lease,
    LeaseSpec,
    MicroTime,
    Node,
    ObjectMeta,
    Settings,
    Time,
)
from tests.wavetank.handmade import node
from tests.wavetank.invariants.planting import Checked, checked, fault
from wavetank.invariants import Surroundings

EVENT = Event(metadata=ObjectMeta(name="a.1", namespace="default"))


def test_an_event_lives_its_ttl_after_its_last_write() -> None:
    """Ended by the store before: found. After it, or by a user: well."""
    all_ = checked("leaseNotEarly", Surroundings(settings=Settings(event_ttl=60)))
    log = all_.log
    log.put(EVENT)
    log.seconds = 50
    log.put(EVENT)
    log.seconds = 110
    log.remove(EVENT, actor="store", causes=("timer:lease/1",))
    log.put(EVENT)
    log.seconds = 111
    log.remove(EVENT, actor="user")
    assert [] == all_.messages

    log.put(EVENT)
    log.seconds = 170
    log.remove(EVENT, actor="store", causes=("timer:lease/1",))

    assert [
        "/registry/events/default/a.1 ended with its lease 59s after its last write; its TTL is 60s"
    ] == all_.messages


def renewal(seconds: float) -> Lease:
    return Lease(
        metadata=ObjectMeta(name="n-0", namespace="kube-node-lease"),
        spec=LeaseSpec(holder_identity="n-0", renew_time=MicroTime(round(seconds * 1e6))),
    )


def silent(heartbeat: int = 0, ready: str = "Unknown") -> Node:
    made = node("n-0", ready=ready)
    condition = Condition(type="Ready", status=ready, last_heartbeat_time=Time(heartbeat))
    return attrs.evolve(made, status=attrs.evolve(made.status, conditions=(condition,)))


def alive() -> Checked:
    """A node whose last renewal is of second 100."""
    all_ = checked("leaseNotEarly")
    all_.log.put(silent(ready="True"), actor="kubelet/n-0")
    for seconds in (80, 90, 100):
        all_.log.seconds = seconds
        all_.log.put(renewal(seconds), actor="kubelet/n-0")
    return all_


def test_a_node_is_given_its_grace() -> None:
    """50 s after the last renewal is right, 49 is early; what came in the last second may be on its way."""
    all_ = alive()
    all_.log.seconds = 149.5
    all_.log.put(renewal(149.5), actor="kubelet/n-0")
    all_.log.seconds = 150
    all_.log.put(silent(), actor="controller/node-lifecycle")
    assert [] == all_.messages

    all_ = alive()
    all_.log.seconds = 149
    all_.log.put(silent(), actor="controller/node-lifecycle@kube-controller-manager-1")

    assert [
        "node n-0 was found silent 49s after its last sign of life; its grace is 50s"
    ] == all_.messages


def test_a_heartbeat_of_the_status_is_a_sign_too() -> None:
    """And a renewal whose time goes back is none."""
    all_ = alive()
    all_.log.seconds = 140
    all_.log.put(renewal(10), actor="kubelet/n-0")
    all_.log.seconds = 151
    all_.log.put(silent(), actor="controller/node-lifecycle")
    assert [] == all_.messages

    all_ = alive()
    all_.log.seconds = 140
    all_.log.put(silent(heartbeat=140, ready="True"), actor="kubelet/n-0")
    all_.log.seconds = 151
    all_.log.put(silent(heartbeat=140), actor="controller/node-lifecycle")

    assert 1 == len(all_.messages)


def test_a_node_that_never_said_how_it_is_has_its_startup() -> None:
    """60 s by default, counted from its renewals as well."""
    all_ = checked("leaseNotEarly")
    bare = node("n-0")
    all_.log.put(attrs.evolve(bare, status=attrs.evolve(bare.status, conditions=())))
    all_.log.put(renewal(1), actor="kubelet/n-0")
    all_.log.seconds = 59
    all_.log.put(silent(), actor="controller/node-lifecycle")

    assert 1 == len(all_.messages)


@pytest.mark.parametrize(("target", "found"), [("controller/node-lifecycle", 0), ("n-0", 1)])
def test_nothing_is_said_while_the_control_plane_is_disturbed(target: str, found: int) -> None:
    """Its picture may be old; a fault of a node is none of the control plane's."""
    all_ = alive()
    kind = "partitionNode" if found else "link.partition"
    all_.log.put(fault(kind, target), actor="chaos")
    all_.log.seconds = 149
    all_.log.put(silent(), actor="controller/node-lifecycle")

    assert found == len(all_.messages)
