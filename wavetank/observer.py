"""The observer: follows the log from its first event, folds it, and tells whoever asked.

It stands outside the cluster, reads the store's own watch, and is shown every event once and in order. Invariants, the
timeline, the measures of a run and `Cluster.until` all hang on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import attrs
import trio

from engine import KubeObject
from store import Event as LogEvent
from store import Store, prefix_end
from wavetank.errors import NotReached
from wavetank.view import ClusterState, View

REGISTRY = "/registry/"


class Spectator(Protocol):
    """Is shown every event, with the object before it and the view after it."""

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> None: ...


@attrs.define(eq=False)
class _Waiter:
    predicate: Callable[[View], object]
    reached: trio.Event


@attrs.define(eq=False)
class Observer:
    """See the module's text."""

    store: Store
    view: View
    _spectators: list[Spectator] = attrs.field(factory=list, init=False)
    _waiters: list[_Waiter] = attrs.field(factory=list, init=False)
    _events: int = attrs.field(default=0, init=False)

    @property
    def state(self) -> ClusterState:
        return self.view.state

    @property
    def events(self) -> int:
        """Events seen so far."""
        return self._events

    def add(self, spectator: Spectator) -> None:
        """Show `spectator` every event from now on."""
        self._spectators.append(spectator)

    async def run(self) -> None:
        """Follow the log until cancelled."""
        async with self.store.watch(
            REGISTRY, range_end=prefix_end(REGISTRY), start_revision=self.state.revision + 1
        ) as watch:
            while True:
                batch = await watch.receive()
                for event in batch.events:
                    self._show(event)
                self._wake()

    def _show(self, event: LogEvent) -> None:
        self._events += 1
        old = self.state.apply(event)
        for spectator in self._spectators:
            spectator.observe(event, old, self.view)

    def _wake(self) -> None:
        for waiter in list(self._waiters):
            if waiter.predicate(self.view):
                waiter.reached.set()
                self._waiters.remove(waiter)

    async def caught_up(self, revision: int) -> None:
        """Wait until the event of `revision` has been shown."""
        await self.until(lambda view: view.revision >= revision, math.inf, "")

    async def until(self, predicate: Callable[[View], object], timeout: float, what: str) -> None:
        """Wait until `predicate` holds; it is asked after each batch of events.

        Raises NotReached when `timeout` seconds of cluster time have passed, with `what` in its message.
        """
        if predicate(self.view):
            await trio.lowlevel.checkpoint()
            return
        waiter = _Waiter(predicate, trio.Event())
        self._waiters.append(waiter)
        try:
            with trio.move_on_after(timeout) as scope:
                await waiter.reached.wait()
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        if scope.cancelled_caught:
            raise NotReached(what, timeout, self.view.unsettled())
