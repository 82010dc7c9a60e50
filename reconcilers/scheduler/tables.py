"""What the node-local plugins say of every node, kept per pod shape.

Pods of one workload have one `Shape`, so the verdict and the score of a node hold until the node changes. A `ShapeTable` has
them as plain lists in node order and brings itself up to date from the cache's journal: when pods of one shape are placed one
after another, just the node that got the last one is looked at again. Plain lists, because the work per pod is one slice, one
`max` and one `count` of some hundred small integers, where NumPy's call overhead eats its gain.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Protocol

import attrs

from engine import Settings
from reconcilers.scheduler.cache import Cache
from reconcilers.scheduler.node_info import NodeInfo
from reconcilers.scheduler.plugins.nodes import (
    NodeAffinity,
    NodeName,
    NodeUnschedulable,
    TaintToleration,
)
from reconcilers.scheduler.plugins.resources import (
    BalancedAllocation,
    LeastAllocated,
    NodePorts,
    NodeResourcesFit,
)
from reconcilers.scheduler.pod_info import Shape
from reconcilers.scheduler.wording import Rejection, Wording

REFUSED: Final = -1
"""In place of a score: a plugin refuses the node."""
MAX_TABLES: Final = 256
"""Shapes remembered; the one unused for longest is dropped."""


class LocalFilter(Protocol):
    """A plugin whose verdict depends on nothing but the shape and this node."""

    def filter(self, shape: Shape, node: NodeInfo) -> Rejection | None: ...


@attrs.frozen(kw_only=True)
class Weights:
    """How much each score counts (apis/config/v1/default_plugins.go)."""

    taints: int
    node_affinity: int
    spread: int
    pod_affinity: int
    least_allocated: int = 1
    balanced: int = 1

    @classmethod
    def of(cls, settings: Settings) -> Weights:
        if settings.at_least("1.23"):
            return cls(taints=3, node_affinity=2, spread=2, pod_affinity=2)
        return cls(taints=1, node_affinity=1, spread=2, pod_affinity=1)


@attrs.frozen
class LocalPlugins:
    """The node-local plugins in the order in which they are asked; the first No counts."""

    filters: tuple[LocalFilter, ...]
    taints: TaintToleration
    affinity: NodeAffinity
    least: LeastAllocated
    balanced: BalancedAllocation
    weights: Weights

    @classmethod
    def of(cls, settings: Settings) -> LocalPlugins:
        wording = Wording(settings)
        taints, affinity = TaintToleration(wording), NodeAffinity(wording)
        filters: tuple[LocalFilter, ...] = (
            NodeUnschedulable(),
            NodeName(),
            taints,
            affinity,
            NodePorts(),
            NodeResourcesFit(settings),
        )
        balanced = BalancedAllocation.of(settings)
        return cls(filters, taints, affinity, LeastAllocated(), balanced, Weights.of(settings))

    def filter(self, shape: Shape, node: NodeInfo) -> Rejection | None:
        """The first plugin's No, or None."""
        for plugin in self.filters:
            refused = plugin.filter(shape, node)
            if refused is not None:
                return refused
        return None

    def score(self, shape: Shape, node: NodeInfo) -> int:
        """The weighted sum of the scores that need no normalising."""
        weights = self.weights
        return weights.least_allocated * self.least.score(
            shape, node
        ) + weights.balanced * self.balanced.score(shape, node)


@attrs.define(eq=False)
class ShapeTable:
    """See the module's text. All lists are in node order."""

    shape: Shape
    plugins: LocalPlugins
    scores: list[int] = attrs.field(factory=list)
    """Weighted sum of the scores that need no normalising, or REFUSED."""
    refusals: list[Rejection | None] = attrs.field(factory=list)
    avoided: list[int] = attrs.field(factory=list)
    """Untolerated PreferNoSchedule taints."""
    preferred: list[int] = attrs.field(factory=list)
    """Weight of the matched preferred node affinity."""
    has_avoided: bool = False
    """Whether `avoided` may hold anything but zeros."""
    _order: list[NodeInfo] = attrs.field(factory=list)
    _version: int = 0

    def update(self, cache: Cache) -> None:
        """Look again at the nodes that changed since the last update."""
        order = cache.order
        if order is not self._order:
            self._rearrange(order)
        if self._version < cache.journal_start:
            changed = order
        else:
            changed = list(dict.fromkeys(cache.journal[self._version - cache.journal_start :]))
        for node in changed:
            if node.position >= 0:
                self._evaluate(node)
        self._version = cache.version

    def _rearrange(self, order: list[NodeInfo]) -> None:
        """Nodes came or went: take along what is known. New nodes are in the journal."""
        known = {node: index for index, node in enumerate(self._order)}
        sources = [known.get(node, -1) for node in order]
        self.scores = [self.scores[i] if i >= 0 else REFUSED for i in sources]
        self.refusals = [self.refusals[i] if i >= 0 else None for i in sources]
        self.avoided = [self.avoided[i] if i >= 0 else 0 for i in sources]
        self.preferred = [self.preferred[i] if i >= 0 else 0 for i in sources]
        self._order = order
        if not known:
            self._version = -1  # nothing is known yet: all nodes are looked at

    def _evaluate(self, node: NodeInfo) -> None:
        position, shape, plugins = node.position, self.shape, self.plugins
        refused = self.refusals[position] = plugins.filter(shape, node)
        if refused is not None:
            self.scores[position] = REFUSED
            return
        self.scores[position] = plugins.score(shape, node)
        avoided = self.avoided[position] = plugins.taints.score(shape, node)
        self.has_avoided = self.has_avoided or avoided > 0
        if shape.preferred_terms:
            self.preferred[position] = plugins.affinity.score(shape, node)

    def check(self, cache: Cache) -> None:
        """Assert that what is kept equals a fresh evaluation; call after `update`."""
        fresh = ShapeTable(self.shape, self.plugins)
        fresh.update(cache)
        assert self.scores == fresh.scores
        assert self.refusals == fresh.refusals
        for position, score in enumerate(self.scores):
            if score != REFUSED:
                assert self.avoided[position] == fresh.avoided[position]
                assert self.preferred[position] == fresh.preferred[position]


@attrs.define(eq=False)
class ShapeTables:
    """The tables of the shapes seen last."""

    cache: Cache
    plugins: LocalPlugins
    _tables: OrderedDict[Shape, ShapeTable] = attrs.field(factory=OrderedDict, init=False)

    def of(self, shape: Shape) -> ShapeTable:
        """The table of that shape, up to date."""
        table = self._tables.get(shape)
        if table is None:
            if len(self._tables) >= MAX_TABLES:
                self._tables.popitem(last=False)
            table = self._tables[shape] = ShapeTable(shape, self.plugins)
        else:
            self._tables.move_to_end(shape)
        table.update(self.cache)
        return table

    def check(self) -> None:
        """Assert that every table, brought up to date, equals a fresh one."""
        for table in self._tables.values():
            table.update(self.cache)
            table.check(self.cache)
