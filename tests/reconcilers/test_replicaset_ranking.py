"""Which pods a shrinking ReplicaSet deletes first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Condition, ContainerStatus, ObjectMeta, Pod, PodSpec, PodStatus, Time, Uid
from reconcilers.replicaset_ranking import DELETION_COST, deletion_cost, victims

SECOND = 1_000_000
NOW = 10_000 * SECOND


def pod(
    name: str,
    *,
    node: str = "n1",
    phase: str = "Running",
    ready: int | None = 100,
    cost: str = "",
    restarts: int = 0,
    created: int = 50,
) -> Pod:
    """A pod; `ready` is the second since which it is, None that it is not."""
    condition = Condition(
        type="Ready",
        status="False" if ready is None else "True",
        last_transition_time=Time.of((ready or 0) * SECOND),
    )
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace="default",
            uid=Uid(name),
            creation_timestamp=Time.of(created * SECOND),
            annotations={DELETION_COST: cost} if cost else {},
        ),
        spec=PodSpec(node_name=node),
        status=PodStatus(
            phase=phase,
            conditions=(condition,),
            container_statuses=(ContainerStatus(name="c", restart_count=restarts),),
        ),
    )


def order(pods: list[Pod], related: list[Pod] | None = None, *, modern: bool = True) -> list[str]:
    """The order in which the pods would go, all but the last."""
    among = pods if related is None else related
    return [p.metadata.name for p in victims(pods, among, len(pods) - 1, NOW, modern=modern)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pod("x", node="", phase="Pending", ready=None), pod("a", ready=None)),
        (pod("x", phase="Pending", ready=None), pod("a", phase="Unknown", ready=None)),
        (pod("x", phase="Unknown", ready=None), pod("a", ready=None)),
        (pod("x", ready=None), pod("a")),
        (pod("x", cost="-5"), pod("a")),
        (pod("x", cost="5"), pod("a", cost="10")),
        (pod("x", ready=9000), pod("a", ready=100)),
        (pod("x", restarts=3), pod("a")),
        (pod("x", created=9000), pod("a")),
    ],
)
def test_the_first_criterion_that_differs_decides(first: Pod, second: Pod) -> None:
    """Each pair differs in one criterion of controllers.md 4.1.6, whatever the order given."""
    assert order([first, second]) == ["x"]
    assert order([second, first]) == ["x"]


def test_crowded_nodes_count_the_pods_of_sibling_replica_sets() -> None:
    """controllers.md 10.23: rank counts active pods of the whole Deployment, finished ones
    excluded.
    """
    mine = [pod("a", node="n1"), pod("b", node="n2")]
    theirs = [pod("other", node="n2"), pod("done", node="n1", phase="Succeeded")]

    assert order(mine, [*mine, *theirs]) == ["b"]


def test_before_1_22_cost_is_ignored_and_exact_times_count() -> None:
    """Later versions compare ages by power of two, then uids."""
    older, newer = pod("a", ready=5000, cost="-1"), pod("b", ready=5001)
    assert order([older, newer]) == ["a"]
    assert order([older, newer], modern=False) == ["b"]

    assert order([pod("b", ready=5001), pod("a", ready=5000)]) == ["a"]


@pytest.mark.parametrize(
    ("text", "expected"), [("", 0), ("7", 7), ("-7", -7), ("x", 0), ("9999999999", 0)]
)
def test_deletion_cost(text: str, expected: int) -> None:
    """Anything but an int32 counts as 0."""
    assert expected == deletion_cost(pod("a", cost=text))


def test_all_go_in_the_order_given_when_none_stays() -> None:
    pods = [pod("b"), pod("a", ready=None)]

    assert [p.metadata.name for p in victims(pods, pods, 2, NOW, modern=True)] == ["b", "a"]


pods_strategy = st.lists(
    st.builds(
        pod,
        st.uuids().map(str),
        node=st.sampled_from(["", "n1", "n2"]),
        phase=st.sampled_from(["Pending", "Running"]),
        ready=st.sampled_from([None, 100, 200, 9000]),
        cost=st.sampled_from(["", "1"]),
        restarts=st.integers(0, 2),
        created=st.sampled_from([50, 60]),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda p: p.metadata.name,
)


@given(pods_strategy, st.integers(0, 8))
def test_a_ready_pod_never_goes_before_one_that_is_not(pods: list[Pod], count: int) -> None:
    """Among running pods on nodes, none that is ready is deleted while one that is not stays."""
    chosen = victims(pods, pods, count, NOW, modern=True)
    names = {p.metadata.name for p in chosen}
    assert min(count, len(pods)) == len(chosen) == len(names)

    def serves(each: Pod) -> bool:
        return (
            bool(each.spec.node_name)
            and each.status.phase == "Running"
            and each.status.conditions[0].status == "True"
        )

    left = [p for p in pods if p.metadata.name not in names]
    assert not (any(map(serves, chosen)) and not all(map(serves, left)))
