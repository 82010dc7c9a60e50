"""Opening a store, and closing it whatever happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from store.core import Core
from store.embedded import ClockNs, EmbeddedStore
from store.errors import InvalidRequest
from store.filelog import FileJournal
from store.files import DISK, FileLayer
from store.journal import MemoryJournal
from store.leases import SECOND_NS
from store.limits import Limits
from store.protocol import Codec
from store.records import Durability
from store.retention import KEEP_ALL, Keep


@asynccontextmanager
async def open_store(  # noqa: PLR0913 - each is a choice of the caller's
    path: Path | str | None = None,
    *,
    codec: Codec,
    clock: ClockNs | None = None,
    durability: Durability | str = Durability.BUFFERED,
    header: Mapping[str, object] | None = None,
    resume: bool = False,
    keep: Keep = KEEP_ALL,
    limits: Limits | None = None,
    layer: FileLayer = DISK,
) -> AsyncIterator[EmbeddedStore]:
    """Open a store: in memory without a `path`, else with its log there (a directory; by custom its name ends in `.wtl`).

    `clock` gives nanoseconds since the start of the run; by default they count from the opening, by trio's clock. `header` is kept in front of
    a new log. A path that has something in it is refused, unless `resume` continues the log that is there: what it holds is
    recovered first, and `header`, if given, must be its own. `keep` says how much history stays on the disk; what was dropped is Compacted.

    Raises LogExists, LogBusy, LogMissing, LogCorrupt, UnsupportedVersion, InvalidRequest. On leaving, all watches end with StoreClosed, and
    what durability `none` had not written is written.
    """
    limits = limits or Limits()
    clock = clock or _trio_clock()
    if path is None:
        if resume:
            raise InvalidRequest("a store in memory cannot be resumed; give a path")
        core = Core(MemoryJournal(codec), codec, limits)
    else:
        journal = FileJournal(Path(path), codec, Durability(durability), limits, layer, keep)
        core = Core(journal, codec, limits)
        if resume:
            _recover(core, journal, header, clock())
        else:
            journal.create(header or {})
    store = EmbeddedStore(core, clock)
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.keep_time)
        try:
            yield store
        except BaseException as error:  # noqa: BLE001 - raised again below: the nursery would wrap it in a group
            failure = error
        nursery.cancel_scope.cancel()
    try:
        store.close()
    finally:
        if failure is not None:
            raise failure


def _trio_clock() -> ClockNs:
    start = trio.current_time()
    return lambda: round((trio.current_time() - start) * SECOND_NS)


def _recover(
    core: Core, journal: FileJournal, header: Mapping[str, object] | None, now_ns: int
) -> None:
    try:
        for entry in journal.recover(header):
            core.restore(entry, now_ns)
    except BaseException:
        journal.abandon()
        raise
