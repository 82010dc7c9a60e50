"""What an API server, or the proxy before it, may do to requests instead of serving them well: `Interposer`s of a `ServerHandle`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs
import trio

from engine.api.errors import (
    ApiError,
    Conflict,
    InternalError,
    Timeout,
    TooManyRequests,
    Unavailable,
)
from engine.api.request import Request, Verb, WatchRequest
from engine.control.interposed import Answer, CarryOn, Matching
from engine.sim.draws import Draws
from engine.sim.durations import DurationRange
from engine.sim.progress import process_name


@attrs.define(eq=False, kw_only=True)
class Odds:
    """How often something happens to those that match; drawn for each request of each process."""

    matching: Matching
    chance: float
    draws: Draws
    label: str
    _asked: dict[str, int] = attrs.field(factory=dict, init=False)

    def request(self, request: Request) -> bool:
        """Whether it happens to this request."""
        return self.matching.request(request) and self.drawn()

    def watch(self, watch: WatchRequest) -> bool:
        """Whether it happens to this watch."""
        return self.matching.watch(watch) and self.drawn()

    def drawn(self) -> bool:
        """The next draw of the process that runs."""
        return self.draws.chance(*self.next_label(), self.chance)

    def next_label(self) -> tuple[str, int]:
        """Label and number of a draw of the process that runs."""
        process = process_name.get()
        number = self._asked[process] = self._asked.get(process, 0) + 1
        return f"{self.label}/{process}", number


STATUSES: Final[dict[int, Callable[[int], ApiError]]] = {
    409: lambda after: Conflict(
        "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest "
        "version and try again",
        retry_after_seconds=after,
    ),
    429: lambda after: TooManyRequests(
        "Too many requests, please try again later.", retry_after_seconds=after
    ),
    500: lambda after: InternalError("Internal error occurred", retry_after_seconds=after),
    503: lambda after: Unavailable(
        "the server is currently unable to handle the request", retry_after_seconds=after
    ),
}
"""The errors by HTTP status; the argument is Retry-After in seconds."""

_CONFLICTING = (Verb.UPDATE, Verb.PATCH, Verb.DELETE)


@attrs.frozen(kw_only=True)
class Refusing:
    """Some requests are answered with an error status, and nothing is done. 409 is for writes to objects that exist."""

    odds: Odds
    status: int
    """One of STATUSES."""
    retry_after_seconds: int = 0

    async def request(self, request: Request, carry_on: CarryOn, over: trio.Event) -> Answer:
        """As `Interposer`."""
        if self.status == Conflict.code and request.verb not in _CONFLICTING:
            return await carry_on(request)
        if not over.is_set() and self.odds.request(request):
            await trio.lowlevel.checkpoint()  # a caller that tries again at once lets others run
            raise STATUSES[self.status](self.retry_after_seconds)
        return await carry_on(request)

    async def opening(self, watch: WatchRequest, over: trio.Event) -> None:
        """As `Interposer`."""
        if self.status != Conflict.code and not over.is_set() and self.odds.watch(watch):
            raise STATUSES[self.status](self.retry_after_seconds)


@attrs.frozen(kw_only=True)
class Hanging:
    """Some requests get no answer, and their callers a Timeout after their time-out.

    Those that are `applied` have been carried out, and are answered when it is over; the others never are carried out.
    """

    odds: Odds
    applied: bool

    async def request(self, request: Request, carry_on: CarryOn, over: trio.Event) -> Answer:
        """As `Interposer`."""
        if over.is_set() or not self.odds.request(request):
            return await carry_on(request)
        if not self.applied:
            await over.wait()
            raise Timeout(
                f"Timeout: {request.verb.value} {request.resource.plural} {request.name!r}: request did not complete"
            )
        try:
            return await carry_on(request)
        finally:
            await over.wait()

    async def opening(self, watch: WatchRequest, over: trio.Event) -> None:
        """As `Interposer`: watches are opened."""


@attrs.frozen(kw_only=True)
class Slow:
    """Each request that matches takes a further time before it is carried out."""

    odds: Odds
    delay: DurationRange

    async def request(self, request: Request, carry_on: CarryOn, over: trio.Event) -> Answer:
        """As `Interposer`."""
        if self.odds.matching.request(request):
            await self._wait(over)
        return await carry_on(request)

    async def opening(self, watch: WatchRequest, over: trio.Event) -> None:
        """As `Interposer`."""
        if self.odds.matching.watch(watch):
            await self._wait(over)

    async def _wait(self, over: trio.Event) -> None:
        with trio.move_on_after(self.odds.draws.duration(*self.odds.next_label(), self.delay)):
            await over.wait()
