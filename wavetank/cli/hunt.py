"""`wavetank hunt`, `wavetank shrink`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wavetank.errors import BadInput

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from wavetank.hunting.campaign import Campaign, Hunt
    from wavetank.hunting.coverage import CoverageReport
    from wavetank.hunting.outcome import Outcome

PATH = click.Path(path_type=Path)

_SHOWN = 8
"""Lines of one list in the report."""


@click.command()
@click.argument("experiment", type=PATH)
@click.option(
    "--seeds", default="0..99", show_default=True, metavar="FIRST..LAST", help="Or N,M,..."
)
@click.option(
    "--faults",
    default="",
    metavar="LIST",
    help="Families (node,link,watch) or faults (node.crash), separated by commas; by default all; none: only the experiment's own.",
)
@click.option("--swarm/--no-swarm", default=True, help="Each seed switches off half of the faults.")
@click.option("--most", default=4, show_default=True, type=click.IntRange(1), help="Faults a seed.")
@click.option("--horizon", default="5m", show_default=True, help="Faults strike within this time.")
@click.option(
    "--schedule", default="random", show_default=True, help="random, canonical, or pct:DEPTH."
)
@click.option("--jobs", type=click.IntRange(1), help="Processes; by default one for each core.")
@click.option("--executor", default="", metavar="dask://HOST:PORT", help="Run on a Dask cluster.")
@click.option(
    "--until-failures", type=click.IntRange(1), metavar="K", help="Stop after K failures."
)
@click.option("--report", type=PATH, metavar="DIR", help="By default hunts/NAME.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")
def hunt(  # noqa: PLR0913, PLR0917 - one argument per option
    experiment: Path,
    seeds: str,
    faults: str,
    swarm: bool,
    most: int,
    horizon: str,
    schedule: str,
    jobs: int | None,
    executor: str,
    until_failures: int | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Run the EXPERIMENT under many seeds, each with faults of its own: exit 0 when all passed, 1 when one did not.

    Ctrl-C stops; the same command goes on where it was. What fails is a directory in the report: `wavetank shrink` makes it small.
    """
    from wavetank.cluster import seconds  # noqa: PLC0415 - `--help` needs none of it
    from wavetank.experiment.load import load_experiment  # noqa: PLC0415 - likewise
    from wavetank.faults.drawing import types_of  # noqa: PLC0415 - likewise
    from wavetank.hunting.campaign import Campaign, Hunt  # noqa: PLC0415 - likewise
    from wavetank.hunting.executors import available_jobs, open_executor  # noqa: PLC0415 - likewise

    numbers = parse_seeds(seeds)
    names = [] if faults == "none" else [kind.name for kind in types_of(_listed(faults))]
    loaded = load_experiment(experiment)
    check_schedule(schedule)
    hunted: Hunt = Hunt.of(
        loaded,
        faults=tuple(names),
        horizon=seconds(horizon),
        most=most,
        swarm=swarm,
        schedule=schedule,
    )
    campaign = Campaign(hunted, report or Path("hunts") / loaded.name)
    campaign.open()
    with open_executor(jobs or available_jobs(), executor) as (workers, parallel):
        if as_json:
            found = campaign.run(numbers, workers, parallel=parallel, until_failures=until_failures)
        else:
            found = _watched(campaign, numbers, workers, parallel, until_failures)
    failed = [seed for seed in numbers if seed in campaign.done and campaign.done[seed].findings]
    if as_json:
        _print_json(campaign, numbers, failed)
    else:
        _print_report(campaign, numbers, failed, len(found))
    raise click.exceptions.Exit(1 if failed else 0)


def parse_seeds(text: str) -> Sequence[int]:
    """`0..99` with both ends, or `1,5,9`. Raises BadInput."""
    span = re.fullmatch(r"(\d+)\.\.(\d+)", text)
    if span is not None and int(span[1]) <= int(span[2]):
        return range(int(span[1]), int(span[2]) + 1)
    if re.fullmatch(r"\d+(,\d+)*", text):
        return list(dict.fromkeys(int(each) for each in text.split(",")))
    raise BadInput(f"--seeds {text!r}; allowed: FIRST..LAST such as 0..99, or a list such as 1,5,9")


def check_schedule(text: str) -> None:
    """Raises BadInput."""
    from engine import ScheduleError, parse_schedule  # noqa: PLC0415 - likewise

    try:
        parse_schedule(text)
    except ScheduleError as error:
        raise BadInput(f"--schedule: {error}") from None


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _watched(
    campaign: Campaign,
    numbers: Sequence[int],
    workers: object,
    parallel: int,
    until_failures: int | None,
) -> list[Outcome]:
    """Run with a progress bar. Ctrl-C ends it with what is done."""
    from concurrent.futures import Executor  # noqa: PLC0415, TID251 - likewise

    from rich.console import Console  # noqa: PLC0415 - likewise
    from rich.progress import (  # noqa: PLC0415 - likewise
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    assert isinstance(workers, Executor)
    already = sum(1 for seed in numbers if seed in campaign.done)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} seeds/s, {task.fields[failures]} failures"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    task = progress.add_task(
        campaign.hunt.name, total=len(numbers), completed=already, failures=0, rate="-"
    )
    teller = _Teller(progress, task, already)
    with progress:
        try:
            return campaign.run(
                numbers, workers, parallel=parallel, until_failures=until_failures, tell=teller.tell
            )
        except KeyboardInterrupt:
            progress.stop()
            print(
                f"stopped; the same command goes on at {len(campaign.done)} seeds", file=sys.stderr
            )
            raise click.exceptions.Exit(130) from None


