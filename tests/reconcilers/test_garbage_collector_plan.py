"""What becomes of an object, given its owners and dependants."""

from __future__ import annotations

import attrs
import pytest

from engine import ConfigMap, ObjectMeta, OwnerReference, Propagation, Time, Uid
from reconcilers.garbage_collector_graph import FOREGROUND, ORPHAN, node_of
from reconcilers.garbage_collector_plan import (
    Action,
    Delete,
    DropReferences,
    Examine,
    Observed,
    OwnerState,
    Release,
    RemoveFinalizer,
    UnblockOwners,
    plan,
)

SOLID, WAITING, DANGLING = OwnerState.SOLID, OwnerState.WAITING, OwnerState.DANGLING

PLAIN = ConfigMap(metadata=ObjectMeta(name="x", namespace="ns", uid=Uid("x")))


def leaving(finalizer: str) -> ConfigMap:
    metadata = attrs.evolve(PLAIN.metadata, deletion_timestamp=Time(0), finalizers=(finalizer,))
    return attrs.evolve(PLAIN, metadata=metadata)


CHILD = node_of(attrs.evolve(PLAIN, metadata=ObjectMeta(name="c", uid=Uid("c"))))
WAITING_CHILD = attrs.evolve(CHILD, being_deleted=True, waiting=True)


def owners(*states: OwnerState) -> tuple[tuple[OwnerReference, OwnerState], ...]:
    return tuple(
        (OwnerReference(api_version="v1", kind="K", name=f"o{n}", uid=Uid(f"o{n}")), state)
        for n, state in enumerate(states)
    )


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ((), ()),
        ((SOLID,), ()),
        ((SOLID, DANGLING, WAITING), (DropReferences((Uid("o1"), Uid("o2"))),)),
        ((DANGLING,), (Delete(Propagation.BACKGROUND),)),
        ((DANGLING, DANGLING), (Delete(Propagation.BACKGROUND),)),
        ((WAITING,), (Delete(Propagation.BACKGROUND),)),
    ],
)
def test_one_solid_owner_keeps_an_object(
    states: tuple[OwnerState, ...], expected: tuple[Action, ...]
) -> None:
    """controllers.md 5.7.4."""
    assert expected == plan(Observed(item=PLAIN, owners=owners(*states)))


def test_a_waiting_owner_waits_for_the_dependants_of_its_dependants() -> None:
    """So the object goes in the foreground; and a circle of waiting is broken first."""
    seen = Observed(item=PLAIN, owners=owners(WAITING), dependants=(CHILD,))
    assert (Delete(Propagation.FOREGROUND),) == plan(seen)

    seen = attrs.evolve(seen, dependants=(WAITING_CHILD,))
    assert (UnblockOwners(), Delete(Propagation.FOREGROUND)) == plan(seen)


@pytest.mark.parametrize(
    ("finalizer", "expected"),
    [(ORPHAN, Propagation.ORPHAN), (FOREGROUND, Propagation.FOREGROUND)],
)
def test_an_object_goes_the_way_its_finalizers_ask_for(
    finalizer: str, expected: Propagation
) -> None:
    item = attrs.evolve(PLAIN, metadata=attrs.evolve(PLAIN.metadata, finalizers=(finalizer,)))

    assert (Delete(expected),) == plan(Observed(item=item, owners=owners(DANGLING)))


def test_an_orphaning_owner_lets_its_dependants_go() -> None:
    item = leaving(ORPHAN)
    assert (RemoveFinalizer(ORPHAN),) == plan(Observed(item=item))
    seen = Observed(item=item, dependants=(CHILD,))
    assert (Release((CHILD,)), RemoveFinalizer(ORPHAN)) == plan(seen)


def test_a_waiting_owner_goes_after_the_last_that_blocks_it() -> None:
    """Until then it has those examined that are not on their way."""
    item = leaving(FOREGROUND)
    assert (RemoveFinalizer(FOREGROUND),) == plan(Observed(item=item, dependants=(CHILD,)))
    seen = Observed(item=item, dependants=(CHILD,), blocking=(CHILD, WAITING_CHILD))
    assert (Examine((Uid("c"),)),) == plan(seen)
    seen = attrs.evolve(seen, blocking=(WAITING_CHILD,))
    assert plan(seen) == ()


def test_an_object_on_its_way_out_is_left_alone() -> None:
    assert plan(Observed(item=leaving("example.com/own"), owners=owners(DANGLING))) == ()
