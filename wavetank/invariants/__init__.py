"""Invariants: what must hold at every revision of the log.

Each is a small class with one sentence of meaning. It is shown every event in order, with the object before it and the state
after it, and says what is wrong or nothing; its work is in proportion to the change, never to the cluster.
"""

from engine import WatchListener
from wavetank.invariants.attaching import attach, surroundings_of
from wavetank.invariants.catalogue import INVARIANTS, Rule, as_invariant
from wavetank.invariants.checker import InvariantChecker
from wavetank.invariants.collection import NothingOnMissingNode, OwnerExists
from wavetank.invariants.convergence import Convergence, Converges
from wavetank.invariants.deployments import AboveMinAvailable, WithinSurge
from wavetank.invariants.leases import LeaseNotEarly, OneLeader
from wavetank.invariants.loops import NoHotLoop
from wavetank.invariants.model import (
    Finishing,
    FunctionInvariant,
    Invariant,
    Surrounded,
    Surroundings,
    Timed,
    Violation,
)
from wavetank.invariants.pods import BoundOnce, NoOvercommit, OnePodPerIdentity
from wavetank.invariants.watches import VisibleAfterDurable, WatchEqualsLog

__all__ = [
    "INVARIANTS",
    "AboveMinAvailable",
    "BoundOnce",
    "Convergence",
    "Converges",
    "Finishing",
    "FunctionInvariant",
    "Invariant",
    "InvariantChecker",
    "LeaseNotEarly",
    "NoHotLoop",
    "NoOvercommit",
    "NothingOnMissingNode",
    "OneLeader",
    "OnePodPerIdentity",
    "OwnerExists",
    "Rule",
    "Surrounded",
    "Surroundings",
    "Timed",
    "Violation",
    "VisibleAfterDurable",
    "WatchEqualsLog",
    "WatchListener",
    "WithinSurge",
    "as_invariant",
    "attach",
    "surroundings_of",
]
