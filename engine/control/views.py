"""Old views: what a process is shown by a replica that is behind, and by one that has forgotten.

A stale replica of the API server (its watch cache no longer fed) still answers what it may answer from its cache: a list or a get with
resourceVersion "0" shows its state, and so does one that asks for a revision "not older than" one it has. One that asks for a newer
revision waits, and is refused as `ResourceVersionTooLarge`. Its watches tell what happened up to its revision, then nothing. What asks for the newest state
(no resourceVersion: a quorum read) and every write goes to the store, and is right.

An informer that runs on asks for nothing older than what it has seen: it is not sent back, its watch is merely silent, and when that breaks its
list is refused and then asks for the newest. One that starts has seen nothing and takes what it gets: a process that is restarted lives in
the past, until the replica catches up; then its watch tells all that it has missed, event by event.
"""

from __future__ import annotations

from typing import Final

import attrs
import trio

from engine.api.feed import Limits, revision_of
from engine.api.refusals import not_found, too_large, too_old
from engine.api.request import ObjectList, Request, Verb, WatchRequest
from engine.control.interposed import Answer, CarryOn
from engine.control.seam import Connection, Events
from engine.control.stages import concerns

PATIENCE: Final = Limits().too_large_wait_seconds
"""How long a replica waits for a revision that it has not got."""


@attrs.frozen(kw_only=True)
class StaleView:
    """A replica that stands at `revision`: an `Interposer` and a `Stage` in one.

    It reads its state from the store's history: once that is compacted beyond the revision, lists are answered with Gone.
    """

    revision: int
    kind: str = ""
    """Which kind's view; empty: all."""

    async def request(self, request: Request, carry_on: CarryOn, over: trio.Event) -> Answer:
        """As `Interposer`."""
        if over.is_set() or not self._answers(request):
            return await carry_on(request)
        wanted = revision_of(request.resource_version)
        if wanted > self.revision:
            with trio.move_on_after(PATIENCE):
                await over.wait()
                return await carry_on(request)
            raise too_large(wanted, self.revision)
        listing = attrs.evolve(
            request,
            verb=Verb.LIST,
            name="",
            resource_version=str(self.revision),
            exact=True,
            field_selector=(
                f"metadata.name={request.name}" if request.name else request.field_selector
            ),
        )
        answer = await carry_on(listing)
        if request.verb is Verb.LIST:
            return answer
        assert isinstance(answer, ObjectList)
        if not answer.items:
            raise not_found(request.resource, request.name)
        return answer.items[0]

    def _answers(self, request: Request) -> bool:
        return (
            request.verb in (Verb.GET, Verb.LIST)
            and not request.subresource
            and request.resource_version != ""
            and not (request.exact or request.continue_token)
            and self.kind in ("", request.resource.kind)
        )

    async def opening(self, watch: WatchRequest, over: trio.Event) -> None:
        """As `Interposer`: a replica opens watches."""

    async def deliver(self, connection: Connection, events: Events, over: trio.Event) -> Events:
        """As `Stage`. A watch that begins with the newest state is not the replica's."""
        if not concerns(self.kind, connection) or not revision_of(
            connection.request.resource_version
        ):
            return events
        shown = tuple(event for event in events if event.revision <= self.revision)
        if shown and not over.is_set():
            connection.put_back(events[len(shown) :])
            return shown
        await over.wait()
        return events


@attrs.define(eq=False, kw_only=True)
class Forgetting:
    """A replica that has compacted the revisions from which watches would go on: an `Interposer`.

    Each watch of the process is refused `times` times with Gone as it is opened anew, whatever its revision.
    """

    times: int = 1
    kind: str = ""
    _refused: dict[tuple[str, ...], int] = attrs.field(factory=dict, init=False)

    async def request(self, request: Request, carry_on: CarryOn, over: trio.Event) -> Answer:  # noqa: ARG002 - the protocol's
        """As `Interposer`."""
        return await carry_on(request)

    async def opening(self, watch: WatchRequest, over: trio.Event) -> None:  # noqa: ARG002 - the protocol's
        """As `Interposer`. Raises Gone."""
        revision = revision_of(watch.resource_version)
        if not revision or self.kind not in ("", watch.resource.kind):
            return
        which = (watch.resource.kind, watch.namespace, watch.label_selector, watch.field_selector)
        refused = self._refused.get(which, 0)
        if refused < self.times:
            self._refused[which] = refused + 1
            raise too_old(revision, revision + 1)
