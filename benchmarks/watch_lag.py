"""What it costs to tell everyone: 5,000 kubelets that watch the pods of one node each, and 20 informers that watch all pods.

The same status updates are written twice, once with nobody watching; what more they cost with the watches open, divided by
the events that arrive, is the price of one delivery.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from benchmarks.manifests import running_pod
from benchmarks.model import Benchmark, Case, Figures, Meter, number
from engine import (
    Client,
    Condition,
    Informer,
    ObjectCodec,
    Pod,
    Settings,
    Simulation,
    default_scheme,
    open_api_server,
    run_simulation,
)
from store import open_store

BURST = 100
"""Updates written in one breath: then everyone reads."""
QUIET_SECONDS = 0.001
"""Virtual time passes only when nobody has anything to do."""


@attrs.define(eq=False)
class _World:
    """One API server with pods, and whoever watches them."""

    client: Client
    simulation: Simulation
    nursery: trio.Nursery
    pods: list[Pod]
    delivered: int = 0

    async def watch(self, nodes: int, informers: int) -> None:
        """Open the watches, and wait until all are."""
        settings, draws = Settings(), self.simulation.draws
        for number_ in range(nodes + informers):
            of_node = f"spec.nodeName=node-{number_}" if number_ < nodes else ""
            informer: Informer[Pod] = Informer(
                self.client, Pod, settings, draws, f"informer-{number_}", field_selector=of_node
            )
            self.nursery.start_soon(informer.run)
            await informer.synced()
            informer.add_handler(self._count)
        await trio.sleep(QUIET_SECONDS)

    def _count(self, change: object) -> None:
        del change
        self.delivered += 1

    async def update(self, updates: int, meter: Meter) -> None:
        """Write `updates` statuses, in bursts."""
        with meter.measured():
            for first in range(0, updates, BURST):
                for n in range(first, min(first + BURST, updates)):
                    await self._write(n)
                await trio.sleep(QUIET_SECONDS)
                meter.tell(first / updates, f"{first} of {updates} updates")

    async def _write(self, n: int) -> None:
        position = n % len(self.pods)
        pod = self.pods[position]
        said = Condition(type="benchmarks/Round", status="True", message=str(n))
        status = attrs.evolve(pod.status, conditions=(*pod.status.conditions[:5], said))
        self.pods[position] = await self.client.update_status(attrs.evolve(pod, status=status))


@asynccontextmanager
async def _open(simulation: Simulation, nodes: int) -> AsyncIterator[_World]:
    """A store, a server and one pod on each of `nodes` nodes."""
    scheme, clock, draws = default_scheme(), simulation.clock, simulation.draws
    async with (
        open_store(codec=ObjectCodec(scheme), clock=clock.now_ns) as store,
        open_api_server(store=store, scheme=scheme, clock=clock, draws=draws) as server,
        trio.open_nursery() as nursery,
    ):
        client = Client(endpoint=server, scheme=scheme)
        pods = [
            await client.create(running_pod(f"pod-{n}", f"node-{n}")) for n in range(max(1, nodes))
        ]
        yield _World(client, simulation, nursery, pods)
        nursery.cancel_scope.cancel()


def measure(case: Case, meter: Meter) -> Figures:
    """The updates without watches, then with them."""
    watches, informers, updates = (number(case, n) for n in ("watches", "informers", "updates"))
    alone = Meter()

    async def simulated(simulation: Simulation) -> int:
        async with _open(simulation, watches) as world:
            await world.update(updates, alone)
            await world.watch(watches, informers)
            await world.update(updates, meter)
            return world.delivered

    delivered = run_simulation(simulated, seed=1)
    more = meter.cpu_seconds - alone.cpu_seconds
    return {
        **meter.times(),
        "events": updates,
        "delivered": delivered,
        "us_per_update_alone": round(alone.cpu_seconds / updates * 1e6, 1),
        "us_per_delivered": round(more / max(1, delivered) * 1e6, 2),
    }


BENCHMARK = Benchmark(
    name="watch_lag",
    about="status updates of pods, watched by many kubelets and some informers",
    cases={
        "tiny": ({"watches": 3, "informers": 2, "updates": 10},),
        "small": ({"watches": 1_000, "informers": 20, "updates": 2_000},),
        "full": ({"watches": 5_000, "informers": 20, "updates": 10_000},),
    },
    measure=measure,
)
