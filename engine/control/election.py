"""Leader election on a Lease: of several replicas of a process, one works (client-go leaderelection).

The decision is pure: `claim` looks at the record and says whether to take it, renew it or wait. Time counts
from when this replica saw the record change, on its own clock, so skewed clocks do not matter, only their rate.

The life of a leader: it tries every 2 to 4.4 s, takes a lease nobody has renewed for 15 s, works, and renews every
2 s without reading first. When 10 s of tries bring no renewal it stops, at the latest 12 s after the last success and so 3 s before
another may begin. That holds for what it starts, not for what is under way: a process that was paused may still send a
write afterwards, and Kubernetes has no fence against it. Nor is there one against whoever writes the record though it is held: a replica
that is made to seize the lease leads beside the former leader until that one finds that it cannot renew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

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
from engine.sim.holds import Holds

JITTER: Final = 1.2
"""A candidate waits retry_period x (1 + U(0, 1.2)) between tries (client-go JitterFactor)."""

_LONG_AGO: Final = -(1 << 63)

NAMESPACE: Final = "kube-system"


@attrs.frozen
class Observed:
    """The record as last seen, and since when (ns on the own clock) it has been so."""

    spec: LeaseSpec
    since_ns: int

    def valid(self, lease_duration: float, now_ns: int) -> bool:
        """Whether its holder may still work: by the duration the record names, else by ours (seconds)."""
        named = self.spec.lease_duration_seconds
        duration = float(named) if named is not None else lease_duration
        return now_ns < self.since_ns + round(duration * 1e9)

    def run_out(self) -> Observed:
        """The record as if nobody had renewed it for longer than any duration."""
        return Observed(self.spec, _LONG_AGO)


def claim(
    observed: Observed | None, identity: str, lease_duration: float, now_ns: int, now_us: int
) -> LeaseSpec | None:
    """The record to write in order to lead, or None while another leads; `observed` is None when there is no record.

    `lease_duration` is in seconds, `now_us` Unix time in microseconds.
    """
    moment = MicroTime.of(now_us)
    held = observed.spec if observed is not None else LeaseSpec()
    mine = held.holder_identity == identity
    transitions = held.lease_transitions or 0
    if observed is not None and not mine:
        if held.holder_identity and observed.valid(lease_duration, now_ns):
            return None
        transitions += 1
    return attrs.evolve(
        held,
        holder_identity=identity,
        lease_duration_seconds=max(1, round(lease_duration)),
        acquire_time=held.acquire_time if mine else moment,
        renew_time=moment,
        lease_transitions=transitions,
    )


def check_timings(settings: Settings) -> None:
    """Raise ValueError for timings under which two replicas could lead at once (client-go NewLeaderElector)."""
    duration, deadline = settings.leader_lease_duration, settings.leader_renew_deadline
    if duration <= deadline:
        raise ValueError(
            f"leader_lease_duration is {duration:g} s: it must be longer than leader_renew_deadline, {deadline:g} s"
        )
    if deadline <= JITTER * settings.leader_retry_period:
        raise ValueError(
            f"leader_renew_deadline is {deadline:g} s: it must be longer than {JITTER:g} times "
            f"leader_retry_period, {settings.leader_retry_period:g} s"
        )


async def _no_gate() -> None:
    """For an elector that nobody pauses."""


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
    """Who it is in the record. A replica started again under the same one goes on leading at once, as it may."""
    gate: Callable[[], Awaitable[None]] = _no_gate
    """Passed before it concludes that it no longer leads: a paused process concludes nothing."""
    seizing: Holds = attrs.field(factory=Holds, init=False)
    """Holds of the faults that make it take the lease from whoever has it, when it does not lead itself."""
    _observed: Observed | None = attrs.field(default=None, init=False)
    _lease: Lease | None = attrs.field(default=None, init=False)
    _leading: bool = attrs.field(default=False, init=False)
    _tries: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        check_timings(self.settings)

    @property
    def leading(self) -> bool:
        """Whether its work may go on."""
        return self._leading

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait to become the leader, then run `work`; returns when the lease could not be renewed in time.

        What `work` does has the write that made this replica the leader as its cause.
        """
        # What an earlier run saw is not known to a process started again.
        self._observed = self._lease = None
        timer = f"timer:election/{self.name}"
        set_causes(timer)
        while not await self._try():  # noqa: ASYNC110 - the lease is polled, as in Kubernetes
            await trio.sleep(self._retry_delay())
        self._leading = True
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._renew, nursery.cancel_scope, name=f"{self.name} renew")
                set_causes(*self._won())
                self._tell("became leader")
                await work()
                nursery.cancel_scope.cancel()
        finally:
            self._leading = False
            set_causes(timer)
        # Not in `finally`: a process that is killed tells nothing.
        self._tell("stopped leading")

    def _won(self) -> tuple[int, ...]:
        """The revision of the write that made it the leader."""
        assert self._lease is not None
        return (int(self._lease.metadata.resource_version),)

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
            await trio.sleep(settings.leader_retry_period)
            with trio.move_on_after(settings.leader_renew_deadline) as window:
                while not await self._try():  # noqa: ASYNC110 - likewise
                    await trio.sleep(settings.leader_retry_period)
            if window.cancelled_caught:
                await self.gate()
                self._leading = False  # at once: its work may take a while to end
                leadership.cancel()
                return

    async def _try(self) -> bool:
        """One attempt to take or renew the lease."""
        lease, observed = self._lease, self._observed
        if lease is not None and observed is not None and self._holds(observed):
            try:
                await self._write(lease)
            except ApiError:
                pass  # somebody wrote it: look first
            else:
                return True
        try:
            try:
                lease = await self.client.get(Lease, self.name, NAMESPACE)
            except NotFound:
                lease = None
            self._observe(lease)
            return await self._write(lease)
        except ApiError:
            return False

    def _holds(self, observed: Observed) -> bool:
        return observed.spec.holder_identity == self.identity and observed.valid(
            self.settings.leader_lease_duration, self.clock.now_ns()
        )

    async def _write(self, lease: Lease | None) -> bool:
        """Write our claim over `lease`, if we have one. Raises ApiError: Conflict when it is not the newest."""
        observed = self._observed
        if self.seizing and observed is not None and not self._leading:
            observed = observed.run_out()
        spec = claim(
            observed,
            self.identity,
            self.settings.leader_lease_duration,
            self.clock.now_ns(),
            self.clock.unix_us(),
        )
        if spec is None:
            return False
        if lease is None:
            metadata = ObjectMeta(name=self.name, namespace=NAMESPACE)
            written = await self.client.create(Lease(metadata=metadata, spec=spec))
        else:
            written = await self.client.update(attrs.evolve(lease, spec=spec))
        self._observe(written)
        return True

    def _observe(self, lease: Lease | None) -> None:
        self._lease = lease
        if lease is None:
            self._observed = None
        elif self._observed is None or self._observed.spec != lease.spec:
            self._observed = Observed(lease.spec, self.clock.now_ns())
