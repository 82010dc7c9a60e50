"""A small real cluster for kubelets: a store, an API server, and nodes; no controllers. In virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import attrs
import trio
from node_play import behaviour

from engine import (
    Client,
    Container,
    Event,
    ObjectCodec,
    ObjectMeta,
    Pod,
    PodSpec,
    Settings,
    default_scheme,
    open_api_server,
)
from engine.sim import Clock, Simulation, run
from sim_nodes import ImageBehaviour, Images, NodeHandle, SimulatedNode, start_node
from store import EventType, Store, open_store

T = TypeVar("T")


@attrs.define(eq=False, kw_only=True)
class World:
    """What a test has in its hands."""

    sim: Simulation
    store: Store
    client: Client
    nodes: list[NodeHandle]

    @property
    def clock(self) -> Clock:
        return self.sim.clock

    async def pod(
        self,
        name: str = "web",
        *,
        node: str = "n-0",
        containers: Sequence[Container] = (),
        **spec: object,
    ) -> Pod:
        """Create a pod that is bound already."""
        containers = containers or (Container(name="app", image="app:v1"),)
        pod = Pod(
            metadata=ObjectMeta(name=name, namespace="default"),
            spec=PodSpec(containers=tuple(containers), node_name=node, **spec),  # type: ignore[arg-type]
        )
        return await self.client.create(pod)

    async def get(self, name: str = "web") -> Pod:
        return await self.client.get(Pod, name, "default")

    async def reasons(self, name: str) -> list[str]:
        """The reasons of the Events about an object, in the order of their creation."""
        events = [e for e in await self.client.list(Event) if e.involved_object.name == name]
        events.sort(key=lambda e: int(e.metadata.resource_version))
        return [event.reason for event in events]

    def writes(self, prefix: str, actor: str = "", since_ns: int = 0) -> list[tuple[float, str]]:
        """Times and types of the log's events under a key prefix."""
        return [
            (event.time_ns / 1e9, "PUT" if event.type is EventType.PUT else "DELETE")
            for event in self.store.history()
            if event.key.startswith(prefix)
            and (not actor or event.origin.actor == actor)
            and event.time_ns >= since_ns
        ]


@asynccontextmanager
async def open_world(
    sim: Simulation, behaviours: Sequence[ImageBehaviour], count: int, settings: Settings
) -> AsyncIterator[World]:
    scheme = default_scheme()
    images = Images(behaviours or (behaviour(),), sim.draws)
    async with (
        open_store(codec=ObjectCodec(scheme), clock=sim.clock.now_ns) as store,
        open_api_server(
            store=store, scheme=scheme, clock=sim.clock, draws=sim.draws, settings=settings
        ) as server,
    ):
        world = World(sim=sim, store=store, client=Client(endpoint=server, scheme=scheme), nodes=[])
        for number in range(count):
            world.nodes.append(
                start_node(
                    SimulatedNode(name=f"n-{number}"),
                    images=images,
                    endpoint=server,
                    scheme=scheme,
                    clock=sim.clock,
                    draws=sim.draws,
                    settings=settings,
                    processes=sim.processes,
                )
            )
        await trio.sleep(0.5)
        yield world


def play_world(
    body: Callable[[World], Awaitable[T]],
    *behaviours: ImageBehaviour,
    count: int = 1,
    seed: int = 1,
    settings: Settings = Settings(),  # noqa: B008 - frozen, and so safely shared
) -> T:
    """Run `body` in a world half a second old."""

    async def main(sim: Simulation) -> T:
        async with open_world(sim, behaviours, count, settings) as world:
            return await body(world)

    return run(main, seed=seed)
