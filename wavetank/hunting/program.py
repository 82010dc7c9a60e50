"""Trials of a program: an async function of a cluster, such as a test, with faults that strike while it runs.

The faults' times count from the start of the program. When it is over, everything is healed, and the cluster has to settle as in any trial. The same program
without faults says which workloads there are to strike: a hunt of a program begins with that run.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import attrs
import trio

from engine import (
    Draws,
    KubeObject,
    Reconciler,
    Scheduler,
    Scheme,
    Settings,
    Simulation,
    SimulationError,
    default_scheme,
    minimise,
)
from reconcilers import default_reconcilers
from sim_nodes import ImageBehaviour, SimulatedNode
from wavetank.cluster import Cluster, simulated_nodes
from wavetank.faults.catalogue import check_plan
from wavetank.faults.drawing import PlanDrawing
from wavetank.faults.inventory import Inventory, inventory_of
from wavetank.faults.model import FaultType
from wavetank.faults.plan import Plan, PlannedFault
from wavetank.faults.runner import PlanRunner
from wavetank.hunting.liveness import Bounds, converge, heal
from wavetank.hunting.outcome import Finding, TrialInput, Verdict
from wavetank.hunting.simplify import simplest
from wavetank.hunting.trial import held, raised, scheduler_of, violated
from wavetank.invariants import Rule
from wavetank.measures import Measures
from wavetank.result import CheckResult, Result
from wavetank.running import run_cluster

Program = Callable[[Cluster], Awaitable[object]]


@attrs.frozen(kw_only=True)
class ProgramOutcome:
    """How a trial of a program went."""

    trial: TrialInput
    digest: str
    findings: tuple[Finding, ...]
    error: BaseException | None
    """What the program raised."""
    objects: tuple[KubeObject, ...]
    """What the user had applied at the end."""


@attrs.frozen(kw_only=True)
class ProgramTrials:
    """A program and the cluster it is run against."""

    program: Program
    nodes: int | Sequence[SimulatedNode] = 3
    api_servers: int = 1
    settings: Settings = attrs.field(factory=Settings)
    reconcilers: Sequence[Reconciler] = attrs.field(factory=default_reconcilers)
    images: Sequence[ImageBehaviour] = ()
    scheme: Scheme = attrs.field(factory=default_scheme)
    invariants: Sequence[Rule] = ()
    """Empty: all that there are."""
    bounds: Bounds = attrs.field(factory=Bounds)
    settles: bool = True
    """Whether the cluster has to settle when the program is over."""

    def inventory(self, objects: Sequence[KubeObject]) -> Inventory:
        """What faults may strike, when the program applies these objects."""
        return inventory_of(
            nodes=simulated_nodes(self.nodes),
            reconcilers=self.reconcilers,
            settings=self.settings,
            api_servers=self.api_servers,
            objects=objects,
        )

    def drawn(
        self,
        seed: int,
        types: Sequence[FaultType],
        inventory: Inventory,
        drawing: Mapping[str, object],
    ) -> Plan:
        """The plan of a seed."""
        if not types:
            return Plan()
        return PlanDrawing(types=types, **drawing).plan(inventory, Draws(seed))  # type: ignore[arg-type]  # its fields

    def run(self, trial: TrialInput, log: Path | None = None) -> ProgramOutcome:
        """Run one trial; whatever goes wrong in it is a finding. Raises BadInput for a plan that cannot be struck."""
        check_plan(trial.plan, "plan")
        run = _Run(self, trial)
        clusters: list[Cluster] = []

        def build(simulation: Simulation | None) -> Cluster:
            cluster = Cluster(
                nodes=self.nodes,
                api_servers=self.api_servers,
                settings=self.settings,
                reconcilers=self.reconcilers,
                images=self.images,
                scheme=self.scheme,
                log_path=log,
                seed=trial.seed,
                simulation=simulation,
            )
            clusters.append(cluster)
            return cluster

        named = [rule for rule in self.invariants if isinstance(rule, str)]
        others = [rule for rule in self.invariants if not isinstance(rule, str)]
        rules: list[Rule] = [*(held(named, trial.plan) if named or not others else ()), *others]
        scheduler: Scheduler | None = scheduler_of(trial)
        result: Result[None] | None = None
        try:
            result = run_cluster(
                build, run.body, seed=trial.seed, invariants=rules, tell=None, scheduler=scheduler
            )
        except SimulationError as error:
            run.findings.append(
                Finding(verdict=Verdict.STUCK, name=type(error).__name__, message=str(error))
            )
        return ProgramOutcome(
            trial=trial,
            digest="" if result is None else result.digest,
            findings=(*run.findings, *violated(result), *raised(clusters)),
            error=run.error,
            objects=tuple(run.objects),
        )

    def shrunk(self, outcome: ProgramOutcome, budget: int) -> ProgramOutcome:
        """The outcome with the fewest and simplest faults found that fails in the same way."""
        shrinking = _Shrinking(self, outcome, budget)
        shrinking.shrink()
        return shrinking.best


@attrs.define(eq=False)
class _Run:
    """The body of one trial."""

    trials: ProgramTrials
    trial: TrialInput
    findings: list[Finding] = attrs.field(factory=list)
    error: BaseException | None = None
    objects: list[KubeObject] = attrs.field(factory=list)

    async def body(self, cluster: Cluster, measures: Measures, checks: list[CheckResult]) -> None:
        del checks
        measures.begin(cluster.view, cluster.clock.now())
        await self._disturbed(cluster)
        self.objects += [
            obj
            for kind in ("Deployment", "ReplicaSet", "ReplicationController")
            for obj in cluster.view.state.raw(kind).values()
            if obj.metadata.controller is None
        ]
        self.findings += await heal(cluster)
        if self.error is None and self.trials.settles:
            self.findings += await converge(cluster, self.trials.bounds)

    async def _disturbed(self, cluster: Cluster) -> None:
        """The program, while the plan's faults strike."""
        if not self.trial.plan:
            await self._program(cluster)
            return
        runner = PlanRunner(
            plan=self.trial.plan,
            chaos=cluster.chaos,
            observer=cluster.observer,
            clock=cluster.clock,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runner.run, name="chaos plan")
            await self._program(cluster)
            await runner.stop()

    async def _program(self, cluster: Cluster) -> None:
        try:
            await self.trials.program(cluster)
        except Exception as error:  # noqa: BLE001 - whatever the user's program raises is what was found
            self.error = error
            self.findings.append(
                Finding(
                    verdict=Verdict.FAILED,
                    name=_place_of(error),
                    message=f"{type(error).__name__}: {error}".partition("\n")[0],
                    revision=cluster.log.head,
                )
            )


