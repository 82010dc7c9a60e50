"""An endpoint at the far end of a link: the one place where a process meets delay, loss, partition and pause.

A request crosses the link, is carried out, and its answer crosses back. When the link is cut in between, the write
has been applied and its answer is lost: the caller gets `Timeout` and cannot know. What a watch delivers crosses the
link as well; cut off, it is held back and arrives when the link is healed, as on a TCP connection.

An undisturbed link takes no time, so a request goes straight through; that is the path nearly all of them take. What faults and
observers do beyond what a link does, they do in the process' `Seam`:

    the hooks on writes, the link there | the interposers, the server | the fate of the write, the link back, the listeners
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import attrs
import trio

from engine.api.errors import ApiError, Timeout
from engine.api.request import (
    Endpoint,
    Request,
    WatchEvent,
    WatchRequest,
    WatchStream,
)
from engine.control.interposed import (
    DEFAULT_TIMEOUT,
    Answer,
    opened_through,
    through,
    timed_out,
)
from engine.control.seam import Connection, Fate, Seam
from engine.sim.link import Link
from engine.sim.process import Process


@attrs.frozen
class LinkedEndpoint:
    """`endpoint` as `process` reaches it over `link`."""

    endpoint: Endpoint
    link: Link
    process: Process
    seam: Seam = attrs.field(
        default=attrs.Factory(lambda self: Seam(self.process), takes_self=True)
    )

    @property
    def _open(self) -> bool:
        """Whether messages cross at once."""
        return self.link.clear and self.process.running

    async def request(self, request: Request) -> Answer:
        """Carry out `request` over the link.

        Raises ApiError (Timeout when no answer came in time), ProcessGone when the process is dead or dying.
        """
        if not self.seam.quiet:
            return await self._through_seam(request)
        if not self._open:
            return await self._within_timeout(request, Fate.ARRIVES)
        try:
            answer = await self.endpoint.request(request)
        except ApiError:
            if not self._open:
                await self._bring_back(request)
            raise
        if not self._open:
            await self._bring_back(request)
        return answer

    async def _through_seam(self, request: Request) -> Answer:
        seam = self.seam
        fate = seam.fate_of(request)
        if fate is Fate.KILLED_BEFORE:
            await seam.kill()
        try:
            answer = await self._within_timeout(request, fate)
        except ApiError as error:
            seam.answered(request, error)
            raise
        seam.answered(request, answer)
        return answer

    async def _within_timeout(self, request: Request, fate: Fate) -> Answer:
        with trio.move_on_after(request.timeout_seconds or DEFAULT_TIMEOUT):
            crosses = not self._open
            if crosses:
                await self.link.to_server()
            error: ApiError | None = None
            answer: Answer = None
            try:
                answer = await self._at_server(request)
            except ApiError as raised:
                error = raised
            self.seam.arrived(request)
            if fate is Fate.KILLED_AFTER:
                await self.seam.kill()
            if fate is Fate.ANSWER_LOST:
                await trio.sleep_forever()
            if crosses or not self._open:
                await self.link.to_client()
            if error is not None:
                raise error
            return answer
        await self.process.passed()
        raise timed_out(request)

    async def _at_server(self, request: Request) -> Answer:
        if self.seam.interposers:
            return await through(self.seam.interposers, request, self.endpoint.request)
        return await self.endpoint.request(request)

    async def _bring_back(self, request: Request) -> None:
        with trio.move_on_after(request.timeout_seconds or DEFAULT_TIMEOUT):
            await self.link.to_client()
            return
        await self.process.passed()
        raise timed_out(request)

    def watch(self, request: WatchRequest) -> AbstractAsyncContextManager[WatchStream]:
        """Open a watch whose events cross the link. Entering raises ApiError."""
        return self._watch(request)

    @asynccontextmanager
    async def _watch(self, request: WatchRequest) -> AsyncIterator[WatchStream]:
        seam = self.seam
        if not (seam.quiet and self._open):
            await self._open_watch(request)
        with trio.CancelScope() as scope:
            async with self.endpoint.watch(request) as stream:
                connection = Connection(request, stream, scope)
                seam.connect(connection)
                try:
                    yield _LinkedStream(connection, self)
                finally:
                    seam.disconnect(connection)
        if scope.cancelled_caught:
            raise trio.EndOfChannel

    async def _open_watch(self, request: WatchRequest) -> None:
        with trio.move_on_after(request.timeout_seconds or DEFAULT_TIMEOUT) as scope:
            if not self._open:
                await self.link.to_server()
            await opened_through(self.seam.interposers, request)
        if scope.cancelled_caught:
            await self.process.passed()
            raise Timeout(f"Timeout: watch {request.resource.plural}: no answer in time")


@attrs.frozen
class _LinkedStream:
    connection: Connection
    way: LinkedEndpoint

    async def receive(self) -> tuple[WatchEvent, ...]:
        connection, seam = self.connection, self.way.seam
        events: tuple[WatchEvent, ...] = ()
        while not events:
            try:
                events = await (
                    connection.source() if connection.pending else connection.stream.receive()
                )
            except (ApiError, trio.EndOfChannel):
                await self._cross()  # that it has ended is a message like any other
                raise
            if not seam.quiet:
                events = await seam.staged(connection, events)
        await self._cross()
        if not seam.quiet:
            seam.delivered(connection.request, events)
        return events

    async def _cross(self) -> None:
        if not self.way._open:  # noqa: SLF001 - the endpoint's own stream
            await self.way.link.to_client()
