"""Strikes one perturbation at the seam of one process, in the step in which its moment comes.

Up to that step nothing but listening is done: the run is the undisturbed one. What is done then is recorded as a Fault by the actor `chaos`, and
is among the causes of what follows.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import attrs
import trio

from engine import (
    Connection,
    Fate,
    Forgetting,
    Hold,
    Json,
    KubeObject,
    Process,
    Request,
    Scheme,
    Seam,
    StaleView,
    WatchEvent,
    WatchEventType,
    acting,
)
from store import Event as LogEvent
from wavetank.cluster import Cluster
from wavetank.faults.striker import Recorder
from wavetank.perturb.canonical import content
from wavetank.perturb.model import Crash, Hide, Perturbation, Rewind
from wavetank.perturb.plans import cancels
from wavetank.view import View, kind_name

REASON: Final = "perturb"


@attrs.define(eq=False, kw_only=True)
class Strike:
    """One perturbation of one run."""

    cluster: Cluster
    target: str
    """The process."""
    perturbation: Perturbation
    struck: int = attrs.field(default=0, init=False)
    """The newest revision as it struck; 0 when it has not."""
    struck_seconds: float = attrs.field(default=math.inf, init=False)
    healed_seconds: float = attrs.field(default=math.inf, init=False)
    unseen: int = attrs.field(default=0, init=False)
    """The revision that made an object that had gone before the process was told; 0 for none."""
    _moment: trio.Event = attrs.field(factory=trio.Event, init=False)
    _end: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Its time is over, by itself or by `heal`."""
    _healed: trio.Event = attrs.field(factory=trio.Event, init=False)
    _undo: list[Callable[[], None]] = attrs.field(factory=list, init=False)

    @property
    def process(self) -> Process:
        """The one that is struck."""
        return self.cluster.processes[self.target]

    @property
    def seam(self) -> Seam:
        """Its seam."""
        return self.cluster.chaos.world.seam(self.target)

    def prepare(self) -> Callable[[], Awaitable[None]]:
        """Put in what waits for the moment. What is returned is a task: it lets the strike last, and heals it."""
        match self.perturbation:
            case Crash() as crash:
                body = self._crash(crash)
            case Rewind() as rewind:
                body = self._rewind(rewind)
            case Hide() as hide:
                body = self._hide(hide)
        return partial(self._run, body)

    async def _run(self, body: Callable[[], Awaitable[None]]) -> None:
        await self._moment.wait()
        if self.struck:
            recorder = Recorder(world=self.cluster.chaos.world, on_fault=_unheard)
            options = {"perturbation": str(self.perturbation)}
            kind = f"perturb.{self.perturbation.pattern}"
            recorded = await recorder.begin(kind, self.target, (), options, lasting=True)
            with acting(recorded.origin):
                await body()
                await recorder.healed(recorded)
            self.healed_seconds = self.cluster.clock.now()
        for undo in self._undo:
            undo()
        self._healed.set()

    async def heal(self) -> None:
        """End it; returns when nothing is left of it."""
        self._end.set()
        self._moment.set()
        await self._healed.wait()

    def _strikes(self) -> None:
        """From here on the run is another."""
        if self._moment.is_set():
            return
        self.struck = self.cluster.log.head
        self.struck_seconds = self.cluster.clock.now()
        self._moment.set()

    async def _lasts(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._end.wait()

    # -- what each puts in, and what it does from its moment on ------------------------------------

    def _crash(self, crash: Crash) -> Callable[[], Awaitable[None]]:
        count = _Count(crash.write)
        holds: list[Hold] = []

        def arrived(request: Request) -> None:
            if request is count.write and self.process.living and not holds:
                holds.append(self.process.keep_down(REASON))
                self._strikes()

        sending = self.seam.on_write(count.sent, REASON)
        arriving = self.seam.on_arrival(arrived, REASON)
        self._undo += [sending.release, arriving.release]

        async def body() -> None:
            await self._lasts(crash.down)
            for hold in holds:
                hold.release()

        return body

    def _rewind(self, rewind: Rewind) -> Callable[[], Awaitable[None]]:
        self.cluster.observer.add(_AtRevision(rewind.after, self._strikes))

        async def body() -> None:
            await self._lasts(rewind.delay)
            if self._end.is_set():
                return
            view = StaleView(revision=rewind.view)
            answers = self.seam.interpose(view, REASON)
            shows = self.seam.stage(view, REASON)
            hold = self.process.keep_down(REASON)
            await self.process.ended()
            hold.release()
            await self._lasts(rewind.seconds)
            answers.release()
            shows.release()

        return body

    def _hide(self, hide: Hide) -> Callable[[], Awaitable[None]]:
        hiding = _Hiding(hide, self.cluster.scheme, self._strikes, self._end)
        entry = self.seam.stage(hiding, REASON)
        self._undo.append(entry.release)

        async def body() -> None:
            await self._lasts(hide.most)
            entry.release()
            self.unseen = hiding.unseen
            if hiding.hidden:  # nobody would tell it any more: it has to list
                kinds = dict.fromkeys(each.request.resource.kind for each in hiding.hidden)
                for kind in kinds:
                    refusing = self.seam.interpose(Forgetting(kind=kind), REASON)
                    self._undo.append(refusing.release)
                    self.seam.break_watches(kind)
                await trio.sleep(_RELIST_SECONDS)

        return body


_RELIST_SECONDS: Final = 5.0
"""By then a watch that was refused once has been opened again (the first waits of an informer: 0.8 to 1.6 s)."""


def _unheard(kind: str, target: str, nodes: Sequence[str]) -> None:
    """The measures of a run do not count perturbations."""


@attrs.define(eq=False)
class _Count:
    """Finds the n-th write."""

    number: int
    seen: int = 0
    write: Request | None = None

    def sent(self, request: Request) -> Fate:
        """For `Seam.on_write`."""
        self.seen += 1
        if self.seen == self.number:
            self.write = request
        return Fate.ARRIVES


@attrs.define(eq=False)
class _AtRevision:
    """A spectator that calls once, when the log has come to a revision."""

    revision: int
    call: Callable[[], None]
    called: bool = False

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> None:
        """As a Spectator."""
        del old, view
        if event.revision >= self.revision and not self.called:
            self.called = True
            self.call()


@attrs.define(eq=False)
class _Hiding:
    """A `Stage` that withholds one object's changes, from one on until another cancels it.

    While the end of an object is withheld, the process is told nothing at all: else it would go on making what the garbage collector removes
    because of that end, and the two would undo each other's work without rest, as in Kubernetes.
    """

    hide: Hide
    scheme: Scheme
    on_begin: Callable[[], None]
    end: trio.Event
    """Set when all watches have come to what cancels."""
    hidden: dict[Connection, dict[str, Json]] = attrs.field(factory=dict)
    """The watches from which something is withheld, and the content that the first change would have told."""
    unseen: int = 0
    """As `Strike.unseen`."""
    silent: bool = False
    """Whether it tells nothing at all."""
    kept: dict[Connection, list[WatchEvent]] = attrs.field(factory=dict)
    """What such a watch has been kept from telling of other objects."""

    async def deliver(
        self, connection: Connection, events: tuple[WatchEvent, ...], over: trio.Event
    ) -> tuple[WatchEvent, ...]:
        """As `Stage`."""
        if over.is_set():
            return events
        if kind_name(connection.request.resource) != self.hide.kind:
            if self.silent:
                await over.wait()
            return events
        shown: list[WatchEvent] = []
        for event in events:
            if event.object is not None and self._meant(event.object):
                shown += self._shown(connection, event, event.object)
            elif self.silent:
                self.kept.setdefault(connection, []).append(event)
            else:
                shown.append(event)
        return tuple(shown)

    def _meant(self, obj: KubeObject) -> bool:
        metadata = obj.metadata
        return (metadata.namespace, metadata.name) == (self.hide.namespace, self.hide.name)

    def _shown(
        self, connection: Connection, event: WatchEvent, obj: KubeObject
    ) -> list[WatchEvent]:
        state = {} if event.type is WatchEventType.DELETED else content(obj, self.scheme)
        if connection not in self.hidden:
            if event.revision != self.hide.since:
                return [event]
            self.hidden[connection] = state
            self.silent = not state
            self.on_begin()
            return []
        told = self.hidden[connection]
        if not cancels(told, state, self.hide.paths):
            return []
        del self.hidden[connection]
        kept = self.kept.pop(connection, [])
        if not self.hidden:
            self.silent = False
            self.end.set()
        if not state and not self.hide.paths:  # it came and went: there is nothing to tell
            self.unseen = self.hide.since
            return kept
        return [*kept, event]
