"""Health records: what counts as a sign of life, and what a silent node comes to look like."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import (
    Cache,
    Condition,
    Lease,
    LeaseSpec,
    MicroTime,
    Node,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    Pod,
    PodStatus,
    Settings,
    Taint,
    Time,
    condition_of,
    nodes,
)
from reconcilers.node_lifecycle_health import (
    HealthBook,
    NodePlan,
    TaintStep,
    not_ready,
    plan,
    silenced,
)
from reconcilers.node_lifecycle_taints import NO_EXECUTE
from reconcilers.node_zones import ZoneCount

NOT_READY, UNREACHABLE = nodes.TAINT_NOT_READY, nodes.TAINT_UNREACHABLE
SECOND = 1_000_000
START = 1_767_225_600 * SECOND
SETTINGS = Settings(node_monitor_grace_period=40.0)
READY = Condition(
    type="Ready",
    status="True",
    reason="KubeletReady",
    message="kubelet is posting ready status",
    last_heartbeat_time=Time.of(START),
    last_transition_time=Time.of(START),
)


def node(*conditions: Condition, name: str = "n", zone: str = "") -> Node:
    return Node(
        metadata=ObjectMeta(
            name=name,
            creation_timestamp=Time.of(START),
            labels={"topology.kubernetes.io/zone": zone} if zone else {},
        ),
        status=NodeStatus(conditions=conditions),
    )


def lease(renewed: int, name: str = "n") -> Lease:
    return Lease(
        metadata=ObjectMeta(name=name, namespace="kube-node-lease"),
        spec=LeaseSpec(renew_time=MicroTime.of(renewed)),
    )


class Cluster:
    """A book, the caches it looks at, and a clock in seconds since START."""

    def __init__(self) -> None:
        self.book = HealthBook(SETTINGS)
        self.nodes: Cache[Node] = Cache()
        self.leases: Cache[Lease] = Cache()

    def look(self, seconds: float) -> list[str]:
        """The nodes visited by a look at that time, and found well where they are Ready."""
        now = self.at(seconds)
        seen = self.book.observe(self.nodes, self.leases, now)
        for record in seen.visits:
            current = self.nodes.get(record.key)
            assert current is not None
            if current is not record.node:
                record.saw_node(
                    current, self.leases.get(record.lease_key), now, self.book.graces, SETTINGS
                )
            record.quiet = record.status == "True"
        return [record.name for record in seen.visits]

    def at(self, seconds: float) -> int:
        return START + round(seconds * SECOND)

    def silent(self, seconds: float, name: str = "n") -> bool:
        return self.at(seconds) >= self.book.records[name].deadline_us


def test_silence_is_counted_from_the_pass_that_saw_the_last_renewal() -> None:
    """As recorded: the last renewal at 0 is seen at 4.6 s; 40 s later, and not before, the node is
    silent.
    """
    cluster = Cluster()
    cluster.nodes.put(node(READY))
    cluster.leases.put(lease(START - 10 * SECOND))
    cluster.look(-0.4)
    cluster.leases.put(lease(START))
    for number in range(8):
        cluster.look(4.6 + 5 * number)

        assert not cluster.silent(4.6 + 5 * number)
    assert cluster.silent(44.6)


def test_a_quiet_node_is_not_visited_until_it_changes_or_falls_silent() -> None:
    """Heartbeats cost a look-up per pass and no visit; a change of the node and the deadline each
    cost one.
    """
    cluster = Cluster()
    cluster.nodes.put(node(READY))
    cluster.leases.put(lease(START))

    assert cluster.look(0) == ["n"]
    for seconds in (10, 20, 30):
        cluster.leases.put(lease(START + seconds * SECOND))
        assert cluster.look(seconds + 5) == []

    cluster.nodes.put(node(READY, Condition(type="DiskPressure", status="False")))

    assert cluster.look(40) == ["n"]
    assert cluster.look(74.9) == []
    assert cluster.look(75) == ["n"]


def test_a_node_that_never_posted_has_its_startup_grace_from_its_creation() -> None:
    """2.3.3: without a Ready condition 60 s count, from the creation; a renewed Lease is life all
    the same.
    """
    cluster = Cluster()
    cluster.nodes.put(node())
    cluster.look(30)

    assert not cluster.silent(59.9)
    assert cluster.silent(60)

    cluster.leases.put(lease(START + 50 * SECOND))
    cluster.look(55)

    assert not cluster.silent(114.9)
    assert cluster.silent(115)


def test_the_first_posted_status_begins_the_normal_grace() -> None:
    """2.3.3 (b): a Ready condition that appears is a sign of life."""
    cluster = Cluster()
    cluster.nodes.put(node())
    cluster.look(0)
    cluster.nodes.put(node(READY))
    cluster.look(5)

    assert not cluster.silent(44.9)
    assert cluster.silent(45)


def test_a_new_heartbeat_is_a_sign_of_life() -> None:
    """2.3.3 (c): the kubelet's own posting counts, whatever its clock says; the same heartbeat does not."""
    cluster = Cluster()
    cluster.nodes.put(node(READY))
    cluster.look(0)
    cluster.nodes.put(node(attrs.evolve(READY, message="other")))
    cluster.look(5)

    assert cluster.silent(40)

    cluster.nodes.put(node(attrs.evolve(READY, last_heartbeat_time=Time.of(0))))
    cluster.look(10)

    assert not cluster.silent(49.9)
    assert cluster.silent(50)


