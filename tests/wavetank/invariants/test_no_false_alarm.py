"""No invariant says anything of correct controllers, whatever happens to their cluster."""

from __future__ import annotations

from typing import Final, TypeVar

import attrs
import pytest
import trio

import wavetank
from engine import Node, Quantity, Settings
from tests.wavetank.contract import DEPLOYMENT
from wavetank import Cluster, NotFound, SimulatedNode
from wavetank.invariants import INVARIANTS, InvariantChecker, as_invariant, attach

T = TypeVar("T")

IMPATIENT: Final = Settings(
    node_monitor_grace_period=40.0,
    default_not_ready_toleration=30,
    default_unreachable_toleration=30,
    event_ttl=120,
)
"""So that evictions, and the ends of Events, come within the time of a test."""

ROOMY: Final = {
    name: Quantity.parse(amount) for name, amount in (("cpu", "64"), ("memory", "64Gi"))
}
"""So that one node takes all: a kubelet whose node is full of pods that still stop refuses new ones as fast as they are made (OutOfcpu), as a real one does,
and here that takes no time."""

BLOWS: Final = (
    "crash",
    "reboot",
    "partition",
    "pause",
    "restart",
    "scale",
    "roll",
    "roll",
    "roll",
    "pod",
    "node",
    "remove",
)
WAITS: Final = (0.5, 1.0, 3.0, 10.0, 25.0, 45.0, 70.0)


@attrs.define(eq=False)
class Storm:
    """Blows at a cluster of two Deployments, all of them drawn."""

    cluster: Cluster
    replicas: dict[str, int] = attrs.field(factory=lambda: {"web": 4, "api": 3})
    version: int = 1
    _draws: int = attrs.field(default=0, init=False)

    def pick(self, choices: tuple[T, ...]) -> T:
        self._draws += 1
        draws = self.cluster.draws
        return choices[draws.integer(f"storm/{self._draws}", 0, len(choices))]

    async def apply(self, name: str) -> None:
        replicas = self.replicas.setdefault(name, 3)
        await self.cluster.apply(
            DEPLOYMENT.format(name=name, replicas=replicas, version=self.version)
        )

    async def blow(self) -> None:  # noqa: C901 - one case a blow
        """Wait a while, and strike once."""
        await trio.sleep(self.pick(WAITS))
        cluster, chaos = self.cluster, self.cluster.chaos
        node, name = self.pick(tuple(cluster.machines)), self.pick(("web", "api"))
        match self.pick(BLOWS):
            case "crash":
                await chaos.crash(node)
            case "reboot":
                await chaos.restart(node)
            case "partition":
                await chaos.partition(node, self.pick((5, 40, 90)))
            case "pause":
                await chaos.pause_kubelet(node, self.pick((5, 40, 90)))
            case "restart":
                await chaos.restart_reconciler(self.pick(tuple(cluster.control_plane.controllers)))
            case "scale":
                self.replicas[name] = self.pick((1, 2, 5, 6))
                await self.apply(name)
            case "roll":
                self.version += 1
                await self.apply(name)
            case "pod" if cluster.view.pods():
                await self._delete_pod()
            case "node" if len(cluster.view.nodes()) > 1:
                await cluster.client.delete(Node, cluster.view.nodes()[0].object.metadata.name)
            case "remove":
                await self._remove(name)

    async def _delete_pod(self) -> None:
        pod = self.pick(tuple(self.cluster.view.pods()))
        try:
            await self.cluster.client.delete(pod)
        except NotFound:
            return

    async def _remove(self, name: str) -> None:
        try:
            await self.cluster.client.delete(wavetank.Deployment, name, "default")
        except NotFound:
            return
        await trio.sleep(self.pick(WAITS))
        await self.apply(name)


@pytest.mark.parametrize("seed", range(8))
def test_a_storm_of_faults_breaks_no_invariant(seed: int) -> None:
    """Crashes, reboots, partitions, pauses, restarts, rollouts, scalings, deletions of pods, of nodes and of Deployments; then ten minutes of rest."""
    checker = InvariantChecker([as_invariant(name) for name in INVARIANTS])

    async def main(cluster: Cluster) -> int:
        attach(checker, cluster)
        storm = Storm(cluster)
        for name in storm.replicas:
            await storm.apply(name)
        for _ in range(14):
            await storm.blow()
        await trio.sleep(600)
        await cluster.processes.aclose()
        await cluster.observer.caught_up(cluster.log.head)
        checker.finish(cluster.view, cluster.clock.now_ns())
        return cluster.observer.events

    settings = attrs.evolve(IMPATIENT, control_plane_replicas=1 + seed % 2)
    nodes = [
        SimulatedNode(name=f"node-{n}", zone=f"z-{n}", capacity=ROOMY) for n in range(3 + seed % 3)
    ]
    result = wavetank.run(main, seed=seed, nodes=nodes, settings=settings, invariants=())

    assert [] == checker.violations
    assert (result.value or 0) > 500
