"""All benchmarks, in the order in which they are run."""

from __future__ import annotations

from benchmarks import (
    churn,
    demo,
    density,
    floor,
    heartbeats,
    hunt,
    invariants,
    mutants,
    node_failure,
    replay,
    scheduler,
    watch_lag,
)
from benchmarks.model import Benchmark

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        floor.BENCHMARK,
        demo.BENCHMARK,
        scheduler.BENCHMARK,
        watch_lag.BENCHMARK,
        density.BENCHMARK,
        heartbeats.BENCHMARK,
        node_failure.BENCHMARK,
        churn.BENCHMARK,
        replay.BENCHMARK,
        hunt.BENCHMARK,
        mutants.BENCHMARK,
        invariants.BENCHMARK,
        density.GROWTH,
    )
}
