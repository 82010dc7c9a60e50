"""A cluster of the API server, some reconcilers and nodes that only send heartbeats, for the tests
of node reconcilers.

The test plays the kubelets: it posts conditions, renews Leases and decides when to stop. What
everybody could see is kept in `history`, by watches on Nodes, Pods and Events that begin before
anything else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, TypeVar

import attrs
import trio

from engine import (
    Client,
    Condition,
    Container,
    ControllerRuntime,
    Endpoint,
    Event,
    KubeObject,
    Lease,
    LeaseSpec,
    MicroTime,
    Namespace,
    Node,
    NodeSpec,
    ObjectCodec,
    ObjectList,
    ObjectMeta,
    Pod,
    PodSpec,
    Reconciler,
    Request,
    Scheme,
    Settings,
    Simulation,
    Taint,
    Time,
    Toleration,
    Unavailable,
    Verb,
    WatchEventType,
    WatchRequest,
    WatchStream,
    condition_of,
    default_scheme,
    open_api_server,
    run_simulation,
)
from store import open_store

T = TypeVar("T")

RENEWAL: Final = 10.0
"""Seconds between two renewals of a node's Lease."""

_HEALTHY: Final = (
    (
        "MemoryPressure",
        "False",
        "KubeletHasSufficientMemory",
        "kubelet has sufficient memory available",
    ),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)


@attrs.frozen
class Seen:
    """One watch event: seconds since the start, what happened, the object."""

    seconds: float
    type: WatchEventType
    object: KubeObject


@attrs.define(eq=False)
class Wire:
    """The way of one reconciler to the server, on which the test may play tricks."""

    endpoint: Endpoint
    down: bool = False
    """Every request is refused; watches go on."""
    writes_left: int | None = None
    """After that many more writes `cut` is called, with the last of them answered and nothing done
    with the answer."""
    cut: Callable[[], None] = lambda: None

    async def request(self, request: Request) -> KubeObject | ObjectList | None:
        if self.down:
            await trio.lowlevel.checkpoint()
            raise Unavailable("the test has cut the line")
        answer = await self.endpoint.request(request)
        if self.writes_left is not None and request.verb not in (Verb.GET, Verb.LIST):
            self.writes_left -= 1
            if self.writes_left == 0:
                self.cut()
                await trio.lowlevel.checkpoint()
        return answer

    def watch(self, request: WatchRequest) -> AbstractAsyncContextManager[WatchStream]:
        return self.endpoint.watch(request)


