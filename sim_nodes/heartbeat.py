"""A node's signs of life: registration, the lease every 10 s, and the status when it changed or every 5 minutes (2.1, 2.2).

An idle node costs one timer and one write per lease renewal, and nothing else: the status task wakes for a report that is due or for a
change it was told of, at the ticks at which a kubelet would have looked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from engine import (
    AlreadyExists,
    ApiError,
    Change,
    Client,
    Clock,
    Conflict,
    Draws,
    EventRecorder,
    Informer,
    Key,
    Lease,
    LeaseSpec,
    MicroTime,
    Node,
    NotFound,
    ObjectMeta,
    ObjectReference,
    OwnerReference,
    Settings,
    Time,
    Uid,
    set_causes,
)
from sim_nodes.disturbances import Disturbances
from sim_nodes.effects import delayed
from sim_nodes.node_status import NodeRemark, StatusReport
from sim_nodes.pressure import RESOURCES, Eviction
from sim_nodes.texts import THRESHOLD_MET, reclaiming
from sim_nodes.units import NS, next_tick, to_ns

LEASE_NAMESPACE: Final = "kube-node-lease"

_REGISTER_FIRST: Final = 0.1
_REGISTER_MOST: Final = 7.0
"""registerWithAPIServer: 100 ms before the first try, doubled up to 7 s."""
_ENSURE_FIRST: Final = 0.2
_ENSURE_MOST: Final = 7.0
"""component-helpers lease controller: 200 ms doubled up to 7 s while the lease can be neither read nor made."""
_TRIES: Final = 5
"""maxUpdateRetries of the lease, nodeStatusUpdateRetry: tries within one tick, one after the other."""
_LEASE_FRACTION: Final = 0.25
"""nodeLeaseRenewIntervalFraction."""
_LEASE_SLOTS: Final = 40
"""Phases a node's renewals may have, 250 ms apart: nodes of one phase renew in one step of the simulation, which is what makes
thousands of idle nodes cheap."""


@attrs.define(eq=False, kw_only=True)
class Heartbeat:
    """The signs of life of one kubelet incarnation. `nodes` is its informer of its own Node."""

    client: Client
    """With the heartbeat time-out."""
    clock: Clock
    draws: Draws
    settings: Settings
    recorder: EventRecorder
    gate: Callable[[], Awaitable[None]]
    nodes: Informer[Node]
    report: StatusReport
    started_ns: int
    _node_uid: Uid = attrs.field(default=Uid(""), init=False)
    _dirty: bool = attrs.field(default=True, init=False)
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)
    renewals: int = attrs.field(default=0, init=False)
    """Leases written."""
    reports: int = attrs.field(default=0, init=False)
    """Node statuses written."""

    @property
    def disturbances(self) -> Disturbances:
        """What faults do to the machine."""
        return self.report.runtime.disturbances

    @property
    def node_name(self) -> str:
        return self.report.description.name

    def node(self) -> Node | None:
        """The node as last seen."""
        return self.nodes.get(Key("", self.node_name))

    # -- registration ------------------------------------------------------------------------------

    async def register(self) -> Node:
        """Try until the node is registered; an existing Node of the name is taken over."""
        wait = _REGISTER_FIRST
        while True:
            await trio.sleep(wait)
            await self.gate()
            wait = min(wait * 2, _REGISTER_MOST)
            try:
                node, new = await self._try_register()
            except ApiError:
                continue
            self._node_uid = node.metadata.uid
            self._say(self.report.first_remarks(new=new))
            return node

    async def _try_register(self) -> tuple[Node, bool]:
        try:
            initial = self.report.initial(self._time(), self.clock.now_ns())
            return await self.client.create(initial), True
        except AlreadyExists:
            existing = await self.client.get(Node, self.node_name)
            wanted = self.report.reconciled(existing)
            if wanted != existing:
                existing = await self.client.update(wanted)
            return existing, False

    # -- lease -------------------------------------------------------------------------------------

    async def run_lease(self) -> None:
        """Keep the lease: at once, then every quarter of its duration, at a phase drawn for the node."""
        set_causes("timer:lease")
        period_ns = to_ns(self.settings.node_lease_duration * _LEASE_FRACTION)
        slot = self.draws.integer(f"kubelet/{self.node_name}/lease-phase", 0, _LEASE_SLOTS)
        phase_ns = period_ns * slot // _LEASE_SLOTS
        lease: Lease | None = None
        if not self.disturbances.silent:
            lease = await self._ensure_lease()
        while True:
            now = self.clock.now_ns()
            due = next_tick(now + 1, period_ns=period_ns, phase_ns=phase_ns)
            await self.clock.sleep_until(due)
            await self.gate()
            if self.disturbances.late or self.disturbances.silent:
                await delayed(self.disturbances.late, self.draws, "lease")
                await self.gate()
                if self.disturbances.silent:
                    continue
            lease = await self._ensure_lease() if lease is None else await self._renew(lease)

    async def _ensure_lease(self) -> Lease:
        """Read the lease and renew it, or make it; tries until it can."""
        wait = _ENSURE_FIRST
        while True:
            try:
                try:
                    lease = await self.client.get(Lease, self.node_name, LEASE_NAMESPACE)
                except NotFound:
                    created = await self.client.create(self._lease(ObjectMeta()))
                    self.renewals += 1
                    return created
                return await self._update(lease)
            except ApiError:
                await trio.sleep(wait)
                await self.gate()
                wait = min(wait * 2, _ENSURE_MOST)

    async def _renew(self, lease: Lease) -> Lease:
        """Renew once; after failures the old lease is kept for the next tick."""
        for _ in range(_TRIES):
            try:
                return await self._update(lease)
            except NotFound:
                return await self._ensure_lease()
            except Conflict:
                try:
                    lease = await self.client.get(Lease, self.node_name, LEASE_NAMESPACE)
                except (
                    NotFound
                ):  # a lease of another uid, or none at all, is a conflict to some servers
                    return await self._ensure_lease()
                except ApiError:
                    continue
            except ApiError:
                continue
        return lease

    async def _update(self, lease: Lease) -> Lease:
        stored = await self.client.update(self._lease(lease.metadata))
        self.renewals += 1
        return stored

    def _lease(self, metadata: ObjectMeta) -> Lease:
        if not metadata.name:
            owner = OwnerReference(
                api_version="v1", kind="Node", name=self.node_name, uid=self._node_uid
            )
            metadata = ObjectMeta(
                name=self.node_name, namespace=LEASE_NAMESPACE, owner_references=(owner,)
            )
        return Lease(
            metadata=metadata,
            spec=LeaseSpec(
                holder_identity=self.node_name,
                lease_duration_seconds=round(self.settings.node_lease_duration),
                renew_time=MicroTime.of(self.clock.unix_us()),
            ),
        )

    # -- status ------------------------------------------------------------------------------------

    def poke(self) -> None:
        """Something that the status shows may have changed: look at the next tick."""
        self._dirty = True
        self._wake.set()

    def observe(self, change: Change[Node]) -> None:
        """The API shows another state of our node: if it does not think us well, say so at the next tick."""
        if change.new is not None and not self.report.healthy(change.new):
            self.poke()

    async def run_status(self) -> None:
        """Report the status: at once, when it changed, and every report frequency."""
        set_causes("timer:node-status")
        period_ns = to_ns(self.settings.node_status_update_frequency)
        await self._try_report()
        while True:
            now = self.clock.now_ns()
            earliest = now + 1 if self._dirty else max(self.report.next_report_ns, now + 1)
            due = next_tick(earliest, period_ns=period_ns, phase_ns=self.started_ns)
            self._wake = trio.Event()
            with trio.move_on_after((due - now) / NS) as scope:
                if self._dirty:
                    await trio.sleep_forever()
                await self._wake.wait()
            if scope.cancelled_caught:
                await self.gate()
                await self._try_report()

    async def _try_report(self) -> None:
        """One tick: read from the informer, then from the server; what fails five times waits for the next tick."""
        if self.disturbances.late or self.disturbances.silent:
            await delayed(self.disturbances.late, self.draws, "status")
            await self.gate()
            if self.disturbances.silent:
                self._dirty = True
                return
        self._dirty = False
        node = self.node()
        for _ in range(_TRIES):
            try:
                if node is None:
                    node = await self.client.get(Node, self.node_name)
                now = self.clock.now_ns()
                wanted, remarks = self.report.due(node, self._time(), now)
                if wanted is None:
                    return
                await self.client.update_status(wanted)
            except ApiError:
                node = None
                continue
            self.reports += 1
            self.report.sent(now)
            self._say(remarks)
            return
        self._dirty = True

    def pressed(self, eviction: Eviction | None) -> None:
        """The node's pressure may have changed; a pod is evicted because of it."""
        node = self.node()
        if node is not None and not self.report.healthy(node):
            self.poke()
        if eviction is not None:
            message = reclaiming(RESOURCES[eviction.kind])
            self._say([NodeRemark("Warning", THRESHOLD_MET, message)])

    def _say(self, remarks: list[NodeRemark]) -> None:
        # The kubelet names its node by its name for the uid: it tells Events before it knows better.
        node = ObjectReference(kind="Node", name=self.node_name, uid=Uid(self.node_name))
        for remark in remarks:
            self.recorder.event(node, remark.type, remark.reason, remark.message)

    def _time(self) -> Time:
        return Time.of(self.clock.unix_us())
