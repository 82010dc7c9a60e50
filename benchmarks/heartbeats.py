"""Idle nodes, one virtual hour: nothing happens but their signs of life, and nothing else should cost anything."""

from __future__ import annotations

import attrs
import trio

from benchmarks.clusters import LEASES, nodes_ready, run
from benchmarks.model import Benchmark, Case, Figures, Meter, number
from engine import KubeObject
from store import Event
from wavetank import Cluster, View

STEP_SECONDS = 60.0


@attrs.define(eq=False)
class _Renewals:
    """A spectator: counts the writes of node Leases."""

    count: int = 0

    def observe(self, event: Event, old: KubeObject | None, view: View) -> None:
        """Part of the protocol of spectators."""
        del old, view
        self.count += event.key.startswith(LEASES)


def measure(case: Case, meter: Meter) -> Figures:
    """One stretch of virtual time."""
    nodes, seconds = number(case, "nodes"), number(case, "virtual_s")

    async def body(cluster: Cluster) -> Figures:
        await nodes_ready(cluster, nodes)
        renewals = _Renewals()
        cluster.observer.add(renewals)
        before, began = cluster.log.head, cluster.clock.now()
        with meter.measured():
            while (done := cluster.clock.now() - began) < seconds:
                meter.tell(done / seconds, f"{done:.0f} of {seconds} virtual seconds")
                await trio.sleep(min(STEP_SECONDS, seconds - done))
        return {
            **meter.times(),
            "virtual_s_per_wall_s": round(seconds / meter.wall_seconds, 1),
            "virtual_s_per_cpu_s": round(seconds / meter.cpu_seconds, 1),
            "heartbeats": renewals.count,
            "us_per_heartbeat": round(meter.wall_seconds / max(1, renewals.count) * 1e6, 1),
            "cpu_us_per_heartbeat": round(meter.cpu_seconds / max(1, renewals.count) * 1e6, 1),
            "events": cluster.log.head - before,
        }

    return run(body, nodes=nodes)


BENCHMARK = Benchmark(
    name="heartbeats",
    about="N idle nodes, one virtual hour",
    cases={
        "tiny": ({"nodes": 2, "virtual_s": 60},),
        "small": ({"nodes": 1_000, "virtual_s": 300},),
        "full": ({"nodes": 1_000, "virtual_s": 3600}, {"nodes": 5_000, "virtual_s": 3600}),
    },
    measure=measure,
    curve=("nodes", ("virtual_s_per_wall_s", "cpu_us_per_heartbeat")),
)
