"""Which taints conditions ask for, and how lists of taints change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import (
    Condition,
    Node,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    Taint,
    Time,
    nodes,
)
from reconcilers.node_lifecycle_taints import (
    CONDITION_TAINTS,
    NO_EXECUTE,
    NO_SCHEDULE,
    TaintChange,
    eviction_taint,
    label_change,
    no_schedule_change,
    with_taints,
    without_taints,
)

NOT_READY = nodes.TAINT_NOT_READY
UNREACHABLE = nodes.TAINT_UNREACHABLE
UNSCHEDULABLE = nodes.TAINT_UNSCHEDULABLE
NOW = 1_767_225_600_500_000


def node(
    conditions: dict[str, str] | None = None,
    taints: tuple[Taint, ...] = (),
    *,
    unschedulable: bool = False,
) -> Node:
    return Node(
        metadata=ObjectMeta(name="n"),
        spec=NodeSpec(taints=taints, unschedulable=unschedulable),
        status=NodeStatus(
            conditions=tuple(
                Condition(type=type_, status=status) for type_, status in (conditions or {}).items()
            )
        ),
    )


def no_schedule(key: str) -> Taint:
    return Taint(key=key, effect=NO_SCHEDULE)


@pytest.mark.parametrize(
    ("condition", "status", "key"),
    [(condition, status, key) for (condition, status), key in CONDITION_TAINTS.items()],
)
def test_each_condition_asks_for_its_taint(condition: str, status: str, key: str) -> None:
    """2.4.1: one NoSchedule taint per bad condition, without a value."""
    assert TaintChange((no_schedule(key),)) == no_schedule_change(node({condition: status}))


def test_a_healthy_node_asks_for_nothing() -> None:
    """No change, and no work, for the node that is well."""
    well = node({"Ready": "True", "MemoryPressure": "False", "DiskPressure": "Unknown"})

    assert no_schedule_change(well) is None


def test_cordon_and_recovery_in_one_change() -> None:
    """What is wanted and missing is added, what is ours and not wanted goes; taints of others stay."""
    other = Taint(key="dedicated", effect=NO_SCHEDULE, value="batch")
    execute = Taint(key=UNREACHABLE, effect=NO_EXECUTE)
    each = node({"Ready": "True"}, (other, no_schedule(UNREACHABLE), execute), unschedulable=True)

    change = no_schedule_change(each)

    assert TaintChange((no_schedule(UNSCHEDULABLE),), (no_schedule(UNREACHABLE),)) == change


def test_eviction_taints_exclude_each_other() -> None:
    """Ready False gets not-ready and loses unreachable; Unknown the other way round."""
    assert [taint.key for taint in eviction_taint("False").add] == [NOT_READY]
    assert [taint.key for taint in eviction_taint("False").remove] == [UNREACHABLE]
    assert [taint.key for taint in eviction_taint("Unknown").add] == [UNREACHABLE]
    assert [taint.key for taint in eviction_taint("Unknown").remove] == [NOT_READY]


def test_taints_carry_the_second_they_were_put_on() -> None:
    """As recorded: timeAdded, on NoSchedule taints too, cut to the second; a taint put on again is
    replaced in place.
    """
    other = Taint(key="dedicated", effect=NO_SCHEDULE)
    old = Taint(key=UNREACHABLE, effect=NO_SCHEDULE, time_added=Time.of(0))

    changed = with_taints(node({}, (old, other)), (no_schedule(UNREACHABLE),), NOW)

    assert (
        Taint(key=UNREACHABLE, effect=NO_SCHEDULE, time_added=Time.parse("2026-01-01T00:00:00Z")),
        other,
    ) == changed.spec.taints


def test_removing_what_is_not_there_changes_nothing() -> None:
    """The same object comes back, so that no write follows."""
    each = node({}, (Taint(key="dedicated", effect=NO_SCHEDULE),))

    assert without_taints(each, (no_schedule(UNREACHABLE),)) is each


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, {}),
        ({"kubernetes.io/os": "linux"}, {"beta.kubernetes.io/os": "linux"}),
        ({"kubernetes.io/os": "linux", "beta.kubernetes.io/os": "linux"}, {}),
        (
            {"kubernetes.io/arch": "arm64", "beta.kubernetes.io/arch": "amd64"},
            {"beta.kubernetes.io/arch": "arm64"},
        ),
        ({"beta.kubernetes.io/arch": "amd64"}, {}),
    ],
)
def test_old_labels_follow_the_new(labels: dict[str, str], expected: dict[str, str]) -> None:
    """2.9.4: the stable label decides what the beta label says."""
    assert expected == label_change(Node(metadata=ObjectMeta(name="n", labels=labels)))


STATUSES = st.dictionaries(
    st.sampled_from(
        ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"]
    ),
    st.sampled_from(["True", "False", "Unknown"]),
)
TAINTS = st.lists(
    st.builds(
        Taint,
        key=st.sampled_from([*CONDITION_TAINTS.values(), UNSCHEDULABLE, "dedicated"]),
        effect=st.sampled_from([NO_SCHEDULE, NO_EXECUTE]),
    ),
    unique_by=lambda taint: (taint.key, taint.effect),
    max_size=6,
).map(tuple)


@given(STATUSES, TAINTS, st.booleans())
def test_one_change_is_enough(
    conditions: dict[str, str], taints: tuple[Taint, ...], unschedulable: bool
) -> None:
    """Applied once, the change leaves nothing to do, and touches no NoExecute taint and no taint of
    others.
    """
    each = node(conditions, taints, unschedulable=unschedulable)
    change = no_schedule_change(each) or TaintChange()

    changed = without_taints(with_taints(each, change.add, NOW), change.remove)

    assert no_schedule_change(changed) is None
    kept = [each for each in taints if each.effect == NO_EXECUTE or each.key == "dedicated"]
    assert kept == [
        each for each in changed.spec.taints if each.effect == NO_EXECUTE or each.key == "dedicated"
    ]
