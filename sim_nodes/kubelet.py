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

from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
import trio

from engine import (
    Client,
    Clock,
    Draws,
    EventRecorder,
    Informer,
    KubeObject,
    Node,
    Pod,
    Settings,
    current_origin,
    set_origin,
)
from sim_nodes.effects import delayed
from sim_nodes.heartbeat import Heartbeat
from sim_nodes.host import Host
from sim_nodes.node_status import SimulatedNode, StatusReport, node_ip
from sim_nodes.pod_loop import PodLoop
from sim_nodes.runtime import Runtime
from sim_nodes.status_writer import StatusWriter, StatusWriterStatistics
from store import Origin

T = TypeVar("T", bound=KubeObject)


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
    _parts: _Parts | None = attrs.field(default=None, init=False)

    @property
    def actor(self) -> str:
        """The name of its process, and of the writer of all it writes."""
        return f"kubelet/{self.description.name}"

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be written or looked at now. Pods may still wait for a pull, a probe or a back-off."""
        parts = self._parts
        return parts is None or (parts.pods.idle and parts.writer.idle and parts.recorder.idle)

    def statistics(self) -> KubeletStatistics:
        """A reading of its state. Raises RuntimeError before its first start."""
        if self._parts is None:
            raise RuntimeError(f"{self.actor} was never started: nothing to tell")
        return KubeletStatistics(
            starts=self._starts,
            pods=len(self._parts.pods),
            renewals=self._parts.heartbeat.renewals,
            reports=self._parts.heartbeat.reports,
            statuses=self._parts.writer.statistics(),
        )

    def poke(self, uid: str) -> None:
        """A fault changed the pod's containers: it is seen at the next relist."""
        if self._parts is not None:
            self._parts.pods.poke(uid)

    def look_again(self) -> None:
        """A fault changed what all pods and the node meet."""
        if self._parts is not None:
            self._parts.pods.look_again()

    async def _pass(self) -> None:
        """Stand before the gate, and on a slow machine take one's time."""
        await self.gate()
        slow = self.runtime.disturbances.slow
        if slow:
            await delayed(slow, self.draws, self.actor)
            await self.gate()

    async def run(self) -> None:
        """Be the kubelet until cancelled."""
        set_origin(Origin(actor=self.actor, causes=current_origin().causes))
        self.runtime.thaw(self.clock.now_ns())  # where a kubelet starts the machine runs
        parts = self._parts = self._assemble()
        self._starts += 1
        async with trio.open_nursery() as nursery:

            def start(task: Callable[[], Awaitable[object]], name: str) -> None:
                nursery.start_soon(task, name=f"{self.actor} {name}")

            start(parts.recorder.run, "events")
            node = await parts.heartbeat.register()
            start(parts.heartbeat.run_lease, "lease")
            start(parts.node_informer.run, "node informer")
            start(parts.pod_informer.run, "pods informer")
            start(parts.writer.run, "statuses")
            await parts.node_informer.synced()
            start(parts.heartbeat.run_status, "node status")
            await parts.pod_informer.synced()
            await parts.pods.run(node)

    def _assemble(self) -> _Parts:
        """All that one incarnation remembers, empty."""
        now = self.clock.now_ns()
        name, settings, clock, draws = (
            self.description.name,
            self.settings,
            self.clock,
            self.draws,
        )
        # The informers' long watches are the client's own affair; all else has the kubelet's short time-out.
        client = attrs.evolve(self.client, timeout_seconds=settings.kubelet_request_timeout)
        calendar = clock.erring(self.runtime.disturbances.calendar.error_us)
        ip = node_ip(self.description, draws)
        pod_informer = self._informer(Pod, "pods", f"spec.nodeName={name}")
        node_informer = self._informer(Node, "nodes", f"metadata.name={name}")
        recorder = EventRecorder(
            client=client, clock=calendar, draws=draws, component="kubelet", host=name
        )
        writer = StatusWriter(
            client=client, clock=clock, gate=self._pass, seen=pod_informer.get, started_ns=now
        )
        heartbeat = Heartbeat(
            client=client,
            clock=calendar,
            draws=draws,
            settings=settings,
            recorder=recorder,
            gate=self._pass,
            nodes=node_informer,
            report=StatusReport(
                description=self.description,
                runtime=self.runtime,
                draws=draws,
                settings=settings,
                ip=ip,
            ),
            started_ns=now,
        )
        host = Host.of(
            self.runtime,
            ip=ip,
            settings=settings,
            epoch_us=clock.unix_us() - now // 1000,
            now=now,
            incarnation=self._starts,
        )
        pods = PodLoop(
            actor=self.actor,
            clock=clock,
            gate=self._pass,
            host=host,
            writer=writer,
            recorder=recorder,
            node=heartbeat.node,
            images_changed=heartbeat.poke,
            pressure=heartbeat.report.pressure,
            pressed=heartbeat.pressed,
        )
        pod_informer.add_handler(pods.observe)
        node_informer.add_handler(heartbeat.observe)
        return _Parts(
            pod_informer=pod_informer,
            node_informer=node_informer,
            recorder=recorder,
            writer=writer,
            heartbeat=heartbeat,
            pods=pods,
        )

    def _informer(self, kind: type[T], plural: str, field_selector: str) -> Informer[T]:
        """The picture of what concerns this node."""
        label = f"{self.actor}/informer/{plural}"
        return Informer(
            self.client, kind, self.settings, self.draws, label, field_selector=field_selector
        )


@attrs.frozen(kw_only=True, eq=False)
class _Parts:
    """One incarnation."""

    pod_informer: Informer[Pod]
    node_informer: Informer[Node]
    recorder: EventRecorder
    writer: StatusWriter
    heartbeat: Heartbeat
    pods: PodLoop
