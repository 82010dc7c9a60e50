"""Chaos: the faults an experiment or a program may cause, each recorded in the log.

A fault is written through the API as a `Fault` object by the actor `chaos` before it strikes, so the log tells what was
done to the cluster, and what follows has the fault's revision among its causes. Every fault with a duration heals by itself, and every
one can be taken back; what it held is released, whatever happened to its target meanwhile. The log is told of that too: the Fault's
phase goes from Active to Healed. What takes no time (a restart) is Healed from the start, and a restart heals the crash before it.
A fault that meets a node that is down already has no effect, and its record says so: which node is down when is for the run to decide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

import attrs
import trio

from engine import (
    Client,
    Clock,
    Conflict,
    Fault,
    FaultSpec,
    FaultStatus,
    MicroTime,
    NotFound,
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


@attrs.frozen
class _Active:
    """A recorded fault; what it does has it as the cause."""

    fault: Fault

    @property
    def origin(self) -> Origin:
        return Origin(actor=ACTOR, causes=(int(self.fault.metadata.resource_version),))


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
    _crashes: dict[str, _Active] = attrs.field(factory=dict, init=False)

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
            await self._begin("crashNode", node, node, _NO_EFFECT, lasting=False)
            return
        active = await self._begin("crashNode", node, node)
        self._crashes[node] = active
        if machine.process.living:  # else another fault was quicker
            with acting(active.origin):
                await machine.crash()

    async def restart(self, node: str, *, containers: Containers = "lost") -> None:
        """Give a crashed node its power back (or reboot a running one); `containers`: "lost" or "kept"."""
        machine = self._node(node)
        options = {"containers": containers}
        active = await self._begin("restartNode", node, node, options, lasting=False)
        with acting(active.origin):
            await machine.restart(containers)
        crash = self._crashes.pop(node, None)
        if crash is not None:
            await self._record_healed(crash)

    async def partition(self, node: str, seconds: float | None = None) -> Callable[[], None]:
        """Cut the node off from the API server, for `seconds` or until the returned function is called.

        Its containers run on, and it does what it had been told.
        """
        machine = self._node(node)
        active = await self._begin("partitionNode", node, node, _for(seconds))
        holds = machine.link.partition(reason=ACTOR)
        return self._healing(active, seconds, lambda: machine.link.heal(holds))

    async def pause_kubelet(self, node: str, seconds: float | None = None) -> Callable[[], None]:
        """Stop the kubelet as SIGSTOP does, for `seconds` or until the returned function is called; containers run on."""
        machine = self._node(node)
        if not machine.process.living:
            await self._begin("pauseKubelet", node, node, _NO_EFFECT, lasting=False)
            return _nothing
        active = await self._begin("pauseKubelet", node, node, _for(seconds))
        if not machine.process.living:  # another fault was quicker
            await self._record_healed(active)
            return _nothing
        hold = machine.process.pause(ACTOR)
        return self._healing(active, seconds, hold.release)

    async def restart_reconciler(self, name: str) -> None:
        """Kill a reconciler's process and start it with empty memory."""
        controller = self.controllers.get(name)
        if controller is None:
            known = ", ".join(self.controllers)
            raise UnknownTarget(f"no reconciler is called {name!r}; there are: {known}")
        active = await self._begin("restartReconciler", name, "", lasting=False)
        with acting(active.origin):
            await controller.restart()

    async def _begin(
        self,
        kind: str,
        target: str,
        node: str,
        options: Mapping[str, str] | None = None,
        *,
        lasting: bool = True,
    ) -> _Active:
        """Record the fault before it strikes."""
        self._count += 1
        now = MicroTime.of(self.clock.unix_us())
        status = FaultStatus(phase="Active", since=now)
        if not lasting:
            status = FaultStatus(phase="Healed", since=now, healed=now)
        with acting(Origin(actor=ACTOR, causes=(f"experiment:{kind}",))):
            fault = await self.client.create(
                Fault(
                    metadata=ObjectMeta(name=f"{kind.lower()}-{self._count}"),
                    spec=FaultSpec(kind=kind, target=target, options=dict(options or {})),
                    status=status,
                )
            )
        self.on_fault(kind, target, node)
        return _Active(fault)

    def _healing(
        self, active: _Active, seconds: float | None, release: Callable[[], None]
    ) -> Callable[[], None]:
        """What ends the fault, at once when called and by itself after `seconds`; once."""
        ended = trio.Event()

        def heal() -> None:
            if not ended.is_set():
                release()
                ended.set()

        async def watch() -> None:
            with acting(active.origin):
                with trio.move_on_after(math.inf if seconds is None else seconds):
                    await ended.wait()
                heal()
                await self._record_healed(active)

        self.nursery.start_soon(watch, name=f"chaos {active.fault.metadata.name}")
        return heal

    async def _record_healed(self, active: _Active) -> None:
        now = MicroTime.of(self.clock.unix_us())
        status = attrs.evolve(active.fault.status, phase="Healed", healed=now)
        with acting(active.origin), suppress(NotFound, Conflict):  # somebody took the record away
            await self.client.update(attrs.evolve(active.fault, status=status))


_NO_EFFECT: Final = {"effect": "none: the node is down"}


def _nothing() -> None:
    """Heals a fault that had no effect."""


def _for(seconds: float | None) -> dict[str, str]:
    return {} if seconds is None else {"for": f"{seconds:g}s"}
