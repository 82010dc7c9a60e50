"""What becomes of one object, given the state of its owners and dependants (controllers.md 5.7.4,
5.7.5).

Pure. An owner is *solid* when it exists, *waiting* when it is being deleted in the foreground,
*dangling* when it does not exist. One solid owner keeps an object alive; without any it goes, and
takes its own dependants along in the way its finalizers, or the owner that waits, ask for.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import attrs

from engine import KubeObject, OwnerReference, Propagation, Uid
from reconcilers.garbage_collector_graph import FOREGROUND, ORPHAN, Node


class OwnerState(enum.Enum):
    """What an owner reference refers to."""

    SOLID = "solid"
    WAITING = "waiting"
    DANGLING = "dangling"


@attrs.frozen(kw_only=True)
class Observed:
    """An object as it is at the server, and its place in the graph."""

    item: KubeObject
    owners: tuple[tuple[OwnerReference, OwnerState], ...] = ()
    """Each of its references, judged."""
    dependants: tuple[Node, ...] = ()
    blocking: tuple[Node, ...] = ()
    """Those of the dependants that its foreground deletion waits for."""


@attrs.frozen
class DropReferences:
    """Take the references to these owners out of the object."""

    owners: tuple[Uid, ...]


@attrs.frozen
class UnblockOwners:
    """Make the object's references ones that no foreground deletion waits for."""


@attrs.frozen
class Delete:
    """Delete the object, if it is still the one that was judged."""

    propagation: Propagation


@attrs.frozen
class Release:
    """Take the reference to the object out of each of its dependants."""

    dependants: tuple[Node, ...]


@attrs.frozen
class RemoveFinalizer:
    """The finalizer has done its work."""

    finalizer: str


@attrs.frozen
class Examine:
    """Examine these dependants, which the object waits for."""

    dependants: tuple[Uid, ...]


Action: TypeAlias = DropReferences | UnblockOwners | Delete | Release | RemoveFinalizer | Examine


def plan(observed: Observed) -> tuple[Action, ...]:
    """The actions on one object, in order."""
    metadata = observed.item.metadata
    if metadata.deletion_timestamp is None:
        return _judge(observed)
    if ORPHAN in metadata.finalizers:
        release: tuple[Action, ...] = (Release(observed.dependants),) if observed.dependants else ()
        return (*release, RemoveFinalizer(ORPHAN))
    if FOREGROUND in metadata.finalizers:
        if not observed.blocking:
            return (RemoveFinalizer(FOREGROUND),)
        behind = tuple(node.identity.uid for node in observed.blocking if not node.waiting)
        return (Examine(behind),) if behind else ()
    return ()


def _judge(observed: Observed) -> tuple[Action, ...]:
    if not observed.owners:
        return ()
    states = [state for _, state in observed.owners]
    if OwnerState.SOLID in states:
        # A waiting owner would wait for ever for an object that stays: its reference goes as well.
        gone = tuple(r.uid for r, state in observed.owners if state is not OwnerState.SOLID)
        return (DropReferences(gone),) if gone else ()
    if OwnerState.WAITING in states and observed.dependants:
        # A dependant that waits for this object while this object's owner waits for it may be a
        # circle.
        circle = any(node.waiting for node in observed.dependants)
        unblock: tuple[Action, ...] = (UnblockOwners(),) if circle else ()
        return (*unblock, Delete(Propagation.FOREGROUND))
    return (Delete(_own_wish(observed.item)),)


def _own_wish(item: KubeObject) -> Propagation:
    """How the object's finalizers ask for its dependants to be treated."""
    if ORPHAN in item.metadata.finalizers:
        return Propagation.ORPHAN
    if FOREGROUND in item.metadata.finalizers:
        return Propagation.FOREGROUND
    return Propagation.BACKGROUND
