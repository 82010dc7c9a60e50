"""What is printed and written: tables, the JSON document, comparisons, profiles."""

from __future__ import annotations

import json
import pstats
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.machine import commit, machine, versions
from benchmarks.model import Benchmark, Results

SAME = 0.05
"""Ratios within 5 % of 1 are noise on a machine that does other things."""


def document(results: Mapping[str, Results]) -> dict[str, object]:
    """The JSON document of a run."""
    return {
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "settings": {name: [dict(case) for case, _ in cases] for name, cases in results.items()},
        "results": {
            name: {case_name(case): figures for case, figures in cases}
            for name, cases in results.items()
        },
    }


def case_name(case: Mapping[str, object]) -> str:
    """A case as one text, for example `nodes=100 pods=3000`."""
    return " ".join(f"{key}={value}" for key, value in case.items())


def print_table(console: Console, benchmark: Benchmark, results: Results) -> None:
    """One line for each figure, one column for each case; many cases the other way round."""
    table = Table(title=f"{benchmark.name}: {benchmark.about}", title_justify="left")
    names = list(dict.fromkeys(name for _, figures in results for name in figures))
    if len(results) <= 4:
        table.add_column("figure")
        for case, _ in results:
            table.add_column(case_name(case), justify="right")
        for name in names:
            table.add_row(name, *(shown(figures.get(name, "")) for _, figures in results))
    else:
        table.add_column("case")
        for name in names:
            table.add_column(name, justify="right")
        for case, figures in results:
            table.add_row(case_name(case), *(shown(figures.get(name, "")) for name in names))
    console.print(table)


def shown(value: object) -> str:
    """A figure as it is printed."""
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def compare(console: Console, before: Path, after: Path) -> None:
    """Print the ratio after/before of every figure that both have."""
    old, new = json.loads(before.read_text()), json.loads(after.read_text())
    table = Table(title=f"{after} against {before}", title_justify="left")
    for column in ("benchmark", "case", "figure"):
        table.add_column(column)
    for column in ("before", "after", "ratio"):
        table.add_column(column, justify="right")
    for name, case, figure, value in _figures(new):
        earlier = old["results"].get(name, {}).get(case, {}).get(figure)
        if not isinstance(earlier, int | float) or not earlier:
            continue
        ratio = value / earlier
        mark = "" if abs(ratio - 1) <= SAME else "[bold]"
        table.add_row(name, case, figure, shown(earlier), shown(value), f"{mark}{ratio:.2f}x")
    console.print(table)


def _figures(document: Mapping[str, Mapping[str, object]]) -> list[tuple[str, str, str, float]]:
    found = []
    for name, cases in document["results"].items():
        assert isinstance(cases, dict)
        for case, figures in cases.items():
            for figure, value in figures.items():
                if isinstance(value, int | float):
                    found.append((name, case, figure, value))
    return found


def print_profile(console: Console, path: Path, lines: int) -> None:
    """The functions that took the most time by themselves."""
    stats = pstats.Stats(str(path), stream=console.file)
    stats.sort_stats("tottime").print_stats(lines)
