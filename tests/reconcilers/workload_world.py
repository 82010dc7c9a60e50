"""A cluster of the API server and workload reconcilers, without kubelets: hands start and stop the
pods.

The hands bind each new pod to a node, report it ready after a while, and remove it some time after
its deletion: what a kubelet does, as far as controllers can see it. A test may hold them back.
Every write is in the store's history, which tests read afterwards.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import attrs
import trio

from engine import (
    ApiError,
    Client,
    Condition,
    Container,
    ControllerRuntime,
    Deployment,
    DeploymentSpec,
    DeploymentStrategy,
    Endpoint,
    Gone,
    KubeObject,
    LabelSelector,
    NotFound,
    ObjectCodec,
    ObjectList,
    ObjectMeta,
    Pod,
    PodSpec,
    PodTemplateSpec,
    Reconciler,
    ReplicaSet,
    Request,
    Scheme,
    Settings,
    Simulation,
    Time,
    Verb,
    WatchEvent,
    WatchEventType,
    WatchRequest,
    WatchStream,
    default_scheme,
    open_api_server,
    run_simulation,
)
from engine import Event as KubeEvent
from store import Store, open_store

T = TypeVar("T", bound=KubeObject)

NODES: Final = ("n0", "n1", "n2")


@attrs.frozen
class LateStream:
    """A watch whose events come `lag` seconds late."""

    stream: WatchStream
    lag: float

    async def receive(self) -> tuple[WatchEvent, ...]:
        events = await self.stream.receive()
        await trio.sleep(self.lag)
        return events


@attrs.frozen
class BlindStream:
    """A watch that delivers nothing and, once `sight` is set, has lost its history."""

    sight: trio.Event

    async def receive(self) -> tuple[WatchEvent, ...]:
        await self.sight.wait()
        raise Gone("too old resource version")


@attrs.define(eq=False)
class Wire:
    """The way of one reconciler to the server; `refuse` may turn a request down, `lag` makes its
    caches stale, and what happens to a plural in `blind` is not seen until its event is set, and
    then only what is left of it.
    """

    endpoint: Endpoint
    lag: float = 0.0
    blind: dict[str, trio.Event] = attrs.field(factory=dict)
    refuse: Callable[[Request], ApiError | None] = lambda _request: None
    requests: list[Request] = attrs.field(factory=list)
    writes: int = 0
    cut_at: int = 0
    """After this write, which is done, `cut` is called before the writer learns of it."""
    cut: Callable[[], None] = lambda: None

    async def request(self, request: Request) -> KubeObject | ObjectList | None:
        self.requests.append(request)
        error = self.refuse(request)
        if error is not None:
            await trio.lowlevel.checkpoint()
            raise error
        answer = await self.endpoint.request(request)
        if request.verb not in {Verb.GET, Verb.LIST}:
            self.writes += 1
            if self.writes == self.cut_at:
                self.cut()
                await trio.lowlevel.checkpoint()
        return answer

    @asynccontextmanager
    async def watch(self, request: WatchRequest) -> AsyncIterator[WatchStream]:
        sight = self.blind.pop(request.resource.plural, None)
        if sight is not None:
            yield BlindStream(sight)
            return
        async with self.endpoint.watch(request) as stream:
            yield LateStream(stream, self.lag) if self.lag else stream


@attrs.define(eq=False)
class World:
    """See the module's text."""

    simulation: Simulation
    settings: Settings
    endpoint: Endpoint
    scheme: Scheme
    store: Store
    nursery: trio.Nursery
    client: Client = attrs.field(init=False)
    wires: dict[str, Wire] = attrs.field(factory=dict)
    runtimes: dict[str, ControllerRuntime] = attrs.field(factory=dict)
    start_seconds: float = 2.0
    """How long after its creation a pod is ready."""
    stop_seconds: float = 1.0
    """How long after its deletion a pod is gone."""
    holding: bool = False
    """New pods do not become ready."""
    _scopes: dict[str, trio.CancelScope] = attrs.field(factory=dict)
    _bound: int = 0

    def __attrs_post_init__(self) -> None:
        self.client = Client(endpoint=self.endpoint, scheme=self.scheme)

    # -- reconcilers -------------------------------------------------------------------------------

    def start(self, reconciler: Reconciler, *, lag: float = 0.0) -> ControllerRuntime:
        """Run a reconciler with empty memory; it learns of changes `lag` seconds late."""
        wire = self.wires.setdefault(reconciler.name, Wire(self.endpoint))
        wire.lag = lag
        runtime = ControllerRuntime(
            template=reconciler,
            client=Client(endpoint=wire, scheme=self.scheme),
            clock=self.simulation.clock,
            draws=self.simulation.draws,
            settings=self.settings,
            gate=trio.lowlevel.checkpoint,
        )
        self.runtimes[reconciler.name] = runtime
        scope = self._scopes[reconciler.name] = trio.CancelScope()

        async def running() -> None:
            with scope:
                await runtime.run()

        self.nursery.start_soon(running)
        return runtime

    def crash(self, name: str) -> None:
        """Stop a reconciler between two of its awaits."""
        self._scopes.pop(name).cancel()

    # -- hands -------------------------------------------------------------------------------------

    async def play_kubelets(self) -> None:
        """Bind, report and remove pods, for ever."""
        async with self.client.watch(Pod) as stream:
            while True:
                for event in await stream.receive():
                    pod = event.object
                    if not isinstance(pod, Pod):
                        continue
                    if event.type is WatchEventType.ADDED and not pod.spec.node_name:
                        self.nursery.start_soon(self._begin, pod)
                    elif event.type is WatchEventType.MODIFIED and pod.metadata.deletion_timestamp:
                        self.nursery.start_soon(self._end, pod)

    async def _begin(self, pod: Pod) -> None:
        self._bound += 1
        try:
            await self.client.bind(pod, NODES[self._bound % len(NODES)])
            await trio.sleep(self.start_seconds)
            if not self.holding:
                await self.report(pod.metadata.name, namespace=pod.metadata.namespace)
        except ApiError:
            return

    async def _end(self, pod: Pod) -> None:
        await trio.sleep(self.stop_seconds)
        try:
            await self.client.delete(pod, grace_period_seconds=0)
        except ApiError:
            return

    async def report(self, name: str, *, ready: bool = True, namespace: str = "default") -> None:
        """The pod runs, and is ready or not."""
        pod = await self.client.get(Pod, name, namespace)
        condition = Condition(
            type="Ready",
            status="True" if ready else "False",
            last_transition_time=Time.of(self.simulation.clock.unix_us()),
        )
        status = attrs.evolve(pod.status, phase="Running", conditions=(condition,))
        await self.client.update_status(attrs.evolve(pod, status=status))

    # -- looking -----------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        return self.simulation.clock.now()

    async def pods(self, namespace: str = "default") -> list[Pod]:
        return await self.client.list(Pod, namespace)

    async def find(self, kind: type[T], name: str, namespace: str = "default") -> T | None:
        try:
            return await self.client.get(kind, name, namespace)
        except NotFound:
            return None

    async def replica_sets(self) -> dict[str, int]:
        """The image of each ReplicaSet, in order of creation, with its replicas."""
        sets = await self.client.list(ReplicaSet, "default")
        sets.sort(key=lambda each: int(each.metadata.annotations.get(REVISION, "0")))
        return {
            each.spec.template.spec.containers[0].image: each.spec.replicas or 0 for each in sets
        }

    async def messages(self, reason: str) -> list[str]:
        """Messages of the Kubernetes Events with that reason."""
        events = await self.client.list(KubeEvent)
        return [event.message for event in events if event.reason == reason]

    async def until(self, holds: Callable[[], Awaitable[bool]], *, seconds: float = 300.0) -> None:
        """Wait, looking every second."""
        with trio.fail_after(seconds):
            while not await holds():  # noqa: ASYNC110 - looking is free in virtual time
                await trio.sleep(1)

    async def complete(self, name: str = "web", seconds: float = 300.0) -> None:
        """Wait until the Deployment's rollout is complete."""

        async def holds() -> bool:
            deployment = await self.client.get(Deployment, name, "default")
            status = deployment.status
            return (
                status.observed_generation == deployment.metadata.generation
                and status.updated_replicas
                == status.replicas
                == status.available_replicas
                == deployment.spec.replicas
            )

        await self.until(holds, seconds=seconds)

    def made(self, plural: str) -> int:
        """How many objects of a kind were ever created."""
        events = self.store.history()
        return sum(e.key.startswith(f"/registry/{plural}/") and e.previous == 0 for e in events)


