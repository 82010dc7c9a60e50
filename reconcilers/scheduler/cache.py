"""The scheduler's picture of the cluster: nodes, the pods on them, and the pods it has decided on and not yet seen bound.

A decision takes effect here at once (`assume`), before the API knows of it, so that the next decision counts with it: this
is what keeps a node from being overcommitted. The assumption ends when the pod is seen bound, when binding fails
(`forget`), or 30 s after binding finished if the news never came (`expire`).

    pod decided on  -> assume -> finish_binding -> put (seen bound)          the normal life
                              -> forget                                      binding failed
                              -> finish_binding ... 30 s ... expire          the bound pod was never seen

Every change of a node is written to a journal, from which the placement's per-shape tables are brought up to date. The node
order alternates between zones (internal/cache/node_tree.go). Times are integer nanoseconds given by the caller.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import attrs

from engine import Node, Pod
from reconcilers.scheduler.index import PodIndex
from reconcilers.scheduler.node_info import NodeInfo, change
from reconcilers.scheduler.pod_info import PodInfo, pod_info

_NS: Final = 1_000_000_000


@attrs.frozen(kw_only=True)
class CacheStatistics:
    """Sizes of the cache."""

    nodes: int
    pods: int
    assumed: int


@attrs.define(eq=False)
class _Placed:
    info: PodInfo
    node: NodeInfo
    assumed: bool = False
    deadline: int | None = None
    """When the assumption expires; None while binding goes on, or when it is no assumption."""


@attrs.define(eq=False)
class Cache:
    """See the module's text. All operations are O(1) in the size of the cluster, but for `order` after nodes came or went."""

    assumed_ttl: float = 30.0
    """Seconds (scheduler.go durationToExpireAssumedPod)."""
    index: PodIndex = attrs.field(factory=PodIndex, init=False)
    layout: int = attrs.field(default=0, init=False)
    """Grows when nodes come, go or change their labels: positions and topology values are then new."""
    journal: list[NodeInfo] = attrs.field(factory=list, init=False)
    """Nodes that changed, oldest first; entry i has version `journal_start + i`."""
    journal_start: int = attrs.field(default=0, init=False)
    _nodes: dict[str, NodeInfo] = attrs.field(factory=dict, init=False)
    _placed: dict[str, _Placed] = attrs.field(factory=dict, init=False)
    _assumed: dict[str, _Placed] = attrs.field(factory=dict, init=False)
    _without: dict[str, int] = attrs.field(factory=dict, init=False)
    """How many nodes lack a label."""
    priorities: dict[int, int] = attrs.field(factory=dict, init=False)
    """How many placed pods there are of each priority."""
    _zones: dict[str, dict[NodeInfo, None]] = attrs.field(factory=dict, init=False)
    _order: list[NodeInfo] | None = attrs.field(default=None, init=False)
    _values: dict[str, list[str | None]] = attrs.field(factory=dict, init=False)

    # -- reading -------------------------------------------------------------------------------------

    def node(self, name: str) -> NodeInfo | None:
        """The node of that name, if the API knows it."""
        info = self._nodes.get(name)
        return info if info is not None and info.node is not None else None

    @property
    def order(self) -> list[NodeInfo]:
        """All known nodes; neighbours are of different zones as far as there are several."""
        if self._order is None:
            self._order = []
            columns = [list(zone) for zone in self._zones.values()]
            for row in range(max(map(len, columns), default=0)):
                self._order.extend(column[row] for column in columns if row < len(column))
            for position, info in enumerate(self._order):
                info.position = position
            self._values.clear()
            self._without.clear()
        return self._order

    def values(self, topology_key: str) -> list[str | None]:
        """Each node's value of a label, in node order."""
        order = self.order
        values = self._values.get(topology_key)
        if values is None:
            values = self._values[topology_key] = [n.labels.get(topology_key) for n in order]
        return values

    def everywhere(self, topology_key: str) -> bool:
        """Whether every node has the label."""
        return self._lacking(topology_key) == 0

    def nowhere(self, topology_key: str) -> bool:
        """Whether no node has the label: a cluster without zones."""
        return self._lacking(topology_key) == len(self.order)

    def _lacking(self, topology_key: str) -> int:
        values = self.values(topology_key)
        known = self._without.get(topology_key)
        if known is None:
            known = self._without[topology_key] = values.count(None)
        return known

    @property
    def version(self) -> int:
        """Version of the next journal entry."""
        return self.journal_start + len(self.journal)

    def pod(self, uid: str) -> PodInfo | None:
        """The pod, if it stands on a node here."""
        placed = self._placed.get(uid)
        return placed.info if placed is not None else None

    def is_assumed(self, uid: str) -> bool:
        return uid in self._assumed

    def statistics(self) -> CacheStatistics:
        nodes = sum(map(len, self._zones.values()))
        return CacheStatistics(nodes=nodes, pods=len(self._placed), assumed=len(self._assumed))

    # -- nodes ---------------------------------------------------------------------------------------

    def set_node(self, node: Node) -> NodeInfo:
        """Take over a node that was added or changed."""
        info = self._nodes.setdefault(node.metadata.name, NodeInfo(node.metadata.name))
        same_place = (
            info.node is not None
            and info.labels == node.metadata.labels
            and info.node.spec.taints == node.spec.taints
        )
        if same_place:
            info.set_node(node)
        else:
            self._replace(info, node)
        self._note(info)
        return info

    def remove_node(self, name: str) -> None:
        """The node is gone; what is bound to it stays counted until it goes as well."""
        info = self._nodes.get(name)
        if info is not None and info.node is not None:
            self._replace(info, None)
            self._drop_if_empty(info)

    def _replace(self, info: NodeInfo, node: Node | None) -> None:
        """Change what the index goes by: the pods leave it with the old labels and enter it with the new."""
        if info.node is not None:
            for pod in info.pods.values():
                self.index.detach(pod, info)
            self.index.remove_node(info)
            zone = self._zones[info.zone]
            del zone[info]
            if not zone:
                del self._zones[info.zone]
        info.set_node(node)
        info.position = -1
        if node is not None:
            self._zones.setdefault(info.zone, {})[info] = None
            self.index.add_node(info)
            for pod in info.pods.values():
                self.index.attach(pod, info)
        self._order = None
        self.layout += 1

    def _drop_if_empty(self, info: NodeInfo) -> None:
        if info.node is None and not info.pods:
            self._nodes.pop(info.name, None)

    # -- pods ----------------------------------------------------------------------------------------

    def put(self, pod: Pod) -> None:
        """A bound pod was seen, for the first time or changed; it confirms an assumption, whatever node that was for."""
        uid, node = pod.metadata.uid, pod.spec.node_name
        placed = self._placed.get(uid)
        if placed is not None and placed.node.name == node and placed.info.absorb(pod):
            placed.assumed = False
            self._assumed.pop(uid, None)
            return
        self.remove(uid)
        self._place(pod_info(pod), node, assumed=False)

    def remove(self, uid: str) -> PodInfo | None:
        """The pod is gone, or has ended; returns what was known of it."""
        placed = self._placed.pop(uid, None)
        if placed is None:
            return None
        self._assumed.pop(uid, None)
        self._detach(placed.info, placed.node)
        self._note(placed.node)
        self._drop_if_empty(placed.node)
        return placed.info

    def assume(self, pod: PodInfo, node: str) -> None:
        """Count with the pod on the node from now on. Raises ValueError when it is placed already."""
        if pod.uid in self._placed:
            raise ValueError(f"pod {pod.key} is placed already, on {self._placed[pod.uid].node}")
        self._place(pod, node, assumed=True)

    def finish_binding(self, uid: str, now: int) -> None:
        """The API has accepted the binding; the assumption ends by itself after a while."""
        assumed = self._assumed.get(uid)
        if assumed is not None:
            assumed.deadline = now + round(self.assumed_ttl * _NS)

    def forget(self, uid: str) -> None:
        """Binding failed: take the assumption back. Does nothing when the pod was seen bound meanwhile."""
        if uid in self._assumed:
            self.remove(uid)

    def expire(self, now: int) -> list[PodInfo]:
        """Take back the assumptions that are due; returns their pods."""
        due = [p for p in self._assumed.values() if p.deadline is not None and p.deadline <= now]
        for placed in due:
            self.remove(placed.info.uid)
        return [placed.info for placed in due]

    def next_expiry(self) -> int | None:
        """When the next assumption expires, if none is confirmed before."""
        # Deadlines grow in the order of finishing, which is nearly that of assuming: the first one set is early enough.
        for placed in self._assumed.values():
            if placed.deadline is not None:
                return placed.deadline
        return None

    def _place(self, pod: PodInfo, node: str, *, assumed: bool) -> None:
        info = self._nodes.setdefault(node, NodeInfo(node))
        placed = self._placed[pod.uid] = _Placed(pod, info, assumed)
        if assumed:
            self._assumed[pod.uid] = placed
        self._attach(pod, info)
        self._note(info)

    def _attach(self, pod: PodInfo, info: NodeInfo) -> None:
        info.add_pod(pod)
        change(self.priorities, pod.priority, 1)
        if info.node is not None:
            self.index.attach(pod, info)

    def _detach(self, pod: PodInfo, info: NodeInfo) -> None:
        info.remove_pod(pod)
        change(self.priorities, pod.priority, -1)
        if info.node is not None:
            self.index.detach(pod, info)

    def _note(self, info: NodeInfo) -> None:
        self.journal.append(info)
        if len(self.journal) > 4 * len(self._nodes) + 1024:
            half = len(self.journal) // 2
            del self.journal[:half]
            self.journal_start += half

    # -- what if -------------------------------------------------------------------------------------

    @contextmanager
    def supposing(self, node: NodeInfo) -> Iterator[Supposition]:
        """Add and remove pods of one node for the length of the block; afterwards all is as it was.

        Sums and index change for real and are changed back, so that every filter can be asked; the journal says nothing.
        """
        generation, pods = node.generation, dict(node.pods)
        supposition = Supposition(self, node)
        try:
            yield supposition
        finally:
            for uid, pod in list(node.pods.items()):
                if uid not in pods:
                    supposition.remove(pod)
            for uid, pod in pods.items():
                if uid not in node.pods:
                    supposition.add(pod)
            node.pods, node.generation = pods, generation

    def check(self) -> None:
        """Assert the cache's invariants: all sums and indexes equal a recount."""
        for info in self._nodes.values():
            info.check()
            assert info.node is not None or info.pods, f"{info.name} is neither known nor in use"
            for uid, pod in info.pods.items():
                placed = self._placed[uid]
                assert placed.node is info
                assert placed.info is pod
        assert sum(len(info.pods) for info in self._nodes.values()) == len(self._placed)
        assert [u for u, p in self._placed.items() if p.assumed] == list(self._assumed)
        priorities: dict[int, int] = {}
        for placed in self._placed.values():
            change(priorities, placed.info.priority, 1)
        assert priorities == self.priorities
        known = [info for info in self._nodes.values() if info.node is not None]
        order = self.order
        assert sorted(i.name for i in known) == sorted(i.name for i in order)
        assert all(order[i.position] is i for i in known)
        self.index.check()


@attrs.frozen(eq=False)
class Supposition:
    """A node on which pods are added and removed for the sake of argument."""

    _cache: Cache
    node: NodeInfo

    def add(self, pod: PodInfo) -> None:
        self._cache._attach(pod, self.node)  # noqa: SLF001 - one class in two: the cache lends its hands

    def remove(self, pod: PodInfo) -> None:
        self._cache._detach(pod, self.node)  # noqa: SLF001 - likewise
