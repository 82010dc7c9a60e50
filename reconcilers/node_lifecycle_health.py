"""Whether a node is alive, as the controller's own clock tells: health records, and what follows
from them.

The controller never compares a node's clock with its own. It keeps for each node what it saw last
(the Lease's renewTime, the heartbeat of the Ready condition) and when, by its own clock, that last
changed (`probe_us`). A node whose signs have stood still for longer than the grace period gets its
conditions set to Unknown.

A record's life: a node without conditions appears (probe = its creation, startup grace), its
kubelet posts Ready (probe = now), renews its lease every 10 s (probe = the pass that sees it),
falls silent; the eighth pass after the last renewal was seen is 40 s later and makes the node
Unknown. When the kubelet is back its heartbeat differs, and probe is now again.

Source: kubernetes pkg/controller/nodelifecycle/node_lifecycle_controller.go (tryUpdateNodeHealth).
Times are Unix microseconds.
"""

from __future__ import annotations

import enum
from typing import Final, Literal

import attrs

from engine import (
    Cache,
    Condition,
    Key,
    Lease,
    Node,
    Pod,
    Settings,
    Time,
    condition_of,
    nodes,
)
from reconcilers.node_lifecycle_taints import NO_EXECUTE, eviction_taint
from reconcilers.node_zones import ZoneCount, ZoneName, is_excluded, zone_of

_SECOND: Final = 1_000_000

KUBELET_CONDITIONS: Final = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
"""Set to Unknown together; NetworkUnavailable is not the kubelet's."""

NODE_LEASES: Final = "kube-node-lease"
"""The namespace of the nodes' Leases."""

_NEVER: Final = -1
_NO_NODES: Final = ZoneCount(0, 0)


@attrs.frozen(kw_only=True)
class Graces:
    """How long a node may be silent, in microseconds."""

    monitor: int
    """Once its kubelet has posted a Ready condition."""
    startup: int
    """Before that."""

    @classmethod
    def of(cls, settings: Settings) -> Graces:
        return cls(
            monitor=round(settings.node_monitor_grace_period * _SECOND),
            startup=round(settings.node_startup_grace_period * _SECOND),
        )


@attrs.define(eq=False, kw_only=True)
class NodeHealth:
    """What the controller remembers of one node. See the module's text.

    `node` and `lease` are the very objects seen last: one comparison of identity tells that nothing
    changed.
    """

    node: Node
    key: Key
    lease_key: Key
    """Where its Lease is: kube-node-lease/<node>."""
    zone: ZoneName
    excluded: bool
    """Does not count in its zone."""
    probe_us: int
    """When a sign of life was last seen."""
    deadline_us: int = 0
    """From when on the node counts as silent: `probe_us` and its grace. Real passes take time, so
    that one that begins a whole number of periods later is a little after it; here it is on it, and
    counts as after."""
    lease: Lease | None = None
    renewal_us: int = _NEVER
    """The newest renewTime seen."""
    ready: Condition | None = None
    """The Ready condition as of now, after what this controller wrote."""
    retry_pods: bool = False
    """Some pod could not be marked not ready; the next pass tries again."""
    skipped: bool = False
    """The last pass could not settle its status: it takes no part in anything."""
    quiet: bool = False
    """Ready, without NoExecute taints of ours, nothing outstanding: nothing to do until it changes
    or falls silent."""

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def status(self) -> str:
        """The status of the Ready condition; a missing one is Unknown."""
        return self.ready.status if self.ready is not None else "Unknown"

    def saw_lease(self, lease: Lease | None, now: int) -> bool:
        """Note a Lease; a renewal never seen before is a sign of life, and True. O(1), for each
        heartbeat.
        """
        self.lease = lease
        if lease is None:
            return False
        renewed = lease.spec.renew_time or 0
        if renewed <= self.renewal_us:
            return False
        self.renewal_us = renewed
        self.deadline_us += now - self.probe_us
        self.probe_us = now
        return True

    def saw_node(
        self, node: Node, lease: Lease | None, now: int, graces: Graces, settings: Settings
    ) -> None:
        """Note a node and its Lease; a Ready condition that came, went or has another heartbeat is
        a sign of life.
        """
        old, new = self.ready, condition_of(node.status.conditions, "Ready")
        self.node, self.ready = node, new
        self.zone, self.excluded = zone_of(node), is_excluded(node, settings)
        renewed = self.saw_lease(lease, now)
        if _heartbeat(old) != _heartbeat(new):
            self.probe_us = now
            if not renewed:
                # The real controller makes a new record here and loses the lease it knew, so that the next
                # pass takes the same renewal for a new one. Kept, as it shows: such a node may turn Unknown
                # one pass later (test_a_heartbeat_alone_makes_the_known_renewal_count_once_more).
                self.renewal_us, self.lease = _NEVER, None
        self.count_from(self.probe_us, graces)

    def wrote(self, node: Node) -> None:
        """Note the node as this controller has just written it: no sign of life."""
        self.node, self.ready = node, condition_of(node.status.conditions, "Ready")

    def count_from(self, probe: int, graces: Graces) -> None:
        """Set the time of the last sign of life, and the deadline that follows from it."""
        self.probe_us = probe
        self.deadline_us = probe + (graces.startup if self.ready is None else graces.monitor)