def _place_of(error: BaseException) -> str:
    """Where in the user's code it was raised: the innermost frame that is none of ours."""
    frames = traceback.extract_tb(error.__traceback__)
    packages = ("wavetank", "engine", "store", "reconcilers", "sim_nodes", "trio")
    own = [
        frame
        for frame in frames
        if not any(f"/{package}/" in frame.filename.replace("\\", "/") for package in packages)
    ]
    place = (own or list(frames))[-1]
    return f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"


@attrs.define(eq=False)
class _Shrinking:
    trials: ProgramTrials
    best: ProgramOutcome
    budget: int
    _signature: tuple[str, str] = attrs.field(init=False)

    def shrink(self) -> None:
        """Fewer faults, then simpler ones."""
        self._signature = self.best.findings[0].signature
        faults = minimise(self.best.trial.plan.faults, self._fails, self.budget)
        for index in range(len(faults)):
            simplest(self.best.trial.plan.faults[index], partial(self._fails_with, index))

    def _fails_with(self, index: int, fault: PlannedFault) -> bool:
        faults = list(self.best.trial.plan.faults)
        faults[index] = fault
        return self._fails(faults)

    def _fails(self, faults: Sequence[PlannedFault]) -> bool:
        """Whether the program fails in the same way with these faults."""
        if self.budget < 1:
            return False
        self.budget -= 1
        outcome = self.trials.run(attrs.evolve(self.best.trial, plan=Plan(tuple(faults))))
        if self._signature not in [finding.signature for finding in outcome.findings]:
            return False
        self.best = outcome
        return True
