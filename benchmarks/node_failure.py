"""A tenth of the nodes loses power at once: until every pod they ran is replaced, with Kubernetes' own timings."""

from __future__ import annotations

from benchmarks.clusters import Follower, fill, nodes_ready, run
from benchmarks.model import Benchmark, Case, Figures, Meter, number
from wavetank import Cluster, Pod


def measure(case: Case, meter: Meter) -> Figures:
    """One failure; filling the cluster is not measured."""
    nodes, pods = number(case, "nodes"), number(case, "pods")
    down = [f"node-{n}" for n in range(max(1, nodes // 10))]
    lost = dict.fromkeys(down)

    async def body(cluster: Cluster) -> Figures:
        await nodes_ready(cluster, nodes)
        await fill(cluster, pods, Follower(pods, lambda share, what: meter.tell(share / 2, what)))

        def on_living_node(pod: Pod) -> bool:
            return pod.spec.node_name not in lost

        placed = sum(not on_living_node(pod) for pod in cluster.view.pods())
        follower = Follower(
            pods,
            lambda share, what: meter.tell(0.5 + share / 2, what),
            counts=on_living_node,
            ready=pods - placed,
        )
        before, now = cluster.log.head, cluster.clock.now()
        with meter.measured():
            cluster.observer.add(follower)
            for name in down:
                await cluster.chaos.crash(name)
            await follower.reached()
        return {
            **meter.times(),
            "virtual_s": round(cluster.clock.now() - now, 1),
            "evictions": follower.evicted,
            "lost_pods": placed,
            "cpu_us_per_eviction": round(meter.cpu_seconds / max(1, follower.evicted) * 1e6, 1),
            "events": cluster.log.head - before,
        }

    return run(body, nodes=nodes)


BENCHMARK = Benchmark(
    name="node_failure",
    about="10 % of the nodes crash at once, until every pod is replaced",
    cases={
        "tiny": ({"nodes": 3, "pods": 6},),
        "small": ({"nodes": 100, "pods": 3_000},),
        "full": ({"nodes": 1_000, "pods": 30_000},),
    },
    measure=measure,
)
