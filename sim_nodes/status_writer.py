"""Brings pod statuses to the API, one after another, as the kubelet's status manager does (6.12).

What is to be written waits under the pod's uid, the newest status only. A write that meets a conflict reads and tries again at once; one that fails
otherwise waits for the next batch, every 10 s. The batch also writes again what another has overwritten: after a node was cut off, the
node controller's Ready=False of its pods.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from engine import (
    ApiError,
    Client,
    Clock,
    Conflict,
    Key,
    NotFound,
    Pod,
    PodStatus,
    Signal,
    Uid,
    acting,
    current_origin,
    replaced,
)
from sim_nodes.pod_status import merged
from sim_nodes.units import NS, next_tick
from store import Origin

_BATCH_NS: Final = 10 * NS
"""syncPeriod of the status manager."""
_TRIES: Final = 5
"""Reads and writes of one status before it waits for the next batch."""


@attrs.define
class _Entry:
    """One pod: what we say of it, and what of that the API is known to have."""

    key: Key
    status: PodStatus
    origin: Origin
    written: PodStatus | None = None
    remove: bool = False


@attrs.frozen(kw_only=True)
class StatusWriterStatistics:
    """What `StatusWriter.statistics()` returns."""

    written: int
    removed: int
    conflicts: int
    failed: int
    waiting: int


@attrs.define(eq=False, kw_only=True)
class StatusWriter:
    """See the module's text. `seen` looks a pod up in the kubelet's informer."""

    client: Client
    clock: Clock
    gate: Callable[[], Awaitable[None]]
    seen: Callable[[Key], Pod | None]
    started_ns: int
    _entries: dict[str, _Entry] = attrs.field(factory=dict, init=False)
    _waiting: dict[str, None] = attrs.field(factory=dict, init=False)
    _later: dict[str, None] = attrs.field(factory=dict, init=False)
    _wake: Signal = attrs.field(
        default=attrs.Factory(lambda self: Signal(self.clock), takes_self=True), init=False
    )
    _busy: bool = attrs.field(default=False, init=False)
    _counters: dict[str, int] = attrs.field(
        factory=lambda: dict.fromkeys(("written", "removed", "conflicts", "failed"), 0), init=False
    )

    def statistics(self) -> StatusWriterStatistics:
        return StatusWriterStatistics(
            **self._counters, waiting=len(self._waiting) + len(self._later)
        )

    @property
    def idle(self) -> bool:
        """Nothing waits to be written."""
        return not self._waiting and not self._later and not self._busy

    def set(self, pod: Pod, status: PodStatus) -> None:
        """The status the API shall show; never waits. The origin in force goes with it."""
        uid = pod.metadata.uid
        entry = self._entries.get(uid)
        if entry is None:
            key = Key(pod.metadata.namespace, pod.metadata.name)
            self._entries[uid] = _Entry(key, status, current_origin())
        elif entry.status is status:
            return
        else:
            entry.status, entry.origin = status, current_origin()
        self._enqueue(uid)

    def remove(self, pod: Pod) -> None:
        """Nothing of the pod is left here: after its last status, delete it for good (6.7.2)."""
        uid = pod.metadata.uid
        entry = self._entries.get(uid)
        if entry is None:  # its last status was written by a former kubelet
            key = Key(pod.metadata.namespace, pod.metadata.name)
            entry = self._entries[uid] = _Entry(key, pod.status, current_origin())
        if not entry.remove:
            entry.remove = True
            self._enqueue(uid)

    def forget(self, uid: str) -> None:
        """The pod is gone from the API."""
        self._entries.pop(uid, None)

    def observe(self, pod: Pod) -> None:
        """The API shows this pod: if another has overwritten what we said of it, say it again in the next batch."""
        uid = pod.metadata.uid
        entry = self._entries.get(uid)
        if entry is None or entry.written is None or uid in self._waiting or uid in self._later:
            return
        if pod.status is not entry.written and merged(pod.status, entry.status) != pod.status:
            self._later[uid] = None
            self._wake.set()

    async def run(self) -> None:
        """Write what waits, until cancelled."""
        while True:
            while self._waiting:
                uid = next(iter(self._waiting))
                del self._waiting[uid]
                entry = self._entries.get(uid)
                if entry is not None:
                    await self._bring(uid, entry)
            self._wake.clear()
            if not self._later:
                await self._wake.wait()
            else:
                now = self.clock.now_ns()
                batch = next_tick(now + 1, period_ns=_BATCH_NS, phase_ns=self.started_ns)
                if await self._wake.wait_for((batch - now) / NS):
                    self._waiting.update(self._later)
                    self._later.clear()
            await self.gate()

    def _enqueue(self, uid: str) -> None:
        self._later.pop(uid, None)
        self._waiting[uid] = None
        self._wake.set()

    async def _bring(self, uid: str, entry: _Entry) -> None:
        """Carry one pod's status, and its removal, to the API; what fails waits for the next batch."""
        self._busy = True
        try:
            with acting(entry.origin):
                status = entry.status
                await self._write(uid, entry)
                # What was set while that was under way waits to be written, and goes first.
                if entry.remove and entry.status is status:
                    await self._delete(uid, entry)
        except NotFound:
            self.forget(uid)
        except ApiError:
            self._counters["failed"] += 1
            if uid in self._entries:
                self._later[uid] = None
        finally:
            self._busy = False

    async def _write(self, uid: str, entry: _Entry) -> None:
        pod = self.seen(entry.key)
        for _ in range(_TRIES):
            if pod is None:
                pod = await self.client.get(Pod, entry.key.name, entry.key.namespace)
            if pod.metadata.uid != uid:
                raise NotFound(f'pods "{entry.key.name}" is another one now')
            wanted = merged(pod.status, entry.status)
            if wanted == pod.status:
                entry.written = pod.status
                return
            try:
                stored = await self.client.update_status(replaced(pod, status=wanted))
            except Conflict:
                self._counters["conflicts"] += 1
                pod = None
                continue
            self._counters["written"] += 1
            entry.written = stored.status
            return
        raise Conflict(f'pods "{entry.key.name}" changes faster than it can be written')

    async def _delete(self, uid: str, entry: _Entry) -> None:
        key = entry.key
        try:
            await self.client.delete(
                Pod, key.name, key.namespace, uid=Uid(uid), grace_period_seconds=0
            )
        except Conflict as error:  # another pod has the name by now
            raise NotFound(error.message) from error
        self._counters["removed"] += 1
        self.forget(uid)
