"""Leader election on a Lease: of several replicas of a process, one works (client-go leaderelection).

The decision is pure: `claim` looks at the record and says whether to take it, renew it or wait. Time counts
from when this replica saw the record change, on its own clock, so skewed clocks do not matter, only their rate.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio

from engine.api.cause import set_causes
from engine.api.errors import ApiError, NotFound
from engine.control.client import Client
from engine.control.events import EventRecorder
from engine.objects.base import MicroTime
from engine.objects.core import Lease, LeaseSpec
from engine.objects.meta import ObjectMeta
from engine.settings import Settings
from engine.sim.clock import Clock
from engine.sim.draws import Draws

JITTER = 1.2
"""A candidate waits retry_period x (1 + U(0, 1.2)) between tries (client-go JitterFactor)."""


@attrs.frozen
class Observed:
    """The record as last seen, and since when (ns on the own clock) it has been so."""

    spec: LeaseSpec
    since_ns: int


def claim(
    observed: Observed | None, identity: str, lease_duration: float, now_ns: int, now_us: int
) -> LeaseSpec | None:
    """The record to write in order to lead, or None while another leads.

    `lease_duration` is in seconds, `now_us` Unix time in microseconds.
    """
    moment = MicroTime.of(now_us)
    held = observed.spec if observed is not None else LeaseSpec()
    mine = held.holder_identity == identity
    expires_ns = observed.since_ns + round(lease_duration * 1e9) if observed is not None else 0
    if held.holder_identity and not mine and now_ns < expires_ns:
        return None
    transitions = held.lease_transitions or 0
    if held.holder_identity and not mine:
        transitions += 1
    return attrs.evolve(
        held,
        holder_identity=identity,
        lease_duration_seconds=round(lease_duration),
        acquire_time=held.acquire_time if mine else moment,
        renew_time=moment,
        lease_transitions=transitions,
    )


@attrs.define(eq=False, kw_only=True)
class LeaderElector:
    """Runs `work` while this replica leads; when leadership is lost, `work` is cancelled and `run` returns."""

    client: Client
    clock: Clock
    draws: Draws
    settings: Settings
    recorder: EventRecorder
    name: str
    """The Lease, in kube-system, e.g. `kube-scheduler`."""
    identity: str
    _observed: Observed | None = attrs.field(default=None, init=False)
    _lease: Lease | None = attrs.field(default=None, init=False)
    _leading: bool = attrs.field(default=False, init=False)
    _tries: int = attrs.field(default=0, init=False)

    @property
    def leading(self) -> bool:
        return self._leading

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait to become the leader, then run `work`; returns when the lease could not be renewed in time."""
        set_causes(f"timer:election/{self.name}")
        while not await self._try():  # noqa: ASYNC110 - the lease is polled, as in Kubernetes
            await trio.sleep(self._retry_delay())
        self._leading = True
        self._tell("became leader")
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._renew, nursery.cancel_scope, name=f"{self.name} renew")
                await work()
                nursery.cancel_scope.cancel()
        finally:
            self._leading = False
            self._tell("stopped leading")

    def _tell(self, what: str) -> None:
        if self._lease is not None:
            self.recorder.event(self._lease, "Normal", "LeaderElection", f"{self.identity} {what}")

    def _retry_delay(self) -> float:
        self._tries += 1
        label = f"election/{self.name}/{self.identity}"
        return self.settings.leader_retry_period * self.draws.uniform(
            label, self._tries, 1.0, 1.0 + JITTER
        )

    async def _renew(self, leadership: trio.CancelScope) -> None:
        settings = self.settings
        while True:
            with trio.move_on_after(settings.leader_renew_deadline) as window:
                while not await self._try():  # noqa: ASYNC110 - likewise
                    await trio.sleep(settings.leader_retry_period)
            if window.cancelled_caught:
                leadership.cancel()
                return
            await trio.sleep(settings.leader_retry_period)

    async def _try(self) -> bool:
        """One attempt to take or renew the lease."""
        try:
            try:
                lease: Lease | None = await self.client.get(Lease, self.name, "kube-system")
            except NotFound:
                lease = None
            self._observe(lease)
            spec = claim(
                self._observed,
                self.identity,
                self.settings.leader_lease_duration,
                self.clock.now_ns(),
                self.clock.unix_us(),
            )
            if spec is None:
                return False
            if lease is None:
                metadata = ObjectMeta(name=self.name, namespace="kube-system")
                written = await self.client.create(Lease(metadata=metadata, spec=spec))
            else:
                written = await self.client.update(attrs.evolve(lease, spec=spec))
        except ApiError:
            return False
        self._observe(written)
        return True

    def _observe(self, lease: Lease | None) -> None:
        self._lease = lease
        if lease is None:
            self._observed = None
        elif self._observed is None or self._observed.spec != lease.spec:
            self._observed = Observed(lease.spec, self.clock.now_ns())
