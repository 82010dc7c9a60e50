"""What the tests of the invariants share: a log made by hand, held against one invariant."""

from __future__ import annotations

import attrs

from engine import Fault, FaultSpec, FaultStatus, ObjectMeta, Settings
from tests.wavetank.handmade import HandMade
from wavetank.invariants import Invariant, InvariantChecker, Rule, Surroundings, as_invariant

EVERYONE = ("garbagecollector", "pod-gc", "node-lifecycle")


@attrs.define(eq=False)
class Checked:
    """A log made by hand, and what one invariant finds in it."""

    log: HandMade
    checker: InvariantChecker

    @property
    def messages(self) -> list[str]:
        return [violation.message for violation in self.checker.violations]

    def finish(self) -> None:
        """The log is over."""
        self.checker.finish(self.log.view, round(self.log.seconds * 1e9))


def checked(rule: Rule | Invariant, surroundings: Surroundings | None = None) -> Checked:
    """The invariant, with all reconcilers around it and Kubernetes' own settings unless it is told otherwise."""
    checker = InvariantChecker([as_invariant(rule)])
    checker.begin(surroundings or Surroundings(settings=Settings(), reconcilers=EVERYONE))
    return Checked(HandMade([checker]), checker)


def fault(kind: str, target: str, phase: str = "Active") -> Fault:
    return Fault(
        metadata=ObjectMeta(name=f"{kind.lower()}-1"),
        spec=FaultSpec(kind=kind, target=target),
        status=FaultStatus(phase=phase),
    )
