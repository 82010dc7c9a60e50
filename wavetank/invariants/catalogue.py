"""The built-in invariants by name, and how a program names the ones it wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from wavetank.errors import BadInput
from wavetank.invariants.collection import NothingOnMissingNode, OwnerExists
from wavetank.invariants.deployments import AboveMinAvailable, WithinSurge
from wavetank.invariants.leases import LeaseNotEarly, OneLeader
from wavetank.invariants.loops import NoHotLoop
from wavetank.invariants.model import FunctionInvariant, Invariant
from wavetank.invariants.pods import BoundOnce, NoOvercommit, OnePodPerIdentity
from wavetank.invariants.watches import WatchEqualsLog
from wavetank.view import View

INVARIANTS: Final[dict[str, Callable[[], Invariant]]] = {
    WithinSurge.name: WithinSurge,
    NoOvercommit.name: NoOvercommit,
    OneLeader.name: OneLeader,
    BoundOnce.name: BoundOnce,
    OnePodPerIdentity.name: OnePodPerIdentity,
    AboveMinAvailable.name: AboveMinAvailable,
    OwnerExists.name: OwnerExists,
    NothingOnMissingNode.name: NothingOnMissingNode,
    WatchEqualsLog.name: WatchEqualsLog,
    LeaseNotEarly.name: LeaseNotEarly,
    NoHotLoop.name: NoHotLoop,
}
"""The invariants by the name an experiment calls them. Each holds whatever happens to a cluster of correct controllers."""

Rule: TypeAlias = str | Invariant | Callable[[View], object]
"""An invariant as a program may give it: by its name, as it is, or as a function of the view."""


def as_invariant(rule: Rule) -> Invariant:
    """A rule ready for one run. Raises BadInput for an unknown name."""
    if isinstance(rule, str):
        make = INVARIANTS.get(rule)
        if make is None:
            raise BadInput(f"unknown invariant {rule!r}; allowed: {', '.join(INVARIANTS)}")
        return make()
    if callable(rule):
        return FunctionInvariant(getattr(rule, "__name__", repr(rule)), rule)
    return rule
