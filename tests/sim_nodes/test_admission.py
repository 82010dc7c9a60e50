"""Which pods a kubelet refuses, and in which words."""

from __future__ import annotations

import attrs
import pytest
from node_play import make_pod, make_runtime

from engine import (
    Affinity,
    Container,
    ContainerPort,
    Draws,
    LabelSelectorRequirement,
    Node,
    NodeAffinity,
    NodeSelector,
    NodeSelectorTerm,
    NodeSpec,
    ObjectMeta,
    Pod,
    Quantity,
    ResourceRequirements,
    Settings,
    Taint,
    Time,
    Toleration,
)
from sim_nodes.admission import Ledger, admit, pod_requests
from sim_nodes.node_status import SimulatedNode, StatusReport


def node(taints: tuple[Taint, ...] = (), **labels: str) -> Node:
    report = StatusReport(
        description=SimulatedNode(name="n-0", labels=labels),
        runtime=make_runtime(),
        draws=Draws(1),
        settings=Settings(),
        ip="10.0.0.1",
    )
    return attrs.evolve(report.initial(Time(0), 0), spec=NodeSpec(taints=taints))


def asking(name: str = "p", **requests: str) -> Pod:
    wanted = {key: Quantity.parse(value) for key, value in requests.items()}
    container = Container(name="c", resources=ResourceRequirements(requests=wanted))
    return make_pod(container, name=name)


def test_resources() -> None:
    """OutOfcpu counts in thousandths, the others in whole units."""
    ledger = Ledger()
    ledger.add(asking("first", cpu="3800m", memory="1Gi"))
    ledger.check()

    assert admit(asking(cpu="200m"), ledger, node()) is None
    refused = admit(asking(cpu="500m"), ledger, node())
    assert refused is not None
    assert refused.reason == "OutOfcpu"
    assert refused.message == (
        "Node didn't have enough resource: cpu, requested: 500, used: 3800, capacity: 4000"
    )
    refused = admit(asking(memory="8Gi"), ledger, node())
    assert refused is not None
    assert refused.reason == "OutOfmemory"
    refused = admit(asking(**{"example.com/gpu": "1"}), ledger, node())
    assert refused is not None
    assert refused.reason == "OutOfexample.com/gpu"
    ledger.remove("uid-first")
    ledger.remove("uid-first")
    assert admit(asking(cpu="4"), ledger, node()) is None
    ledger.check()


def test_number_of_pods() -> None:
    """A node that has as many pods as it may refuses the next with OutOfpods."""
    ledger = Ledger()
    for n in range(110):
        ledger.add(asking(f"p{n}"))

    refused = admit(asking("one-more"), ledger, node())
    assert refused is not None
    assert refused.reason == "OutOfpods"
    assert refused.message == (
        "Node didn't have enough resource: pods, requested: 1, used: 110, capacity: 110"
    )


def test_init_containers_count_by_their_peak() -> None:
    """The largest init container with the sidecars before it, or the containers with all sidecars: whichever is more."""

    def container(name: str, cpu: str, policy: str | None = None) -> Container:
        return Container(
            name=name,
            restart_policy=policy,
            resources=ResourceRequirements(requests={"cpu": Quantity.parse(cpu)}),
        )

    inits = (container("side", "1", "Always"), container("big", "3"))
    pod = make_pod(container("app", "500m"), init_containers=inits)
    assert pod_requests(pod)["cpu"] == Quantity.parse("4")
    pod = make_pod(container("app", "5"), init_containers=inits)
    assert pod_requests(pod)["cpu"] == Quantity.parse("6")


def required(key: str, operator: str, *values: str) -> Affinity:
    requirement = LabelSelectorRequirement(key=key, operator=operator, values=values)
    term = NodeSelectorTerm(match_expressions=(requirement,))
    return Affinity(
        node_affinity=NodeAffinity(
            required_during_scheduling_ignored_during_execution=NodeSelector(
                node_selector_terms=(term,)
            )
        )
    )


@pytest.mark.parametrize(
    ("affinity", "admitted"),
    [
        (required("disk", "In", "ssd", "nvme"), True),
        (required("disk", "NotIn", "ssd"), False),
        (required("gpu", "Exists"), False),
        (required("gpu", "DoesNotExist"), True),
        (required("cores", "Gt", "4"), True),
        (required("cores", "Lt", "4"), False),
        (required("disk", "Gt", "4"), False),
    ],
)
def test_node_affinity(affinity: Affinity, admitted: bool) -> None:
    """The kubelet checks a pod's required node affinity against its own node."""
    pod = make_pod(affinity=affinity)

    refused = admit(pod, Ledger(), node(disk="ssd", cores="8"))
    assert (refused is None) is admitted
    if refused is not None:
        assert (refused.reason, refused.message) == (
            "NodeAffinity",
            "Predicate NodeAffinity failed",
        )


def test_node_selector_and_name() -> None:
    refused = admit(make_pod(node_selector={"disk": "hdd"}), Ledger(), node(disk="ssd"))
    assert refused is not None
    assert refused.reason == "NodeAffinity"
    stranger = attrs.evolve(node(), metadata=ObjectMeta(name="n-1"))
    refused = admit(make_pod(), Ledger(), stranger)
    assert refused is not None
    assert refused.reason == "NodeName"


def test_host_ports() -> None:
    """The same port on the same address, or on all, is taken; another protocol is not."""

    def pod(name: str, protocol: str = "TCP", ip: str = "") -> Pod:
        port = ContainerPort(container_port=80, host_port=80, protocol=protocol, host_ip=ip)
        return make_pod(Container(name="c", ports=(port,)), name=name)

    ledger = Ledger()
    ledger.add(pod("first", ip="10.0.0.1"))

    refused = admit(pod("second"), ledger, node())
    assert refused is not None
    assert refused.reason == "NodePorts"
    assert admit(pod("third", protocol="UDP"), ledger, node()) is None
    assert admit(pod("fourth", ip="10.0.0.2"), ledger, node()) is None
    ledger.remove("uid-first")
    assert admit(pod("second"), ledger, node()) is None


def test_no_execute_taints() -> None:
    """A pod that does not tolerate a NoExecute taint is refused; NoSchedule is the scheduler's affair."""
    taint = Taint(key="dedicated", value="batch", effect="NoExecute")

    refused = admit(make_pod(), Ledger(), node(taints=(taint,)))
    assert refused is not None
    assert refused.reason == "TaintToleration"
    tolerant = make_pod(tolerations=(Toleration(key="dedicated", value="batch"),))
    assert admit(tolerant, Ledger(), node(taints=(taint,))) is None
    mild = attrs.evolve(taint, effect="NoSchedule")
    assert admit(make_pod(), Ledger(), node(taints=(mild,))) is None
