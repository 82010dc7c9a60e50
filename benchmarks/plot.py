"""Growth curves, with matplotlib (`pip install -e '.[bench]'`)."""

from __future__ import annotations

from pathlib import Path

from benchmarks.model import Benchmark, Results


def draw(benchmark: Benchmark, results: Results, directory: Path) -> Path | None:
    """Draw the benchmark's figures over its size into `directory`; None when it has no curve or one case only.

    Raises ImportError without matplotlib.
    """
    if benchmark.curve is None or len(results) < 2:
        return None
    from matplotlib.figure import (  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415 - optional
        Figure,
    )

    axis, names = benchmark.curve
    figure = Figure(figsize=(5 * len(names), 4), layout="constrained")
    sizes = [float(case[axis]) for case, _ in results]
    for position, name in enumerate(names, 1):
        axes = figure.add_subplot(1, len(names), position)
        axes.plot(sizes, [float(figures[name]) for _, figures in results], marker="o")
        axes.set(xlabel=axis, title=name)
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, alpha=0.3)
    figure.suptitle(benchmark.about)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{benchmark.name}.png"
    figure.savefig(path, dpi=120)
    return path