def _heartbeat(ready: Condition | None) -> Time | Literal["absent"] | None:
    return ready.last_heartbeat_time if ready is not None else "absent"


@attrs.frozen
class Observation:
    """What a look at all nodes brought: records made, records dropped, and those (new ones too) to
    be visited.
    """

    arrived: tuple[NodeHealth, ...]
    departed: tuple[NodeHealth, ...]
    visits: tuple[NodeHealth, ...]


class HealthBook:
    """The records of all nodes, in the order in which they were first seen.

    A look at all of them is O(nodes): for a node that is well, two look-ups and three comparisons,
    and nothing is made. A heartbeat costs nothing until the next look.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.graces = Graces.of(settings)
        self.records: dict[str, NodeHealth] = {}

    def observe(self, all_nodes: Cache[Node], leases: Cache[Lease], now: int) -> Observation:
        """Look at all nodes."""
        records = self.records
        arrived: list[NodeHealth] = []
        visits: list[NodeHealth] = []
        for node in all_nodes.values():
            record = records.get(node.metadata.name)
            if record is None:
                record = self._begin(node, leases, now)
                arrived.append(record)
            elif node is record.node:
                lease = leases.get(record.lease_key)
                if lease is not record.lease:
                    record.saw_lease(lease, now)
                if record.quiet and now < record.deadline_us:
                    continue
            visits.append(record)
        departed: tuple[NodeHealth, ...] = ()
        if len(records) != len(all_nodes):
            departed = tuple(each for each in records.values() if all_nodes.get(each.key) is None)
            for record in departed:
                del records[record.name]
        return Observation(tuple(arrived), departed, tuple(visits))

    def _begin(self, node: Node, leases: Cache[Lease], now: int) -> NodeHealth:
        """The record of a node never met: silent since now, or, if it was never ready, since its
        creation.
        """
        ready = condition_of(node.status.conditions, "Ready")
        created = node.metadata.creation_timestamp
        name = node.metadata.name
        record = NodeHealth(
            node=node,
            key=Key("", name),
            lease_key=Key(NODE_LEASES, name),
            zone=zone_of(node),
            excluded=is_excluded(node, self.settings),
            ready=ready,
            probe_us=now if ready is not None or created is None else int(created),
        )
        record.count_from(record.probe_us, self.graces)
        record.saw_lease(leases.get(record.lease_key), now)
        self.records[name] = record
        return record

    def counts(self) -> dict[ZoneName, ZoneCount]:
        """Nodes by zone and readiness, without those that are excluded or were skipped. O(nodes)."""
        counts: dict[ZoneName, ZoneCount] = {}
        for record in self.records.values():
            if record.excluded or record.skipped:
                continue
            ready, not_ready = counts.get(record.zone, _NO_NODES)
            if record.status == "True":
                counts[record.zone] = ZoneCount(ready + 1, not_ready)
            else:
                counts[record.zone] = ZoneCount(ready, not_ready + 1)
        return counts

    def refresh(self, now: int) -> None:
        """Give every node a fresh grace period: the end of a disruption of all zones."""
        for record in self.records.values():
            record.count_from(now, self.graces)


def silenced(node: Node, now: int) -> Node | None:
    """`node` with its kubelet's conditions Unknown, all in one status; None when Ready says so already."""
    ready = condition_of(node.status.conditions, "Ready")
    if ready is not None and ready.status == "Unknown":
        return None
    conditions = list(node.status.conditions)
    for type_ in KUBELET_CONDITIONS:
        for place, condition in enumerate(conditions):
            if condition.type == type_:
                if condition.status != "Unknown":
                    conditions[place] = attrs.evolve(
                        condition,
                        status="Unknown",
                        reason="NodeStatusUnknown",
                        message="Kubelet stopped posting node status.",
                        last_transition_time=Time.of(now),
                    )
                break
        else:
            conditions.append(
                Condition(
                    type=type_,
                    status="Unknown",
                    reason="NodeStatusNeverUpdated",
                    message="Kubelet never posted node status.",
                    last_heartbeat_time=node.metadata.creation_timestamp,
                    last_transition_time=Time.of(now),
                )
            )
    return attrs.evolve(node, status=attrs.evolve(node.status, conditions=tuple(conditions)))


