"""One run of an experiment, undisturbed and listened to, or perturbed; always in the canonical order of tasks, so that one moment's work moves no other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs
import trio

from engine import CanonicalSchedule, Key, Simulation, SimulationError
from wavetank.cluster import Cluster
from wavetank.control_plane import ControllerProcess
from wavetank.errors import BadInput, NotReached
from wavetank.experiment.assembly import Assembly
from wavetank.experiment.conductor import Conductor
from wavetank.experiment.run import experiment_header
from wavetank.hunting.liveness import Bounds
from wavetank.hunting.trial import held
from wavetank.measures import Measures
from wavetank.perturb.compare import Window
from wavetank.perturb.end import End, Ending, end_of
from wavetank.perturb.history import History
from wavetank.perturb.model import Perturbation, to_json
from wavetank.perturb.recording import Recording
from wavetank.perturb.striking import Strike
from wavetank.result import CheckResult, Result
from wavetank.running import run_cluster

LATE: Final = ("withinSurge",)
"""Invariants that a reconciler breaks by being late, in Kubernetes too: a Deployment's controller counts what its ReplicaSets ask for, so that pods
which the ReplicaSet controller has not removed yet come on top."""

TAIL_SECONDS: Final = 60.0
"""From the last step of the method to the healing."""


@attrs.frozen(kw_only=True)
class Ran:
    """How a run went."""

    digest: str
    events: int
    virtual_seconds: float
    ending: Ending
    window: Window | None
    """None when nothing has struck."""


@attrs.define(eq=False, kw_only=True)
class Run:
    """One run."""

    assembly: Assembly
    reconciler: str
    bounds: Bounds
    perturbation: Perturbation | None = None
    recording: Recording | None = attrs.field(default=None, init=False)
    """Of an undisturbed run."""
    _history: History = attrs.field(factory=History, init=False)
    _problems: dict[tuple[str, str], str] = attrs.field(factory=dict, init=False)
    _started: float = attrs.field(default=0.0, init=False)
    _window: Window | None = attrs.field(default=None, init=False)
    _end: End = attrs.field(factory=lambda: End(named={}, drawn={}), init=False)
    _failures: Sequence[str] = attrs.field(default=(), init=False)

    def run(self, log: Path | None = None) -> Ran:
        """Run it. Raises BadInput."""
        seed, plan = (
            self.assembly.experiment.seed,
            self.assembly.plan(self.assembly.experiment.seed),
        )
        schedule = CanonicalSchedule()

        def build(simulation: Simulation | None) -> Cluster:
            header = experiment_header(self.assembly.experiment, seed, plan, schedule)
            if self.perturbation is not None:
                header["perturbation"] = to_json(self.perturbation)
            return self.assembly.cluster(simulation, seed=seed, header=header, log=log)

        result: Result[None] | None = None
        try:
            result = run_cluster(
                build,
                self._body,
                seed=seed,
                invariants=[
                    name
                    for name in held(self.assembly.experiment.invariants, plan)
                    if name not in LATE
                ],
                tell=None,
                scheduler=schedule.scheduler(seed),
            )
        except SimulationError as error:
            self._problem("stuck", type(error).__name__, str(error))
        for violation in result.violations if result is not None else ():
            where = f"r{violation.revision} at {violation.seconds:g}s: {violation.message}"
            self._problem("invariant", violation.name, where)
        for failure in self._failures:
            self._problem("raised", failure.split()[0].rstrip(":"), failure)
        return Ran(
            digest="" if result is None else result.digest,
            events=0 if result is None else result.events,
            virtual_seconds=0.0 if result is None else result.virtual_seconds,
            ending=Ending(
                end=self._end,
                history=self._history,
                problems=self._problems,
                started_seconds=self._started,
            ),
            window=self._window,
        )

    def _problem(self, what: str, name: str, message: str) -> None:
        self._problems.setdefault((what, name), message)

    async def _body(self, cluster: Cluster, measures: Measures, checks: list[CheckResult]) -> None:
        del checks
        self._failures = cluster.failures
        controller = cluster.control_plane.controllers.get(self.reconciler)
        if controller is None:
            known = ", ".join(cluster.control_plane.controllers)
            raise BadInput(f"no reconciler is called {self.reconciler!r}; there are: {known}")
        await cluster.observer.caught_up(cluster.log.head)
        self._history.begin(cluster.view.state)
        cluster.observer.add(self._history)
        target = controller.process.name
        self._hear_failures(controller)
        async with trio.open_nursery() as nursery:
            if self.perturbation is None:
                self.recording = Recording(cluster.clock, lambda: cluster.log.head)
                self.recording.connect(cluster.chaos.world.seam(target))
                await self._phases(cluster, measures, None)
            else:
                strike = Strike(cluster=cluster, target=target, perturbation=self.perturbation)
                nursery.start_soon(strike.prepare(), name="perturbation")
                await self._phases(cluster, measures, strike)
        self._end = end_of(cluster.view.state, self._history, cluster.scheme)

    def _hear_failures(self, controller: ControllerProcess) -> None:
        """What the process raises while it is being killed is no failure of its reconciler."""
        told = controller.runtime.on_failure

        def on_failure(name: str, key: Key, error: Exception) -> None:
            if told is not None and controller.process.living:
                told(name, key, error)

        controller.runtime.on_failure = on_failure

    async def _phases(self, cluster: Cluster, measures: Measures, strike: Strike | None) -> None:
        """As a trial's, but that the perturbation may strike from the first manifest on."""
        conductor = Conductor(self.assembly, cluster, measures)
        experiment = self.assembly.experiment
        try:
            await conductor.set_up()
        except NotReached as error:
            self._problem("unsettled", "", str(error))
        self._started = conductor.started
        last = max([step.at for step in experiment.method], default=0.0)
        plan = self.assembly.plan(experiment.seed)
        await conductor.disturb(plan, last + TAIL_SECONDS)
        await cluster.chaos.heal_all()
        if strike is not None:
            await strike.heal()
            if strike.struck:
                self._window = Window(
                    actor=strike.target,
                    struck=strike.struck,
                    begun_seconds=strike.struck_seconds,
                    over_seconds=strike.healed_seconds,
                    unseen=strike.unseen,
                )
        try:
            await cluster.settled(self.bounds.recover)
        except NotReached as error:
            kinds = dict.fromkeys(each.partition(" ")[0] for each in error.unsettled)
            self._problem("not converged", ", ".join(sorted(kinds)), str(error))
        await trio.sleep(self.bounds.hold)
        await cluster.observer.caught_up(cluster.log.head)
        for check in conductor.check(0.0):
            if not check.passed:
                self._problem("check", check.name, check.message)
