"""Running a program against a cluster in virtual time: `wavetank.run`, and what experiments share with it."""

from __future__ import annotations

import inspect
import platform
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import trio

from engine import (
    Json,
    Reconciler,
    Scheduler,
    Scheme,
    Settings,
    Simulation,
    SimulationLimits,
    default_scheme,
    run_simulation,
)
from reconcilers import default_reconcilers
from sim_nodes import ImageBehaviour, SimulatedNode
from store import Durability, Keep
from wavetank.cluster import DEFAULT_NODES, Cluster
from wavetank.invariants import INVARIANTS, InvariantChecker, Rule, as_invariant, attach
from wavetank.measures import Measures
from wavetank.result import CheckResult, Result
from wavetank.timeline import Line, Narrator

R = TypeVar("R")

Program = Callable[[Cluster], Awaitable[R]]
"""What `run` runs: an async function of the cluster."""


def versions() -> dict[str, Json]:
    """What a log's header says of the software that wrote it."""
    import importlib.metadata  # noqa: PLC0415 - it imports the email package, a tenth of our import time

    return {
        "wavetank": importlib.metadata.version("wavetank"),
        "trio": trio.__version__,
        "python": platform.python_version(),
    }


def run(  # noqa: PLR0913 - the options of a cluster
    main: Program[R],
    *,
    nodes: int | Sequence[SimulatedNode] = DEFAULT_NODES,
    api_servers: int = 1,
    seed: int = 0,
    log: Path | str | None = None,
    settings: Settings | None = None,
    reconcilers: Sequence[Reconciler] | None = None,
    images: Sequence[ImageBehaviour] = (),
    scheme: Scheme | None = None,
    invariants: Sequence[Rule] = tuple(INVARIANTS),
    durability: Durability = Durability.BUFFERED,
    keep: Keep | str = "all",
    tell: Callable[[Line], None] | None = None,
    limits: SimulationLimits | None = None,
) -> Result[R]:
    """Run `main(cluster)` in virtual time and return its Result; equal arguments give equal digests.

    `nodes` is a number or SimulatedNodes, `api_servers` how many serve the store, `log` a path to write the log to, `keep` how much of its history stays on the disk ("all", a
    number of revisions, or a cluster time such as "2h"; what is dropped is dropped in whole segments of 16 MiB), `invariants` what is checked at every revision: names of
    ours (by default all), invariants, or functions of the view that return False or a text when something is wrong.
    `tell` is called with each line of the timeline; `limits` says when the simulation counts as stuck. Raises what `main` raises, BadInput, and the errors of a
    simulation that is stuck (`NeverYields`, `Livelock`, `Deadlock`).
    """

    def build(simulation: Simulation | None) -> Cluster:
        return Cluster(
            nodes=nodes,
            api_servers=api_servers,
            settings=settings or Settings(),
            reconcilers=default_reconcilers() if reconcilers is None else reconcilers,
            images=images,
            scheme=scheme or default_scheme(),
            log_path=log,
            durability=durability,
            keep=keep,
            header=program_header(main, seed),
            seed=seed,
            simulation=simulation,
        )

    async def program(cluster: Cluster, measures: Measures, checks: list[CheckResult]) -> R:
        del checks
        measures.begin(cluster.view, cluster.clock.now())
        return await main(cluster)

    return run_cluster(
        build,
        program,
        seed=seed,
        invariants=invariants,
        tell=tell,
        limits=limits or SimulationLimits(),
    )


def program_header(main: Callable[..., object], seed: int) -> dict[str, Json]:
    """The header of a program's log: what `wavetank replay` needs to run it again."""
    module = inspect.getmodule(main)
    source = inspect.getsourcefile(inspect.unwrap(main))
    return {
        "program": {
            "module": module.__name__ if module is not None else "",
            "function": getattr(main, "__qualname__", ""),
            "file": str(Path(source).resolve()) if source else "",
        },
        "seed": seed,
        "versions": versions(),
    }


_Body = Callable[[Cluster, Measures, list[CheckResult]], Awaitable[R]]


def run_cluster(  # noqa: PLR0913 - what a run is made of
    build: Callable[[Simulation | None], Cluster],
    body: _Body[R],
    *,
    seed: int,
    invariants: Sequence[Rule],
    tell: Callable[[Line], None] | None,
    limits: SimulationLimits | None = None,
    scheduler: Scheduler | None = None,
    real_time: bool = False,
) -> Result[R]:
    """Build a cluster in a simulation, or in real time, watch it, run `body`, and sum up."""
    checker = InvariantChecker([as_invariant(rule) for rule in invariants])
    measures = Measures()
    checks: list[CheckResult] = []

    async def watched(simulation: Simulation | None) -> Result[R]:
        started = _wall()
        async with build(simulation) as cluster:
            attach(checker, cluster)
            cluster.observer.add(measures)
            narrator = Narrator(tell) if tell is not None else None
            if narrator is not None:
                cluster.observer.add(narrator)
            cluster.on_fault.append(
                lambda kind, target, nodes: measures.fault(kind, target, nodes, cluster.clock.now())
            )
            value = await body(cluster, measures, checks)
            # Nobody writes any more: what the result says of the log is what the log will hold.
            await cluster.processes.aclose()
            await cluster.observer.caught_up(cluster.log.head)
            now = cluster.clock.now()
            checker.finish(cluster.view, cluster.clock.now_ns())
            if narrator is not None:
                narrator.flush()
            summary = _invariant_checks(checker, measures.seconds(now))
            return Result(
                passed=all(check.passed for check in (*checks, *summary)),
                seed=seed,
                digest=cluster.log.digest,
                head=cluster.log.head,
                events=cluster.observer.events,
                virtual_seconds=now,
                wall_seconds=round(_wall() - started, 3),
                checks=(*checks, *summary),
                faults=tuple(measures.faults()),
                deployments=tuple(measures.deployments(cluster.view, now)),
                violations=tuple(checker.violations),
                value=value,
            )

    if real_time:
        return trio.run(watched, None)
    return run_simulation(
        watched, seed=seed, scheduler=scheduler, limits=limits or SimulationLimits()
    )


def _wall() -> float:
    """Seconds of the user's own time: told to the user, and no part of the log."""
    return time.perf_counter()  # noqa: TID251 - see above


def _invariant_checks(checker: InvariantChecker, at: float) -> list[CheckResult]:
    found: dict[str, list[str]] = {}
    for violation in checker.violations:
        found.setdefault(violation.name, []).append(
            f"r{violation.revision} at {violation.seconds:g}s: {violation.message}"
        )
    return [
        CheckResult(
            name=each.name,
            at=at,
            passed=each.name not in found,
            message="; ".join(found.get(each.name, [])[:3]),
        )
        for each in checker.invariants
    ]
