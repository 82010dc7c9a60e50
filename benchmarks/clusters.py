"""What the benchmarks of whole clusters share: running one with a log, and following its pods."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias, cast

import attrs
import trio

import wavetank
from benchmarks.floor import event_floor_us
from benchmarks.machine import peak_rss_mib
from benchmarks.manifests import deployments
from benchmarks.model import Figures, Meter, percentile
from engine import is_ready
from store import Event
from wavetank import Cluster, KubeObject, Pod, View

PODS = "/registry/pods/"
LEASES = "/registry/leases/kube-node-lease/"
PATIENCE_SECONDS = 7200.0
"""Virtual seconds after which a benchmark gives up."""

Body: TypeAlias = Callable[[Cluster], Awaitable[Figures]]


class GaveUp(Exception):
    """What a benchmark waits for did not come."""


@attrs.define(eq=False)
class Follower:
    """A spectator: counts the pods that are ready and shall stay, and how long each took; O(1) for an event.

    `counts` says which pods are meant, `total` how many are waited for.
    """

    total: int
    tell: Callable[[float, str], None]
    counts: Callable[[Pod], bool] = lambda _: True
    ready: int = 0
    evicted: int = 0
    """Pods that were marked for deletion."""
    latencies: list[float] = attrs.field(factory=list)
    """Virtual seconds from a pod's creation until it was first ready."""
    _born: dict[str, int] = attrs.field(factory=dict)
    _waiting: trio.Event = attrs.field(factory=trio.Event)

    def observe(self, event: Event, old: KubeObject | None, view: View) -> None:
        """Part of the protocol of spectators."""
        del view
        if not event.key.startswith(PODS):
            return
        before, after = cast("Pod | None", old), cast("Pod | None", event.value)
        if before is None:
            self._born[event.key] = event.time_ns
        change = self._counted(after) - self._counted(before)
        if after is None:
            self._born.pop(event.key, None)
        elif after.metadata.deletion_timestamp is not None and (
            before is None or before.metadata.deletion_timestamp is None
        ):
            self.evicted += 1
        if not change:
            return
        self.ready += change
        if change > 0 and event.key in self._born:
            self.latencies.append((event.time_ns - self._born.pop(event.key)) / 1e9)
        if self.ready % 100 == 0:
            self.tell(min(1.0, self.ready / self.total), f"{self.ready} of {self.total} pods ready")
        if self.ready >= self.total:
            self._waiting.set()

    def _counted(self, pod: Pod | None) -> bool:
        return (
            pod is not None
            and pod.metadata.deletion_timestamp is None
            and is_ready(pod)
            and self.counts(pod)
        )

    async def reached(self) -> None:
        """Wait until `total` pods count. Raises GaveUp."""
        with trio.move_on_after(PATIENCE_SECONDS):
            await self._waiting.wait()
            return
        raise GaveUp(f"{self.ready} of {self.total} pods are ready after {PATIENCE_SECONDS:g} s")


async def nodes_ready(cluster: Cluster, count: int) -> None:
    """Wait until all nodes are ready. Raises GaveUp."""
    for _ in range(int(PATIENCE_SECONDS)):
        if sum(node.ready for node in cluster.view.nodes()) >= count:
            return
        await trio.sleep(1)
    raise GaveUp(f"not all of {count} nodes are ready after {PATIENCE_SECONDS:g} s")


async def fill(cluster: Cluster, pods: int, follower: Follower) -> None:
    """Apply Deployments for `pods` pods, and wait until all of them are ready. Raises GaveUp."""
    cluster.observer.add(follower)
    await cluster.apply(list(deployments(pods)))
    await follower.reached()
    assert follower.ready == pods, f"{follower.ready} pods are ready, not {pods}"


def run(body: Body, *, nodes: int, seed: int = 1) -> Figures:
    """Run `body` against a cluster of `nodes` nodes whose log is written to a file, and return its figures.

    The invariants are not checked: their price is theirs. `peak_rss_mib` is added, and with `events` among the figures what
    an event cost, also as a multiple of the floor, which is measured here and now.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "log"

        async def main(cluster: Cluster) -> Figures:
            figures = await body(cluster)
            figures["log_mib"] = round(
                sum(file.stat().st_size for file in path.iterdir()) / 2**20, 1
            )
            return figures

        figures = wavetank.run(main, nodes=nodes, seed=seed, log=path, invariants=()).value
        assert figures is not None
    figures["peak_rss_mib"] = peak_rss_mib()
    events = figures.get("events")
    if events:
        floor = event_floor_us()
        cpu = float(figures["cpu_s"]) / float(events) * 1e6
        figures["us_per_event"] = round(float(figures["wall_s"]) / float(events) * 1e6, 1)
        figures["cpu_us_per_event"] = round(cpu, 1)
        figures["floor_us"] = round(floor, 2)
        figures["floor_multiple"] = round(cpu / floor, 1)
        figures["events_per_s"] = round(float(events) / float(figures["wall_s"]))
    return figures


def pod_figures(meter: Meter, pods: int, follower: Follower) -> Figures:
    """The figures of bringing up pods."""
    return {
        **meter.times(),
        "pods_per_s": round(pods / meter.wall_seconds, 1),
        "cpu_us_per_pod": round(meter.cpu_seconds / pods * 1e6, 1),
        "startup_p50_virtual_s": round(percentile(follower.latencies, 0.5), 3),
        "startup_p99_virtual_s": round(percentile(follower.latencies, 0.99), 3),
    }
