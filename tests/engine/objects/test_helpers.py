"""Conditions, owners, and what reconcilers ask about pods and nodes."""

import attrs
import pytest

from engine import objects
from engine.objects import (
    Condition,
    Container,
    MicroTime,
    Node,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    OwnerReference,
    Pod,
    PodSpec,
    PodStatus,
    Quantity,
    ReplicaSet,
    ResourceRequirements,
    Taint,
    Time,
    Toleration,
    Uid,
    condition_of,
    controller_ref,
    is_controlled_by,
    nodes,
    object_reference,
    pods,
    set_condition,
    without_condition,
)

T0 = Time.parse("2026-01-01T00:00:00Z")
T1 = Time.parse("2026-01-01T00:01:00Z")


def test_set_condition_keeps_the_transition_time_of_the_same_status() -> None:
    first = set_condition((), Condition(type="Ready", status="True"), T0)
    same = set_condition(first, Condition(type="Ready", status="True", reason="Again"), T1)
    other = set_condition(same, Condition(type="Ready", status="False"), T1)

    assert first[0].last_transition_time == T0
    assert (same[0].last_transition_time, same[0].reason) == (T0, "Again")
    assert other[0].last_transition_time == T1


def test_set_condition_says_when_nothing_changes() -> None:
    conditions = (
        Condition(type="A", status="True", last_transition_time=T0),
        Condition(type="B", status="True", last_transition_time=T0),
    )
    changed = set_condition(conditions, Condition(type="A", status="False"), T1)

    assert conditions is set_condition(conditions, Condition(type="B", status="True"), T1)
    assert [condition.type for condition in changed] == ["A", "B"]
    assert (
        conditions[0].type,
        condition_of(without_condition(conditions, "A"), "A"),
    ) == ("A", None)
    assert conditions is without_condition(conditions, "C")


def test_owners() -> None:
    """A controller reference names its owner by uid: one made again under the name is another."""
    owner = ReplicaSet(metadata=ObjectMeta(name="web", uid=Uid("u1")))
    pod = Pod(metadata=ObjectMeta(name="web-x", owner_references=(controller_ref(owner),)))
    reborn = attrs.evolve(owner, metadata=ObjectMeta(name="web", uid=Uid("u2")))

    assert OwnerReference(
        api_version="apps/v1",
        kind="ReplicaSet",
        name="web",
        uid=Uid("u1"),
        controller=True,
        block_owner_deletion=True,
    ) == controller_ref(owner)
    assert is_controlled_by(pod, owner)
    assert not is_controlled_by(pod, reborn)
    assert not is_controlled_by(owner, pod)
    assert object_reference(owner).name == "web"
    assert object_reference(owner).uid == "u1"


def pod_with(*conditions: Condition, phase: str = "Running", deleted: Time | None = None) -> Pod:
    return Pod(
        metadata=ObjectMeta(deletion_timestamp=deleted),
        status=PodStatus(phase=phase, conditions=conditions),
    )


def test_states_of_pods() -> None:
    """Ready, active and finished follow from conditions, phase and deletion."""
    ready = pod_with(Condition(type="Ready", status="True", last_transition_time=T0))

    assert pods.is_ready(ready)
    assert not pods.is_ready(pod_with(Condition(type="Ready", status="False")))
    assert not pods.is_ready(pod_with())
    assert pods.is_active(ready)
    assert not pods.is_active(pod_with(deleted=T0))
    assert not pods.is_active(pod_with(phase="Failed"))
    assert pods.is_terminal(pod_with(phase="Succeeded"))


def test_availability() -> None:
    """A pod is available once it has been ready for minReadySeconds."""
    ready = pod_with(Condition(type="Ready", status="True", last_transition_time=T0))

    assert pods.is_available(ready, 0, T0)
    assert pods.is_available(ready, 60, T1)
    assert not pods.is_available(ready, 61, T1)
    assert not pods.is_available(pod_with(), 0, T1)


def container(*, always: bool = False, limits: str = "", **requests: str) -> Container:
    def quantities(amounts: dict[str, str]) -> dict[str, Quantity]:
        return {name: Quantity.parse(amount) for name, amount in amounts.items()}

    parsed = dict(pair.split("=") for pair in limits.split(",") if pair)
    return Container(
        name="c",
        resources=ResourceRequirements(requests=quantities(requests), limits=quantities(parsed)),
        restart_policy="Always" if always else None,
    )


def requests_of(spec: PodSpec) -> dict[str, str]:
    return {name: str(quantity) for name, quantity in pods.pod_requests(Pod(spec=spec)).items()}