REVISION: Final = "deployment.kubernetes.io/revision"


def template(version: int, app: str = "web") -> PodTemplateSpec:
    """A pod template with the label app, of that version."""
    return PodTemplateSpec(
        metadata=ObjectMeta(labels={"app": app}),
        spec=PodSpec(containers=(Container(name="main", image=f"web:{version}"),)),
    )


def deployment(
    replicas: int = 3, version: int = 1, *, strategy: str = "RollingUpdate", name: str = "web"
) -> Deployment:
    """A Deployment whose bounds the server defaults."""
    return Deployment(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=DeploymentSpec(
            replicas=replicas,
            selector=LabelSelector(match_labels={"app": name}),
            template=template(version, name),
            strategy=DeploymentStrategy(type=strategy),
        ),
    )


@asynccontextmanager
async def open_world(
    simulation: Simulation, settings: Settings, scheme: Scheme, reconcilers: Sequence[Reconciler]
) -> AsyncIterator[World]:
    """A world for the length of the block."""
    codec = ObjectCodec(scheme)
    clock, draws = simulation.clock, simulation.draws
    async with (
        open_store(codec=codec, clock=clock.now_ns) as store,
        open_api_server(
            store=store, scheme=scheme, clock=clock, draws=draws, settings=settings
        ) as server,
        trio.open_nursery() as nursery,
    ):
        world = World(simulation, settings, server, scheme, store, nursery)
        nursery.start_soon(world.play_kubelets)
        for reconciler in reconcilers:
            world.start(reconciler)
        yield world
        nursery.cancel_scope.cancel()


def simulate(
    test: Callable[[World], Awaitable[T]] | Callable[[World], Awaitable[None]],
    *reconcilers: Reconciler,
    settings: Settings | None = None,
    scheme: Scheme | None = None,
    seed: int = 1,
) -> str:
    """Run `test` in virtual time beside the reconcilers; returns the digest of the log."""

    async def main(simulation: Simulation) -> str:
        chosen = settings or Settings()
        kinds = scheme or default_scheme()
        async with open_world(simulation, chosen, kinds, reconcilers) as world:
            await test(world)
            return world.store.digest

    return run_simulation(main, seed=seed)


def refuse_pods(error: ApiError) -> Callable[[Request], ApiError | None]:
    """Turn down every create of a pod."""

    def refuse(request: Request) -> ApiError | None:
        creates = request.verb is Verb.CREATE and request.resource.plural == "pods"
        return error if creates else None

    return refuse
