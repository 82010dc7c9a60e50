"""A cluster: the assembly of store, API server, reconcilers and simulated nodes, and how a program drives it.

`Cluster(...)` says what the cluster is made of; entering it builds and starts it. In a simulation (`wavetank.run`) it
lives in virtual time; entered outside of one it lives in real time.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

import attrs
import trio

from engine import (
    AnyServer,
    ApiServer,
    ApiServers,
    Client,
    Clock,
    Draws,
    DurationError,
    Json,
    Key,
    KubeObject,
    Link,
    Manifests,
    MicroTime,
    Namespace,
    ObjectCodec,
    Process,
    Processes,
    ProcessFailed,
    Reconciler,
    Scheme,
    Settings,
    Simulation,
    acting,
    current_origin,
    default_scheme,
    load_manifests,
    open_processes,
    parse_duration,
)
from reconcilers import ServiceAccountReconciler, default_reconcilers
from sim_nodes import ImageBehaviour, Images, Kubelet, NodeHandle, SimulatedNode, make_runtime
from store import (
    DisturbedStore,
    Durability,
    Keep,
    Origin,
    Store,
    StoreError,
    open_etcd,
    open_store,
)
from wavetank.chaos import Chaos
from wavetank.control_plane import ControlPlane
from wavetank.errors import BadInput, UnknownTarget
from wavetank.faults.striker import ACTOR, FaultListener
from wavetank.faults.world import World
from wavetank.logs import as_keep, keep_header, kinds_header
from wavetank.observer import Observer
from wavetank.view import ClusterState, UnsettledSearch, View

ROOT: Final = Origin(actor="user", causes=("user",))

SPARED: Final = (ROOT.actor, ACTOR, "apiserver")
"""Actors that no fault of the store strikes: they do what the experiment says and keep its records, or start an API server."""

DEFAULT_NODES: Final = 3

ACCOUNT_SECONDS: Final = 10.0
"""How long an apply waits for the service account of a new namespace, whose controller may be down."""


def simulated_nodes(nodes: int | Sequence[SimulatedNode]) -> tuple[SimulatedNode, ...]:
    """The nodes of a cluster: `3` means node-0, node-1, node-2 in zones zone-a, zone-b, zone-c in turn."""
    if not isinstance(nodes, int):
        return tuple(nodes)
    return tuple(
        SimulatedNode(name=f"node-{number}", zone=f"zone-{'abc'[number % 3]}")
        for number in range(nodes)
    )


@attrs.frozen
class LogHandle:
    """The log of a running cluster."""

    store: Store

    @property
    def head(self) -> int:
        """The last revision."""
        return self.store.head

    @property
    def digest(self) -> str:
        """The rolling hash over all events up to now."""
        return self.store.digest


@attrs.define(eq=False, kw_only=True)
class Cluster:
    """A Kubernetes cluster in one process.

    `nodes` is a number or a list of SimulatedNode; `reconcilers` defaults to Kubernetes' own
    (`default_reconcilers()`); `images` says how containers behave, by image; `log_path` is where the log is written
    (None keeps it in memory), with `header` in front of it; kinds of one's own are registered with `scheme`.
    `simulation` is given by `wavetank.run`; without it the cluster lives in real time and `seed` is its own. Only then it can have its state in an
    etcd, named by `store`, and share it with the clusters of other processes (which need nodes of other names, or none).

        async with Cluster(nodes=3) as cluster:
            await cluster.apply("shop.yaml")
    """

    nodes: int | Sequence[SimulatedNode] = DEFAULT_NODES
    settings: Settings = attrs.field(factory=Settings)
    reconcilers: Sequence[Reconciler] = attrs.field(factory=default_reconcilers)
    images: Sequence[ImageBehaviour] = ()
    scheme: Scheme = attrs.field(factory=default_scheme)
    log_path: Path | str | None = None
    store: str = ""
    """As etcd://HOST:PORT[,HOST:PORT...]; store.etcd_address has all of it. Empty: the store is this process's own."""
    durability: Durability = Durability.BUFFERED
    keep: Keep = attrs.field(default=Keep.all(), converter=as_keep)
    """How much history the log at `log_path` keeps; also a text: "all", a number of revisions, or a time such as "2h"."""
    header: Mapping[str, Json] = attrs.field(factory=dict)
    api_servers: int = 1
    """How many API servers serve the store; engine.control.servers has who asks which."""
    seed: int = 0
    simulation: Simulation | None = None

    clock: Clock = attrs.field(init=False)
    """Cluster time."""
    draws: Draws = attrs.field(init=False)
    """The run's labelled draws."""
    client: Client = attrs.field(init=False)
    """The user's own way to the API server, undisturbed by faults."""
    chaos: Chaos = attrs.field(init=False)
    """The faults it can be given."""
    log: LogHandle = attrs.field(init=False)
    observer: Observer = attrs.field(init=False)
    """Follows the log; spectators are added to it."""
    control_plane: ControlPlane = attrs.field(init=False)
    machines: dict[str, NodeHandle] = attrs.field(factory=dict, init=False)
    """The simulated nodes by name."""
    links: dict[str, Link] = attrs.field(factory=dict, init=False)
    """The way of each process to the API server, by the process' name."""
    servers: ApiServers = attrs.field(factory=ApiServers, init=False)
    """The API servers, processes as all others; `server` is the first."""
    server: ApiServer = attrs.field(init=False)
    failures: list[str] = attrs.field(factory=list, init=False)
    """What reconcilers raised that is no API error, in order."""
    on_fault: list[FaultListener] = attrs.field(factory=list, init=False)
    """Called with kind, target and nodes of each fault as it strikes."""
    processes: Processes = attrs.field(init=False)
    """All that runs in the cluster."""
    _epoch_us: int = attrs.field(default=0, init=False)
    """Unix microseconds at time 0 of the log."""
    _stack: AsyncExitStack = attrs.field(factory=AsyncExitStack, init=False)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.enter_context(acting(ROOT))
            await self._open(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._stack.__aexit__(exc_type, exc, traceback)

    async def _open(self, stack: AsyncExitStack) -> None:
        simulation = self.simulation
        if simulation is not None:
            self.clock, self.draws = simulation.clock, simulation.draws
            processes = simulation.processes
        else:
            self.clock = Clock.wall()
            # Those who share a store must not draw the same uids.
            self.draws = Draws(self.seed + self.clock.epoch_us if self.store else self.seed)
            processes = await stack.enter_async_context(open_processes())
        self.processes = processes
        store = await self._open_store(stack)
        self.log = LogHandle(store)
        nursery = await stack.enter_async_context(_service_nursery())
        self.observer = Observer(store, View(ClusterState(self.scheme), self._wall_text))
        nursery.start_soon(self.observer.run, name="observer")
        disturbed = None if self.store else DisturbedStore(store, spares=_is_of_the_experiment)
        stack.push_async_callback(processes.aclose)  # before the store that they use is closed
        await self._start_servers(disturbed or store)
        if self.api_servers > 1:
            nursery.start_soon(self.servers.check_health, name="load balancer")
        self.client = Client(
            endpoint=AnyServer(self.servers, partial(self._new_server, store, self.api_servers)),
            scheme=self.scheme,
        )
        self.control_plane = ControlPlane(
            servers=self.servers,
            scheme=self.scheme,
            clock=self.clock,
            draws=self.draws,
            settings=self.settings,
            processes=processes,
            reconcilers=self.reconcilers,
            on_failure=self._reconciler_failed,
            links=self.links,
        )
        processes.on_failure = partial(self._process_failed, nursery)
        with acting(Origin(actor="wavetank", causes=("start",))):
            self.control_plane.start()
            self._start_nodes(processes)
        if self._makes_accounts():
            await self._default_account("default")
        world = World(
            client=self.client,
            clock=self.clock,
            draws=self.draws,
            nodes=self.machines,
            controllers=self.control_plane.controllers,
            links=self.links,
            processes=processes,
            seams=self.control_plane.seams,
            routes=self.control_plane.routes,
            servers=self.servers.handles,
            store=disturbed,
            electors=self.control_plane.electors,
            view=lambda: self.view,
            nursery=nursery,
        )
        self.chaos = Chaos(world=world, on_fault=self._fault_struck)

    async def _start_servers(self, store: Store) -> None:
        """Start the API servers, one after the other."""
        if self.api_servers < 1:
            raise BadInput(f"api_servers is {self.api_servers}: a cluster has one at least")
        for number in range(self.api_servers):
            api = self._new_server(store, number)
            await self.servers.start(f"apiserver-{number}", api, self.processes)
        self.server = next(iter(self.servers.handles.values())).api

    def _new_server(self, store: Store, number: int) -> ApiServer:
        """An API server; the names and uids that it gives depend on its number."""
        return ApiServer(
            store=store,
            scheme=self.scheme,
            clock=self.clock,
            draws=Draws(self.draws.bits("apiserver", number)) if number else self.draws,
            settings=self.settings,
            # Without the controller that makes it, pods do without the account `default`.
            default_account_implied=not self._makes_accounts(),
            shared=bool(self.store) or self.api_servers > 1,
        )

    async def _open_store(self, stack: AsyncExitStack) -> Store:
        codec, clock = ObjectCodec(self.scheme), self.clock.now_ns
        self._epoch_us = self.clock.epoch_us
        header = {
            **self.header,
            **kinds_header(self.scheme),
            **keep_header(self.keep),
            "epochUs": self._epoch_us,
        }
        if self.keep != Keep.all() and self.log_path is None:
            raise BadInput(
                f"keep {self.keep}: there is no log on disk to keep; give a log, or leave keep out"
            )
        if not self.store:
            durability = self.durability if self.log_path is not None else Durability.NONE
            opening = open_store(
                self.log_path,
                codec=codec,
                clock=clock,
                durability=durability,
                header=header,
                keep=self.keep,
            )
            return await stack.enter_async_context(opening)
        if self.simulation is not None or self.log_path is not None:
            raise BadInput(
                "a store in etcd keeps real time, and its own log: no simulation, no log_path"
            )
        try:
            etcd = await stack.enter_async_context(
                open_etcd(
                    self.store, codec=codec, clock=clock, epoch_us=self._epoch_us, header=header
                )
            )
        except StoreError as error:
            raise BadInput(f"store: {error}") from error
        self._epoch_us = cast("int", etcd.header["epochUs"])
        return etcd

    def _makes_accounts(self) -> bool:
        return any(isinstance(each, ServiceAccountReconciler) for each in self.reconcilers)

    def _process_failed(self, nursery: trio.Nursery, process: Process, failure: Exception) -> None:
        """A reconciler's process that fails is started again; any other is a fault of ours, and ends the run."""
        if not self.control_plane.owns(process):
            raise ProcessFailed(process.name, failure) from failure
        self.failures.append(f"{process.name}: {type(failure).__name__}: {failure}")
        nursery.start_soon(self.control_plane.revive, process, name=f"revive {process.name}")

    def _start_nodes(self, processes: Processes) -> None:
        images = Images(self.images, self.draws)
        for node in simulated_nodes(self.nodes):
            if node.name in self.machines:
                raise BadInput(f"two nodes are called {node.name}")
            self.machines[node.name] = self._start_node(node, images, processes)

    def _start_node(self, node: SimulatedNode, images: Images, processes: Processes) -> NodeHandle:
        async def main() -> None:
            await kubelet.run()

        process = processes.start(f"kubelet/{node.name}", main)
        link = self.links[process.name] = Link(process.name, draws=self.draws, process=process)
        runtime = make_runtime(node, images, self.draws)
        kubelet = Kubelet(
            description=node,
            runtime=runtime,
            client=self.control_plane.client_of(process, link),
            clock=self.clock,
            draws=self.draws,
            settings=self.settings,
            gate=process.passed,
        )
        return NodeHandle(
            description=node,
            runtime=runtime,
            kubelet=kubelet,
            process=process,
            link=link,
            clock=self.clock,
        )

    def _wall_text(self, time_ns: int) -> str:
        return str(MicroTime.of(self._epoch_us + time_ns // 1000))

    def _reconciler_failed(self, name: str, key: Key, error: Exception) -> None:
        self.failures.append(f"{name} {key}: {type(error).__name__}: {error}")

    def _fault_struck(self, kind: str, target: str, nodes: Sequence[str]) -> None:
        for listener in self.on_fault:
            listener(kind, target, nodes)

    # -- what a program asks for -----------------------------------------------------------------

    @property
    def view(self) -> View:
        """The cluster as the log shows it now."""
        return self.observer.view

    async def apply(self, source: Manifests, *, namespace: str = "default") -> list[KubeObject]:
        """Create or update objects as `kubectl apply -f` does: a path, a text, data or objects.

        Raises ManifestError for what cannot be read, ApiError for what the API server refuses.
        """
        return [
            await self.apply_object(loaded.object, namespace)
            for loaded in load_manifests(source, self.scheme)
        ]

    async def apply_object(self, obj: KubeObject, namespace: str = "default") -> KubeObject:
        """Create or update one object; `namespace` is for one that names none. Raises ApiError.

        After a new Namespace it waits for its service account, without which pods of the same manifest would be refused:
        with kubectl that is a race, which one wins by trying again.
        """
        resource = self.scheme.resource_of(obj)
        if resource.namespaced and not obj.metadata.namespace:
            obj = in_namespace(obj, namespace)
        applied = await self.client.apply(obj)
        if isinstance(applied, Namespace) and self._makes_accounts():
            with trio.move_on_after(ACCOUNT_SECONDS):
                await self._default_account(applied.metadata.name)
        return applied

    async def _default_account(self, namespace: str) -> None:
        key = Key(namespace, "default")
        await self.observer.until(
            lambda view: key in view.state.raw("ServiceAccount"), math.inf, "the account default"
        )

    async def settled(
        self,
        timeout: float | str = "10m",  # noqa: ASYNC109 - of cluster time, and its error says what was left
    ) -> None:
        """Wait until there is nothing left to do: all desired states are reached, and all nodes known.

        Raises NotReached, which says what was left.
        """
        names = list(self.machines)
        search = UnsettledSearch()

        def settled(view: View) -> bool:
            if search.found(view):
                return False
            nodes = view.state.raw("Node")
            return all(
                Key("", name) in nodes for name in names if self.machines[name].process.living
            )

        # Whoever calls has just written: let the news reach the observer first.
        await self.observer.caught_up(self.log.head)
        await self.observer.until(settled, seconds(timeout), "a settled cluster")

    async def until(
        self,
        predicate: Callable[[View], object],
        timeout: float | str = math.inf,  # noqa: ASYNC109 - as above
    ) -> None:
        """Wait until `predicate(view)` is true; it is asked after each change. Raises NotReached."""
        await self.observer.caught_up(self.log.head)
        name = getattr(predicate, "__name__", repr(predicate))
        await self.observer.until(predicate, seconds(timeout), f"until({name})")

    def busiest_node(self) -> str:
        """The ready node with the most pods; of equals the first by name. Raises UnknownTarget when none is ready."""
        ready = [node.object.metadata.name for node in self.view.nodes() if node.ready]
        if not ready:
            raise UnknownTarget("no node is ready")
        return min(ready, key=lambda name: (-len(self.view.pods(node=name)), name))


def _is_of_the_experiment() -> bool:
    """Whether the user or chaos is writing: what the store refuses to the cluster it does not refuse to them."""
    return current_origin().actor in SPARED


def seconds(value: float | str) -> float:
    """A time given as a number of seconds or as a text such as "5m". Raises BadInput."""
    if not isinstance(value, str):
        return float(value)
    try:
        return parse_duration(value)
    except DurationError as error:
        raise BadInput(str(error)) from None


def in_namespace(obj: KubeObject, namespace: str) -> KubeObject:
    """`obj` with its namespace set."""
    assert attrs.has(type(obj))
    metadata = attrs.evolve(obj.metadata, namespace=namespace)
    return attrs.evolve(obj, metadata=metadata)  # type: ignore[misc]  # every kind is an attrs class


@asynccontextmanager
async def _service_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery for services: cancelled when the block is over."""
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        finally:
            nursery.cancel_scope.cancel()
