"""Runs a plan: strikes each fault when it is due.

What is due at a moment of the run is slept for; what waits for something to happen is counted by a spectator of the log, from when the plan
was begun. Faults that are due at the same moment strike in the order of the plan, each when the one before it has struck; one whose strike
takes time (a drain) holds up none. A target that is not there when its fault is due is no error: in a plan that is shrunk, or made for
another seed, it may never come.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import partial
from typing import Final, cast

import attrs
import trio

from engine import Clock, KubeObject
from store import Event as LogEvent
from store import EventType
from wavetank.chaos import Chaos
from wavetank.errors import UnknownTarget
from wavetank.faults.plan import After, At, Plan, PlannedFault
from wavetank.observer import Observer
from wavetank.view import View

MOMENT: Final = 1e-6
"""Seconds, the smallest step of a duration: a strike that has not ended within it takes time, and the next need not wait for it."""


@attrs.frozen
class Missed:
    """A fault that did not strike, and why."""

    fault: PlannedFault
    reason: str


@attrs.define(eq=False)
class _Occurrences:
    """Counts what one trigger waits for."""

    after: After
    met: Callable[[], None]
    """Called at the occurrence that it waits for."""
    seen: int = 0

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> None:
        """For the observer."""
        del view
        obj = cast("KubeObject | None", event.value if event.value is not None else old)
        if self.seen >= self.after.occurrence or obj is None or obj.kind != self.after.kind:
            return
        metadata, after = obj.metadata, self.after
        if after.namespace not in {"", metadata.namespace} or after.name not in {"", metadata.name}:
            return
        if event.type is EventType.DELETE:
            change = "deleted"
        else:
            change = "created" if old is None else "updated"
        if change == after.change:
            self.seen += 1
            if self.seen == after.occurrence:
                self.met()


@attrs.define(eq=False, kw_only=True)
class PlanRunner:
    """The faults of one plan on one cluster."""

    plan: Plan
    chaos: Chaos
    observer: Observer
    clock: Clock
    struck: list[PlannedFault] = attrs.field(factory=list, init=False)
    missed: list[Missed] = attrs.field(factory=list, init=False)
    """What was due and met no target, and at the end what never came due."""
    _due: list[tuple[float, int]] = attrs.field(factory=list, init=False)
    """A heap: when, in seconds of cluster time, and the place in the plan."""
    _news: trio.Event = attrs.field(factory=trio.Event, init=False)
    _stopped: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _failure: Exception | None = attrs.field(default=None, init=False)

    async def run(self) -> None:
        """Strike what is due until everything has struck or `stop` is called. Raises BadInput, ApiError."""
        started = self.clock.now()
        for index, fault in enumerate(self.plan.faults):
            match fault.at:
                case At(seconds=seconds):
                    heapq.heappush(self._due, (started + seconds, index))
                case After() as after:  # heard from the first event on
                    self.observer.add(_Occurrences(after, partial(self._met, index, after)))
        with self._stopped:
            async with trio.open_nursery() as nursery:
                await self._strike_when_due(nursery)
        if self._failure is not None:
            raise self._failure
        known = {fault.id for fault in (*self.struck, *(each.fault for each in self.missed))}
        self.missed += [
            Missed(fault, "it was never due, or was cut short")
            for fault in self.plan.faults
            if fault.id not in known
        ]

    async def stop(self) -> None:
        """No fault strikes any more; returns at the next moment."""
        self._stopped.cancel()
        await trio.lowlevel.checkpoint()

    def _met(self, index: int, after: After) -> None:
        heapq.heappush(self._due, (self.clock.now() + after.seconds, index))
        self._news.set()

    async def _strike_when_due(self, nursery: trio.Nursery) -> None:
        for _ in self.plan.faults:
            while (wait := self._seconds_to_next()) > 0:
                with trio.move_on_after(wait):
                    await self._news.wait()
                    self._news = trio.Event()
            _, index = heapq.heappop(self._due)
            fault, struck = self.plan.faults[index], trio.Event()
            nursery.start_soon(self._strike, fault, struck, name=f"chaos {fault.id} strikes")
            with trio.move_on_after(MOMENT):
                await struck.wait()

    def _seconds_to_next(self) -> float:
        if not self._due:
            return float("inf")
        wait = self._due[0][0] - self.clock.now()
        return wait if wait >= MOMENT else 0.0

    async def _strike(self, fault: PlannedFault, struck: trio.Event) -> None:
        try:
            await self.chaos.strike_planned(fault)
        except UnknownTarget as error:
            self.missed.append(Missed(fault, str(error)))
        except Exception as error:  # noqa: BLE001 - raised by `run`, and not in a group
            self._failure = self._failure or error
            self._stopped.cancel()
        else:
            self.struck.append(fault)
        finally:
            struck.set()
