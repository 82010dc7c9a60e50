"""The API servers of a cluster, as processes, and which of them a process reaches.

All of them serve one store, each with a watch cache of its own. Each is a process (`apiserver-0`, ...): crashed, it refuses requests and its
watches end; started again it begins with empty memory. What was under way in a server that dies may have been applied: `Timeout`.

A process reaches them as through a load balancer with health checks (`Route`). The i-th process that was made belongs to server i modulo
their number. When its server is down, paused, or cut off from it, the next in their order that is neither takes its place, for good: it
changes over again when that one fails. It does so at its next request, or at the next health check (every HEALTH_CHECK_SECONDS); its watches at the
former server are closed then, and are opened anew. When no server is left it stays where it is: a server that is down refuses, one that
is paused or cut off does not answer, and its watches stand still.

The user and the simulator have a way of their own (`AnyServer`): past all links, to the first server that serves; while there is none,
each request is answered by one that is made for it, so that what is done to a cluster never waits for the cluster.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Final

import attrs
import trio

from engine.api.errors import ApiError, Timeout, Unavailable
from engine.api.refusals import unavailable
from engine.api.request import Request, WatchEvent, WatchRequest, WatchStream
from engine.api.server import ApiServer
from engine.control.interposed import (
    DEFAULT_TIMEOUT,
    Answer,
    Interposer,
    opened_through,
    through,
    timed_out,
)
from engine.sim.entries import Entries, Entry
from engine.sim.holds import Hold, Holds
from engine.sim.lifecycle import State
from engine.sim.process import Process, Processes, ProcessGone

HEALTH_CHECK_SECONDS: Final = 2.0
"""Between two looks of the load balancer at the servers (HAProxy's default `inter`)."""


class _Life(trio.TaskStatus[None]):
    """One run of a server."""

    def __init__(self) -> None:
        self.known: Final = trio.Event()
        """It serves, or it is over."""

    def started(self, value: None = None) -> None:  # noqa: ARG002 - trio's signature
        """It serves."""
        self.known.set()


@attrs.define(eq=False)
class ServerHandle:
    """One API server and its process."""

    name: str
    api: ApiServer
    process: Process = attrs.field(init=False)
    life: _Life = attrs.field(factory=_Life, init=False)
    """Of the run that is on, or of the next when it is down."""
    _rules: Entries[Interposer] = attrs.field(init=False)
    steady: bool = attrs.field(default=True, init=False)
    """Whether no rules are there. Asked for each message."""

    def __attrs_post_init__(self) -> None:
        self._rules = Entries(self._look)

    def _look(self) -> None:
        self.steady = not self._rules

    def start(self, processes: Processes) -> None:
        """Start its process; `known` waits until it serves."""
        self.process = processes.start(self.name, self._main)

    async def _main(self) -> None:
        try:
            await self.api.run(task_status=self.life)
        finally:
            life, self.life = self.life, _Life()
            life.known.set()

    async def known(self) -> None:
        """Wait until it serves or is down; at once when it is one of them."""
        if self.process.state is State.CRASHING:
            await self.process.ended()
        while self.process.living and not self.api.running:
            await self.life.known.wait()

    @property
    def up(self) -> bool:
        """Whether it serves and is not paused."""
        return self.api.running and self.process.state is State.RUNNING

    @property
    def rules(self) -> tuple[str, ...]:
        """The reasons of what is interposed, oldest first."""
        return self._rules.reasons

    def interpose(self, interposer: Interposer, reason: str = "") -> Entry[Interposer]:
        """Have all requests and watches of processes go through `interposer` as they reach this server."""
        return self._rules.add(interposer, reason)

    async def request(self, request: Request) -> Answer:
        """Carry out a request here. Raises ApiError; Timeout when the server dies over it."""
        life = self.life
        try:
            if self.steady:
                answer = await self.api.request(request)
            else:
                answer = await through(self._rules, request, self.api.request)
        except ApiError:
            if self.life is not life:
                raise _died(request, self.name) from None
            raise
        if self.life is not life:
            raise _died(request, self.name)
        return answer

    async def opening(self, request: WatchRequest) -> None:
        """A watch is about to be opened here. Raises ApiError."""
        if not self.steady:
            await opened_through(self._rules, request)


def _died(request: Request, server: str) -> Timeout:
    return Timeout(
        f"Timeout: {request.verb.value} {request.resource.plural} {request.name!r}: "
        f"the connection to {server} was lost; the request may have been applied"
    )


@attrs.define(eq=False)
class Route:
    """The way of one process to the servers, behind its link: an `Endpoint`. See the module's text."""

    servers: Sequence[ServerHandle]
    server: ServerHandle
    """Where it is now."""
    cut_off: bool = attrs.field(default=False, init=False)
    """Whether it is cut off from any server. Asked for each message."""
    _cuts: dict[ServerHandle, Holds] = attrs.field(factory=dict, init=False)
    _watches: dict[trio.CancelScope, ServerHandle] = attrs.field(factory=dict, init=False)
    _only: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._only = len(self.servers) == 1

    def cut(self, server: ServerHandle, reason: str = "") -> Hold:
        """Cut the process off from one server until the hold is released."""
        if server not in self._cuts:
            self._cuts[server] = Holds(partial(self._mended, server))
        self.cut_off = True
        hold = self._cuts[server].take(reason)
        self.choose()
        return hold

    def _mended(self, server: ServerHandle) -> None:
        del self._cuts[server]
        self.cut_off = bool(self._cuts)

    @property
    def cuts(self) -> tuple[str, ...]:
        """The cuts, as `apiserver-1: reason`, in the order of the servers."""
        return tuple(
            f"{server.name}: {reason}"
            for server in self.servers
            if server in self._cuts
            for reason in self._cuts[server].reasons
        )

    def reaches(self, server: ServerHandle) -> bool:
        """Whether a request to it would be answered."""
        return server.up and server not in self._cuts

    def choose(self) -> ServerHandle:
        """The server to ask now: another than before when that one fails."""
        former = self.server
        if self._only or self.reaches(former):
            return former
        first = self.servers.index(former) + 1
        for server in (*self.servers[first:], *self.servers[:first]):
            if self.reaches(server):
                self.server = server
                for scope in [each for each, at in self._watches.items() if at is former]:
                    scope.cancel()
                return server
        return former

    async def request(self, request: Request) -> Answer:
        """Carry out a request at the server of the moment. Raises ApiError."""
        server = self.server if self._only else self.choose()
        if server.steady and server.process.running and not self.cut_off:
            return await server.request(request)
        with trio.move_on_after(request.timeout_seconds or DEFAULT_TIMEOUT):
            await self.reach(server)
            error: ApiError | None = None
            answer: Answer = None
            try:
                answer = await server.request(request)
            except ApiError as raised:
                error = raised
            await self.reach(server)
            if error is not None:
                raise error
            return answer
        raise timed_out(request)

    async def reach(self, server: ServerHandle) -> None:
        """Wait while the server is cut off or paused. One that is down is reached: it refuses."""
        if server.process.living:
            with suppress(ProcessGone):
                await server.process.passed()
        while server in self._cuts:
            await self._cuts[server].free()

    def watch(self, request: WatchRequest) -> AbstractAsyncContextManager[WatchStream]:
        """Open a watch at the server of the moment. Entering raises ApiError."""
        return self._watch(request)

    @asynccontextmanager
    async def _watch(self, request: WatchRequest) -> AsyncIterator[WatchStream]:
        server = self.choose()
        if self.cut_off or not (server.steady and server.process.running):
            with trio.move_on_after(request.timeout_seconds or DEFAULT_TIMEOUT) as waiting:
                await self.reach(server)
                await server.opening(request)
            if waiting.cancelled_caught:
                raise Timeout(f"Timeout: watch {request.resource.plural}: no answer in time")
        with trio.CancelScope() as scope:
            async with server.api.watch(request) as stream:
                self._watches[scope] = server
                if self.server is not server:  # it changed over while the watch was being opened
                    scope.cancel()
                try:
                    yield _RoutedStream(stream, server, self)
                finally:
                    del self._watches[scope]
        if scope.cancelled_caught:
            raise trio.EndOfChannel


@attrs.define(eq=False)
class _RoutedStream:
    stream: WatchStream
    server: ServerHandle
    route: Route
    events: tuple[WatchEvent, ...] = ()
    """Sent, and held back; kept here, they are not lost when a `receive` is cancelled."""

    async def receive(self) -> tuple[WatchEvent, ...]:
        events = self.events or await self.stream.receive()
        if self.route.cut_off or not self.server.process.running:
            self.events = events
            await self.route.reach(self.server)
            self.events = ()
        return events


@attrs.define(eq=False)
class ApiServers:
    """All API servers of a cluster, by name in their order."""

    handles: dict[str, ServerHandle] = attrs.field(factory=dict, init=False)
    _routes: list[Route] = attrs.field(factory=list, init=False)

    async def start(self, name: str, api: ApiServer, processes: Processes) -> ServerHandle:
        """Add a server and start it; returns when it serves."""
        handle = self.handles[name] = ServerHandle(name, api)
        handle.start(processes)
        await handle.known()
        return handle

    def route(self) -> Route:
        """The way of a process that has just been made: the next server's."""
        servers = tuple(self.handles.values())
        route = Route(servers, servers[len(self._routes) % len(servers)])
        self._routes.append(route)
        return route

    async def check_health(self) -> None:
        """Look at the servers again and again, and have the processes of those that fail change over; for several servers."""
        while True:
            await trio.sleep(HEALTH_CHECK_SECONDS)
            for route in self._routes:
                route.choose()


@attrs.frozen
class AnyServer:
    """The way of the user and of the simulator: an `Endpoint`. See the module's text."""

    servers: ApiServers
    stand_in: Callable[[], ApiServer]
    """Makes another server over the same store."""

    async def request(self, request: Request) -> Answer:
        """Carry out a request. Raises ApiError."""
        for handle in self.servers.handles.values():
            if handle.up:
                try:
                    return await handle.api.request(request)
                except Unavailable:
                    if handle.up:
                        raise
        async with self._standing_in() as server:
            try:
                return await server.request(request)
            except ApiError as error:
                refusal = error
        raise refusal

    def watch(self, request: WatchRequest) -> AbstractAsyncContextManager[WatchStream]:
        """Open a watch. Entering raises ApiError, Unavailable when no server of the cluster serves."""
        return self._watch(request)

    @asynccontextmanager
    async def _watch(self, request: WatchRequest) -> AsyncIterator[WatchStream]:
        up = [handle for handle in self.servers.handles.values() if handle.up]
        if not up:
            raise unavailable()
        async with up[0].api.watch(request) as stream:
            yield stream

    @asynccontextmanager
    async def _standing_in(self) -> AsyncIterator[ApiServer]:
        server = self.stand_in()
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            yield server
            nursery.cancel_scope.cancel()
