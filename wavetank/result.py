"""What a run gives back."""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

from engine import Json
from wavetank.invariants import Violation
from wavetank.measures import DeploymentMeasure, FaultMeasure

R_co = TypeVar("R_co", covariant=True)


@attrs.frozen(kw_only=True)
class CheckResult:
    """One check of the steady state, or one invariant over the whole run.

    `at` is in seconds from the settled start: 0 before the method, the end of the run after it.
    """

    name: str
    at: float
    passed: bool
    message: str = ""


@attrs.frozen(kw_only=True)
class Result(Generic[R_co]):
    """The outcome of one run; equal seeds and inputs give equal digests."""

    passed: bool
    """All checks and invariants held."""
    seed: int
    digest: str
    """The rolling hash over all events of the log."""
    head: int
    """The last revision."""
    events: int
    virtual_seconds: float
    wall_seconds: float
    checks: tuple[CheckResult, ...] = ()
    faults: tuple[FaultMeasure, ...] = ()
    deployments: tuple[DeploymentMeasure, ...] = ()
    violations: tuple[Violation, ...] = ()
    value: R_co | None = None
    """What the program returned."""

    def to_json(self) -> dict[str, Json]:
        """The object that `wavetank run --json` prints."""
        checks: list[Json] = [
            {"name": c.name, "at": c.at, "passed": c.passed, "message": c.message}
            for c in self.checks
        ]
        faults: list[Json] = [attrs.asdict(fault) for fault in self.faults]
        deployments: list[Json] = [attrs.asdict(deployment) for deployment in self.deployments]
        return {
            "passed": self.passed,
            "seed": self.seed,
            "digest": self.digest,
            "head": self.head,
            "events": self.events,
            "virtual_seconds": self.virtual_seconds,
            "wall_seconds": self.wall_seconds,
            "checks": checks,
            "faults": faults,
            "deployments": deployments,
        }
