"""The work queue with its waiting: workers wait for keys, one task waits for delays.

The decisions are `WorkQueue`'s. What is added here are the two waits, and the causes: an add takes those in force where it is called
(the revision an informer delivers, the key a worker holds), a delayed one the name of the timer as well.

No wake-up is lost: a worker looks at the queue and parks in one step, and whoever makes a key available unparks one in the
step that does it. A worker that finds another was quicker parks again.
"""

from __future__ import annotations

from typing import Final

import attrs
import trio

from engine.api.cause import current_origin
from engine.control.workqueue import MAX_CAUSES, WorkQueue
from engine.objects.key import Key
from engine.sim.clock import Clock
from engine.sim.wakeup import Signal
from store import Cause

_NS: Final = 1_000_000_000


@attrs.define(eq=False)
class ControllerQueue:
    """See the module's text; what a reconciler sees of it is `Queue`."""

    clock: Clock
    actor: str
    core: WorkQueue[Key]
    _lot: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _timer: Signal = attrs.field(
        default=attrs.Factory(lambda self: Signal(self.clock), takes_self=True), init=False
    )

    def add(self, key: Key) -> None:
        """Reconcile `key` soon."""
        if self.core.add(key, current_origin().causes):
            self._lot.unpark()

    def add_after(self, key: Key, seconds: float) -> None:
        """Reconcile `key` after a while; of several pending delays the earliest counts."""
        before = self.core.next_wake()
        if self.core.add_after(key, seconds, self.clock.now_ns(), self._timer_causes()):
            self._lot.unpark()
        elif self.core.next_wake() != before:
            self._timer.set()

    def add_rate_limited(self, key: Key) -> None:
        """Reconcile `key` after its back-off, which grows until `forget`."""
        before, waiting = self.core.next_wake(), len(self.core)
        self.core.add_rate_limited(key, self.clock.now_ns(), self._timer_causes())
        if len(self.core) > waiting:
            self._lot.unpark()  # at once: limits without a delay
        elif self.core.next_wake() != before:
            self._timer.set()

    def forget(self, key: Key) -> None:
        """Start the back-off of `key` over."""
        self.core.forget(key)

    def _timer_causes(self) -> tuple[Cause, ...]:
        timer = f"timer:{self.actor}"
        kept = tuple(cause for cause in current_origin().causes if cause != timer)
        return (*kept[1 - MAX_CAUSES :], timer)

    async def get(self) -> tuple[Key, tuple[Cause, ...]]:
        """Wait for a key; it is this worker's until `done`. Always a checkpoint, so that no backlog keeps a worker
        from yielding; cancelled, it has taken nothing.
        """
        if self.core:
            await trio.lowlevel.checkpoint()
        while not self.core:
            await self._lot.park()
        return self.core.get()

    def postpone(self, key: Key, causes: tuple[Cause, ...], seconds: float) -> None:
        """Give back a key that a worker has taken, with its causes: it is reconciled after a while."""
        before = self.core.next_wake()
        self.core.add_after(key, seconds, self.clock.now_ns(), causes)
        if self.core.next_wake() != before:
            self._timer.set()
        self.done(key)

    def done(self, key: Key) -> None:
        """The worker has finished with `key`."""
        if self.core.done(key):
            self._lot.unpark()

    async def run_timers(self) -> None:
        """Bring delayed keys into the queue when they are due, until cancelled."""
        while True:
            self._timer.clear()
            due = self.core.next_wake()
            if due is None:
                await self._timer.wait()
                continue
            delay = due - self.clock.now_ns()
            if delay > 0:
                await self._timer.wait_for(delay / _NS)
            available = self.core.wake(self.clock.now_ns())
            if available:
                self._lot.unpark(count=available)