@attrs.define(eq=False)
class NodeCluster:
    """See the module's text."""

    simulation: Simulation
    settings: Settings
    endpoint: Endpoint
    scheme: Scheme
    nursery: trio.Nursery
    client: Client = attrs.field(init=False)
    history: list[Seen] = attrs.field(factory=list)
    runtimes: dict[str, ControllerRuntime] = attrs.field(factory=dict)
    wires: dict[str, Wire] = attrs.field(factory=dict)
    _scopes: dict[str, trio.CancelScope] = attrs.field(factory=dict)
    _beats: dict[str, trio.CancelScope] = attrs.field(factory=dict)
    _leases: dict[str, Lease] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.client = Client(endpoint=self.endpoint, scheme=self.scheme)

    @property
    def now(self) -> float:
        return self.simulation.clock.now()

    def _time(self) -> Time:
        return Time.of(self.simulation.clock.unix_us())

    # -- reconcilers -----------------------------------------------------------------------------

    def start(self, reconciler: Reconciler) -> ControllerRuntime:
        """Run a reconciler, or run it again after `crash`, from the beginning."""
        wire = self.wires[reconciler.name] = Wire(self.endpoint)
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
        self._scopes.pop(name).cancel()

    # -- nodes -----------------------------------------------------------------------------------

    async def add_node(
        self, name: str, zone: str = "", *, posts: bool = True, taints: tuple[Taint, ...] = ()
    ) -> None:
        """A node; with `posts` it is Ready and renews its Lease from now on, every RENEWAL seconds."""
        labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone}
        await self.client.create(
            Node(metadata=ObjectMeta(name=name, labels=labels), spec=NodeSpec(taints=taints))
        )
        if posts:
            await self.post(name)
            self.beat(name)

    async def post(self, name: str, ready: str = "True", **others: str) -> None:
        """Post a status as a kubelet does."""
        node = await self.client.get(Node, name)
        conditions = []
        for type_, status, reason, message in _HEALTHY:
            wanted = others.get(type_, ready if type_ == "Ready" else status)
            old = condition_of(node.status.conditions, type_)
            same = old is not None and old.status == wanted
            conditions.append(
                Condition(
                    type=type_,
                    status=wanted,
                    reason=reason,
                    message=message,
                    last_heartbeat_time=self._time(),
                    last_transition_time=old.last_transition_time
                    if same and old is not None
                    else self._time(),
                )
            )
        status = attrs.evolve(node.status, conditions=tuple(conditions))
        version = attrs.evolve(node.metadata, resource_version="")
        await self.client.update_status(attrs.evolve(node, metadata=version, status=status))

    def beat(self, name: str) -> None:
        """Renew the node's Lease now, and every RENEWAL seconds until `silence`."""
        scope = self._beats[name] = trio.CancelScope()

        async def beating() -> None:
            with scope:
                while True:
                    await self.renew(name)
                    await trio.sleep(RENEWAL)

        self.nursery.start_soon(beating)

    async def renew(self, name: str) -> None:
        """Renew the node's Lease, as read last; make it first."""
        spec = LeaseSpec(
            holder_identity=name,
            lease_duration_seconds=40,
            renew_time=MicroTime.of(self.simulation.clock.unix_us()),
        )
        known = self._leases.get(name)
        if known is None:
            metadata = ObjectMeta(name=name, namespace="kube-node-lease")
            self._leases[name] = await self.client.create(Lease(metadata=metadata, spec=spec))
        else:
            self._leases[name] = await self.client.update(attrs.evolve(known, spec=spec))

    def silence(self, name: str) -> None:
        """The node's kubelet stops."""
        self._beats.pop(name).cancel()

    async def revive(self, name: str) -> None:
        """The node's kubelet is back: a renewal, and a status that is all well."""
        self.beat(name)
        await self.post(name)

    async def add_pod(
        self, name: str, node: str, *tolerations: Toleration, namespace: str = "nodefail"
    ) -> None:
        """A pod that runs and is ready on that node."""
        pod = await self.client.create(
            Pod(
                metadata=ObjectMeta(name=name, namespace=namespace),
                spec=PodSpec(
                    containers=(Container(name="main", image="nginx"),),
                    node_name=node,
                    tolerations=tolerations,
                ),
            )
        )
        conditions = tuple(
            Condition(type=type_, status="True", last_transition_time=self._time())
            for type_ in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
        )
        status = attrs.evolve(pod.status, phase="Running", conditions=conditions)
        await self.client.update_status(attrs.evolve(pod, status=status))

    # -- what was seen ---------------------------------------------------------------------------

    async def watch(self, kind: type[KubeObject]) -> None:
        async with self.client.watch(kind) as stream:
            while True:
                for event in await stream.receive():
                    if event.object is not None:
                        self.history.append(Seen(self.now, event.type, event.object))

    def states(self, kind: type[T], name: str) -> Iterator[tuple[float, T]]:
        """When an object was seen in which states."""
        for seen in self.history:
            if isinstance(seen.object, kind) and seen.object.metadata.name == name:
                yield seen.seconds, seen.object

    def when(
        self, kind: type[T], name: str, holds: Callable[[T], bool], *, after: float = 0.0
    ) -> float:
        """When the object was first seen in such a state. Fails when it never was."""
        for seconds, obj in self.states(kind, name):
            if seconds >= after and holds(obj):
                return seconds
        raise AssertionError(f"{kind.__name__} {name} was never seen so")

    def events(self, reason: str) -> list[tuple[float, str, str, str]]:
        """Time, object, message and source of each Event with that reason, as first told."""
        return [
            (
                seen.seconds,
                f"{seen.object.involved_object.kind}/{seen.object.involved_object.name}",
                seen.object.message,
                seen.object.source.component,
            )
            for seen in self.history
            if isinstance(seen.object, Event)
            and seen.type is WatchEventType.ADDED
            and seen.object.reason == reason
        ]