def test_requests() -> None:
    """Containers add up; init containers count alone; sidecars run beside all that starts after them; overhead comes on top."""
    running = (container(cpu="100m", memory="1Gi"), container(cpu="200m"), Container(name="none"))

    assert requests_of(PodSpec(containers=running)) == {"cpu": "300m", "memory": "1Gi"}
    assert requests_of(PodSpec(containers=running, init_containers=(container(cpu="1"),))) == {
        "cpu": "1",
        "memory": "1Gi",
    }
    sidecar_first = (container(always=True, cpu="50m"), container(cpu="1"))
    assert requests_of(PodSpec(containers=running, init_containers=sidecar_first)) == {
        "cpu": "1050m",
        "memory": "1Gi",
    }
    sidecar_last = (container(cpu="340m"), container(always=True, cpu="50m"))
    assert requests_of(PodSpec(containers=running, init_containers=sidecar_last)) == {
        "cpu": "350m",
        "memory": "1Gi",
    }
    overhead = PodSpec(containers=running, overhead={"cpu": Quantity.parse("10m")})
    assert requests_of(overhead)["cpu"] == "310m"
    assert requests_of(PodSpec()) == {}


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ((), "BestEffort"),
        ((Container(name="a"),), "BestEffort"),
        ((container(storage="1Gi"),), "BestEffort"),
        ((container(cpu="0"),), "BestEffort"),
        ((container(cpu="1"),), "Burstable"),
        ((container(cpu="1", memory="1Gi", limits="cpu=1,memory=1024Mi"),), "Guaranteed"),
        ((container(limits="cpu=1,memory=1Gi"),), "Guaranteed"),
        ((container(cpu="1", memory="1Gi", limits="cpu=2,memory=1Gi"),), "Burstable"),
        ((container(limits="cpu=1,memory=1Gi"), Container(name="b")), "Burstable"),
        ((container(limits="cpu=1"),), "Burstable"),
    ],
)
def test_qos_class(containers: tuple[Container, ...], expected: str) -> None:
    """The class follows from all containers' requests and limits."""
    assert expected == pods.qos_class(PodSpec(containers=containers))


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        (Toleration(operator="Exists"), True),
        (Toleration(key="k", operator="Exists"), True),
        (Toleration(key="k", operator="Exists", effect="NoExecute"), True),
        (Toleration(key="k", operator="Exists", effect="NoSchedule"), False),
        (Toleration(key="k", value="v"), True),
        (Toleration(key="k", operator="Equal", value="w"), False),
        (Toleration(key="l", operator="Exists"), False),
    ],
)
def test_tolerations(toleration: Toleration, *, expected: bool) -> None:
    """A toleration matches a taint by key, value, effect and operator, as in Kubernetes."""
    taint = Taint(key="k", value="v", effect="NoExecute")

    assert expected is pods.tolerates_taint(toleration, taint)
    assert expected is (pods.untolerated_taint([taint], (toleration,), ["NoExecute"]) is None)


def test_nodes() -> None:
    """Zone, taints and readiness of a node are read from labels, spec and conditions."""
    taint = Taint(key=nodes.TAINT_UNREACHABLE, effect="NoExecute")
    node = Node(
        metadata=ObjectMeta(labels={nodes.ZONE_LABEL: "zone-a"}),
        spec=NodeSpec(taints=nodes.with_taint((), taint)),
        status=NodeStatus(conditions=(Condition(type="Ready", status="Unknown"),)),
    )

    assert nodes.zone_of(node) == "zone-a"
    assert not nodes.is_ready(node)
    assert nodes.has_taint(node, nodes.TAINT_UNREACHABLE, "NoExecute")
    assert not nodes.has_taint(node, nodes.TAINT_UNREACHABLE, "NoSchedule")
    assert nodes.without_taint(node.spec.taints, nodes.TAINT_UNREACHABLE, "NoExecute") == ()
    assert node.spec.taints is nodes.without_taint(node.spec.taints, "x", "NoExecute")
    assert (taint,) == nodes.with_taint(node.spec.taints, taint)


def test_times() -> None:
    """Times are on whole seconds, MicroTimes are not; both print and read RFC 3339, and nothing else."""
    assert str(Time.of(1_767_225_600_900_000)) == "2026-01-01T00:00:00Z"
    assert str(MicroTime.of(1_767_225_600_900_000)) == "2026-01-01T00:00:00.900000Z"
    assert Time.parse("2026-01-01T02:00:00+02:00") == T0
    assert str(Time.parse("0001-01-01T00:00:00Z")) == "0001-01-01T00:00:00Z"
    for text in (
        "2026-01-01",
        "2026-01-01 00:00:00Z",
        "20260101T000000Z",
        "2026-13-01T00:00:00Z",
        "",
    ):
        with pytest.raises(ValueError):
            Time.parse(text)


def test_repr_shows_what_is_set() -> None:
    pod = Pod(metadata=ObjectMeta(name="a"), status=PodStatus(phase="Running", extra={"x": 1}))

    assert (
        repr(pod) == "Pod(metadata=ObjectMeta(name='a'), "
        "status=PodStatus(extra={'x': 1}, phase='Running'))"
    )


def test_facade_is_complete() -> None:
    """Each name of the facade exists and stands once (ruff keeps them in order)."""
    assert len(set(objects.__all__)) == len(objects.__all__)
    assert all(hasattr(objects, name) for name in objects.__all__)
