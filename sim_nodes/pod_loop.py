"""The loop that runs the pods of one kubelet: takes them up as the API shows them, advances their lives, passes on what they say.

One heap holds the wake-ups of all lives; a life that has nothing to do costs nothing. Causes are gathered per pod: the revisions
whose delivery touched it, or the timer it asked for, go into the origin of what it writes.
"""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from engine import (
    Change,
    Clock,
    EventRecorder,
    Node,
    ObjectReference,
    Pod,
    Signal,
    current_origin,
    set_origin,
)
from sim_nodes.addresses import PodAddresses
from sim_nodes.admission import Ledger, Rejection, admit
from sim_nodes.disturbances import Disturbances
from sim_nodes.host import Host
from sim_nodes.lifecycle import PodLife
from sim_nodes.pod_state import Remark
from sim_nodes.pressure import RESOURCES, Eviction, PressureWatch
from sim_nodes.runtime import MINIMUM_GRACE_NS, Runtime
from sim_nodes.status_writer import StatusWriter
from sim_nodes.texts import EVICTED, low_on
from sim_nodes.units import NEVER, NS
from store import Cause, Origin

_MAX_CAUSES: Final = 8
"""Causes kept of one pod between two looks at it."""


@attrs.define(eq=False, kw_only=True)
class PodLoop:
    """See the module's text."""

    actor: str
    clock: Clock
    gate: Callable[[], Awaitable[None]]
    host: Host
    writer: StatusWriter
    recorder: EventRecorder
    node: Callable[[], Node | None]
    """The kubelet's node as last seen."""
    images_changed: Callable[[], None]
    """Told when an image has been pulled."""
    pressure: PressureWatch
    pressed: Callable[[Eviction | None], None]
    """Told when the node's conditions may have changed, and whom it evicts."""
    _ledger: Ledger = attrs.field(factory=Ledger, init=False)
    _lives: dict[str, PodLife] = attrs.field(factory=dict, init=False)
    _absent: dict[str, None] = attrs.field(factory=dict, init=False)
    """Pods that the API has no more, and that are still being stopped."""
    _touched: dict[str, tuple[Cause, ...]] = attrs.field(factory=dict, init=False)
    """Pods to look at now, with why."""
    _arrived: dict[str, Pod] = attrs.field(factory=dict, init=False)
    _refused_at: dict[str, int] = attrs.field(factory=dict, init=False)
    """Of those the pods that pressure keeps out, and when they are told."""
    _wakes: list[tuple[int, str]] = attrs.field(factory=list, init=False)
    _wake_of: dict[str, int] = attrs.field(factory=dict, init=False)
    _poked: Signal = attrs.field(
        default=attrs.Factory(lambda self: Signal(self.clock), takes_self=True), init=False
    )
    _synced: bool = attrs.field(default=False, init=False)
    """Whether it knows all pods of the node."""
    _looks: int = attrs.field(default=0, init=False)
    _images_version: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._lives)

    @property
    def idle(self) -> bool:
        """Nothing is to be looked at now. Pods may wait for a pull, a probe or a back-off."""
        return not self._touched

    @property
    def _runtime(self) -> Runtime:
        return self.host.runtime

    @property
    def _disturbances(self) -> Disturbances:
        return self.host.runtime.disturbances

    # -- what the API shows ------------------------------------------------------------------------

    def observe(self, change: Change[Pod]) -> None:
        """The informer has seen a pod of ours change."""
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
                self.writer.observe(new)
                if life.update(new, self.clock.now_ns()):
                    self._touch(uid)

    def _pod_vanished(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        self._arrived.pop(uid, None)
        self._refused_at.pop(uid, None)
        self.writer.forget(uid)
        life = self._lives.get(uid)
        if life is not None:
            self._absent[uid] = None
            grace = pod.metadata.deletion_grace_period_seconds
            if grace is None:
                grace = pod.spec.termination_grace_period_seconds
            life.end(grace or 0, self.clock.now_ns())
            self._touch(uid)

    def _touch(self, uid: str) -> None:
        causes = current_origin().causes
        known = self._touched.get(uid, ())
        new = tuple(cause for cause in causes if cause not in known)
        self._touched[uid] = (known + new)[-_MAX_CAUSES:]
        self._poked.set()

    def poke(self, uid: str) -> None:
        """A fault changed the pod's containers: it is seen at the next relist."""
        life = self._lives.get(uid)
        if life is not None:
            life.poke(self.clock.now_ns())
            self._touch(uid)

    def look_again(self) -> None:
        """A fault changed what all pods meet: look at each."""
        now = self.clock.now_ns()
        for uid, life in self._lives.items():
            life.poke(now)
            self._touch(uid)
        if self._synced:
            self._stop_orphans(now)
        self._poked.set()

    # -- the pod loop ------------------------------------------------------------------------------

    async def run(self, node: Node) -> None:
        """Advance the lives that are due or were touched, in the order of their touching and of their times, until cancelled.

        The informer has synced; what the runtime has beyond its pods is stopped first.
        """
        self._synced = True
        self._stop_orphans(self.clock.now_ns())
        while True:
            now = self.clock.now_ns()
            node = self.node() or node
            if self.pressure:
                self._relieve_pressure(now)
            self._admit_arrived(node, now)
            while self._touched:
                uid = next(iter(self._touched))
                self._look(uid, self._touched.pop(uid), now)
            while self._wakes and self._wakes[0][0] <= now:
                wake, uid = heapq.heappop(self._wakes)
                if uid and self._wake_of.get(uid) == wake:
                    self._look(uid, self._timer_causes(uid), now)
            self._poked.clear()
            if self._wakes:
                await self._poked.wait_for((self._wakes[0][0] - now) / NS)
            else:
                await self._poked.wait()
            await self.gate()

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
            if (self.pressure or self._refused_at) and self._refused_later(pod, now):
                continue
            life = self._lives[uid] = PodLife(self.host, pod, now)
            if pod.metadata.deletion_timestamp is not None:
                life.update(pod, now)
            elif not life.finished:
                known = uid in self._runtime.pods  # its containers have outlived a kubelet
                rejection = None if known else self._rejection(pod, node)
                if rejection is not None:
                    life.reject(rejection.reason, rejection.message, now)
                else:
                    self._ledger.add(pod)

    def _refused_later(self, pod: Pod, now: int) -> bool:
        """Whether a pod that pressure keeps out has to wait for its refusal: until the sync loop's next look.

        A controller replaces a refused pod at once, and the node's taint comes with its next status only: were nobody to take any time, they would
        go round for ever at one instant.
        """
        uid = pod.metadata.uid
        refused = uid not in self._runtime.pods and self.pressure.refuses(pod) is not None
        due = self._refused_at.pop(uid, None)
        if due is None and not refused:
            return False
        due = self.host.looks_ns(now + 1) if due is None else due
        if due <= now or not refused:
            self._touched.setdefault(uid, (int(pod.metadata.resource_version), "timer:pod"))
            return False
        self._refused_at[uid] = due
        self._arrived[uid] = pod
        heapq.heappush(self._wakes, (due, ""))
        return True

    def _rejection(self, pod: Pod, node: Node) -> Rejection | None:
        return self.pressure.refuses(pod) or admit(pod, self._ledger, node)

    def _relieve_pressure(self, now: int) -> None:
        """The eviction manager looks: one pod may have to go."""
        living = {
            uid: life
            for uid, life in self._lives.items()
            if life.kill_grace_ns is None and not life.finished
        }
        eviction, again = self.pressure.look((life.pod for life in living.values()), now)
        self._schedule("", again)
        self.pressed(eviction)
        if eviction is not None:
            message = low_on(RESOURCES[eviction.kind])
            life = living[eviction.uid]
            life.remark("Warning", EVICTED, message)
            life.fail(EVICTED, message, grace_seconds=0)
            self._touch(eviction.uid)

    def _use_cidr(self, node: Node) -> None:
        """Pods get their addresses from the node's podCIDR as soon as it has one and nobody uses another."""
        cidr = node.spec.pod_cidr
        if cidr and cidr != self._runtime.addresses.cidr and not len(self._runtime.addresses):
            self._runtime.addresses = PodAddresses(cidr)

    def _timer_causes(self, uid: str) -> tuple[Cause, ...]:
        """A timer of a pod acts on what the pod was when it was last seen."""
        life = self._lives.get(uid)
        return (
            ("timer:pod",)
            if life is None
            else (int(life.pod.metadata.resource_version), "timer:pod")
        )

    def _set_origin(self, causes: tuple[Cause, ...]) -> None:
        self._looks += 1
        set_origin(Origin(actor=self.actor, reconcile=f"{self.actor}#{self._looks}", causes=causes))

    def _look(self, uid: str, causes: tuple[Cause, ...], now: int) -> None:
        """Advance one life, and pass on what it has to say."""
        life = self._lives.get(uid)
        if life is None:
            if uid in self._absent:
                self._clean_up(uid)
            return
        if self._disturbances.stuck and life.kill_grace_ns is not None and not life.finished:
            return
        pod = self._disturbances.pods.get(uid)
        if pod is not None and pod.blind and life.kill_grace_ns is None:
            return
        self._set_origin(causes)
        wake = life.advance(now)
        if life.remarks:
            self._tell(life, now)
        absent = uid in self._absent
        if not absent:
            self.writer.set(life.pod, life.status)
        if life.finished:
            self._ledger.remove(uid)
            if absent:
                self._clean_up(uid)
                return
            if life.removable:
                self.writer.remove(life.pod)
        self._schedule(uid, wake)

    def _schedule(self, uid: str, wake: int) -> None:
        if wake >= NEVER:
            self._wake_of.pop(uid, None)
        elif self._wake_of.get(uid) != wake:
            self._wake_of[uid] = wake
            heapq.heappush(self._wakes, (wake, uid))

    def _tell(self, life: PodLife, now: int) -> None:
        remarks, life.remarks = life.remarks, []
        for remark in remarks:
            self.recorder.event(
                _reference(life.pod, remark), remark.type, remark.reason, remark.message
            )
        version = self._runtime.puller.version
        if version != self._images_version and self._runtime.puller.arrives_ns(now) is None:
            self._images_version = version
            self.images_changed()

    def _stop_orphans(self, now: int) -> None:
        """Stop what a former kubelet left running of pods that are gone meanwhile (HandlePodCleanups)."""
        for uid, pod in self._runtime.pods.items():
            if self._disturbances.stuck or uid in self._arrived or uid in self._lives:
                continue
            ends = now
            for records in pod.containers.values():
                for record in records:
                    self._runtime.stop(uid, record, now, MINIMUM_GRACE_NS, 0)
                    ends = max(ends, record.ends_ns)
            self._absent[uid] = None
            self._schedule(uid, self.host.seen_ns(ends))

    def _clean_up(self, uid: str) -> None:
        """Nothing of the pod is left, here or in the API: forget it."""
        self._runtime.remove(uid)
        self.host.container_backoff.forget(f"{uid}/")
        self.host.image_backoff.forget(f"{uid}/")
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
