"""Strikes faults and heals them: each recorded in the log by the actor `chaos` before it strikes, and again when it is healed.

The record is a `Fault` object, whose revision is among the causes of what follows. A fault that meets a target on which it can do nothing is
recorded as Healed from the start, with what it did: none. A heal takes back exactly its own fault: two faults on one target overlap,
and the target is free when both are healed.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import attrs
import trio

from engine import (
    Conflict,
    Fault,
    FaultSpec,
    FaultStatus,
    InternalError,
    Json,
    MicroTime,
    NotFound,
    ObjectMeta,
    Timeout,
    TooManyRequests,
    Unavailable,
    acting,
)
from store import Origin
from wavetank.faults.catalogue import checked_fault
from wavetank.faults.model import Blow, FaultType, Heal, NoEffect, TargetKind
from wavetank.faults.plan import PlannedFault
from wavetank.faults.world import World

T = TypeVar("T")

ACTOR: Final = "chaos"

FaultListener = Callable[[str, str, Sequence[str]], None]
"""Told of each fault as it strikes: type, target, and the nodes that it strikes."""


_TRANSIENT: Final = (InternalError, Timeout, TooManyRequests, Unavailable)
_RETRY_SECONDS: Final = 0.5
_TRIES: Final = 2400


async def persistently(send: Callable[[], Awaitable[T]]) -> T:
    """Send until an API server answers, which faults may keep from it for a while. Raises ApiError, the transient ones after 20 minutes."""
    for _ in range(_TRIES):
        try:
            return await send()
        except _TRANSIENT:
            await trio.sleep(_RETRY_SECONDS)
    return await send()


@attrs.frozen
class Recorded:
    """A fault in the log; what it does has it as the cause."""

    fault: Fault

    @property
    def origin(self) -> Origin:
        """The origin of all that the fault does."""
        return Origin(actor=ACTOR, causes=(int(self.fault.metadata.resource_version),))


@attrs.define(eq=False, kw_only=True)
class Recorder:
    """Writes the records."""

    world: World
    on_fault: FaultListener
    _count: int = attrs.field(default=0, init=False)

    async def begin(
        self,
        kind: str,
        target: str,
        nodes: Sequence[str],
        options: Mapping[str, str],
        *,
        lasting: bool,
    ) -> Recorded:
        """Record a fault before it strikes. Raises ApiError."""
        self._count += 1
        now = self._now()
        status = FaultStatus(phase="Active", since=now)
        if not lasting:
            status = FaultStatus(phase="Healed", since=now, healed=now)
        fault = Fault(
            metadata=ObjectMeta(
                name=f"{kind.lower().replace('.', '-').replace('_', '-')}-{self._count}"
            ),
            spec=FaultSpec(kind=kind, target=target, options=dict(options)),
            status=status,
        )
        with acting(Origin(actor=ACTOR, causes=(f"experiment:{kind}",))):
            recorded = await persistently(lambda: self.world.client.create(fault))
        self.on_fault(kind, target, nodes)
        return Recorded(recorded)

    async def healed(self, recorded: Recorded, effect: str = "") -> None:
        """Record that it is over; somebody may have taken the record away."""
        fault = recorded.fault
        status = attrs.evolve(fault.status, phase="Healed", healed=self._now())
        if effect:
            options = {**fault.spec.options, "effect": effect}
            fault = attrs.evolve(fault, spec=attrs.evolve(fault.spec, options=options))
        over = attrs.evolve(fault, status=status)
        with acting(recorded.origin), suppress(NotFound, Conflict):
            await persistently(lambda: self.world.client.update(over))

    def _now(self) -> MicroTime:
        return MicroTime.of(self.world.clock.unix_us())


@attrs.define(eq=False)
class ActiveFault:
    """A fault that was struck. `await heal()` takes it back, and does nothing when it is healed or is being healed."""

    planned: PlannedFault
    type: FaultType
    _recorded: Recorded
    _recorder: Recorder
    _heal: Heal | None = None
    _healing: bool = attrs.field(default=False, init=False)
    _over: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def healed(self) -> bool:
        """Whether nothing of it is left."""
        return self._over.is_set()

    async def heal(self) -> None:
        """Take it back; returns when nothing of it is left."""
        if self._healing:
            await self._over.wait()
            return
        self._healing = True
        with trio.CancelScope(shield=True), acting(self._recorded.origin):
            if self._heal is not None:
                await self._heal()
            self._over.set()
            await self._recorder.healed(self._recorded)

    def over(self) -> None:
        """There was nothing to heal."""
        self._healing = True
        self._over.set()


@attrs.define(eq=False, kw_only=True)
class Striker:
    """Strikes the faults of the catalogue on one cluster."""

    world: World
    recorder: Recorder
    _active: dict[int, ActiveFault] = attrs.field(factory=dict, init=False)
    _struck: int = attrs.field(default=0, init=False)

    @property
    def active(self) -> list[ActiveFault]:
        """The faults that are not healed, oldest first."""
        return list(self._active.values())

    async def strike(self, planned: PlannedFault) -> ActiveFault:
        """Strike a fault now, whatever its trigger says; it heals by itself after its seconds.

        Raises BadInput for a type or parameters that do not exist, UnknownTarget for a target that is not there.
        """
        kind, parameters = checked_fault(planned, "")
        blow = Blow(
            world=self.world,
            type=kind.name,
            id=planned.id,
            target=planned.target,
            parameters=parameters,
            seconds=planned.seconds,
        )
        recorded = await self.recorder.begin(
            kind.name,
            planned.target,
            self._nodes_of(kind, planned),
            _options(planned),
            lasting=True,
        )
        number, self._struck = self._struck, self._struck + 1
        active = ActiveFault(planned, kind, recorded, self.recorder)
        try:
            with acting(recorded.origin):
                heal = await kind.strike(blow)
        except NoEffect as error:
            active.over()
            await self.recorder.healed(recorded, f"none: {error}")
            return active
        except BaseException:
            active.over()
            with trio.CancelScope(shield=True):
                await self.recorder.healed(recorded, "none: it could not strike")
            raise
        if heal is None:
            active.over()
            await self.recorder.healed(recorded)
            return active
        active = ActiveFault(planned, kind, recorded, self.recorder, heal)
        self._active[number] = active
        self.world.nursery.start_soon(self._await_end, number, active, name=f"chaos {planned.id}")
        return active

    async def heal_all(self) -> None:
        """Heal whatever is active, the newest first."""
        for active in reversed(self.active):
            await active.heal()

    def _nodes_of(self, kind: FaultType, planned: PlannedFault) -> tuple[str, ...]:
        """The nodes that it strikes, for the measures."""
        match kind.target:
            case TargetKind.NODE:
                return (planned.target,)
            case TargetKind.ZONE:
                return tuple(node.name for node in self.world.in_zone(planned.target))
        return ()

    async def _await_end(self, number: int, active: ActiveFault) -> None:
        seconds = active.planned.seconds
        with trio.move_on_after(math.inf if seconds is None else seconds):
            await active._over.wait()  # noqa: SLF001 - its own
        await active.heal()
        self._active.pop(number, None)


def _options(planned: PlannedFault) -> dict[str, str]:
    """What the record says of it besides type and target."""
    options = {name: _shown(value) for name, value in planned.parameters.items()}
    if planned.id:
        options["id"] = planned.id
    if planned.seconds is not None:
        options["for"] = f"{planned.seconds:g}s"
    return options


def _shown(value: Json) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
