"""What a ReplicaSet does next, and what its status says."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import (
    Condition,
    ObjectMeta,
    Pod,
    PodStatus,
    PodTemplateSpec,
    ReplicaSet,
    ReplicaSetSpec,
    ReplicaSetStatus,
    ReplicationController,
    ReplicationControllerSpec,
    Time,
    Uid,
    controller_ref,
)
from reconcilers.replicaset_plan import (
    CreatePods,
    DeletePods,
    Observed,
    batches,
    next_check,
    plan,
    pod_of,
    status_of,
)
from reconcilers.replication_controller import as_replica_set

SECOND = 1_000_000
NOW = 1_000 * SECOND


def replica_set(replicas: int | None = 3, min_ready: int = 0) -> ReplicaSet:
    return ReplicaSet(
        metadata=ObjectMeta(name="web", namespace="ns", uid=Uid("u"), generation=4),
        spec=ReplicaSetSpec(
            replicas=replicas,
            min_ready_seconds=min_ready,
            template=PodTemplateSpec(metadata=ObjectMeta(labels={"app": "web"})),
        ),
    )


def pod(number: int, ready: int | None = 900, label: str = "web") -> Pod:
    condition = Condition(
        type="Ready",
        status="False" if ready is None else "True",
        last_transition_time=Time.of((ready or 0) * SECOND),
    )
    return Pod(
        metadata=ObjectMeta(name=f"p{number}", namespace="ns", labels={"app": label}),
        status=PodStatus(phase="Running", conditions=(condition,)),
    )


def observed(
    owner: ReplicaSet, pods: list[Pod], *, fulfilled: bool = True, burst: int = 500
) -> Observed:
    return Observed(
        replica_set=owner,
        pods=tuple(pods),
        expectations_fulfilled=fulfilled,
        now_us=NOW,
        burst=burst,
    )


@pytest.mark.parametrize(
    ("replicas", "there", "expected"),
    [
        (3, 0, (CreatePods(count=3),)),
        (3, 3, ()),
        (None, 0, (CreatePods(count=1),)),
        (5000, 0, (CreatePods(count=500),)),
    ],
)
def test_missing_pods_are_made(
    replicas: int | None, there: int, expected: tuple[CreatePods, ...]
) -> None:
    """As many as are missing, at most a burst at a time."""
    pods = [pod(number) for number in range(there)]

    assert expected == plan(observed(replica_set(replicas), pods))


def test_surplus_pods_are_deleted_the_unready_first() -> None:
    pods = [pod(0), pod(1, ready=None), pod(2)]

    assert (DeletePods(pods=(pods[1],)),) == plan(observed(replica_set(2), pods))


def test_nothing_is_managed_while_expecting_or_leaving() -> None:
    """Status is another matter: it is always computed."""
    owner = replica_set()
    assert plan(observed(owner, [], fulfilled=False)) == ()

    metadata = attrs.evolve(owner.metadata, deletion_timestamp=Time(0))
    assert plan(observed(attrs.evolve(owner, metadata=metadata), [])) == ()


@given(st.integers(0, 2000))
def test_slow_start_doubles(count: int) -> None:
    """1, 2, 4, ...; the last batch is what is left."""
    sizes = batches(count)

    assert count == sum(sizes)
    assert [2**number for number in range(len(sizes) - 1)] == sizes[:-1]


def test_status_counts_ready_available_and_labelled() -> None:
    """With minReadySeconds a ready pod becomes available later, and the wait is known."""
    pods = [pod(0, ready=900), pod(1, ready=995), pod(2, ready=None, label="other")]
    seen = observed(replica_set(min_ready=10), pods)

    status = status_of(seen)

    assert (
        status.replicas,
        status.fully_labeled_replicas,
        status.ready_replicas,
        status.available_replicas,
        status.observed_generation,
    ) == (3, 2, 2, 1, 4)
    assert next_check(seen) == 5.0
    assert None is next_check(observed(replica_set(), pods))
    assert status_of(observed(replica_set(), pods)).available_replicas == 2


@pytest.mark.parametrize(("there", "reason"), [(1, "FailedCreate"), (5, "FailedDelete")])
def test_a_failure_is_told_until_it_is_over(there: int, reason: str) -> None:
    """The condition keeps the first failure's message, and goes with the first success."""
    owner = replica_set()
    pods = [pod(number) for number in range(there)]
    failed = status_of(observed(owner, pods), "no quota")
    assert [(reason, "no quota")] == [(c.reason, c.message) for c in failed.conditions]

    owner = attrs.evolve(owner, status=failed)
    assert failed.conditions == status_of(observed(owner, pods), "still none").conditions
    assert status_of(observed(owner, pods)).conditions == ()


def test_a_new_pod_is_made_from_the_template() -> None:
    owner = replica_set()
    made = pod_of(owner, owner.spec.template)

    assert (made.metadata.generate_name, made.metadata.namespace) == ("web-", "ns")
    assert made.metadata.labels == {"app": "web"}
    assert (controller_ref(owner),) == made.metadata.owner_references


def test_a_replication_controller_is_a_replica_set() -> None:
    """The selector map becomes a label selector; references name the ReplicationController."""
    controller = ReplicationController(
        metadata=ObjectMeta(name="old", uid=Uid("r")),
        spec=ReplicationControllerSpec(
            replicas=2, selector={"app": "x"}, template=PodTemplateSpec()
        ),
        status=ReplicaSetStatus(replicas=1),
    )

    view = as_replica_set(controller)

    assert view.spec.selector is not None
    assert (
        view.spec.replicas,
        view.spec.selector.match_labels,
        view.status.replicas,
    ) == (2, {"app": "x"}, 1)
    assert controller_ref(controller).kind == "ReplicationController"
