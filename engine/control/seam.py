"""The seam of a process: where faults and observers reach its requests and its watches.

Every process has one, in its `LinkedEndpoint`, and while nothing is there it costs one attribute test for each message (`quiet`).
All that is put in is an `Entry`: `release()` takes it out.

    entry = seam.on_write(hook)            # hook(request) -> Fate, asked as the process sends a write, before it leaves
    entry = seam.on_write(NthWrite(3, Fate.KILLED_AFTER))
    entry = seam.on_exchange(listener)     # listener(request, answer or ApiError), when the process has its answer
    entry = seam.on_batch(listener)        # listener(watch request, events), when they are delivered
    entry = seam.on_arrival(listener)      # listener(request), when the server is done with it, whatever it answered
    entry = seam.interpose(interposer)     # answers requests in the server's place, refuses watches
    entry = seam.stage(stage)              # what is done to watch batches: held, delayed, merged
    seam.break_watches(kinds)              # the connections of open watches are closed now

Listeners are called synchronously in the process' own task and must not raise; they add no step of their own, so a run that is listened to is the
same run. Hooks on writes are all asked for each write, so that each can count; of the fates that they name the oldest hook's counts. Only the
writes since a hook was put in are its: it counts them itself, as `NthWrite` does.

A process that is killed by its fate is crashed as by `Process.crash`; whoever put the hook in restarts it (`process.ended()`, `process.start()`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import NoReturn, Protocol, TypeAlias

import attrs
import trio

from engine.api.errors import ApiError
from engine.api.request import Request, WatchEvent, WatchRequest, WatchStream
from engine.control.interposed import EVERY_REQUEST, WRITES, Answer, Interposer, Matching
from engine.sim.entries import Entries, Entry
from engine.sim.process import Process, ProcessGone

Events: TypeAlias = tuple[WatchEvent, ...]


class Fate(enum.Enum):
    """What becomes of a write."""

    ARRIVES = "nothing happens to it"
    KILLED_BEFORE = "its process dies before it is sent"
    KILLED_AFTER = "it is applied (or refused), and its process dies before the answer arrives"
    ANSWER_LOST = "it is applied (or refused), and the caller gets Timeout after its time-out"


WriteHook: TypeAlias = Callable[[Request], Fate]
ExchangeListener: TypeAlias = Callable[[Request, "Answer | ApiError"], None]
BatchListener: TypeAlias = Callable[[WatchRequest, Events], None]
ArrivalListener: TypeAlias = Callable[[Request], None]


@attrs.define(eq=False)
class NthWrite:
    """A hook on writes: the `number`-th (1 is the first) of those that match meets `fate`, all others arrive."""

    number: int
    fate: Fate
    matching: Matching = EVERY_REQUEST
    struck: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Set as that write is sent."""
    write: Request | None = attrs.field(default=None, init=False)
    """That write."""
    seen: int = attrs.field(default=0, init=False)
    """Writes that matched so far."""

    def __call__(self, request: Request) -> Fate:
        """For `Seam.on_write`."""
        if not self.matching.request(request):
            return Fate.ARRIVES
        self.seen += 1
        if self.seen != self.number:
            return Fate.ARRIVES
        self.write = request
        self.struck.set()
        return self.fate


@attrs.define(eq=False)
class Connection:
    """One open watch of a process."""

    request: WatchRequest
    stream: WatchStream
    scope: trio.CancelScope
    """Around all that is done with the stream: cancelled, the watch has ended for its client."""
    pending: Events = attrs.field(default=(), init=False)
    """Events that have come and wait to be delivered."""

    async def source(self) -> Events:
        """What comes next, not looked at by any stage. Raises as `WatchStream.receive`."""
        if self.pending:
            events, self.pending = self.pending, ()
            return events
        return await self.stream.receive()

    def put_back(self, events: Events) -> None:
        """Have them come next."""
        self.pending = (*events, *self.pending)


class Stage(Protocol):
    """Something that is done to the batches of watches, in order, between the server and the link."""

    async def deliver(self, connection: Connection, events: Events, over: trio.Event) -> Events:
        """What the client gets of `events` now: all, fewer, or none; waiting as long as it pleases, but not after `over` is set.

        What is to be delivered later is put back (`connection.put_back`), more is had with `connection.source`.
        """
        ...


