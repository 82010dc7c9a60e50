"""A node of the cluster under simulation: the machine, its kubelet's process, and its link. What faults act on."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from engine import (
    PERFECT,
    Client,
    Clock,
    Draws,
    Endpoint,
    Hold,
    Link,
    LinkedEndpoint,
    LinkQuality,
    Process,
    Processes,
    Scheme,
    Settings,
    State,
)
from sim_nodes.addresses import PodAddresses, fallback_cidr
from sim_nodes.disturbances import Disturbances
from sim_nodes.effects import Effect
from sim_nodes.images import Images
from sim_nodes.kubelet import Kubelet
from sim_nodes.node_status import SimulatedNode
from sim_nodes.pulls import Puller
from sim_nodes.runtime import Containers, Runtime


def make_runtime(description: SimulatedNode, images: Images, draws: Draws) -> Runtime:
    """The runtime of a new machine. Its pods get addresses from a drawn /24 until the cluster assigns the node a podCIDR."""
    name = description.name
    return Runtime(
        node=name,
        images=images,
        draws=draws,
        puller=Puller(node=name, images=images, max_parallel=description.max_parallel_image_pulls),
        addresses=PodAddresses(fallback_cidr(draws.integer(f"node/{name}/pod-cidr", 0, 1 << 15))),
    )


@attrs.frozen
class MachinePause:
    """A machine that stands still. `release()` lets it go on when no other pause holds it; again, or after a crash, it does nothing."""

    _node: NodeHandle
    _stop: Hold
    _freeze: Effect[None]

    @property
    def active(self) -> bool:
        """Whether it still holds the machine."""
        return self._freeze.active or self._stop.active

    def release(self) -> None:
        """Let go."""
        if self._node.runtime.thaw(self._node.clock.now_ns(), self._freeze):
            self._node.kubelet.look_again()
        self._stop.release()


@attrs.define(eq=False, kw_only=True)
class NodeHandle:
    """One node. `process` runs `kubelet`; `link` is its way to the API server.

    A pause of the kubelet is `process.pause()`, one of the whole machine `pause()`, a partition `link.partition()`; a restart of the
    kubelet alone, with all containers running on, is `restart_kubelet()`. What else faults do to it is in `disturbances`.
    """

    description: SimulatedNode
    runtime: Runtime
    kubelet: Kubelet
    process: Process
    link: Link
    clock: Clock
    retired: bool = attrs.field(default=False, init=False)
    """Whether its power is off for good: a heal does not bring it back."""

    def __repr__(self) -> str:
        return f"<NodeHandle {self.name} {self.process.state.value}>"

    @property
    def name(self) -> str:
        return self.description.name

    @property
    def disturbances(self) -> Disturbances:
        """What faults do to it now; whoever changes it tells the kubelet (`Kubelet.poke`, `Kubelet.look_again`)."""
        return self.runtime.disturbances

    @property
    def down(self) -> bool:
        """Whether the machine is without power."""
        return self.runtime.down

    async def crash(self) -> None:
        """Cut the power: the kubelet and all containers are gone at once, and nobody is told. Nothing happens when it is off."""
        self.runtime.power_off(self.clock.now_ns())
        if self.process.living:
            await self.process.crash()

    async def restart(self, containers: Containers = "lost") -> None:
        """Bring the machine back, crashing it first if it runs. With `lost` it has rebooted: its containers have ended, and are started
        again if their pods still want it. With `kept` they have been running all the while, as when only the kubelet was away.
        """
        if not self.down:
            await self.crash()
        await self._gone()
        self.retired = False
        self.runtime.power_on(self.clock.now_ns(), containers)
        self._start()

    async def restart_kubelet(self) -> None:
        """Kill the kubelet and start it with empty memory; the containers run on. Nothing happens without power."""
        if self.process.living:
            await self.process.crash()
        await self._gone()
        if not self.down:
            self._start()

    def pause(self, reason: str = "") -> MachinePause:
        """Let the whole machine stand still, as a virtual one that is suspended: when it goes on, time has passed, and nothing has been done in it.

        Raises:
            IllegalTransition: the kubelet is not alive.
        """
        stop = self.process.pause(reason)
        return MachinePause(self, stop, self.runtime.freeze(reason, self.clock.now_ns()))

    async def _gone(self) -> None:
        if self.process.state is State.CRASHING:
            await self.process.ended()

    def _start(self) -> None:
        """Start the kubelet, unless somebody was quicker."""
        if not self.process.living and self.process.state is not State.CRASHING:
            self.process.start()


def start_node(  # noqa: PLR0913 - a node's whole surroundings
    description: SimulatedNode,
    *,
    images: Images,
    endpoint: Endpoint,
    scheme: Scheme,
    clock: Clock,
    draws: Draws,
    settings: Settings,
    processes: Processes,
    quality: LinkQuality = PERFECT,
) -> NodeHandle:
    """Make a machine and start its kubelet, as the process `kubelet/<name>`, over a link of that name to `endpoint`.

    Raises:
        ValueError: there is a process of that name already.
    """
    kubelets: list[Kubelet] = []

    async def main() -> None:
        await kubelets[0].run()

    process = processes.start(f"kubelet/{description.name}", main)
    link = Link(process.name, draws=draws, process=process, quality=quality)
    runtime = make_runtime(description, images, draws)
    kubelet = Kubelet(
        description=description,
        runtime=runtime,
        client=Client(endpoint=LinkedEndpoint(endpoint, link, process), scheme=scheme),
        clock=clock,
        draws=draws,
        settings=settings,
        gate=process.passed,
    )
    kubelets.append(kubelet)
    return NodeHandle(
        description=description,
        runtime=runtime,
        kubelet=kubelet,
        process=process,
        link=link,
        clock=clock,
    )


def busiest(nodes: Sequence[NodeHandle], now: int) -> NodeHandle:
    """The node with the most running containers; of equals the first. Raises ValueError when there are no nodes."""
    return max(nodes, key=lambda node: len(node.runtime.running(now)))
