"""The end of a namespace: conditions, estimates, order."""

from __future__ import annotations

import attrs
import pytest

from engine import (
    ConfigMap,
    KubeObject,
    Namespace,
    NamespaceSpec,
    NamespaceStatus,
    ObjectMeta,
    Pod,
    PodSpec,
    PodStatus,
    Resource,
    Time,
)
from reconcilers.namespace_plan import (
    Action,
    Finalize,
    Observed,
    Remaining,
    Retry,
    UpdateStatus,
    Wait,
    deletion_order,
    plan,
)

SECOND = 1_000_000

PODS = Resource(group="", version="v1", kind="Pod", plural="pods", singular="pod")
MAPS = Resource(group="", version="v1", kind="ConfigMap", plural="configmaps", singular="configmap")
NODES = Resource(
    group="", version="v1", kind="Node", plural="nodes", singular="node", namespaced=False
)

LEAVING = Namespace(
    metadata=ObjectMeta(name="shop", deletion_timestamp=Time(0)),
    spec=NamespaceSpec(finalizers=("kubernetes",)),
    status=NamespaceStatus(phase="Terminating"),
)


def pod(grace: int, finalizers: tuple[str, ...] = (), phase: str = "Running") -> Pod:
    return Pod(
        metadata=ObjectMeta(name="p", finalizers=finalizers),
        spec=PodSpec(termination_grace_period_seconds=grace),
        status=PodStatus(phase=phase),
    )


def observed(
    *objects: tuple[Resource, KubeObject], errors: tuple[str, ...] = (), now: int = 5
) -> Observed:
    remaining: dict[str, Remaining] = {}
    for resource, obj in objects:
        before = remaining.get(resource.plural)
        had = before.objects if before is not None else ()
        remaining[resource.plural] = Remaining(resource=resource, objects=(*had, obj))
    return Observed(
        namespace=LEAVING,
        remaining=tuple(remaining.values()),
        errors=errors,
        now_us=now * SECOND,
    )


def problems(actions: tuple[Action, ...]) -> dict[str, tuple[str, str]]:
    write = actions[0]
    assert isinstance(write, UpdateStatus)
    conditions = write.namespace.status.conditions
    assert len(conditions) == 5
    return {c.type: (c.reason, c.message) for c in conditions if c.status == "True"}


def test_an_empty_namespace_is_finalized() -> None:
    """All five conditions say that nothing is wrong, and the finalizer goes."""
    actions = plan(observed())

    assert problems(actions) == {}
    done = actions[1]
    assert isinstance(done, Finalize)
    assert done.namespace.spec.finalizers == ()
    assert len(actions) == 2


@pytest.mark.parametrize(
    ("objects", "now", "expected"),
    [
        ([(PODS, pod(30))], 5, Wait(16.0)),
        ([(PODS, pod(30)), (PODS, pod(60))], 5, Wait(31.0)),
        ([(PODS, pod(30, ("x/y",)))], 31, Wait(8.5)),
        ([(MAPS, ConfigMap(metadata=ObjectMeta(name="m", finalizers=("x/y",))))], 5, Wait(8.5)),
        ([(PODS, pod(30))], 31, Retry()),
        ([(PODS, pod(30, phase="Failed"))], 5, Retry()),
    ],
)
def test_how_long_to_wait(
    objects: list[tuple[Resource, KubeObject]], now: int, expected: Action
) -> None:
    """Half the estimate and a second (10.16); what has no reason to remain is tried again."""
    assert expected == plan(observed(*objects, now=now))[-1]


def test_what_remains_is_told() -> None:
    """Kinds with counts, finalizers with counts, errors: Kubernetes' texts."""
    seen = observed((PODS, pod(30, ("x/y",))), (PODS, pod(30)), errors=("b", "a"))

    assert problems(plan(seen)) == {
        "NamespaceDeletionContentFailure": (
            "ContentDeletionFailed",
            "Failed to delete all resource types, 2 remaining: a, b",
        ),
        "NamespaceContentRemaining": (
            "SomeResourcesRemain",
            "Some resources are remaining: pods. has 2 resource instances",
        ),
        "NamespaceFinalizersRemaining": (
            "SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining: x/y in 1 resource instances",
        ),
    }


def test_an_unchanged_status_is_not_written() -> None:
    """And a condition's transition time changes with its status only."""
    first = plan(observed((PODS, pod(30))))[0]
    assert isinstance(first, UpdateStatus)
    seen = attrs.evolve(observed((PODS, pod(30)), now=6), namespace=first.namespace)
    assert (Wait(16.0),) == plan(seen)

    later = plan(attrs.evolve(observed(now=40), namespace=first.namespace))[0]
    assert isinstance(later, UpdateStatus)
    times = {c.type: c.last_transition_time for c in later.namespace.status.conditions}
    assert times["NamespaceContentRemaining"] == 40 * SECOND
    assert times["NamespaceDeletionDiscoveryFailure"] == 5 * SECOND


def test_pods_go_first_since_1_33() -> None:
    assert deletion_order([NODES, MAPS, PODS], pods_first=False) == [MAPS, PODS]
    assert deletion_order([NODES, MAPS, PODS], pods_first=True) == [PODS, MAPS]
