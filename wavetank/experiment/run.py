"""Runs an experiment: build, apply, settle, check, disturb, check again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

from engine import Json, Schedule, Simulation
from store import Durability, Keep
from wavetank.cluster import Cluster
from wavetank.errors import NotReached
from wavetank.experiment.assembly import assemble
from wavetank.experiment.conductor import Conductor
from wavetank.experiment.model import Experiment
from wavetank.faults.catalogue import check_plan
from wavetank.faults.plan import Plan
from wavetank.measures import Measures
from wavetank.result import CheckResult, Result
from wavetank.running import run_cluster, versions
from wavetank.timeline import Line


def experiment_header(
    experiment: Experiment, seed: int, plan: Plan, schedule: Schedule | None
) -> dict[str, Json]:
    """All that it takes to run the experiment again."""
    files: dict[str, Json] = dict(experiment.files.texts)
    header: dict[str, Json] = {
        "experiment": {"name": experiment.name, "file": experiment.text_name, "files": files},
        "seed": seed,
        "versions": versions(),
    }
    if plan:
        header["plan"] = plan.to_json()
    if schedule is not None:
        header["schedule"] = cast("Json", schedule.to_json())
    return header


def run_experiment(  # noqa: PLR0913 - the options of a run
    experiment: Experiment,
    *,
    log: Path | str | None = None,
    tell: Callable[[Line], None] | None = None,
    durability: Durability = Durability.BUFFERED,
    store: str = "",
    keep: Keep | str = "all",
    plan: Plan | None = None,
    schedule: Schedule | None = None,
) -> Result[None]:
    """Run the experiment in virtual time; with its `store` in an etcd in real time. `keep` is that of `wavetank.run`.

    `plan` stands in the place of the experiment's own faults, `schedule` in the place of the random one. Raises BadInput for what only shows when it runs.
    """
    assembly = assemble(experiment)
    seed = experiment.seed
    faults = assembly.plan(seed) if plan is None else plan
    check_plan(faults, "plan")

    def build(simulation: Simulation | None) -> Cluster:
        return assembly.cluster(
            simulation,
            seed=seed,
            header=experiment_header(experiment, seed, faults, schedule),
            log=log,
            store=store,
            durability=durability,
            keep=keep,
        )

    async def body(cluster: Cluster, measures: Measures, checks: list[CheckResult]) -> None:
        conductor = Conductor(assembly, cluster, measures)
        try:
            await conductor.set_up()
        except NotReached as error:
            checks.append(CheckResult(name="settled", at=0.0, passed=False, message=str(error)))
            return
        checks += conductor.check(0.0)
        if not all(check.passed for check in checks):
            return  # the hypothesis does not hold: nothing would be learnt from the method
        await conductor.disturb(faults, experiment.until)
        checks += conductor.check(experiment.until)

    return run_cluster(
        build,
        body,
        seed=seed,
        invariants=experiment.invariants,
        tell=tell,
        scheduler=None if schedule is None else schedule.scheduler(seed),
        real_time=bool(store),
    )
