"""The node lifecycle controller: finds silent nodes, says so, taints them, marks their pods not ready.

Three things happen side by side, as in the real one. Every 5 s a pass over all nodes (`monitor`)
compares signs of life with the clock; a node silent for the grace period gets its conditions set to
Unknown, and its pods Ready False. On every change of a node (`reconcile`) its NoSchedule taints are
made to mirror its conditions. And a third task (`taint`) puts the NoExecute taints on, node by node
as fast as the zone allows. So after the last heartbeat there come, in this order: Unknown; the
NoSchedule taint and the pods; a pass later the NoExecute taint; and then the taint eviction
controller's timers.

All memory is in `HealthBook` and `Zones`; a restart loses it, and every node has a fresh grace
period. tests/reconcilers/test_node_failure_recorded.py holds the times and the order against a
recording of a real cluster.

Source: kubernetes pkg/controller/nodelifecycle/node_lifecycle_controller.go.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import ClassVar, Final

import trio

from engine import (
    ApiError,
    Change,
    Conflict,
    Done,
    For,
    Key,
    KubeObject,
    Lease,
    Node,
    NotFound,
    ObjectReference,
    Pod,
    Reconciler,
    Requeue,
    Result,
    Source,
    Watches,
    key_of,
    nodes,
    set_causes,
)
from reconcilers.node_lifecycle_health import (
    HealthBook,
    NodeHealth,
    TaintStep,
    not_ready,
    plan,
    silenced,
)
from reconcilers.node_lifecycle_taints import (
    REACHABLE,
    TaintChange,
    eviction_taint,
    label_change,
    no_schedule_change,
    with_taints,
    without_taints,
)
from reconcilers.node_zones import Disruption, Zones
from reconcilers.pod_endings import index_by_node

_SECOND: Final = 1_000_000

MONITOR: Final = "timer:node-monitor"
TAINTING: Final = "timer:node-tainting"
"""Causes that the log shows for writes of a pass and of the tainting task."""

VISITORS: Final = 8
"""Nodes visited at a time in one pass (nodeUpdateWorkerSize)."""
STATUS_TRIES: Final = 5
STATUS_PAUSE: Final = 0.020
"""A status write is tried that often, with that many seconds between (NodeHealthUpdateRetry,
retrySleepTime)."""
TAINT_TRIES: Final = 5
TAINT_PAUSE: Final = 0.100
"""Likewise for taints, up to twice as long by jitter (updateTaintBackoff)."""


class NodeLifecycle(Reconciler):
    """See the module's text. Keys without a namespace are nodes, keys with one are pods bound to
    silent nodes.
    """

    name: ClassVar[str] = "node-lifecycle"
    component: ClassVar[str] = "node-controller"
    workers: ClassVar[int] = 8

    def sources(self) -> Sequence[Source]:
        return (For(Node), Watches(Lease), Watches(Pod))

    async def setup(self) -> None:
        self._book = HealthBook(self.settings)
        self._zones = Zones(self.settings)
        self._queued = trio.Event()
        self._draws_made = 0
        self.informer(Pod).add_index("node", index_by_node)
        self.informer(Pod).add_handler(self._pod_changed)

    def loops(self) -> Sequence[Callable[[], Awaitable[None]]]:
        return (self.monitor, self.taint)

    # -- a node or a pod changed -----------------------------------------------------------------

    def _pod_changed(self, change: Change[Pod]) -> None:
        """A pod was bound to a node that is not ready: mark it, as the pass that marked the others
        is over.
        """
        old, new = change.old, change.new
        if new is None or (old is not None and old.spec.node_name == new.spec.node_name):
            return
        health = self._book.records.get(new.spec.node_name)
        if health is not None and health.ready is not None and health.status != "True":
            self.queue.add(key_of(new))

    async def reconcile(self, key: Key) -> Result:
        if key.namespace:
            return Done() if await self._reconcile_pod(key) else Requeue()
        await self._reconcile_node(key)
        return Done()

    async def _reconcile_node(self, key: Key) -> None:
        """Make the NoSchedule taints and the old labels follow the node. Raises ApiError: tried again."""
        node = self.informer(Node).get(key)
        if node is None:
            return
        change = no_schedule_change(node)
        if change is not None:
            node = await self._change_taints(node, change)
        labels = label_change(node)
        if labels:
            await self.client.patch(Node, key.name, "", {"metadata": {"labels": {**labels}}})

    async def _reconcile_pod(self, key: Key) -> bool:
        pod = self.informer(Pod).get(key)
        health = self._book.records.get(pod.spec.node_name) if pod is not None else None
        if pod is None or health is None or health.ready is None or health.status == "True":
            return True
        return await self._mark_pods((pod,))

    # -- the pass over all nodes -----------------------------------------------------------------

    async def monitor(self) -> None:
        """Look at all nodes, again and again: each pass begins one period after the end of the one
        before.
        """
        while True:
            await self._pass()
            await self.sleep(self.settings.node_monitor_period)

    async def _pass(self) -> None:
        set_causes(MONITOR)
        book, zones = self._book, self._zones
        seen = book.observe(
            self.informer(Node).cache, self.informer(Lease).cache, self.clock.unix_us()
        )
        for health in seen.arrived:
            await self._welcome(health)
        for health in seen.departed:
            self._tell(
                health, "RemovingNode", f"event: Removing Node {health.name} from Controller"
            )
            zones.forget(health.zone, health.name)
        if not seen.visits and not seen.departed:
            return
        waiting = iter(seen.visits)
        async with trio.open_nursery() as nursery:
            for _ in range(min(VISITORS, len(seen.visits))):
                nursery.start_soon(self._visit_each, waiting)
        await self._judge_zones()

    async def _welcome(self, health: NodeHealth) -> None:
        self._tell(health, "RegisteredNode", f"event: Registered Node {health.name} in Controller")
        self._zones.ensure(health.zone)
        await self._mark_reachable(health)

    async def _visit_each(self, waiting: Iterator[NodeHealth]) -> None:
        for health in waiting:
            await self._visit(health)

    async def _visit(self, health: NodeHealth) -> None:
        """Settle one node: its status, its NoExecute taint, its pods."""
        observed = await self._settle_status(health)
        health.skipped = observed is None
        health.quiet = False
        if observed is None:
            return
        set_causes(*_revisions(health.node), MONITOR)
        self._zones.ensure(health.zone)
        todo = plan(observed, health.ready, health.node, retry_pods=health.retry_pods)
        tainted = await self._step_taint(health, todo.taint, observed)
        if todo.announce:
            self._tell(health, "NodeNotReady", "status is now: NodeNotReady")
        health.retry_pods = False
        if todo.mark_pods:
            marked = await self._mark_pods(self.informer(Pod).by_index("node", health.name))
            health.retry_pods = not marked
        health.quiet = todo.taint is TaintStep.CLEAR and tainted and not todo.announce

    async def _settle_status(self, health: NodeHealth) -> str | None:
        """Write Unknown if the node is silent. The Ready status found before that, or None when it
        failed.
        """
        node = self.informer(Node).get(health.key)
        for _ in range(STATUS_TRIES):
            if node is None:
                return None
            now = self.clock.unix_us()
            if node is not health.node:
                self._saw(health, node, now)
            observed = health.status
            changed = silenced(node, now) if now >= health.deadline_us else None
            if changed is None:
                return observed
            lease = health.lease
            set_causes(*_revisions(lease if lease is not None else node), MONITOR)
            try:
                health.wrote(await self.client.update_status(changed))
                return observed
            except ApiError:
                await trio.sleep(STATUS_PAUSE)
            try:
                node = await self.client.get(Node, health.name)
            except ApiError:
                return None
        return None

    def _saw(self, health: NodeHealth, node: Node, now: int) -> None:
        zone = health.zone
        lease = self.informer(Lease).get(health.lease_key)
        health.saw_node(node, lease, now, self._book.graces, self.settings)
        if health.zone != zone:
            self._zones.forget(zone, health.name)

    async def _step_taint(self, health: NodeHealth, step: TaintStep, observed: str) -> bool:
        """Do what the plan says about the NoExecute taints. False when a write failed: the next
        pass tries again.
        """
        if step is TaintStep.CLEAR:
            return await self._mark_reachable(health)
        change = eviction_taint(observed)
        if step is TaintStep.SWAP:
            try:
                await self._change_taints(health.node, change)
            except ApiError:
                return False
        elif step is TaintStep.QUEUE:
            taint = change.add[0]
            tainted = nodes.has_taint(health.node, taint.key, taint.effect)
            self._zones.mark(health.zone, health.name, tainted=tainted)
            self._queued.set()
        return True

    async def _mark_reachable(self, health: NodeHealth) -> bool:
        """Take the NoExecute taints off, each in a write of its own. False when one failed."""
        node = health.node
        try:
            for taint in REACHABLE:
                node = await self._change_taints(node, TaintChange(remove=(taint,)))
        except ApiError:
            return False
        self._zones.forget(health.zone, health.name)
        return True

    async def _mark_pods(self, pods: Iterable[Pod]) -> bool:
        """Set Ready False on each, one by one. False when one could not be written."""
        complete = True
        for pod in pods:
            changed = not_ready(pod, self.clock.unix_us())
            if changed is None:
                continue
            try:
                await self.client.update_status(changed)
            except NotFound:
                continue  # it is gone
            except ApiError:
                complete = False
            # Told even then, as the real controller does: it tries again in the next pass.
            self.recorder.event(pod, "Warning", "NodeNotReady", "Node is not ready")
        return complete

    async def _judge_zones(self) -> None:
        set_causes(MONITOR)
        now = self.clock.unix_us()
        verdict = self._zones.judge(self._book.counts(), now)
        if verdict is Disruption.ENTERED:
            for health in list(self._book.records.values()):
                await self._mark_reachable(health)
        elif verdict is Disruption.LEFT:
            self._book.refresh(now)
        self._queued.set()

    # -- NoExecute taints, at the speed the zones allow ------------------------------------------

    async def taint(self) -> None:
        """Taint the nodes whose turn it is, looking every 100 ms, and sleeping over the looks that
        would find none.
        """
        period = round(self.settings.node_eviction_loop_period * _SECOND)
        start = self.clock.unix_us()
        while True:
            self._queued = trio.Event()
            now = self.clock.unix_us()
            for zone, name in self._zones.take_due(now):
                if not await self._taint_node(name):
                    self._zones.put_back(zone, name)
            await self._sleep_until_due(start, period)

    async def _sleep_until_due(self, start: int, period: int) -> None:
        """Sleep until the first tick (`start` and whole periods) at which a node's turn may have come."""
        while True:
            now = self.clock.unix_us()
            due = self._zones.next_due()
            if due is None:
                await self._queued.wait()
                self._queued = trio.Event()
                continue
            next_tick = start + ((now - start) // period + 1) * period
            tick = max(next_tick, start - (start - due) // period * period)
            with trio.move_on_after((tick - now) / _SECOND) as sleep:
                await self._queued.wait()
            if sleep.cancelled_caught:
                return
            self._queued = trio.Event()

    async def _taint_node(self, name: str) -> bool:
        """Put on the NoExecute taint that the node's condition asks for now. False: again, when
        there is a token.
        """
        node = self.informer(Node).get(Key("", name))
        if node is None:
            return True
        health = self._book.records.get(name)
        ready = nodes.ready_condition(node)
        if ready is None or health is None:
            return False
        if ready.status == "True":
            return True
        set_causes(*_revisions(node), TAINTING)
        try:
            await self._change_taints(node, eviction_taint(ready.status))
        except ApiError:
            return False
        return True

    # -- writes ----------------------------------------------------------------------------------

    async def _change_taints(self, node: Node, change: TaintChange) -> Node:
        """Put taints on, then take taints off: two writes, each only if it changes something.
        Raises ApiError.
        """
        if change.add:
            node = await self._edit(
                node, lambda each: with_taints(each, change.add, self.clock.unix_us())
            )
        if change.remove:
            node = await self._edit(node, lambda each: without_taints(each, change.remove))
        return node

    async def _edit(self, node: Node, edit: Callable[[Node], Node]) -> Node:
        """Write `edit` of the node; after a conflict, of its newest state. Raises ApiError after
        TAINT_TRIES.
        """
        tries = 0
        while True:
            changed = edit(node)
            if changed is node:
                return node
            try:
                return await self.client.update(changed)
            except Conflict:
                # The first conflict tells only that our picture was old; from then on we wait.
                if tries:
                    await trio.sleep(self._pause(node.metadata.name))
                if tries == TAINT_TRIES:
                    raise
                tries += 1
                node = await self.client.get(Node, node.metadata.name)

    def _pause(self, name: str) -> float:
        self._draws_made += 1
        label = f"{self.actor()}/taint/{name}"
        return self.draws.uniform(label, self._draws_made, TAINT_PAUSE, 2 * TAINT_PAUSE)

    def _tell(self, health: NodeHealth, reason: str, what: str) -> None:
        node = health.node
        about = ObjectReference(
            api_version=node.api_version,
            kind=node.kind,
            name=health.name,
            uid=node.metadata.uid,
        )
        self.recorder.event(about, "Normal", reason, f"Node {health.name} {what}")


def _revisions(obj: KubeObject) -> tuple[int, ...]:
    """The revision of what this controller saw of `obj`, as a cause."""
    version = obj.metadata.resource_version
    return (int(version),) if version else ()