@attrs.define(eq=False)
class Seam:
    """See the module's text."""

    process: Process
    quiet: bool = attrs.field(default=True, init=False)
    """Whether nothing is there. Asked for each message."""
    _writes: Entries[WriteHook] = attrs.field(init=False)
    _exchanges: Entries[ExchangeListener] = attrs.field(init=False)
    _batches: Entries[BatchListener] = attrs.field(init=False)
    _arrivals: Entries[ArrivalListener] = attrs.field(init=False)
    _stages: Entries[Stage] = attrs.field(init=False)
    _connections: dict[Connection, None] = attrs.field(factory=dict, init=False)
    interposers: Entries[Interposer] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        look = self._look
        self._writes, self._exchanges = Entries(look), Entries(look)
        self._batches, self._arrivals = Entries(look), Entries(look)
        self._stages, self.interposers = Entries(look), Entries(look)

    def __repr__(self) -> str:
        return f"<Seam {self.process.name} {' '.join(self.reasons) or ('quiet' if self.quiet else 'listened to')}>"

    def _look(self) -> None:
        self.quiet = not (
            self._writes
            or self._exchanges
            or self._batches
            or self._arrivals
            or self._stages
            or self.interposers
        )

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons of all that is there and gave one: faults do, those who only listen need not."""
        return tuple(
            reason
            for entries in (self._writes, self._arrivals, self._stages, self.interposers)
            for reason in entries.reasons
            if reason
        )

    # -- what is put in ----------------------------------------------------------------------------

    def on_write(self, hook: WriteHook, reason: str = "") -> Entry[WriteHook]:
        """Ask `hook` for the fate of each write of this process from now on."""
        return self._writes.add(hook, reason)

    def on_exchange(self, listener: ExchangeListener, reason: str = "") -> Entry[ExchangeListener]:
        """Tell `listener` of each request with the answer or the ApiError that the process gets.

        A process that dies first gets none; `on_arrival` hears of those requests too.
        """
        return self._exchanges.add(listener, reason)

    def on_batch(self, listener: BatchListener, reason: str = "") -> Entry[BatchListener]:
        """Tell `listener` of each batch that a watch delivers."""
        return self._batches.add(listener, reason)

    def on_arrival(self, listener: ArrivalListener, reason: str = "") -> Entry[ArrivalListener]:
        """Tell `listener` of each request as soon as the server is done with it: the answer has not left yet."""
        return self._arrivals.add(listener, reason)

    def interpose(self, interposer: Interposer, reason: str = "") -> Entry[Interposer]:
        """Have requests and the opening of watches go through `interposer`, at the server's end of the link."""
        return self.interposers.add(interposer, reason)

    def stage(self, stage: Stage, reason: str = "") -> Entry[Stage]:
        """Have the batches of all watches, those that are open included, go through `stage`."""
        return self._stages.add(stage, reason)

    def break_watches(self, kind: str = "") -> int:
        """Close the connections of the open watches of a kind, or of all; returns how many. Their clients see the end of the stream."""
        broken = [each for each in self._connections if kind in ("", each.request.resource.kind)]
        for connection in broken:
            connection.scope.cancel()
        return len(broken)

    @property
    def watches(self) -> tuple[WatchRequest, ...]:
        """The open watches, oldest first."""
        return tuple(each.request for each in self._connections)

    # -- for LinkedEndpoint ------------------------------------------------------------------------

    def fate_of(self, request: Request) -> Fate:
        """What becomes of a request that is about to be sent."""
        fate = Fate.ARRIVES
        if self._writes and request.verb in WRITES:
            for entry in self._writes:
                named = entry.item(request)
                if fate is Fate.ARRIVES:
                    fate = named
        return fate

    async def kill(self) -> NoReturn:
        """Crash the process from within one of its own tasks. Raises Cancelled, or ProcessGone in clean-up that shields itself."""
        # Its end cannot be awaited here, as it is the end of this task too: the first step of the crash is what counts.
        with trio.move_on_after(0):
            if self.process.living:
                await self.process.crash()
        await trio.lowlevel.checkpoint()
        raise ProcessGone(f"process {self.process.name!r} has been killed")

    def answered(self, request: Request, answer: Answer | ApiError) -> None:
        """The process has its answer."""
        for entry in self._exchanges:
            entry.item(request, answer)

    def arrived(self, request: Request) -> None:
        """The server is done with a request."""
        for entry in self._arrivals:
            entry.item(request)

    def delivered(self, watch: WatchRequest, events: Events) -> None:
        """The process has a batch."""
        for entry in self._batches:
            entry.item(watch, events)

    def connect(self, connection: Connection) -> None:
        """A watch is open."""
        self._connections[connection] = None

    def disconnect(self, connection: Connection) -> None:
        """A watch is closed."""
        self._connections.pop(connection, None)

    async def staged(self, connection: Connection, events: Events) -> Events:
        """What is left of a batch after all stages, those included that are put in while it waits; may be none."""
        passed: list[Entry[Stage]] = []
        while events:
            entry = next((each for each in self._stages if each not in passed), None)
            if entry is None:
                break
            passed.append(entry)
            events = await entry.item.deliver(connection, events, entry.over)
        return events