def taint_keys(node: Node, effect: str) -> list[str]:
    """The last parts of the keys of the node's taints of that effect."""
    return [taint.key.rpartition("/")[2] for taint in node.spec.taints if taint.effect == effect]


def ready_of(obj: Node | Pod) -> str:
    """The status of the Ready condition; empty when it is missing."""
    ready = condition_of(obj.status.conditions, "Ready")
    return ready.status if ready is not None else ""


def tolerate(key: str, seconds: int | None) -> Toleration:
    """Tolerates a NoExecute taint of the node controller, as admission writes it."""
    return Toleration(
        key=f"node.kubernetes.io/{key}",
        operator="Exists",
        effect="NoExecute",
        toleration_seconds=seconds,
    )


DEFAULT_TOLERATIONS: Final = (tolerate("not-ready", 300), tolerate("unreachable", 300))


@asynccontextmanager
async def open_server(
    simulation: Simulation, settings: Settings
) -> AsyncIterator[tuple[Endpoint, Scheme]]:
    """An API server over a store in memory."""
    scheme, clock = default_scheme(), simulation.clock
    async with (
        open_store(codec=ObjectCodec(scheme), clock=clock.now_ns) as store,
        open_api_server(
            store=store, scheme=scheme, clock=clock, draws=simulation.draws, settings=settings
        ) as server,
    ):
        yield server, scheme


@asynccontextmanager
async def open_cluster(
    simulation: Simulation, settings: Settings, reconcilers: Sequence[Reconciler]
) -> AsyncIterator[NodeCluster]:
    async with (
        open_server(simulation, settings) as (endpoint, scheme),
        trio.open_nursery() as nursery,
    ):
        cluster = NodeCluster(simulation, settings, endpoint, scheme, nursery)
        await cluster.client.create(Namespace(metadata=ObjectMeta(name="nodefail")))
        for kind in (Node, Pod, Event):
            nursery.start_soon(cluster.watch, kind)
        for reconciler in reconcilers:
            cluster.start(reconciler)
        yield cluster
        nursery.cancel_scope.cancel()


def simulate(
    test: Callable[[NodeCluster], Awaitable[None]],
    *reconcilers: Reconciler,
    settings: Settings | None = None,
    seed: int = 1,
) -> NodeCluster:
    """Run `test` in virtual time beside the reconcilers; returns the cluster with its history."""

    async def main(simulation: Simulation) -> NodeCluster:
        chosen = settings or Settings.for_version("1.20")
        async with open_cluster(simulation, chosen, reconcilers) as cluster:
            await test(cluster)
        return cluster

    return run_simulation(main, seed=seed)


LAST_RENEWAL: Final = 100.0
AWAY: Final = 440.0
BACK: Final = LAST_RENEWAL + AWAY
"""When, in the recorded scenario, fake-0 was last heard of, and when it is back; seconds since the
start."""
_DAEMON: Final = (tolerate("not-ready", None), tolerate("unreachable", None))
_FAST: Final = (tolerate("unreachable", 30), tolerate("not-ready", 300))


async def recorded_scenario(cluster: NodeCluster, away: float = AWAY) -> None:
    """The node's part of the recording: fake-0 renews at LAST_RENEWAL for the last time and is back
    `away` seconds later.
    """
    for number in range(5):
        await cluster.add_node(f"fake-{number}")
    for name in ("web-1", "web-2"):
        await cluster.add_pod(name, "fake-0", *DEFAULT_TOLERATIONS)
    await cluster.add_pod("bare", "fake-0", *DEFAULT_TOLERATIONS)
    await cluster.add_pod("fast-1", "fake-0", *_FAST)
    await cluster.add_pod("ds-1", "fake-0", *_DAEMON)
    await cluster.add_pod("web-3", "fake-1", *DEFAULT_TOLERATIONS)
    await trio.sleep(LAST_RENEWAL + 1 - cluster.now)
    cluster.silence("fake-0")
    await trio.sleep(LAST_RENEWAL + away - cluster.now)
    await cluster.revive("fake-0")
    await trio.sleep(60)