def test_a_heartbeat_alone_makes_the_known_renewal_count_once_more() -> None:
    """A posted status between two renewals makes the next pass take the old renewal for a new one, once."""
    cluster = Cluster()
    cluster.nodes.put(node(READY))
    cluster.leases.put(lease(START))
    cluster.look(0)
    cluster.nodes.put(node(attrs.evolve(READY, last_heartbeat_time=Time.of(START + SECOND))))
    cluster.look(5)
    cluster.look(10)
    cluster.look(15)

    assert not cluster.silent(49.9)
    assert cluster.silent(50)


def test_an_older_renewal_is_no_sign_of_life() -> None:
    """A Lease written back with an old time does not count."""
    cluster = Cluster()
    cluster.nodes.put(node(READY))
    cluster.leases.put(lease(START))
    cluster.look(0)
    cluster.leases.put(lease(START - SECOND))
    cluster.look(5)

    assert cluster.silent(40)


def test_nodes_come_and_go() -> None:
    """Records follow the nodes; who left is named once."""
    cluster = Cluster()
    for name in ("n", "m"):
        cluster.nodes.put(node(READY, name=name))
    first = cluster.book.observe(cluster.nodes, cluster.leases, START)
    cluster.nodes.remove(first.arrived[0].key)
    second = cluster.book.observe(cluster.nodes, cluster.leases, START)
    third = cluster.book.observe(cluster.nodes, cluster.leases, START)

    assert [record.name for record in first.arrived] == ["n", "m"]
    assert [record.name for record in second.departed] == ["n"]
    assert third.departed == ()
    assert list(cluster.book.records) == ["m"]


def test_counts_by_zone() -> None:
    """Only Ready True counts as ready; excluded and skipped nodes do not count at all."""
    cluster = Cluster()
    unknown = attrs.evolve(READY, status="Unknown")
    cluster.nodes.put(node(READY, name="a1", zone="a"))
    cluster.nodes.put(node(unknown, name="a2", zone="a"))
    cluster.nodes.put(node(name="b1", zone="b"))
    cluster.nodes.put(node(READY, name="b2", zone="b"))
    cluster.nodes.put(node(READY, name="b3", zone="b"))
    cluster.look(0)
    cluster.book.records["b2"].excluded = True
    cluster.book.records["b3"].skipped = True

    assert {":\x00:a": ZoneCount(1, 1), ":\x00:b": ZoneCount(0, 1)} == cluster.book.counts()


def test_a_silent_node_gets_all_four_conditions_in_one_status() -> None:
    """As recorded: reason, message and transition time; the heartbeat stays; what was never posted
    is added.
    """
    memory = attrs.evolve(READY, type="MemoryPressure", status="False")
    network = Condition(type="NetworkUnavailable", status="False", reason="RouteCreated")
    now = START + 44 * SECOND + 640_000

    changed = silenced(node(memory, network, READY), now)

    assert changed is not None
    unknown = {
        "status": "Unknown",
        "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.",
        "last_transition_time": Time.of(now),
    }
    never = Condition(
        type="DiskPressure",
        status="Unknown",
        reason="NodeStatusNeverUpdated",
        message="Kubelet never posted node status.",
        last_heartbeat_time=Time.of(START),
        last_transition_time=Time.of(now),
    )
    assert (
        attrs.evolve(memory, **unknown),
        network,
        attrs.evolve(READY, **unknown),
        never,
        attrs.evolve(never, type="PIDPressure"),
    ) == changed.status.conditions
    assert silenced(changed, now + SECOND) is None


