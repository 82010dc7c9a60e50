"""An open watch: the trio shell around one watcher. It parks and settles; `store.core` decides what to deliver.

One wake-up serves many events: whoever posts wakes a waiting receiver once, and by the time it runs it takes all there is.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

import attrs
import trio

from store.core import Core
from store.errors import InvalidRequest, StoreClosed
from store.protocol import WatchStatistics
from store.records import Revision, WatchBatch
from store.wakeup import Wakeup
from store.watchers import Watcher, WatcherState


class Watched(Protocol):
    """What a watch needs of its store."""

    @property
    def core(self) -> Core:
        """Where events come from."""
        ...

    @property
    def clock(self) -> Callable[[], int]:
        """The time in nanoseconds."""
        ...

    def check_open(self) -> None:
        """Raises StoreClosed, StoreFailed."""
        ...

    def settle(self, position: int) -> None:
        """Make what had happened by `position` of the journal durable. Raises StoreFailed."""
        ...

    def set_alarm(self) -> None:
        """Look again at when there is something to do."""
        ...


@attrs.define(eq=False, repr=False)
class EmbeddedWatch:
    """A watch of an embedded store: open between `async with` and its end. `store.protocol.Watch` says the rest."""

    _store: Watched
    _watcher: Watcher
    _start_revision: int
    _prev_kv: bool
    _wakeup: Wakeup = attrs.field(factory=Wakeup, init=False)
    _open: bool = attrs.field(default=False, init=False)

    def __repr__(self) -> str:
        return f"<EmbeddedWatch {self._watcher!r}>"

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        self._store.check_open()
        self._watcher.wake = self._wakeup.wake
        self._store.core.watch(self._watcher, self._start_revision, self._store.clock())
        self._store.set_alarm()
        self._open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open = False
        self._store.core.unwatch(self._watcher)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchBatch:
        return await self.receive()

    @property
    def revision(self) -> Revision:
        """The bookmark: all up to and with this revision has been received."""
        return Revision(min(self._store.core.history.head, self._watcher.next_revision - 1))

    async def receive(self) -> WatchBatch:
        """Wait for the next batch. Raises Compacted when what comes next is gone, StoreClosed at the end."""
        if self._watcher.ready:
            await trio.lowlevel.checkpoint()
        else:
            await self._wait()
        while (batch := self._next()) is None:
            if self._watcher.state is WatcherState.CATCHING_UP:
                await trio.lowlevel.checkpoint()
            else:
                await self._wait()
        return batch

    def _next(self) -> WatchBatch | None:
        if not self._open:
            raise StoreClosed("the watch is not open; use it inside its `async with`")
        self._store.check_open()
        # Settled first: a batch taken could not be put back if the sync failed.
        self._store.settle(self._store.core.journal.position)
        return self._store.core.deliver(self._watcher, prev_kv=self._prev_kv)

    async def _wait(self) -> None:
        if not self._open:
            raise StoreClosed("the watch is not open; use it inside its `async with`")
        self._store.check_open()
        if self._watcher.waiting:
            raise InvalidRequest("two tasks receive from one watch; open one for each")
        self._watcher.waiting = True
        try:
            await self._wakeup.wait()
        finally:
            self._watcher.waiting = False

    def request_progress(self) -> None:
        """Have `receive` answer with a batch, empty if need be, as soon as all up to the head is delivered."""
        self._watcher.progress_due = True
        self._watcher.wake()

    def statistics(self) -> WatchStatistics:
        """The condition of the watch."""
        return WatchStatistics(
            state=self._watcher.state.value,
            pending=len(self._watcher.pending),
            revision=self.revision,
            overflows=self._watcher.overflows,
        )
