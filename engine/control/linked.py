"""An endpoint at the far end of a link: the one place where a process meets delay, loss, partition and pause.

A request crosses the link, is carried out, and its answer crosses back. When the link is cut in between, the write
has been applied and its answer is lost: the caller gets `Timeout` and cannot know. What a watch delivers crosses the
link as well; cut off, it is held back and arrives when the link is healed, as on a TCP connection.

An undisturbed link takes no time, so a request goes straight through; that is the path nearly all of them take.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import attrs
import trio

from engine.api.errors import ApiError, Timeout
from engine.api.request import (
    Endpoint,
    ObjectList,
    Request,
    WatchEvent,
    WatchRequest,
    WatchStream,
)
from engine.objects.meta import KubeObject
from engine.sim.link import Link
from engine.sim.process import Process

DEFAULT_TIMEOUT: Final = 60.0
"""Seconds a caller waits who names no time-out (kube-apiserver --request-timeout)."""

Answer = KubeObject | ObjectList | None


@attrs.frozen
class LinkedEndpoint:
    """`endpoint` as `process` reaches it over `link`."""

    endpoint: Endpoint
    link: Link
    process: Process

    @property
    def _undisturbed(self) -> bool:
        return self.link.clear and self.process.running

    async def request(self, request: Request) -> Answer:
        """Carry out `request` over the link.

        Raises ApiError (Timeout when no answer came in time), ProcessGone when the process is dead or dying.
        """
        if not self._undisturbed:
            return await self._within_timeout(request)
        try:
            answer = await self.endpoint.request(request)
        except ApiError:
            if not self._undisturbed:
                await self._bring_back(request)
            raise
        if not self._undisturbed:
            await self._bring_back(request)
        return answer

    async def _within_timeout(self, request: Request) -> Answer:
        with trio.move_on_after(request.timeout_seconds or DEFAULT_TIMEOUT):
            await self.link.to_server()
            error: ApiError | None = None
            answer: Answer = None
            try:
                answer = await self.endpoint.request(request)
            except ApiError as raised:
                error = raised
            await self.link.to_client()
            if error is not None:
                raise error
            return answer
        await self.process.passed()
        raise _timed_out(request)

    async def _bring_back(self, request: Request) -> None:
        with trio.move_on_after(request.timeout_seconds or DEFAULT_TIMEOUT):
            await self.link.to_client()
            return
        await self.process.passed()
        raise _timed_out(request)

    def watch(self, request: WatchRequest) -> AbstractAsyncContextManager[WatchStream]:
        """Open a watch whose events cross the link. Entering raises ApiError."""
        return self._watch(request)

    @asynccontextmanager
    async def _watch(self, request: WatchRequest) -> AsyncIterator[WatchStream]:
        if not self._undisturbed:
            with trio.move_on_after(request.timeout_seconds or DEFAULT_TIMEOUT) as scope:
                await self.link.to_server()
            if scope.cancelled_caught:
                await self.process.passed()
                raise Timeout(f"Timeout: watch {request.resource.plural}: no answer in time")
        async with self.endpoint.watch(request) as stream:
            yield _LinkedStream(stream, self)


@attrs.frozen
class _LinkedStream:
    stream: WatchStream
    way: LinkedEndpoint

    async def receive(self) -> tuple[WatchEvent, ...]:
        try:
            events = await self.stream.receive()
        except (ApiError, trio.EndOfChannel):
            await self._cross()  # that it has ended is a message like any other
            raise
        await self._cross()
        return events

    async def _cross(self) -> None:
        if not self.way._undisturbed:  # noqa: SLF001 - the endpoint's own stream
            await self.way.link.to_client()


def _timed_out(request: Request) -> Timeout:
    seconds = request.timeout_seconds or DEFAULT_TIMEOUT
    return Timeout(
        f"Timeout: {request.verb.value} {request.resource.plural} {request.name!r}: "
        f"no answer within {seconds:g}s; the request may have been applied"
    )
