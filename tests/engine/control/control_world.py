"""A cluster's API server in virtual time, a door to it that tests may shut, and what stands before it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import attrs
import trio

from engine import (
    ApiServer,
    Client,
    ConfigMap,
    ControllerRuntime,
    Draws,
    Endpoint,
    Informer,
    Key,
    KubeObject,
    ObjectCodec,
    ObjectList,
    ObjectMeta,
    Reconciler,
    Request,
    Settings,
    Simulation,
    WatchRequest,
    WatchStream,
    default_scheme,
    run_simulation,
)
from store import Store, open_store


def let_pass(_request: object) -> None:
    """A door that is open."""


@attrs.define(eq=False)
class Door:
    """The way to the API server, as a test holds it: it notes what passes, and what `on_request` and `on_watch` raise is the answer."""

    endpoint: Endpoint
    on_request: Callable[[Request], None] = let_pass
    on_watch: Callable[[WatchRequest], None] = let_pass
    watch_seconds: float | None = None
    """The server ends each watch after that time."""
    requests: list[tuple[float, Request]] = attrs.field(factory=list)
    watches: list[tuple[float, WatchRequest]] = attrs.field(factory=list)

    async def request(self, request: Request) -> KubeObject | ObjectList | None:
        self.requests.append((trio.current_time(), request))
        await trio.lowlevel.checkpoint()
        self.on_request(request)
        return await self.endpoint.request(request)

    def watch(self, request: WatchRequest) -> AbstractAsyncContextManager[WatchStream]:
        return self._watch(request)

    @asynccontextmanager
    async def _watch(self, request: WatchRequest) -> AsyncIterator[WatchStream]:
        self.watches.append((trio.current_time(), request))
        await trio.lowlevel.checkpoint()
        self.on_watch(request)
        request = attrs.evolve(request, timeout_seconds=self.watch_seconds)
        async with self.endpoint.watch(request) as stream:
            yield stream


@attrs.define(eq=False)
class World:
    """An empty cluster: `client` goes straight to the server, `guarded` through the door."""

    simulation: Simulation
    server: ApiServer
    store: Store
    client: Client
    door: Door
    _life: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    @property
    def draws(self) -> Draws:
        return self.simulation.draws

    @property
    def guarded(self) -> Client:
        return Client(endpoint=self.door, scheme=self.client.scheme)

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the API server until `stop_server`."""
        with trio.CancelScope() as self._life:
            await self.server.run(task_status=task_status)

    def stop_server(self) -> None:
        self._life.cancel()


@asynccontextmanager
async def open_world(simulation: Simulation, settings: Settings) -> AsyncIterator[World]:
    scheme = default_scheme()
    clock = simulation.clock
    async with open_store(codec=ObjectCodec(scheme), clock=clock.now_ns) as store:
        server = ApiServer(
            store=store, scheme=scheme, clock=clock, draws=simulation.draws, settings=settings
        )
        client = Client(endpoint=server, scheme=scheme)
        world = World(simulation, server, store, client, Door(server))
        async with trio.open_nursery() as nursery:
            await nursery.start(world.serve)
            yield world
            nursery.cancel_scope.cancel()


def in_world(
    test: Callable[[World], Awaitable[None]], seed: int = 0, settings: Settings | None = None
) -> None:
    """Run `test` in a simulation with an empty cluster; what it starts in `start` tasks ends with it."""

    async def main(simulation: Simulation) -> None:
        async with open_world(simulation, settings or Settings()) as world:
            await test(world)

    run_simulation(main, seed=seed)


@asynccontextmanager
async def running(*tasks: Callable[[], Awaitable[None]]) -> AsyncIterator[trio.Nursery]:
    """Run tasks beside the block, and end them with it."""
    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(task)
        yield nursery
        nursery.cancel_scope.cancel()


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data=data)


def key(name: str) -> Key:
    return Key("default", name)


def informer_of(world: World, client: Client | None = None) -> Informer[ConfigMap]:
    return Informer(
        client or world.client, ConfigMap, Settings(), world.draws, "test", namespace="default"
    )


Seen = tuple[str, str, str | None, str | None]
"""A change: type, name, and `data["x"]` before and after."""


def listen(informer: Informer[ConfigMap]) -> list[Seen]:
    """What the informer's handlers are told from now on."""
    seen: list[Seen] = []

    def x(obj: ConfigMap | None) -> str | None:
        return None if obj is None else obj.data.get("x", "")

    informer.add_handler(
        lambda change: seen.append(
            (change.type.value, change.object.metadata.name, x(change.old), x(change.new))
        )
    )
    return seen


async def open_gate() -> None:
    """The gate of a process that is never paused."""


def runtime_of(
    world: World,
    reconciler: Reconciler,
    *,
    client: Client | None = None,
    gate: Callable[[], Awaitable[None]] = open_gate,
    on_failure: Callable[[str, Key, Exception], None] | None = None,
) -> ControllerRuntime:
    return ControllerRuntime(
        template=reconciler,
        client=client or world.client,
        clock=world.simulation.clock,
        draws=world.draws,
        settings=Settings(),
        gate=gate,
        on_failure=on_failure,
    )
