"""What a trial found: values that travel between processes and into files."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import cast

import attrs

from engine import Json, Schedule, schedule_from_json
from wavetank.faults.plan import Plan, plan_from_json


class Verdict(enum.Enum):
    """In which way a trial failed."""

    INVARIANT = "invariant"
    """It did not hold at a revision."""
    UNSETTLED = "unsettled"
    """Undisturbed, the cluster did not settle: nothing can be said of faults."""
    HYPOTHESIS = "hypothesis"
    """The steady state does not hold before the faults: likewise."""
    CHECK = "check"
    """Of the steady state, after everything was healed."""
    NOT_CONVERGED = "not converged"
    """Everything was healed, and the desired state was not reached in time."""
    UNSTABLE = "unstable"
    """It was reached, and was left again with nothing to leave it for."""
    RAISED = "raised"
    """A reconciler raised what is no API error."""
    FAILED = "failed"
    """The program under trial raised: a test's assertion."""
    STUCK = "stuck"
    """The simulation came to no end: a livelock, a deadlock, a task that never yields."""
    RESIDUE = "residue"
    """Something of a fault was left after it was healed: our own mistake."""


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that was wrong."""

    verdict: Verdict
    name: str
    """Of the invariant, the check, the reconciler, the kind of object."""
    message: str
    revision: int = 0
    """At which it was seen; 0 when it belongs to none."""

    @property
    def signature(self) -> tuple[str, str]:
        """What makes two findings the same failure: what failed, and not when, where or with which numbers."""
        return (self.verdict.value, self.name)

    def __str__(self) -> str:
        at = f" at r{self.revision}" if self.revision else ""
        name = f" {self.name}" if self.name else ""
        return f"{self.verdict.value}{name}{at}: {self.message}"

    def to_json(self) -> dict[str, Json]:
        """For `finding_from_json`."""
        return {
            "verdict": self.verdict.value,
            "name": self.name,
            "message": self.message,
            "revision": self.revision,
        }


def finding_from_json(document: Mapping[str, Json]) -> Finding:
    """What `Finding.to_json` gave."""
    return Finding(
        verdict=Verdict(document["verdict"]),
        name=str(document["name"]),
        message=str(document["message"]),
        revision=cast("int", document["revision"]),
    )


@attrs.frozen(kw_only=True)
class TrialInput:
    """What decides a trial, beside the experiment."""

    seed: int
    plan: Plan
    schedule: Schedule | None = None
    """None: the random one of the seed."""

    def to_json(self) -> dict[str, Json]:
        """For `input_from_json`."""
        json: dict[str, Json] = {"seed": self.seed, "plan": self.plan.to_json()}
        if self.schedule is not None:
            json["schedule"] = cast("Json", self.schedule.to_json())
        return json


def input_from_json(document: Mapping[str, Json], where: str) -> TrialInput:
    """What `TrialInput.to_json` gave. Raises BadInput, ScheduleError."""
    schedule = document.get("schedule")
    return TrialInput(
        seed=cast("int", document["seed"]),
        plan=plan_from_json(document["plan"], f"{where}: plan"),
        schedule=None if schedule is None else schedule_from_json(schedule),
    )


@attrs.frozen(kw_only=True)
class Outcome:
    """How a trial went."""

    trial: TrialInput
    digest: str
    events: int
    head: int
    virtual_seconds: float
    findings: tuple[Finding, ...]
    """In the order in which they were seen; the first gives the failure its name."""
    missed: tuple[str, ...] = ()
    """Faults that struck nothing, and why."""
    coverage: Mapping[str, int] = attrs.field(factory=dict)
    """What was reached, and how often (wavetank.hunting.coverage)."""

    @property
    def passed(self) -> bool:
        """Whether nothing was wrong."""
        return not self.findings

    @property
    def signature(self) -> tuple[str, str]:
        """Of the first finding. Raises IndexError when there is none."""
        return self.findings[0].signature
