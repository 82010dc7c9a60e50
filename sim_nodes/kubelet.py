"""The kubelet: the process of one node that registers it, keeps it alive in the API's eyes, and runs its pods.

Theory of operation. Everything that decides is elsewhere and does not wait: `PodLife` a pod's life, `admit` who may live here, `StatusReport` what the node
says. The tasks here wait, carry and send:

    pods informer, node informer    what the API shows, by a watch of spec.nodeName and of the one Node
    pod loop                        advances the lives that are due or were touched; one heap of wake-ups for all of them
    status writer                   brings statuses to the API, one after another; the last act of a pod is its deletion
    lease, node status              the heartbeats
    recorder                        Events

A kubelet that is started again makes all of this anew around the runtime it finds: the containers of a pod go on, those of pods that
are gone are stopped. With no work, only the lease's timer ever fires.
"""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from engine import (
    Change,
    Client,
    Clock,
    Draws,
    EventRecorder,
    Informer,
    Node,
    ObjectReference,
    Pod,
    Settings,
    current_origin,
    set_origin,
)
from sim_nodes.addresses import PodAddresses
from sim_nodes.admission import Ledger, admit
from sim_nodes.heartbeat import Heartbeat
from sim_nodes.host import Host
from sim_nodes.lifecycle import PodLife
from sim_nodes.node_status import SimulatedNode, StatusReport, node_ip
from sim_nodes.pod_state import Remark
from sim_nodes.runtime import MINIMUM_GRACE_NS, Runtime
from sim_nodes.status_writer import StatusWriter, StatusWriterStatistics
from sim_nodes.units import NEVER, NS
from store import Cause, Origin

_MAX_CAUSES: Final = 8
"""Causes kept of one pod between two looks at it."""


@attrs.frozen(kw_only=True)
class KubeletStatistics:
    """Of the incarnation that runs, or ran last."""

    starts: int
    pods: int
    renewals: int
    reports: int
    statuses: StatusWriterStatistics


@attrs.define(eq=False, kw_only=True)
class Kubelet:
    """The kubelet of one node; `run` is the main of its process, called anew at each start."""

    description: SimulatedNode
    runtime: Runtime
    client: Client
    clock: Clock
    draws: Draws
    settings: Settings
    gate: Callable[[], Awaitable[None]]
    """Passed after each wait; a paused process stands there."""
    _starts: int = attrs.field(default=0, init=False)
    _now: Incarnation | None = attrs.field(default=None, init=False)

    @property
    def actor(self) -> str:
        """The name of its process, and of the writer of all it writes."""
        return f"kubelet/{self.description.name}"

    @property
    def idle(self) -> bool:
        """Whether no pod waits for anything this kubelet would do, and nothing waits to be written."""
        return self._now is None or self._now.idle

    def statistics(self) -> KubeletStatistics:
        """A reading of its state. Raises RuntimeError before its first start."""
        if self._now is None:
            raise RuntimeError(f"{self.actor} was never started: nothing to tell")
        return self._now.statistics(self._starts)

    def poke(self, uid: str) -> None:
        """A fault changed the pod's containers: it is seen at the next relist."""
        if self._now is not None:
            self._now.poke(uid)

    async def run(self) -> None:
        """Be the kubelet until cancelled."""
        set_origin(Origin(actor=self.actor, causes=(f"start:{self.actor}",)))
        self._now = Incarnation(self, self._starts)
        self._starts += 1
        await self._now.run()