class _Teller:
    """Moves the progress bar."""

    def __init__(self, progress: Progress, task: TaskID, already: int) -> None:
        self._progress, self._task, self._already = progress, task, already
        self._failures = 0

    def tell(self, outcome: Outcome) -> None:
        """One trial more."""
        progress, task = self._progress, self._progress.tasks[0]
        if not outcome.passed:
            self._failures += 1
            progress.console.print(f"seed {outcome.trial.seed}: {outcome.findings[0]}")
        elapsed = task.elapsed or 0.0
        done = task.completed + 1 - self._already
        rate = f"{done / elapsed:.1f}" if elapsed else "-"
        progress.update(self._task, advance=1, failures=self._failures, rate=rate)


def _print_json(campaign: Campaign, numbers: Sequence[int], failed: Sequence[int]) -> None:
    coverage = campaign.coverage()
    done = [campaign.done[seed] for seed in numbers if seed in campaign.done]
    document = {
        "experiment": campaign.hunt.name,
        "seeds": len(done),
        "events": sum(each.events for each in done),
        "failures": [
            {
                "seed": seed,
                "path": str(campaign.folder / f"seed-{seed}"),
                "findings": [each.to_json() for each in campaign.done[seed].findings],
            }
            for seed in failed
        ],
        "coverage": {
            "share": round(coverage.share, 3),
            "unreached_faults": list(coverage.unreached_faults),
            "uncrashed_writes": list(coverage.uncrashed_writes),
            "unreached_probes": list(coverage.unreached_probes),
        },
    }
    json.dump(document, sys.stdout)
    sys.stdout.write("\n")


def _print_report(
    campaign: Campaign, numbers: Sequence[int], failed: Sequence[int], new: int
) -> None:
    done = [seed for seed in numbers if seed in campaign.done]
    signatures: dict[tuple[str, str], list[int]] = {}
    for seed in failed:
        signatures.setdefault(campaign.done[seed].findings[0].signature, []).append(seed)
    print(f"{len(done)} seeds, {len(failed)} failed ({new} of them now), {len(signatures)} kinds")
    for (verdict, name), seeds in signatures.items():
        first = campaign.done[seeds[0]].findings[0]
        print(f"  {verdict} {name}".rstrip() + f": {len(seeds)} seeds, first {seeds[0]}")
        print(f"    {first.message}")
        print(f"    wavetank shrink {campaign.folder / f'seed-{seeds[0]}'}")
    _print_coverage(campaign.coverage())


def _print_coverage(coverage: CoverageReport) -> None:
    print(f"coverage {coverage.share:.0%}")
    for title, missing in (
        ("fault and phase never met", coverage.unreached_faults),
        ("writes never struck", coverage.uncrashed_writes),
        ("probes never true", coverage.unreached_probes),
    ):
        if missing:
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            print(f"  {title}: {', '.join(missing[:_SHOWN])}{more}")


@click.command()
@click.argument("failure", type=PATH)
@click.option("--output", type=PATH, metavar="DIR", help="By default FAILURE/shrunk.")
@click.option("--budget", type=click.IntRange(1), help="Runs at most.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")
def shrink(failure: Path, output: Path | None, budget: int | None, as_json: bool) -> None:
    """Make a FAILURE that a hunt wrote as small as it can be: workload, nodes, faults and schedule, with the same thing going wrong."""
    from wavetank.hunting.failure import read_failure  # noqa: PLC0415 - `--help` needs none of it
    from wavetank.hunting.shrink import BUDGET, shrink_failure  # noqa: PLC0415 - likewise

    def tell(runs: int, what: str) -> None:
        if not as_json:
            print(f"run {runs}: {what}", file=sys.stderr)

    target = output or failure / "shrunk"
    shrunk = shrink_failure(read_failure(failure), target, budget=budget or BUDGET, tell=tell)
    trial = shrunk.candidate.trial
    if as_json:
        document = {
            "path": str(target),
            "runs": shrunk.runs,
            "complete": shrunk.complete,
            "deviations": shrunk.deviations,
            "findings": [each.to_json() for each in shrunk.outcome.findings],
            **trial.to_json(),
        }
        json.dump(document, sys.stdout)
        sys.stdout.write("\n")
        return
    print(shrunk.outcome.findings[0])
    print(trial.plan)
    print(f"schedule {trial.schedule or 'random'}")
    rest = "" if shrunk.complete else "; the budget ended it: --budget gives more"
    print(f"{shrunk.runs} runs{rest}")
    print(f"wavetank replay {target / 'log.wtl'}")
    print(f"pytest {target / 'test_failure.py'}")
