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
from typing import TYPE_CHECKING, Final

import attrs
import trio

from engine import Json, acting
from wavetank.errors import UnknownTarget
from wavetank.faults.plan import At, PlannedFault
from wavetank.faults.striker import ACTOR, ActiveFault, FaultListener, Recorded, Recorder, Striker
from wavetank.faults.world import World

if TYPE_CHECKING:
    from sim_nodes import Containers, NodeHandle


@attrs.define(eq=False, kw_only=True)
class Chaos:
    """The faults of one cluster. Nodes and reconcilers are named by their names; unknown ones raise UnknownTarget."""

    world: World
    on_fault: FaultListener
    _recorder: Recorder = attrs.field(init=False)
    _striker: Striker = attrs.field(init=False)
    _crashes: dict[str, Recorded] = attrs.field(factory=dict, init=False)
    _strikes: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._recorder = Recorder(world=self.world, on_fault=self.on_fault)
        self._striker = Striker(world=self.world, recorder=self._recorder)

    async def strike(
        self, fault: str, target: str = "", seconds: float | None = None, **parameters: Json
    ) -> ActiveFault:
        """Strike any fault of the catalogue (docs/chaos.md), for `seconds` or until its `heal()` is awaited.

        Raises BadInput for a fault or parameters that do not exist, UnknownTarget for a target that is not there.
        """
        self._strikes += 1
        return await self.strike_planned(
            PlannedFault(
                id=f"strike-{self._strikes}",
                type=fault,
                target=target,
                at=At(seconds=0.0),
                seconds=seconds,
                parameters=parameters,
            )
        )

    async def strike_planned(self, planned: PlannedFault) -> ActiveFault:
        """Strike a fault of a plan now, whatever its trigger says. Raises as `strike`."""
        return await self._striker.strike(planned)

    @property
    def active(self) -> list[ActiveFault]:
        """The faults struck by `strike` that are not healed, oldest first."""
        return self._striker.active

    async def heal_all(self) -> None:
        """Heal all that `strike` has struck, the newest first; returns when nothing of it is left."""
        await self._striker.heal_all()

    def _node(self, name: str) -> NodeHandle:
        try:
            return self.world.nodes[name]
        except KeyError:
            known = ", ".join(self.world.nodes)
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
            await self._recorder.healed(crash)

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
            await self._recorder.healed(active)
            return _nothing
        hold = machine.process.pause(ACTOR)
        return self._healing(active, seconds, hold.release)

    async def restart_reconciler(self, name: str) -> None:
        """Kill a reconciler's process and start it with empty memory."""
        controller = self.world.controllers.get(name)
        if controller is None:
            known = ", ".join(self.world.controllers)
            raise UnknownTarget(f"no reconciler is called {name!r}; there are: {known}")
        active = await self._begin("restartReconciler", name, "", lasting=False)
        with acting(active.origin):
            await controller.process.restart()

    async def _begin(
        self,
        kind: str,
        target: str,
        node: str,
        options: Mapping[str, str] | None = None,
        *,
        lasting: bool = True,
    ) -> Recorded:
        """Record the fault before it strikes."""
        return await self._recorder.begin(
            kind, target, (node,) if node else (), options or {}, lasting=lasting
        )

    def _healing(
        self, active: Recorded, seconds: float | None, release: Callable[[], None]
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
                await self._recorder.healed(active)

        self.world.nursery.start_soon(watch, name=f"chaos {active.fault.metadata.name}")
        return heal


_NO_EFFECT: Final = {"effect": "none: the node is down"}


def _nothing() -> None:
    """Heals a fault that had no effect."""


def _for(seconds: float | None) -> dict[str, str]:
    return {} if seconds is None else {"for": f"{seconds:g}s"}
