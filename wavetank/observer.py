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
    """One question, and whether it has been answered."""

    predicate: Callable[[View], object]
    answered: trio.Event = attrs.field(factory=trio.Event, init=False)
    failure: Exception | None = attrs.field(default=None, init=False)
    missing: str = attrs.field(default="", init=False)
    """What the predicate last looked up in vain."""

    def ask(self, view: View) -> bool:
        """Whether there is nothing more to wait for. What is looked up in vain may still come; any other exception ends the wait."""
        try:
            reached = bool(self.predicate(view))
            self.missing = ""
        except LookupError as error:
            self.missing = f"{error}"
            return False
        except Exception as error:  # noqa: BLE001 - it is the caller's, who gets it from `until`
            self.failure = error
            return True
        return reached


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
            if waiter.ask(self.view):
                waiter.answered.set()
                self._waiters.remove(waiter)

    async def caught_up(self, revision: int) -> None:
        """Wait until the event of `revision` has been shown."""
        await self.until(lambda view: view.revision >= revision, math.inf, "")

    async def until(
        self,
        predicate: Callable[[View], object],
        timeout: float,  # noqa: ASYNC109 - of cluster time, and its error says what was left
        what: str,
    ) -> None:
        """Wait until `predicate` holds; it is asked after each batch of events.

        A predicate that raises LookupError (`view.deployment("later")`) does not hold yet; what else it raises is raised here.
        Raises NotReached when `timeout` seconds of cluster time have passed, with `what` in its message.
        """
        waiter = _Waiter(predicate)
        if waiter.ask(self.view):
            await trio.lowlevel.checkpoint()
        else:
            await self._wait(waiter, timeout, what)
        if waiter.failure is not None:
            raise waiter.failure

    async def _wait(self, waiter: _Waiter, seconds: float, what: str) -> None:
        self._waiters.append(waiter)
        try:
            with trio.move_on_after(seconds) as scope:
                await waiter.answered.wait()
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        if scope.cancelled_caught:
            missing = [waiter.missing] if waiter.missing else []
            raise NotReached(what, seconds, [*missing, *self.view.unsettled()])
