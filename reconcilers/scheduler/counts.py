"""The counts behind topology spread and inter-pod affinity; `index.PodIndex` keeps them.

Example: Deployment `web` with three pods in zones a, a and b, asked for by a constraint on the zone. Its `Selection` (namespace and
`app=web`) holds {node-1: 2, node-2: 1}; the `DomainCounts` for the zone label {a: 2, b: 1}; the `Eligibility` knows that zone c
is there as well, so that the emptiest zone has 0.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

import attrs

from reconcilers.scheduler.node_info import (
    NodeInfo,
    change,
    first_untolerated,
    matches_node_affinity,
)
from reconcilers.scheduler.pod_info import PodInfo, Shape, TolerationKey
from reconcilers.scheduler.terms import Conjunct, Term

Labels = tuple[tuple[str, str], ...]


class SelectionKey(NamedTuple):
    """Pods that match all `conjuncts`; with `live`, without those being deleted."""

    conjuncts: tuple[Conjunct, ...]
    live: bool


class EligibilityKey(NamedTuple):
    """Nodes that have all label `keys`, that `shape` admits by node affinity, and whose taints are tolerated.
    None: not asked.
    """

    keys: tuple[str, ...]
    shape: Shape | None = None
    tolerations: tuple[TolerationKey, ...] | None = None


class Kind(enum.Enum):
    """What a term of an existing pod is to a newcomer it means."""

    ANTI_AFFINITY = "required anti-affinity"
    AFFINITY = "required affinity"
    PREFERRED = "preferred"


@attrs.define(eq=False)
class Eligibility:
    """The nodes that count, and the domains they form."""

    key: EligibilityKey
    users: int = 0
    nodes: dict[NodeInfo, None] = attrs.field(factory=dict)
    domains: dict[str, dict[str, int]] = attrs.field(factory=dict)
    """For each label key, its values among the nodes, and how many nodes have each."""

    def admits(self, node: NodeInfo) -> bool:
        keys, shape, tolerations = self.key
        if node.node is None or any(key not in node.labels for key in keys):
            return False
        if shape is not None and not matches_node_affinity(shape, node):
            return False
        return tolerations is None or first_untolerated(tolerations, node.hard_taints) is None

    def add(self, node: NodeInfo) -> None:
        if self.admits(node):
            self.nodes[node] = None
            for key in self.key.keys:
                change(self.domains.setdefault(key, {}), node.labels[key], 1)

    def remove(self, node: NodeInfo) -> None:
        if node in self.nodes:
            del self.nodes[node]
            for key in self.key.keys:
                change(self.domains[key], node.labels[key], -1)


@attrs.define(eq=False)
class DomainCounts:
    """Pods per value of a topology key, over eligible nodes; values without pods are absent."""

    topology_key: str
    eligibility: Eligibility
    counts: dict[str, int] = attrs.field(factory=dict)

    def add(self, node: NodeInfo, by: int) -> None:
        if node in self.eligibility.nodes:
            change(self.counts, node.labels[self.topology_key], by)

    def minimum(self, min_domains: int = 1) -> int | None:
        """The smallest count of any domain; 0 when there are fewer than `min_domains`; None when there is none."""
        domains = self.eligibility.domains.get(self.topology_key)
        if not domains:
            return None
        if len(domains) < min_domains or len(self.counts) < len(domains):
            return 0
        return min(self.counts.values())


@attrs.define(eq=False)
class Carriers:
    """Pods per domain that carry a term meaning the selection."""

    kind: Kind
    term: Term
    counts: dict[str, int] = attrs.field(factory=dict)

    def add(self, node: NodeInfo, by: int) -> None:
        value = node.labels.get(self.term.topology_key)
        if value is not None:
            change(self.counts, value, by)


@attrs.define(eq=False)
class Selection:
    """One question in use; see the module's text."""

    key: SelectionKey
    classes: dict[LabelClass, None] = attrs.field(factory=dict)
    by_node: dict[NodeInfo, int] = attrs.field(factory=dict)
    domains: dict[tuple[str, EligibilityKey], DomainCounts] = attrs.field(factory=dict)
    carriers: dict[tuple[Kind, str, int], Carriers] = attrs.field(factory=dict)
    pair: tuple[str, str] | None = None
    """A label that all matching pods have, under which the index finds this selection."""

    def add(self, node: NodeInfo, by: int) -> None:
        change(self.by_node, node, by)
        for counts in self.domains.values():
            counts.add(node, by)


@attrs.define(eq=False)
class LabelClass:
    """Pods of a namespace with the same labels."""

    namespace: str
    items: Labels
    matching: dict[Selection, None] = attrs.field(factory=dict)
    pods: dict[PodInfo, NodeInfo] = attrs.field(factory=dict)
