"""Invariants of leases: of leaders, of nodes, and of the store."""

from __future__ import annotations

from typing import ClassVar, Final

import attrs

from engine import Event, Fault, KubeObject, Lease, Node, Settings, condition_of
from store import Event as LogEvent
from store import EventType
from wavetank.invariants.deadlines import CATCHING_UP_NS, Disturbances
from wavetank.invariants.model import SECOND_NS, Surroundings
from wavetank.view import View

NODE_LEASES: Final = "kube-node-lease"
NODE_LIFECYCLE: Final = "controller/node-lifecycle"

_ON_ITS_WAY_NS: Final = SECOND_NS
"""A sign of life this young may not have reached the controller: an undisturbed watch takes no time, and much less than this."""
_SIGNS: Final = 4
"""Signs of life remembered of a node: more than there can be within `_ON_ITS_WAY_NS`, as they are seconds apart."""


@attrs.define
class OneLeader:
    """Nobody takes over a leader's Lease before it has expired or was released."""

    name: ClassVar[str] = "oneLeader"
    kinds: ClassVar = (Lease,)
    _renewed_ns: dict[str, int] = attrs.field(factory=dict)

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> str | None:
        del view
        new = event.value
        if not isinstance(new, Lease) or new.metadata.namespace != "kube-system":
            return None
        renewed = self._renewed_ns.get(event.key)
        self._renewed_ns[event.key] = event.time_ns
        if not isinstance(old, Lease) or renewed is None:
            return None
        before, after = old.spec.holder_identity, new.spec.holder_identity
        if not before or not after or before == after:  # the first, a release, a renewal
            return None
        age = (event.time_ns - renewed) / 1e9
        duration = old.spec.lease_duration_seconds or 0
        if age < duration:
            return (
                f"{after} took the Lease {new.metadata.name} from {before} "
                f"{age:.1f}s after its renewal; it was good for {duration}s"
            )
        return None


@attrs.define
class LeaseNotEarly:
    """No lease ends early: an Event lives its whole TTL after its last write, and a node its whole grace after its last sign of life.

    The first is the store's: it takes no key of a lease away before `eventTtl` has passed since the key was written. The second is the node
    lifecycle controller's: it sets Ready to Unknown at the earliest `nodeMonitorGracePeriod` after the log shows a renewal of the node's
    Lease with a later renewTime, or a Ready condition with another heartbeat. Signs of the last second may still be on
    their way to it; and how old its picture is nobody can tell from the log while the control plane is disturbed, so that nothing is said then.
    """

    name: ClassVar[str] = "leaseNotEarly"
    kinds: ClassVar = (Event, Lease, Node, Fault)
    _settings: Settings | None = None
    _written_ns: dict[str, int] = attrs.field(factory=dict)
    _renewals: dict[str, int] = attrs.field(factory=dict)
    """The latest renewTime of each node's Lease, in microseconds."""
    _signs_ns: dict[str, tuple[int, ...]] = attrs.field(factory=dict)
    """When each node's last signs of life came into the log, the oldest first."""
    _disturbances: Disturbances = attrs.field(factory=Disturbances)

    def begin(self, surroundings: Surroundings) -> None:
        """Take the periods from the settings."""
        self._settings = surroundings.settings

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> str | None:
        del view
        obj = old if event.value is None else event.value
        if isinstance(obj, Lease):
            self._lease(obj, event)
        elif isinstance(obj, Event):
            return self._event(event)
        elif isinstance(obj, Node):
            return self._node(obj, old if isinstance(old, Node) else None, event)
        else:
            self._disturbances.observe(event, old)
        return None

    def _event(self, event: LogEvent) -> str | None:
        if event.type is EventType.PUT:
            self._written_ns[event.key] = event.time_ns
            return None
        written = self._written_ns.pop(event.key, None)
        if written is None or self._settings is None or not _by_lease(event):
            return None
        age, ttl = (event.time_ns - written) / 1e9, round(self._settings.event_ttl)
        if age >= ttl:
            return None
        return f"{event.key} ended with its lease {age:g}s after its last write; its TTL is {ttl}s"

    def _lease(self, lease: Lease, event: LogEvent) -> None:
        metadata = lease.metadata
        if metadata.namespace != NODE_LEASES or event.type is EventType.DELETE:
            return
        renewed = lease.spec.renew_time or 0
        if renewed > self._renewals.get(metadata.name, -1):
            self._renewals[metadata.name] = renewed
            self._sign(metadata.name, event.time_ns)

    def _sign(self, node: str, now_ns: int) -> None:
        self._signs_ns[node] = (*self._signs_ns.get(node, ())[1 - _SIGNS :], now_ns)

    def _node(self, node: Node, old: Node | None, event: LogEvent) -> str | None:
        name = node.metadata.name
        if event.type is EventType.DELETE:
            self._signs_ns.pop(name, None)
            self._renewals.pop(name, None)
            return None
        after = condition_of(node.status.conditions, "Ready")
        before = condition_of(old.status.conditions, "Ready") if old is not None else None
        if after is None or after is before:
            return None
        if not event.origin.actor.startswith(NODE_LIFECYCLE):
            if before is None or after.last_heartbeat_time != before.last_heartbeat_time:
                self._sign(name, event.time_ns)
            return None
        if after.status != "Unknown" or (before is not None and before.status == "Unknown"):
            return None
        if self._settings is None:
            return None
        settings = self._settings
        grace = settings.node_monitor_grace_period
        if before is None:  # its kubelet never said how it is
            grace = settings.node_startup_grace_period
        return self._silenced(name, event.time_ns, grace)

    def _silenced(self, name: str, now_ns: int, grace: float) -> str | None:
        grace_ns = round(grace * SECOND_NS)
        # As old as its picture may be, and all of a grace before.
        if self._disturbances.since(now_ns - CATCHING_UP_NS - grace_ns):
            return None
        seen = [sign for sign in self._signs_ns.get(name, ()) if sign < now_ns - _ON_ITS_WAY_NS]
        if seen and now_ns - seen[-1] < grace_ns:
            age = (now_ns - seen[-1]) / 1e9
            return f"node {name} was found silent {age:g}s after its last sign of life; its grace is {grace:g}s"
        return None


def _by_lease(event: LogEvent) -> bool:
    origin = event.origin
    return origin.actor == "store" and any(
        isinstance(cause, str) and cause.startswith("timer:lease/") for cause in origin.causes
    )