class Incarnation:
    """One run of a kubelet: everything it remembers."""

    def __init__(self, kubelet: Kubelet, number: int) -> None:
        self._clock: Final = kubelet.clock
        self._gate: Final = kubelet.gate
        self._actor: Final = kubelet.actor
        self._runtime: Final = kubelet.runtime
        now = self._clock.now_ns()
        name, settings = kubelet.description.name, kubelet.settings
        client = attrs.evolve(kubelet.client, timeout_seconds=settings.kubelet_request_timeout)
        ip = node_ip(kubelet.description, kubelet.draws)

        def label(plural: str) -> str:
            return f"{self._actor}/informer/{plural}"

        self._pods: Final[Informer[Pod]] = Informer(
            kubelet.client,
            Pod,
            settings,
            kubelet.draws,
            label("pods"),
            field_selector=f"spec.nodeName={name}",
        )
        self._nodes: Final[Informer[Node]] = Informer(
            kubelet.client,
            Node,
            settings,
            kubelet.draws,
            label("nodes"),
            field_selector=f"metadata.name={name}",
        )
        self._recorder: Final = EventRecorder(
            client=client, clock=self._clock, draws=kubelet.draws, component="kubelet", host=name
        )
        self._host: Final = Host.of(
            self._runtime,
            ip=ip,
            settings=settings,
            epoch_us=self._clock.unix_us() - now // 1000,
            now=now,
            incarnation=number,
        )
        self._writer: Final = StatusWriter(
            client=client,
            clock=self._clock,
            gate=self._gate,
            seen=self._pods.get,
            started_ns=now,
        )
        self._heartbeat: Final = Heartbeat(
            client=client,
            clock=self._clock,
            draws=kubelet.draws,
            settings=settings,
            recorder=self._recorder,
            gate=self._gate,
            nodes=self._nodes,
            report=StatusReport(
                description=kubelet.description,
                runtime=self._runtime,
                draws=kubelet.draws,
                settings=settings,
                ip=ip,
            ),
            started_ns=now,
        )
        self._ledger: Final = Ledger()
        self._lives: Final[dict[str, PodLife]] = {}
        self._absent: Final[dict[str, None]] = {}
        """Pods that the API has no more, and that are still being stopped."""
        self._touched: Final[dict[str, tuple[Cause, ...]]] = {}
        """Pods to look at now, with why."""
        self._arrived: Final[dict[str, Pod]] = {}
        self._wakes: Final[list[tuple[int, str]]] = []
        self._wake_of: Final[dict[str, int]] = {}
        self._poked = trio.Event()
        self._looks = 0

    @property
    def idle(self) -> bool:
        return not self._touched and self._writer.idle and self._recorder.idle

    def statistics(self, starts: int) -> KubeletStatistics:
        return KubeletStatistics(
            starts=starts,
            pods=len(self._lives),
            renewals=self._heartbeat.renewals,
            reports=self._heartbeat.reports,
            statuses=self._writer.statistics(),
        )

    async def run(self) -> None:
        self._pods.add_handler(self._pod_changed)
        self._nodes.add_handler(self._heartbeat.observe)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._recorder.run, name=f"{self._actor} events")
            node = await self._heartbeat.register()
            nursery.start_soon(self._heartbeat.run_lease, name=f"{self._actor} lease")
            nursery.start_soon(self._nodes.run, name=f"{self._actor} node informer")
            nursery.start_soon(self._pods.run, name=f"{self._actor} pods informer")
            nursery.start_soon(self._writer.run, name=f"{self._actor} statuses")
            await self._nodes.synced()
            nursery.start_soon(self._heartbeat.run_status, name=f"{self._actor} node status")
            await self._pods.synced()
            self._stop_orphans(self._clock.now_ns())
            await self._run_pods(node)

    # -- what the API shows ------------------------------------------------------------------------

    def _pod_changed(self, change: Change[Pod]) -> None:
        old, new = change.old, change.new
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            self._pod_vanished(old)
        if new is not None:
            uid = new.metadata.uid
            life = self._lives.get(uid)
            if life is None:
                self._arrived[uid] = new
                self._touch(uid)
            else:
                self._writer.observe(new)
                if life.update(new, self._clock.now_ns()):
                    self._touch(uid)

    def _pod_vanished(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        self._arrived.pop(uid, None)
        self._writer.forget(uid)
        life = self._lives.get(uid)
        if life is not None:
            self._absent[uid] = None
            grace = pod.metadata.deletion_grace_period_seconds
            if grace is None:
                grace = pod.spec.termination_grace_period_seconds
            life.end(grace or 0, self._clock.now_ns())
            self._touch(uid)

    def _touch(self, uid: str) -> None:
        causes = current_origin().causes
        known = self._touched.get(uid, ())
        new = tuple(cause for cause in causes if cause not in known)
        self._touched[uid] = (known + new)[-_MAX_CAUSES:]
        self._poked.set()

    def poke(self, uid: str) -> None:
        life = self._lives.get(uid)
        if life is not None:
            life.poke(self._clock.now_ns())
            self._touch(uid)

    # -- the pod loop ------------------------------------------------------------------------------

    async def _run_pods(self, node: Node) -> None:
        """Advance the lives that are due or were touched, in the order of their touching and of their times."""
        while True:
            now = self._clock.now_ns()
            node = self._heartbeat.node() or node
            self._admit_arrived(node, now)
            while self._touched:
                uid = next(iter(self._touched))
                self._look(uid, self._touched.pop(uid), now)
            while self._wakes and self._wakes[0][0] <= now:
                wake, uid = heapq.heappop(self._wakes)
                if self._wake_of.get(uid) == wake:
                    self._look(uid, ("timer:pod",), now)
            self._poked = trio.Event()
            if self._wakes:
                with trio.move_on_after((self._wakes[0][0] - now) / NS):
                    await self._poked.wait()
            else:
                await self._poked.wait()
            await self._gate()

    def _admit_arrived(self, node: Node, now: int) -> None:
        """Take up new pods in the order of their making (6.1.3)."""
        if not self._arrived:
            return
        self._use_cidr(node)
        arrived = sorted(
            self._arrived.values(),
            key=lambda pod: (
                pod.metadata.creation_timestamp or 0,
                pod.metadata.namespace,
                pod.metadata.name,
            ),
        )
        self._arrived.clear()
        for pod in arrived:
            uid = pod.metadata.uid
            life = self._lives[uid] = PodLife(self._host, pod, now)
            if pod.metadata.deletion_timestamp is not None:
                life.update(pod, now)
            elif not life.finished:
                known = uid in self._runtime.pods  # its containers have outlived a kubelet
                rejection = None if known else admit(pod, self._ledger, node)
                if rejection is not None:
                    life.reject(rejection.reason, rejection.message, now)
                else:
                    self._ledger.add(pod)

    def _use_cidr(self, node: Node) -> None:
        """Pods get their addresses from the node's podCIDR as soon as it has one and nobody uses another."""
        cidr = node.spec.pod_cidr
        if cidr and cidr != self._runtime.addresses.cidr and not len(self._runtime.addresses):
            self._runtime.addresses = PodAddresses(cidr)

    def _set_origin(self, causes: tuple[Cause, ...]) -> None:
        self._looks += 1
        set_origin(
            Origin(actor=self._actor, reconcile=f"{self._actor}#{self._looks}", causes=causes)
        )

    def _look(self, uid: str, causes: tuple[Cause, ...], now: int) -> None:
        """Advance one life, and pass on what it has to say."""
        life = self._lives.get(uid)
        if life is None:
            if uid in self._absent:
                self._clean_up(uid)
            return
        self._set_origin(causes)
        wake = life.advance(now)
        if life.remarks:
            self._tell(life)
        absent = uid in self._absent
        if not absent and life.status is not life.pod.status:
            self._writer.set(life.pod, life.status)
        if life.finished:
            self._ledger.remove(uid)
            if absent:
                self._clean_up(uid)
                return
            if life.removable:
                self._writer.remove(life.pod)
        self._schedule(uid, wake)

    def _schedule(self, uid: str, wake: int) -> None:
        if wake >= NEVER:
            self._wake_of.pop(uid, None)
        elif self._wake_of.get(uid) != wake:
            self._wake_of[uid] = wake
            heapq.heappush(self._wakes, (wake, uid))

    def _tell(self, life: PodLife) -> None:
        remarks, life.remarks = life.remarks, []
        for remark in remarks:
            self._recorder.event(
                _reference(life.pod, remark), remark.type, remark.reason, remark.message
            )
            if remark.reason == "Pulled":
                self._heartbeat.poke()

    def _stop_orphans(self, now: int) -> None:
        """Stop what a former kubelet left running of pods that are gone meanwhile (HandlePodCleanups)."""
        for uid, pod in self._runtime.pods.items():
            if uid in self._arrived or uid in self._lives:
                continue
            ends = now
            for records in pod.containers.values():
                for record in records:
                    self._runtime.stop(uid, record, now, MINIMUM_GRACE_NS, 0)
                    ends = max(ends, record.ends_ns)
            self._absent[uid] = None
            self._schedule(uid, self._host.seen_ns(ends))

    def _clean_up(self, uid: str) -> None:
        """Nothing of the pod is left, here or in the API: forget it."""
        self._runtime.remove(uid)
        self._host.container_backoff.forget(f"{uid}/")
        self._host.image_backoff.forget(f"{uid}/")
        self._lives.pop(uid, None)
        self._absent.pop(uid, None)
        self._wake_of.pop(uid, None)


def _reference(pod: Pod, remark: Remark) -> ObjectReference:
    """What an Event is about: the pod, and the container in it (fieldPath)."""
    metadata = pod.metadata
    path = ""
    if remark.container:
        init = any(each.name == remark.container for each in pod.spec.init_containers)
        path = f"spec.{'initContainers' if init else 'containers'}{{{remark.container}}}"
    return ObjectReference(
        api_version="v1",
        kind="Pod",
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        resource_version=metadata.resource_version,
        field_path=path,
    )
