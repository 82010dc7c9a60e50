"""Zones of nodes, what state they are in, and how fast their nodes may be tainted NoExecute.

A node that is not ready is not evicted at once: it waits in the queue of its zone, and the queue
lets one node through for each token of its bucket. How fast tokens come depends on how much of the
zone is lost, and when every zone is lost no token comes at all: then the fault is more likely the
control plane's own connection.

One zone's life: its first node is seen (`Zone`, INITIAL, a full bucket), the first pass over all
nodes makes it NORMAL at 0.1 tokens a second, a rack fails and 60 % of its nodes with it (PARTIAL:
0.01/s when the zone is large, else none), the last of its nodes goes (FULL: 0.1/s again, as a zone
lost as a whole is believed), all other zones go too (no tokens, taints taken back), and the first
node that returns anywhere ends that.

Source: kubernetes pkg/controller/nodelifecycle/node_lifecycle_controller.go (handleDisruption,
ComputeZoneState) and .../scheduler/rate_limited_queue.go. Times are Unix microseconds given by the
caller; nothing here waits.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, NewType

import attrs

from engine import Node, Settings

ZoneName = NewType("ZoneName", str)
"""Region and zone of a node as one key; empty for a node without such labels."""

EXCLUDE_LABEL: Final = "node.kubernetes.io/exclude-disruption"
"""A node with this label does not count when the state of its zone is judged."""

_REGION_LABELS: Final = (
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/region",
)
_ZONE_LABELS: Final = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")
_SECOND: Final = 1_000_000


class ZoneState(enum.Enum):
    """How much of a zone is lost."""

    INITIAL = "Initial"
    NORMAL = "Normal"
    PARTIAL = "PartialDisruption"
    FULL = "FullDisruption"


class ZoneCount(NamedTuple):
    """Nodes of a zone by their Ready condition: True, and anything else."""

    ready: int
    not_ready: int


class Disruption(enum.Enum):
    """What a look at all zones says to do beyond new rates."""

    NONE = "none"
    ENTERED = "entered"
    """Every zone is lost now: take the NoExecute taints off all nodes, evict nothing."""
    LEFT = "left"
    """That is over: give every node a fresh grace period."""


def zone_of(node: Node) -> ZoneName:
    """The zone of `node` (component-helpers node/topology.GetZoneKey)."""
    labels = node.metadata.labels
    region = _first_label(labels, _REGION_LABELS)
    zone = _first_label(labels, _ZONE_LABELS)
    return ZoneName(f"{region}:\x00:{zone}" if region or zone else "")


def _first_label(labels: Mapping[str, str], names: Iterable[str]) -> str:
    for name in names:
        value = labels.get(name)
        if value:
            return value
    return ""


def is_excluded(node: Node, settings: Settings) -> bool:
    """Whether `node` does not count in its zone: by label, and before 1.21 by a master's name."""
    if EXCLUDE_LABEL in node.metadata.labels:
        return True
    if settings.at_least("1.21"):
        return False
    name = node.metadata.name
    return name.endswith("master") or name[:-3].endswith("master-")


def state_of(count: ZoneCount, threshold: float) -> ZoneState:
    """The state of a zone with that many nodes; `threshold` is `unhealthy_zone_threshold`."""
    if count.ready == 0 and count.not_ready > 0:
        return ZoneState.FULL
    if count.not_ready > 2 and count.not_ready / sum(count) >= threshold:
        return ZoneState.PARTIAL
    return ZoneState.NORMAL


def rate_of(state: ZoneState, size: int, settings: Settings) -> float:
    """Nodes per second that may be tainted in a zone of `size` nodes, unless all zones are lost."""
    if state is not ZoneState.PARTIAL:
        return settings.node_eviction_rate
    if size > settings.large_cluster_size_threshold:
        return settings.secondary_node_eviction_rate
    return 0.0


@attrs.define(eq=False)
class TokenBucket:
    """A token bucket that holds one token (EvictionRateLimiterBurst); O(1), and full when made.

    With a burst of one the whole state is the moment from which the token is there.
    """

    rate: float
    """Tokens per second; 0 never gives one."""
    _available_us: int = attrs.field(default=0, init=False)

    def available_at(self) -> int | None:
        """From when on a token can be had; None for never."""
        return self._available_us if self.rate > 0 else None

    def take(self, now: int) -> bool:
        """Take the token if it is there."""
        if self.rate <= 0 or now < self._available_us:
            return False
        self._available_us = now + round(_SECOND / self.rate)
        return True

    def set_rate(self, rate: float, now: int) -> None:
        """Change the rate. An empty bucket stays empty, for one period of the new rate."""
        if rate == self.rate:
            return
        empty = self.rate <= 0 or now < self._available_us
        self.rate = rate
        self._available_us = now + round(_SECOND / rate) if empty and rate > 0 else now


