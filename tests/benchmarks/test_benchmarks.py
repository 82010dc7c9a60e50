"""The benchmark harness on tiny sizes: that each benchmark runs and answers, not how fast."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.catalogue import BENCHMARKS
from benchmarks.model import Meter

EXPECTED = {
    "floor": {"us_per_event", "us_per_timer"},
    "demo": {"import_cpu_s", "demo_wall_s", "experiments_per_s"},
    "scheduler": {"pods_per_s"},
    "watch_lag": {"us_per_delivered"},
    "density": {
        "wall_s",
        "pods_per_s",
        "events",
        "events_per_s",
        "us_per_event",
        "floor_multiple",
        "peak_rss_mib",
        "log_mib",
        "startup_p50_virtual_s",
        "startup_p99_virtual_s",
    },
    "heartbeats": {"wall_s", "virtual_s_per_wall_s", "us_per_heartbeat"},
    "node_failure": {"wall_s", "virtual_s", "evictions"},
    "churn": {"pods_replaced_per_s"},
    "replay": {"open_s", "state_p50_ms"},
    "hunt": {"seeds_per_s", "seeds_per_s_per_core", "events_per_seed", "virtual_s_per_seed"},
    "mutants": {"seeds", "finding", "plan", "faults_left", "shrunk", "deviations"},
    "invariants": {"cpu_s", "cpu_s_without", "events", "us_per_event", "share_percent"},
    "growth": {"cpu_us_per_pod"},
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_benchmark_measures_what_it_names(name: str) -> None:
    """Every benchmark of the catalogue runs its tiny case here and gives its figures."""
    benchmark = BENCHMARKS[name]

    figures = benchmark.measure(benchmark.cases["tiny"][0], Meter())

    assert EXPECTED[name] <= set(figures)


def test_a_run_writes_its_figures_with_where_they_were_measured(tmp_path: Path) -> None:
    """--json writes machine, versions, commit, settings and results; each case ran in a process of its own."""
    path = tmp_path / "out.json"

    done = CliRunner().invoke(main, ["growth", "--size", "tiny", "--json", str(path)])
    document = json.loads(path.read_text())

    assert done.exit_code == 0, done.output
    assert list(document) == ["machine", "versions", "commit", "settings", "results"]
    growth = document["results"]["growth"]
    assert list(growth) == ["nodes=2 pods=6", "nodes=3 pods=9"]
    assert growth["nodes=2 pods=6"]["relative_cost"] == 1.0
    assert growth["nodes=3 pods=9"]["peak_rss_mib"] > 0


def test_one_case_of_ones_own_can_be_profiled() -> None:
    """--set replaces the cases by one; --profile names functions."""
    arguments = ["density", "--size", "tiny", "--set", "pods=2", "--profile"]

    done = CliRunner().invoke(main, arguments)

    assert done.exit_code == 0, done.output
    assert "nodes=2 pods=2" in done.output
    assert "Ordered by: internal time" in done.output


def test_two_runs_are_compared_by_ratio(tmp_path: Path) -> None:
    """`compare A B` shows after/before for each figure both have."""
    for name, seconds in (("a", 2.0), ("b", 1.0)):
        figures = {"results": {"floor": {"count=1": {"wall_s": seconds}}}}
        (tmp_path / name).write_text(json.dumps(figures))

    done = CliRunner().invoke(main, ["compare", str(tmp_path / "a"), str(tmp_path / "b")])

    assert done.exit_code == 0, done.output
    assert "0.50x" in done.output


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    """A usage error, exit code 2."""
    done = CliRunner().invoke(main, ["densty"])

    assert done.exit_code == 2
    assert "density" in done.output
