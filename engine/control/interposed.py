"""What may stand between a process and an API server: an interposer answers a request itself, or carries it on.

A load balancer that refuses, a replica that shows an old state, a server that takes its time: each is one. They are put where they act
(`Seam` for one process, `ServerHandle` for all that reach one server), and a request goes through all that stand there, the oldest first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from typing import Final, Protocol, TypeAlias

import attrs
import trio

from engine.api.errors import Timeout
from engine.api.request import ObjectList, Request, Verb, WatchRequest
from engine.objects.meta import KubeObject
from engine.sim.entries import Entries, Entry
from engine.sim.progress import process_name

DEFAULT_TIMEOUT: Final = 60.0
"""Seconds a caller waits who names no time-out (kube-apiserver --request-timeout)."""

Answer: TypeAlias = KubeObject | ObjectList | None
CarryOn: TypeAlias = Callable[[Request], Awaitable[Answer]]

WRITES: Final = (Verb.CREATE, Verb.UPDATE, Verb.PATCH, Verb.DELETE)
READS: Final = (Verb.GET, Verb.LIST)
WATCH: Final = "watch"


class Interposer(Protocol):
    """Stands in the way of requests and of watches that are opened."""

    async def request(self, request: Request, carry_on: CarryOn, over: trio.Event) -> Answer:
        """The answer: one's own, or that of `carry_on(request)`; not waiting after `over` is set. Raises ApiError."""
        ...

    async def opening(self, watch: WatchRequest, over: trio.Event) -> None:
        """A watch is about to be opened. Raises ApiError to refuse it."""
        ...


async def through(interposers: Entries[Interposer], request: Request, carry_on: CarryOn) -> Answer:
    """Carry a request through all that stand there now. Raises ApiError."""
    for entry in reversed(tuple(interposers)):
        carry_on = _within(entry, carry_on)
    return await carry_on(request)


def _within(entry: Entry[Interposer], carry_on: CarryOn) -> CarryOn:
    async def interposed(request: Request) -> Answer:
        return await entry.item.request(request, carry_on, entry.over)

    return interposed


async def opened_through(interposers: Entries[Interposer], watch: WatchRequest) -> None:
    """Ask all that stand there now about a watch. Raises ApiError."""
    for entry in interposers:
        await entry.item.opening(watch, entry.over)


@attrs.frozen(kw_only=True)
class Matching:
    """Which requests are meant; empty texts mean any."""

    verb: str = ""
    """A verb of the API or `watch`; `write` and `read` (watches included) name several."""
    kind: str = ""
    process: str = ""
    """The process that asks, with `*` and `?` as in file names: `controller/*`."""

    def __attrs_post_init__(self) -> None:
        if self.verb not in VERBS:
            raise ValueError(f"verb {self.verb!r}; allowed: {', '.join(VERBS)}")

    def request(self, request: Request) -> bool:
        """Whether a request of the process that runs is meant."""
        if self.verb == "write":
            if request.verb not in WRITES:
                return False
        elif self.verb == "read":
            if request.verb not in READS:
                return False
        elif self.verb and self.verb != request.verb.value:
            return False
        return self.kind in ("", request.resource.kind) and self._asks()

    def watch(self, watch: WatchRequest) -> bool:
        """Whether a watch that the running process opens is meant."""
        if self.verb not in ("", "read", WATCH):
            return False
        return self.kind in ("", watch.resource.kind) and self._asks()

    def _asks(self) -> bool:
        return not self.process or fnmatchcase(process_name.get(), self.process)


VERBS: Final = ("", *(verb.value for verb in Verb), WATCH, "write", "read")
EVERY_REQUEST: Final = Matching()


def timed_out(request: Request) -> Timeout:
    """No answer came within the caller's time."""
    seconds = request.timeout_seconds or DEFAULT_TIMEOUT
    return Timeout(
        f"Timeout: {request.verb.value} {request.resource.plural} {request.name!r}: "
        f"no answer within {seconds:g}s; the request may have been applied"
    )
