"""What a node says of itself, and when it says it."""

from __future__ import annotations

import attrs
from node_play import make_runtime

from engine import EPOCH_US, Draws, Node, Quantity, Settings, Time
from sim_nodes.node_status import SimulatedNode, StatusReport
from sim_nodes.units import NS


def make_report(**description: object) -> StatusReport:
    return StatusReport(
        description=SimulatedNode(name="a-0", zone="zone-a", **description),  # type: ignore[arg-type]
        runtime=make_runtime(),
        draws=Draws(1),
        settings=Settings(),
        ip="172.18.0.2",
    )


def at(seconds: float) -> Time:
    return Time.of(EPOCH_US + round(seconds * 1_000_000))


def test_the_registered_node() -> None:
    """Labels, annotation, conditions in Kubernetes' order and words, allocatable = capacity less what is reserved."""
    node = make_report(
        capacity={"cpu": Quantity.parse("8")}, reserved={"memory": Quantity.parse("1Gi")}
    ).initial(at(0), 0)

    labels = node.metadata.labels
    assert labels["kubernetes.io/hostname"] == "a-0"
    assert labels["topology.kubernetes.io/zone"] == "zone-a"
    assert [(c.type, c.status, c.reason, c.message) for c in node.status.conditions] == [
        (
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        (
            "PIDPressure",
            "False",
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available",
        ),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ]
    assert str(node.status.allocatable["memory"]) == "7Gi"
    assert str(node.status.capacity["memory"]) == "8Gi"
    assert str(node.status.allocatable["cpu"]) == "8"
    assert str(node.status.allocatable["pods"]) == "110"


def test_an_unchanged_status_is_reported_every_five_minutes() -> None:
    report = make_report()
    node = report.initial(at(0), 0)
    first, _ = report.due(node, at(1), NS)
    assert first is not None
    report.sent(NS)

    assert report.due(first, at(11), 11 * NS) == (None, [])
    assert report.due(first, at(300), 300 * NS) == (None, [])
    later, remarks = report.due(first, at(301), 301 * NS)
    assert later is not None
    assert remarks == []
    assert {c.last_heartbeat_time for c in later.status.conditions} == {at(301)}
    assert {c.last_transition_time for c in later.status.conditions} == {at(0)}


def unknown(node: Node) -> Node:
    conditions = tuple(
        attrs.evolve(c, status="Unknown", reason="NodeStatusUnknown", last_transition_time=at(50))
        for c in node.status.conditions
    )
    return attrs.evolve(node, status=attrs.evolve(node.status, conditions=conditions))


def test_a_node_declared_unknown_speaks_up() -> None:
    """What the node controller wrote is put right at the next tick, with the Events of a node that becomes well."""
    report = make_report()
    node = report.initial(at(0), 0)
    report.sent(0)

    wanted, remarks = report.due(unknown(node), at(60), 60 * NS)
    assert wanted is not None
    assert [c.status for c in wanted.status.conditions] == ["False", "False", "False", "True"]
    assert {c.last_transition_time for c in wanted.status.conditions} == {at(60)}
    assert [r.reason for r in remarks] == [
        "NodeHasSufficientMemory",
        "NodeHasNoDiskPressure",
        "NodeHasSufficientPID",
        "NodeReady",
    ]
    assert remarks[-1].message == "Node a-0 status is now: NodeReady"
    assert report.healthy(wanted)
    assert not report.healthy(unknown(node))


def test_a_reboot_shows_in_the_boot_id() -> None:
    report = make_report()
    node = report.initial(at(0), 0)
    report.runtime.power_off(NS)
    report.runtime.power_on(2 * NS, "lost")

    wanted, remarks = report.due(node, at(2), 2 * NS)
    assert wanted is not None
    assert wanted.status.node_info is not None
    boot = wanted.status.node_info.boot_id
    assert [(r.type, r.reason, r.message) for r in remarks] == [
        ("Warning", "Rebooted", f"Node a-0 has been rebooted, boot id: {boot}")
    ]


def test_images_are_reported_largest_first() -> None:
    report = make_report()
    puller = report.runtime.puller
    for name in ("a:1", "b:1", "c:1"):
        puller.pull(name, 0)
    node = report.initial(at(100), 100 * NS)

    sizes = [image.size_bytes for image in node.status.images]
    assert len(sizes) == 3
    assert sizes == sorted(sizes, reverse=True)


def test_conditions_and_fields_of_others_are_kept() -> None:
    """NetworkUnavailable belongs to the network's controller."""
    report = make_report()
    node = report.initial(at(0), 0)
    network = attrs.evolve(node.status.conditions[0], type="NetworkUnavailable")
    status = attrs.evolve(node.status, conditions=(network, *node.status.conditions))

    wanted, _ = report.due(attrs.evolve(node, status=status), at(1), NS)
    assert wanted is not None
    assert wanted.status.conditions[0] == network
