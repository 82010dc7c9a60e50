"""How a run looks in a terminal: the timeline while it runs, the result when it is over."""

from __future__ import annotations

import shutil
import sys
from typing import Final

import attrs
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine import format_duration
from wavetank.measures import FaultMeasure
from wavetank.result import Result
from wavetank.timeline import Line

_STYLES: Final = {"good": "green", "bad": "red", "fault": "bold magenta", "plain": ""}


def clock_text(seconds: float) -> str:
    """Cluster time as `mm:ss.mmm`, with hours when there are any."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{minutes:02d}:{rest:06.3f}"
    return f"{hours}:{text}" if hours else text


@attrs.define(eq=False)
class TimelinePrinter:
    """Prints the lines of the story as they are told, below the heads of the columns."""

    console: Console
    _begun: bool = attrs.field(default=False, init=False)

    def tell(self, line: Line) -> None:
        """Print one line."""
        if not self._begun:
            heads = f"{'time':>9} {'revision':>8}  what happened, and why"
            self.console.print(Text(heads, style="bold"))
            self._begun = True
        text = Text(no_wrap=False)
        text.append(f"{clock_text(line.seconds):>9} {'r' + str(line.revision):>8}  ", style="dim")
        text.append(line.what, style=_STYLES[line.mood])
        text.append(f"   <- {line.why}", style="dim")
        self.console.print(text, soft_wrap=True)


def print_result(console: Console, result: Result[object], log: str) -> None:
    """The tables at the end of a run, its digest, and how to look into its log."""
    console.print()
    if result.checks:
        console.print(_checks(result))
    if result.deployments:
        console.print(_deployments(result))
    if result.faults:
        console.print(_faults(result.faults))
    verdict = Text("passed", style="bold green") if result.passed else Text("FAILED", "bold red")
    console.print(
        verdict,
        Text(
            f"  {result.events} events in {format_duration(round(result.virtual_seconds, 3))} of cluster time, "
            f"{result.wall_seconds:.2f}s of yours; seed {result.seed}"
        ),
        sep="",
    )
    console.print(f"digest  {result.digest}", soft_wrap=True, highlight=False)
    if log:
        console.print(
            f"look    {_command()} log show {log} --kind Node", soft_wrap=True, highlight=False
        )
        console.print(f"again   {_command()} replay {log}", soft_wrap=True, highlight=False)


def _command() -> str:
    """How this program is called from here: by name when that is on the path, else as it was now."""
    return "wavetank" if shutil.which("wavetank") else sys.argv[0]


def _checks(result: Result[object]) -> Table:
    table = Table("check", "at", "", "message", title="Checks", title_justify="left")
    for check in result.checks:
        mark = Text("holds", "green") if check.passed else Text("fails", "bold red")
        table.add_row(check.name, format_duration(check.at), mark, check.message)
    return table


def _deployments(result: Result[object]) -> Table:
    table = Table(
        "deployment",
        "replicas",
        "degraded",
        "unavailable",
        "down",
        title="Availability: seconds with a replica missing, more missing than allowed, all missing",
        title_justify="left",
    )
    for measure in result.deployments:
        table.add_row(
            f"{measure.namespace}/{measure.name}",
            str(measure.replicas),
            *(
                _seconds(value)
                for value in (
                    measure.degraded_seconds,
                    measure.unavailable_seconds,
                    measure.down_seconds,
                )
            ),
        )
    return table


def _faults(faults: tuple[FaultMeasure, ...]) -> Table:
    table = Table(title="Faults", title_justify="left")
    table.add_column("fault", no_wrap=True)
    table.add_column("target", no_wrap=True)
    for name in ("at", "detected after", "evicted after", "recovered after"):
        table.add_column(name, overflow="fold")
    for fault in faults:
        table.add_row(
            fault.kind,
            fault.target,
            format_duration(fault.at),
            _after(fault.detected_seconds),
            _after(fault.evicted_seconds),
            _after(fault.recovered_seconds),
        )
    return table


def _seconds(value: float) -> Text:
    return Text(f"{value:.1f}", "" if value == 0 else "yellow")


def _after(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}s"
