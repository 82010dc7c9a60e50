"""A cluster is filled: from apply to every pod Running and Ready, through every part of the way, the log written, heartbeats running."""

from __future__ import annotations

import time

from benchmarks.clusters import Follower, fill, nodes_ready, pod_figures, run
from benchmarks.model import Benchmark, Case, Figures, Meter, Results, number
from wavetank import Cluster


def measure(case: Case, meter: Meter) -> Figures:
    """One filling."""
    nodes, pods = number(case, "nodes"), number(case, "pods")

    async def body(cluster: Cluster) -> Figures:
        started = time.process_time()
        await nodes_ready(cluster, nodes)
        nodes_cpu = time.process_time() - started
        follower = Follower(pods, meter.tell)
        before, now = cluster.log.head, cluster.clock.now()
        with meter.measured():
            await fill(cluster, pods, follower)
        return {
            **pod_figures(meter, pods, follower),
            "events": cluster.log.head - before,
            "virtual_s": round(cluster.clock.now() - now, 3),
            "nodes_cpu_s": round(nodes_cpu, 3),
        }

    return run(body, nodes=nodes)


def relate(results: Results) -> None:
    """Add the cost of a pod relative to the first case."""
    first = float(results[0][1]["cpu_us_per_pod"])
    for _, figures in results:
        figures["relative_cost"] = round(float(figures["cpu_us_per_pod"]) / first, 2)


_SMALL = {"nodes": 100, "pods": 3_000}
_MIDDLE = {"nodes": 1_000, "pods": 30_000}
_LARGE = {"nodes": 5_000, "pods": 150_000}
_TINY = {"nodes": 2, "pods": 6}

BENCHMARK = Benchmark(
    name="density",
    about="N nodes, P pods from Deployments of 100: from apply to all Running and Ready",
    cases={"tiny": (_TINY,), "small": (_SMALL,), "full": (_SMALL, _MIDDLE)},
    measure=measure,
    curve=("pods", ("cpu_us_per_pod", "cpu_us_per_event", "peak_rss_mib")),
)

GROWTH = Benchmark(
    name="growth",
    about="density at three sizes; what a pod costs, relative to the first",
    cases={
        "tiny": (_TINY, {"nodes": 3, "pods": 9}),
        "small": (_SMALL, {"nodes": 300, "pods": 9_000}),
        "full": (_SMALL, _MIDDLE, _LARGE),
    },
    measure=measure,
    summary=relate,
    curve=("pods", ("cpu_us_per_pod", "relative_cost", "peak_rss_mib")),
)
