"""`python -m benchmarks [NAME] [--size SIZE] [--set KEY=VALUE] [--json FILE] [--plot DIR] [--profile]`, and `compare A B`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks import isolated, report
from benchmarks.catalogue import BENCHMARKS
from benchmarks.model import Benchmark, Case, Results, Value

FILE = click.Path(path_type=Path, dir_okay=False)
EXISTING = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(
    epilog="NAME is one of: " + ", ".join(BENCHMARKS) + "; without one, all of them run. "
    "`compare A.json B.json` shows the ratios of two runs."
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--size", type=click.Choice(["tiny", "small", "full"]), default="full")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="One case of your own.")
@click.option("--json", "json_path", type=FILE, help="Write the figures to this file.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw growth curves there.")
@click.option("--profile", is_flag=True, help="Name the functions that take the time (cProfile).")
def main(  # noqa: PLR0913, PLR0917 - one argument per option
    names: tuple[str, ...],
    size: str,
    settings: tuple[str, ...],
    json_path: Path | None,
    plot: Path | None,
    profile: bool,
) -> None:
    """Measure how fast Wavetank is. Each case runs in a process of its own."""
    console = Console()
    if names[:1] == ("compare",):
        _compare(console, names[1:])
        return
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        raise click.UsageError(f"no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}")
    results: dict[str, Results] = {}
    for name in names or tuple(BENCHMARKS):
        benchmark = BENCHMARKS[name]
        cases = benchmark.cases[size]
        if settings:
            cases = ({**cases[0], **dict(_setting(text) for text in settings)},)
        results[name] = _run(console, benchmark, cases, profile=profile)
        report.print_table(console, benchmark, results[name])
        if plot is not None and (path := _draw(benchmark, results[name], plot)):
            console.print(f"drawn: {path}")
        if json_path is not None:  # after each: a long run that is interrupted keeps what it has
            json_path.write_text(json.dumps(report.document(results), indent=2) + "\n")


def _compare(console: Console, paths: tuple[str, ...]) -> None:
    if len(paths) != 2:
        raise click.UsageError("compare takes two files: before and after")
    before, after = (EXISTING.convert(path, None, None) for path in paths)
    report.compare(console, before, after)


def _run(
    console: Console, benchmark: Benchmark, cases: Sequence[Case], *, profile: bool
) -> Results:
    results = []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with tempfile.TemporaryDirectory() as directory:
        profiles = []
        with Progress(*columns, console=console, transient=True) as progress:
            for number, case in enumerate(cases):
                task = progress.add_task("", total=1.0)
                path = Path(directory) / f"{number}.prof" if profile else None
                figures = isolated.run_case(
                    benchmark.name,
                    case,
                    tell=_teller(progress, task, benchmark, case),
                    profile=path,
                )
                progress.remove_task(task)
                results.append((case, figures))
                profiles.append((case, path))
        if benchmark.summary is not None:
            benchmark.summary(results)
        for case, path in profiles:
            if path is not None:
                console.rule(report.case_name(case))
                report.print_profile(console, path, isolated.PROFILE_LINES)
    return results


def _teller(progress: Progress, task: TaskID, benchmark: Benchmark, case: Case) -> isolated.Tell:
    def tell(share: float, what: str) -> None:
        title = f"{benchmark.name} {report.case_name(case)}: {what}"
        progress.update(task, completed=share, description=title)

    return tell


def _draw(benchmark: Benchmark, results: Results, directory: Path) -> Path | None:
    from benchmarks.plot import draw  # noqa: PLC0415 - matplotlib is optional

    try:
        return draw(benchmark, results, directory)
    except ImportError as error:
        raise click.ClickException(
            f"--plot needs matplotlib: pip install -e '.[bench]' ({error})"
        ) from None


def _setting(text: str) -> tuple[str, Value]:
    key, found, value = text.partition("=")
    if not found:
        raise click.UsageError(f"--set {text}: KEY=VALUE is expected")
    return key, int(value) if value.lstrip("-").isdigit() else value


if __name__ == "__main__":
    main()
