"""Chaos: the faults an experiment or a program may cause, each recorded in the log.

A fault is written through the API as a `Fault` object by the actor `chaos` before it strikes, so the log tells what was
done to the cluster, and what follows has the fault's revision among its causes. Every fault with a duration heals by itself, and every
one can be taken back; what it held is released, whatever happened to its target meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

import attrs
import trio

from engine import (
    Client,
    Clock,
    Fault,
    FaultSpec,
    FaultStatus,
    MicroTime,
    ObjectMeta,
    acting,
)
from store import Origin
from wavetank.errors import UnknownTarget

if TYPE_CHECKING:
    from sim_nodes import Containers, NodeHandle

ACTOR: Final = "chaos"


class Controller(Protocol):
    """A process of the control plane, as chaos sees it."""

    async def restart(self) -> None: ...


FaultListener = Callable[[str, str, str], None]
"""Told of each fault as it strikes: kind, target, and the node it strikes or an empty text."""


@attrs.define(eq=False, kw_only=True)
class Chaos:
    """The faults of one cluster. Nodes and reconcilers are named by their names; unknown ones raise UnknownTarget."""

    client: Client
    clock: Clock
    nodes: Mapping[str, NodeHandle]
    controllers: Mapping[str, Controller]
    nursery: trio.Nursery
    on_fault: FaultListener
    _count: int = attrs.field(default=0, init=False)

    def _node(self, name: str) -> NodeHandle:
        try:
            return self.nodes[name]
        except KeyError:
            known = ", ".join(self.nodes)
            raise UnknownTarget(f"no node is called {name!r}; there are: {known}") from None

    async def crash(self, node: str) -> None:
        """Take the node's power: kubelet and containers are gone at once, and nobody says so."""
        machine = self._node(node)
        if not machine.process.living:
            raise UnknownTarget(f"node {node} is down already")
        with acting(await self._begin("crashNode", node, node)):
            await machine.crash()

    async def restart(self, node: str, *, containers: Containers = "lost") -> None:
        """Give a crashed node its power back (or reboot a running one); `containers`: "lost" or "kept"."""
        machine = self._node(node)
        with acting(await self._begin("restartNode", node, node, {"containers": containers})):
            await machine.restart(containers)

    async def partition(self, node: str, seconds: float | None = None) -> Callable[[], None]:
        """Cut the node off from the API server, for `seconds` or until the returned function is called.

        Its containers run on, and it does what it had been told.
        """
        machine = self._node(node)
        origin = await self._begin("partitionNode", node, node, _for(seconds))
        holds = machine.link.partition(reason=ACTOR)

        def heal() -> None:
            machine.link.heal(holds)

        self._later(origin, seconds, heal)
        return heal

    async def pause_kubelet(self, node: str, seconds: float | None = None) -> Callable[[], None]:
        """Stop the kubelet as SIGSTOP does, for `seconds` or until the returned function is called; containers run on."""
        machine = self._node(node)
        if not machine.process.living:
            raise UnknownTarget(f"node {node} is down: its kubelet cannot be paused")
        origin = await self._begin("pauseKubelet", node, node, _for(seconds))
        hold = machine.process.pause(ACTOR)

        def resume() -> None:
            hold.release()

        self._later(origin, seconds, resume)
        return resume

    async def restart_reconciler(self, name: str) -> None:
        """Kill a reconciler's process and start it with empty memory."""
        controller = self.controllers.get(name)
        if controller is None:
            known = ", ".join(self.controllers)
            raise UnknownTarget(f"no reconciler is called {name!r}; there are: {known}")
        with acting(await self._begin("restartReconciler", name, "")):
            await controller.restart()

    async def _begin(
        self, kind: str, target: str, node: str, options: Mapping[str, str] | None = None
    ) -> Origin:
        """Record the fault; returns the origin of what it does."""
        self._count += 1
        root = Origin(actor=ACTOR, causes=(f"experiment:{kind}",))
        with acting(root):
            fault = await self.client.create(
                Fault(
                    metadata=ObjectMeta(name=f"{kind.lower()}-{self._count}"),
                    spec=FaultSpec(kind=kind, target=target, options=dict(options or {})),
                    status=FaultStatus(phase="Active", since=MicroTime.of(self.clock.unix_us())),
                )
            )
        self.on_fault(kind, target, node)
        return Origin(actor=ACTOR, causes=(int(fault.metadata.resource_version),))

    def _later(self, origin: Origin, seconds: float | None, heal: Callable[[], None]) -> None:
        if seconds is not None:
            self.nursery.start_soon(self._heal_after, origin, seconds, heal, name="chaos heal")

    async def _heal_after(self, origin: Origin, seconds: float, heal: Callable[[], None]) -> None:
        await trio.sleep(seconds)
        with acting(origin):
            heal()


def _for(seconds: float | None) -> dict[str, str]:
    return {} if seconds is None else {"for": f"{seconds:g}s"}