class TaintStep(enum.Enum):
    """What one pass does about a node's NoExecute taints."""

    NOTHING = "nothing"
    SWAP = "swap"
    """It has the one for its former condition: exchange them at once."""
    QUEUE = "queue"
    """Its turn comes in its zone."""
    CLEAR = "clear"
    """It is ready: off with both, and out of the queue."""


@attrs.frozen
class NodePlan:
    """What one pass does with a node, after its status is settled; in this order."""

    taint: TaintStep
    announce: bool
    """Tell that the node turned not ready: this controller has just found out."""
    mark_pods: bool
    """Set its pods' Ready to False, one by one."""


def plan(observed: str, current: Condition | None, node: Node, *, retry_pods: bool) -> NodePlan:
    """Decide from the Ready status as `observed` when the pass began and the `current` one it left.

    Taints follow the observed status, so that a node found silent in this pass is queued for its
    NoExecute taint in the next one. A node whose kubelet itself reports False is not announced and
    its pods are its kubelet's business.
    """
    if current is None:
        return NodePlan(TaintStep.NOTHING, announce=False, mark_pods=False)
    announce = observed == "True" and current.status != "True"
    mark_pods = announce or (retry_pods and observed != "True")
    if observed == "True":
        step = TaintStep.CLEAR
    elif nodes.has_taint(node, eviction_taint(observed).remove[0].key, NO_EXECUTE):
        step = TaintStep.SWAP
    else:
        step = TaintStep.QUEUE
    return NodePlan(step, announce, mark_pods)


def not_ready(pod: Pod, now: int) -> Pod | None:
    """`pod` with its Ready condition False; None when it is, or was never set. Nothing else is touched."""
    conditions = pod.status.conditions
    for place, condition in enumerate(conditions):
        if condition.type == "Ready":
            if condition.status == "False":
                return None
            changed = attrs.evolve(condition, status="False", last_transition_time=Time.of(now))
            return attrs.evolve(
                pod,
                status=attrs.evolve(
                    pod.status,
                    conditions=(*conditions[:place], changed, *conditions[place + 1 :]),
                ),
            )
    return None
