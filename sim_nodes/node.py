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
    Link,
    LinkedEndpoint,
    LinkQuality,
    Process,
    Processes,
    Scheme,
    Settings,
)
from sim_nodes.addresses import PodAddresses, fallback_cidr
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


@attrs.define(eq=False, kw_only=True)
class NodeHandle:
    """One node. `process` runs `kubelet`; `link` is its way to the API server.

    A pause of the kubelet is `process.pause()`, a partition `link.partition()`; a restart of the kubelet alone, with all containers
    running on, is `process.restart()`.
    """

    description: SimulatedNode
    runtime: Runtime
    kubelet: Kubelet
    process: Process
    link: Link
    clock: Clock

    def __repr__(self) -> str:
        return f"<NodeHandle {self.name} {self.process.state.value}>"

    @property
    def name(self) -> str:
        return self.description.name

    async def crash(self) -> None:
        """Cut the power: the kubelet and all containers are gone at once, and nobody is told.

        Raises:
            IllegalTransition: the kubelet is not alive.
        """
        await self.process.crash()
        self.runtime.power_off(self.clock.now_ns())

    async def restart(self, containers: Containers = "lost") -> None:
        """Bring the machine back, crashing it first if it runs. With `lost` it has rebooted: its containers have ended, and are started
        again if their pods still want it. With `kept` they have been running all the while, as when only the kubelet was away.
        """
        if self.process.living:
            await self.crash()
        self.runtime.power_on(self.clock.now_ns(), containers)
        await self.process.restart()


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