def tainted(*keys: str) -> Node:
    return Node(spec=NodeSpec(taints=tuple(Taint(key=key, effect=NO_EXECUTE) for key in keys)))


@pytest.mark.parametrize(
    ("observed", "current", "has", "retry", "expected"),
    [
        # found silent in this pass: told, pods marked; the taint waits for the next pass
        ("True", "Unknown", (), False, (TaintStep.CLEAR, True, True)),
        ("Unknown", "Unknown", (), False, (TaintStep.QUEUE, False, False)),
        ("Unknown", "Unknown", (UNREACHABLE,), False, (TaintStep.QUEUE, False, False)),
        ("Unknown", "Unknown", (), True, (TaintStep.QUEUE, False, True)),
        ("Unknown", "Unknown", (NOT_READY,), False, (TaintStep.SWAP, False, False)),
        # reported by the kubelet itself: its pods are its business
        ("False", "False", (), False, (TaintStep.QUEUE, False, False)),
        ("False", "False", (UNREACHABLE,), False, (TaintStep.SWAP, False, False)),
        ("False", "Unknown", (), False, (TaintStep.QUEUE, False, False)),
        ("True", "True", (UNREACHABLE,), False, (TaintStep.CLEAR, False, False)),
        ("True", "True", (), True, (TaintStep.CLEAR, False, False)),
        ("Unknown", None, (), False, (TaintStep.NOTHING, False, False)),
    ],
)
def test_plan_of_a_pass(
    observed: str,
    current: str | None,
    has: tuple[str, ...],
    retry: bool,
    expected: tuple[TaintStep, bool, bool],
) -> None:
    """2.3.6 and 2.4.2 as a table: taints follow what was observed, events and pods what changed in
    this pass.
    """
    ready = None if current is None else attrs.evolve(READY, status=current)
    step, announce, mark_pods = expected

    assert NodePlan(step, announce, mark_pods) == plan(
        observed, ready, tainted(*has), retry_pods=retry
    )


def test_only_the_ready_condition_of_a_pod_is_touched() -> None:
    """As recorded: status and transition time of Ready; ContainersReady, phase and reason stay."""
    now = START + 44 * SECOND
    contained = Condition(type="ContainersReady", status="True")
    pod = Pod(status=PodStatus(phase="Running", conditions=(READY, contained)))

    changed = not_ready(pod, now)

    assert changed is not None
    assert (
        attrs.evolve(READY, status="False", last_transition_time=Time.of(now)),
        contained,
    ) == changed.status.conditions
    assert changed.status.phase == "Running"
    assert not_ready(changed, now) is None
    assert not_ready(Pod(), now) is None


STATUS = st.sampled_from(["True", "False", "Unknown"])
CONDITIONS = st.dictionaries(
    st.sampled_from(["Ready", "MemoryPressure", "DiskPressure", "PIDPressure", "Extra"]), STATUS
)


@given(CONDITIONS)
def test_silencing_is_idempotent_and_leaves_the_rest(statuses: dict[str, str]) -> None:
    """However the conditions stood: afterwards the four are Unknown, others are as they were, and a
    second time does nothing.
    """
    each = node(*(Condition(type=type_, status=status) for type_, status in statuses.items()))
    changed = silenced(each, START) or each
    status = {condition.type: condition.status for condition in changed.status.conditions}

    assert statuses.get("Extra") == status.get("Extra")
    assert status["Ready"] == "Unknown"
    if statuses.get("Ready") != "Unknown":
        assert all(
            status[type_] == "Unknown"
            for type_ in ("MemoryPressure", "DiskPressure", "PIDPressure")
        )
    assert silenced(changed, START) is None
    assert condition_of(changed.status.conditions, "Ready") is not None
    assert changed.spec == NodeSpec()
