"""One trial: an experiment with one seed, one plan and one schedule, in two phases.

Safety: the faults strike, and the invariants are looked at after every event. Liveness: everything is healed, and the cluster has to reach the desired
state within a bound and to stay there for a while (eventually stable reconciliation: Anvil, OSDI 2024; TigerBeetle's VOPR runs in the same two phases).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from engine import Scheduler, Simulation, SimulationError
from store import Durability
from wavetank.cluster import Cluster
from wavetank.errors import NotReached
from wavetank.experiment.assembly import Assembly
from wavetank.experiment.conductor import Conductor
from wavetank.experiment.run import experiment_header
from wavetank.faults.catalogue import CATALOGUE, check_plan
from wavetank.faults.plan import At, Plan
from wavetank.hunting.coverage import Coverage
from wavetank.hunting.liveness import Bounds, converge, heal
from wavetank.hunting.outcome import Finding, Outcome, TrialInput, Verdict
from wavetank.invariants import INVARIANTS
from wavetank.measures import Measures
from wavetank.observer import Spectator
from wavetank.probes import probing
from wavetank.result import CheckResult, Result
from wavetank.running import run_cluster

SETTLE_SECONDS = 30.0
"""After the last fault's time, before everything is healed: what it set off is still part of the first phase."""


@attrs.define(eq=False)
class _Judge:
    """The two phases of one trial, and what was wrong."""

    assembly: Assembly
    trial: TrialInput
    bounds: Bounds
    findings: list[Finding] = attrs.field(factory=list)
    missed: list[str] = attrs.field(factory=list)

    async def run(self, cluster: Cluster, measures: Measures) -> None:
        conductor = Conductor(self.assembly, cluster, measures)
        try:
            await conductor.set_up()
        except NotReached as error:
            self._find(Verdict.UNSETTLED, "", str(error), cluster)
            return
        if not await self._check(conductor, Verdict.HYPOTHESIS, "before the faults", cluster):
            return
        runner = await conductor.disturb(self.trial.plan, self._safety_seconds())
        self.missed += [f"{each.fault.id}: {each.reason}" for each in runner.missed]
        self.findings += await heal(cluster)
        stuck = await converge(cluster, self.bounds)
        self.findings += stuck
        if not stuck:
            await self._check(conductor, Verdict.CHECK, "after everything was healed", cluster)

    def _safety_seconds(self) -> float:
        """The length of the first phase: the experiment's own, and long enough for the plan."""
        ends = [
            fault.at.seconds + (fault.seconds or 0.0)
            for fault in self.trial.plan.faults
            if isinstance(fault.at, At)
        ]
        steps = [step.at for step in self.assembly.experiment.method]
        return max([*ends, *steps], default=0.0) + SETTLE_SECONDS

    async def _check(
        self, conductor: Conductor, verdict: Verdict, when: str, cluster: Cluster
    ) -> bool:
        """Whether the steady state holds, or comes to hold in time."""

        def failing() -> list[CheckResult]:
            return [each for each in conductor.check(0.0) if not each.passed]

        failed = failing()
        if failed:
            with suppress(NotReached):
                await cluster.observer.until(
                    lambda _: not failing(), self.bounds.steady, "the steady state"
                )
            failed = failing()
        for each in failed:
            self._find(verdict, each.name, f"{when}: {each.message}", cluster)
        return not failed

    def _find(self, verdict: Verdict, name: str, message: str, cluster: Cluster) -> None:
        revision = cluster.log.head
        self.findings.append(
            Finding(verdict=verdict, name=name, message=message, revision=revision)
        )


def run_trial(  # noqa: PLR0913 - the options of a run
    assembly: Assembly,
    trial: TrialInput,
    bounds: Bounds,
    *,
    log: Path | None = None,
    spectators: Sequence[Spectator] = (),
    scheduler: Scheduler | None = None,
) -> Outcome:
    """Run one trial; whatever goes wrong in it is a finding. Raises BadInput, when the experiment cannot be run at all.

    `scheduler` stands in the place of the one that the trial's schedule makes, to record what that does.
    """
    check_plan(trial.plan, "plan")
    judge = _Judge(assembly, trial, bounds)
    coverage = Coverage()

    def build(simulation: Simulation | None) -> Cluster:
        header = experiment_header(assembly.experiment, trial.seed, trial.plan, trial.schedule)
        header["trial"] = attrs.asdict(bounds)
        cluster = assembly.cluster(
            simulation,
            seed=trial.seed,
            header=header,
            log=log,
            durability=Durability.BUFFERED,
        )
        clusters.append(cluster)
        return cluster

    async def body(cluster: Cluster, measures: Measures, checks: list[CheckResult]) -> None:
        del checks
        for spectator in (coverage, *spectators):
            cluster.observer.add(spectator)
        await judge.run(cluster, measures)

    clusters: list[Cluster] = []
    result: Result[None] | None = None
    with probing() as probes:
        try:
            result = run_cluster(
                build,
                body,
                seed=trial.seed,
                invariants=held(assembly.experiment.invariants, trial.plan),
                tell=None,
                scheduler=scheduler or scheduler_of(trial),
            )
        except SimulationError as error:
            judge.findings.append(
                Finding(verdict=Verdict.STUCK, name=type(error).__name__, message=str(error))
            )
    findings = [*violated(result), *raised(clusters), *judge.findings]
    coverage.probes(probes)
    return Outcome(
        trial=trial,
        digest="" if result is None else result.digest,
        events=0 if result is None else result.events,
        head=0 if result is None else result.head,
        virtual_seconds=0.0 if result is None else result.virtual_seconds,
        findings=tuple(findings),
        missed=tuple(judge.missed),
        coverage=coverage.counts,
    )


def scheduler_of(trial: TrialInput) -> Scheduler | None:
    """A fresh scheduler for the trial; None is the random one of its seed."""
    return None if trial.schedule is None else trial.schedule.scheduler(trial.seed)


def held(named: Sequence[str], plan: Plan) -> list[str]:
    """The invariants of a trial: those that the experiment names, or all, but for those that a fault of the plan breaks by itself."""
    broken: dict[str, None] = {}
    for fault in plan.faults:
        broken.update(dict.fromkeys(CATALOGUE[fault.type].breaks))
    return [name for name in (named or INVARIANTS) if name not in broken]


def violated(result: Result[None] | None) -> list[Finding]:
    """The first violation of each invariant, in the order of the log."""
    found = {} if result is None else {each.name: each for each in reversed(result.violations)}
    return [
        Finding(
            verdict=Verdict.INVARIANT,
            name=each.name,
            message=f"at {each.seconds:g}s: {each.message}",
            revision=each.revision,
        )
        for each in sorted(found.values(), key=lambda each: each.revision)
    ]


def raised(clusters: Sequence[Cluster]) -> list[Finding]:
    """One finding for each reconciler that raised."""
    found: dict[str, Finding] = {}
    for cluster in clusters:
        for failure in cluster.failures:
            name = failure.split()[0].rstrip(":")
            found.setdefault(name, Finding(verdict=Verdict.RAISED, name=name, message=failure))
    return list(found.values())