@attrs.define(eq=False)
class Zone:
    """One zone: its state, its bucket, and the nodes that wait to be tainted, in the order of their
    coming.
    """

    bucket: TokenBucket
    state: ZoneState = ZoneState.INITIAL
    judged: bool = True
    """False once no counted node is left; the next node seen makes the zone new."""
    waiting: OrderedDict[str, None] = attrs.field(factory=OrderedDict)
    served: dict[str, None] = attrs.field(factory=dict)
    """Nodes let through and not forgotten since: they do not queue a second time."""


@attrs.frozen(kw_only=True)
class ZoneStatistics:
    """`waiting` is of all zones together."""

    states: Mapping[ZoneName, ZoneState]
    waiting: int


class Zones:
    """All zones of a cluster. See the module's text. Every call is O(1), except `judge`: O(zones)."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._zones: dict[ZoneName, Zone] = {}

    def statistics(self) -> ZoneStatistics:
        return ZoneStatistics(
            states={name: zone.state for name, zone in self._zones.items() if zone.judged},
            waiting=sum(len(zone.waiting) for zone in self._zones.values()),
        )

    def ensure(self, name: ZoneName) -> None:
        """A node of that zone was seen: make the zone, or make it new when it had lost all its
        counted nodes.
        """
        zone = self._zones.get(name)
        if zone is None:
            self._zones[name] = Zone(TokenBucket(self._settings.node_eviction_rate))
        elif not zone.judged:
            zone.bucket = TokenBucket(self._settings.node_eviction_rate)
            zone.state = ZoneState.INITIAL
            zone.judged = True

    def mark(self, name: ZoneName, node: str, *, tainted: bool) -> bool:
        """Queue a node that is not ready; True when it was not queued before.

        Without its taint (`tainted`) a node queues again even if it was let through: the write may
        have failed, or someone took the taint off.
        """
        zone = self._zones[name]
        if not tainted:
            zone.served.pop(node, None)
        elif node in zone.served:
            return False
        new = node not in zone.waiting
        zone.waiting[node] = None
        return new

    def forget(self, name: ZoneName, node: str) -> None:
        """The node is ready, gone or in another zone: it does not wait, and may queue anew."""
        zone = self._zones.get(name)
        if zone is not None:
            zone.served.pop(node, None)
            zone.waiting.pop(node, None)

    def take_due(self, now: int) -> list[tuple[ZoneName, str]]:
        """The nodes that may be tainted now, at most one per zone; each costs its zone a token."""
        due: list[tuple[ZoneName, str]] = []
        for name, zone in self._zones.items():
            if zone.waiting and zone.bucket.take(now):
                node, _ = zone.waiting.popitem(last=False)
                zone.served[node] = None
                due.append((name, node))
        return due

    def put_back(self, name: ZoneName, node: str) -> None:
        """Tainting failed: queue the node again, at the end; the token stays spent."""
        zone = self._zones[name]
        if node in zone.served:
            del zone.served[node]
            zone.waiting[node] = None

    def next_due(self) -> int | None:
        """When `take_due` will next let a node through; None while none waits for a token that comes."""
        times = [
            available
            for zone in self._zones.values()
            if zone.waiting and (available := zone.bucket.available_at()) is not None
        ]
        return min(times, default=None)

    def judge(self, counts: Mapping[ZoneName, ZoneCount], now: int) -> Disruption:
        """Set the states and rates of all zones from the nodes counted in each; zones not named
        have none.
        """
        threshold = self._settings.unhealthy_zone_threshold
        states = {name: state_of(count, threshold) for name, count in counts.items()}
        for name in counts:
            self.ensure(name)
        for name, zone in self._zones.items():
            zone.judged = name in counts
        judged = {name: zone for name, zone in self._zones.items() if zone.judged}
        all_lost = all(state is ZoneState.FULL for state in states.values())
        all_were_lost = all(zone.state is ZoneState.FULL for zone in judged.values())
        if all_lost and all_were_lost:
            return Disruption.NONE
        if all_lost:
            for zone in judged.values():
                zone.bucket.set_rate(0.0, now)
                zone.state = ZoneState.FULL
            return Disruption.ENTERED
        for name, zone in judged.items():
            if all_were_lost or zone.state is not states[name]:
                size = sum(counts[name])
                zone.bucket.set_rate(rate_of(states[name], size, self._settings), now)
                zone.state = states[name]
        return Disruption.LEFT if all_were_lost else Disruption.NONE

    def check(self) -> None:
        """Assert what always holds: a node waits or was let through, never both."""
        for name, zone in self._zones.items():
            for node in zone.waiting:
                assert node not in zone.served, f"{node} of zone {name!r} waits and is served"
