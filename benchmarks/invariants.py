"""What the invariants cost: a cluster is filled and a tenth of its nodes crashes, with all of them watching and with none."""

from __future__ import annotations

import time
from collections.abc import Iterable

import trio

import wavetank
from benchmarks.clusters import Follower, fill, nodes_ready
from benchmarks.model import Benchmark, Case, Figures, Meter, number
from wavetank import Cluster
from wavetank.invariants import INVARIANTS, InvariantChecker, as_invariant, attach

AFTERMATH_SECONDS = 600.0
"""Of cluster time, after the crash: evictions, new pods, and heartbeats."""


def measure(case: Case, meter: Meter) -> Figures:
    """Runs with and without in turn, so that both meet the same load of the machine; of each the one that took the least CPU time."""
    rounds = number(case, "rounds")
    best: dict[bool, float] = {}
    events = 0
    for turn in range(rounds):
        for watched in (False, True):
            seconds, events = _run(case, INVARIANTS if watched else ())
            best[watched] = min(best.get(watched, seconds), seconds)
            done = 2 * turn + watched + 1
            meter.tell(done / (2 * rounds), f"{done} of {2 * rounds} runs")
    without, with_ = best[False], best[True]
    return {
        "cpu_s": round(with_, 3),
        "cpu_s_without": round(without, 3),
        "events": events,
        "us_per_event": round((with_ - without) / events * 1e6, 1),
        "share_percent": round(100 * (with_ - without) / with_, 1),
    }


def _run(case: Case, names: Iterable[str]) -> tuple[float, int]:
    """CPU seconds of one run and its events. Raises AssertionError when an invariant found something."""
    nodes, pods = number(case, "nodes"), number(case, "pods")
    checker = InvariantChecker([as_invariant(name) for name in names])

    async def main(cluster: Cluster) -> None:
        if checker.invariants:
            attach(checker, cluster)
        await nodes_ready(cluster, nodes)
        await fill(cluster, pods, Follower(pods, lambda _share, _what: None))
        for node in range(max(1, nodes // 10)):
            await cluster.chaos.crash(f"node-{node}")
        await trio.sleep(AFTERMATH_SECONDS)
        await cluster.observer.caught_up(cluster.log.head)
        checker.finish(cluster.view, cluster.clock.now_ns())

    started = time.process_time()
    result = wavetank.run(main, nodes=nodes, seed=1, invariants=())
    seconds = time.process_time() - started
    assert not checker.violations, checker.violations
    return seconds, result.events


BENCHMARK = Benchmark(
    name="invariants",
    about="a filling and the crash of 10 % of the nodes, with all invariants and with none",
    cases={
        "tiny": ({"nodes": 3, "pods": 6, "rounds": 1},),
        "small": ({"nodes": 50, "pods": 500, "rounds": 3},),
        "full": (
            {"nodes": 50, "pods": 500, "rounds": 5},
            {"nodes": 500, "pods": 10_000, "rounds": 2},
        ),
    },
    measure=measure,
)
