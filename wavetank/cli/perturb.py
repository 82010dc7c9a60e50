"""`wavetank perturb`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wavetank.errors import BadInput

if TYPE_CHECKING:
    from concurrent.futures import Executor  # noqa: TID251 - processes that run simulations

    from wavetank.perturb.survey import Subject, Survey

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("experiment", type=PATH)
@click.option(
    "--reconciler",
    required=True,
    metavar="NAME|MODULE:CLASS",
    help="One that runs in the experiment, or one of your own that is put into it.",
)
@click.option(
    "--only",
    default="",
    metavar="LIST",
    help="intermediate, stale, unobserved, separated by commas; by default all.",
)
@click.option(
    "--most", default=100, show_default=True, type=click.IntRange(1), help="Plans of each pattern."
)
@click.option("--jobs", type=click.IntRange(1), help="Processes; by default one for each core.")
@click.option("--executor", default="", metavar="dask://HOST:PORT", help="Run on a Dask cluster.")
@click.option("--report", type=PATH, metavar="DIR", help="By default perturbations/RECONCILER.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")
def perturb(  # noqa: PLR0913, PLR0917 - one argument per option
    experiment: Path,
    reconciler: str,
    only: str,
    most: int,
    jobs: int | None,
    executor: str,
    report: Path | None,
    as_json: bool,
) -> None:
    """Perturb one reconciler at every write and at what it is told, and compare each run with the undisturbed one.

    No assertion is needed: exit 0 when no perturbation made a difference, 1 when one did. For each kind of difference there is a directory in the
    report, with the perturbation that shows it, both logs and a test.
    """
    from wavetank.experiment.load import load_experiment  # noqa: PLC0415 - `--help` needs none of it
    from wavetank.hunting.executors import available_jobs, open_executor  # noqa: PLC0415 - likewise
    from wavetank.perturb.failure import write_perturbed  # noqa: PLC0415 - likewise
    from wavetank.perturb.survey import subject_of  # noqa: PLC0415 - likewise

    patterns = parse_patterns(only)
    subject = subject_of(load_experiment(experiment), reconciler)
    with open_executor(jobs or available_jobs(), executor) as (workers, parallel):
        found = _run(subject, workers, parallel, patterns, most, quiet=as_json)
    folder = report or Path("perturbations") / subject.reconciler
    folders: list[Path] = []
    for number, alarms in enumerate(found.kinds.values(), start=1):
        folders.append(folder / f"{number}-{alarms[0].perturbation.pattern}")
        write_perturbed(folders[-1], subject, alarms[0])
    if as_json:
        _print_json(found, folders)
    else:
        _print_report(found, folders)
    raise click.exceptions.Exit(1 if found.alarms else 0)


def parse_patterns(text: str) -> list[str]:
    """The patterns of --only, or all. Raises BadInput."""
    from wavetank.perturb.model import PATTERNS  # noqa: PLC0415 - likewise

    given = [each.strip() for each in text.split(",") if each.strip()]
    for each in given:
        if each not in PATTERNS:
            raise BadInput(f"--only {each!r}; allowed: {', '.join(PATTERNS)}")
    return given or list(PATTERNS)


def _run(  # noqa: PLR0913 - what it takes
    subject: Subject,
    workers: Executor,
    parallel: int,
    patterns: list[str],
    most: int,
    *,
    quiet: bool,
) -> Survey:
    """With a progress bar, unless it is to be quiet."""
    from rich.console import Console  # noqa: PLC0415 - likewise
    from rich.progress import Progress  # noqa: PLC0415 - likewise

    from wavetank.perturb.survey import survey  # noqa: PLC0415 - likewise

    progress = Progress(console=Console(stderr=True), disable=quiet)
    task = progress.add_task(subject.reconciler, total=None)
    with progress:
        try:
            return survey(
                subject,
                workers,
                parallel=parallel,
                only=patterns,
                most=most,
                planned=lambda planning: progress.update(task, total=len(planning.plans)),
                tell=lambda _: progress.advance(task),
            )
        except KeyboardInterrupt:
            progress.stop()
            print("stopped", file=sys.stderr)
            raise click.exceptions.Exit(130) from None


def _print_json(found: Survey, folders: list[Path]) -> None:
    from wavetank.perturb.model import to_json  # noqa: PLC0415 - likewise

    document = {
        "experiment": found.subject.name,
        "reconciler": found.subject.reconciler,
        "writes": found.writes,
        "notifications": found.notifications,
        "plans": len(found.judgements),
        "found": dict(found.planning.found),
        "left_out": found.planning.left_out,
        "missed": sum(not each.struck for each in found.judgements),
        "alarms": [
            {
                "perturbation": to_json(each.perturbation),
                "differences": [
                    {
                        "what": one.what,
                        "name": one.name,
                        "lines": list(one.lines),
                        "revision": one.revision,
                    }
                    for one in each.differences
                ],
            }
            for each in found.alarms
        ],
        "paths": [str(folder) for folder in folders],
    }
    json.dump(document, sys.stdout)
    sys.stdout.write("\n")


def _print_report(found: Survey, folders: list[Path]) -> None:
    planned = ", ".join(f"{count} {pattern}" for pattern, count in found.planning.found.items())
    print(
        f"{found.subject.reconciler}: {found.writes} writes, {found.notifications} notifications; plans: {planned}"
    )
    if found.planning.left_out:
        print(f"  {found.planning.left_out} of them are over --most and were left out")
    missed = sum(not each.struck for each in found.judgements)
    if missed:
        print(f"  {missed} never came to their moment")
    print(
        f"{len(found.judgements)} plans run, {len(found.alarms)} made a difference, of {len(found.kinds)} kinds"
    )
    for (what, name), folder in zip(found.kinds, folders, strict=True):
        alarms = found.kinds[what, name]
        print(f"  {what} {name}: {len(alarms)} plans; {alarms[0].perturbation}")
        for line in alarms[0].differences[0].lines[:4]:
            print(f"    {line}")
        print(f"    {folder / 'summary.md'}")
