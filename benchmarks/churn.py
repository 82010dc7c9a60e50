"""Rolling updates: every Deployment gets a new template at once, until all pods are of it and the old ones are gone."""

from __future__ import annotations

from benchmarks.clusters import PATIENCE_SECONDS, Follower, fill, nodes_ready, run
from benchmarks.manifests import deployments
from benchmarks.model import Benchmark, Case, Figures, Meter, number
from wavetank import Cluster, Pod


def measure(case: Case, meter: Meter) -> Figures:
    """One round of updates; filling the cluster is not measured."""
    nodes, pods = number(case, "nodes"), number(case, "pods")

    async def body(cluster: Cluster) -> Figures:
        await nodes_ready(cluster, nodes)
        await fill(cluster, pods, Follower(pods, lambda share, what: meter.tell(share / 2, what)))
        follower = Follower(
            pods,
            lambda share, what: meter.tell(0.5 + share / 2, what),
            counts=lambda pod: pod.metadata.labels.get("version") == "2",
        )
        before, now = cluster.log.head, cluster.clock.now()
        with meter.measured():
            cluster.observer.add(follower)
            await cluster.apply(list(deployments(pods, version="2")))
            await follower.reached()
            await cluster.settled(timeout=PATIENCE_SECONDS)
        left = [pod for pod in cluster.view.pods() if not _of_version(pod, "2")]
        assert not left, f"{len(left)} old pods are left"
        return {
            **meter.times(),
            "pods_replaced_per_s": round(pods / meter.wall_seconds, 1),
            "cpu_us_per_pod": round(meter.cpu_seconds / pods * 1e6, 1),
            "virtual_s": round(cluster.clock.now() - now, 1),
            "events": cluster.log.head - before,
        }

    return run(body, nodes=nodes)


def _of_version(pod: Pod, version: str) -> bool:
    return pod.metadata.labels.get("version") == version


BENCHMARK = Benchmark(
    name="churn",
    about="rolling updates of Deployments of 100 replicas, all at once",
    cases={
        "tiny": ({"nodes": 2, "pods": 6},),
        "small": ({"nodes": 100, "pods": 1_000},),
        "full": ({"nodes": 500, "pods": 10_000},),
    },
    measure=measure,
)
