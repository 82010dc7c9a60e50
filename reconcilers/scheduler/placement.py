"""Where a pod goes: filter nodes until enough are found, score them, take the best.

Nodes are looked at in rotation, each pod beginning where the last one stopped, until `nodes_to_find` feasible ones are found
(core/generic_scheduler.go, findNodesThatPassFilters). Kubernetes looks with 16 workers and so may stop at other nodes; here it
is one after another, so that a seed gives one result. Among equals a labelled draw decides, given as `pick`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import attrs

from engine import Settings
from reconcilers.scheduler.cache import Cache
from reconcilers.scheduler.columns import look_up, nth_of, plus, take
from reconcilers.scheduler.node_info import NodeInfo
from reconcilers.scheduler.nominations import Nominations
from reconcilers.scheduler.plugins.affinity import InterPodAffinity
from reconcilers.scheduler.plugins.resources import MAX_SCORE
from reconcilers.scheduler.plugins.spread import DefaultSelector, PodTopologySpread
from reconcilers.scheduler.pod_info import PodInfo
from reconcilers.scheduler.tables import REFUSED, LocalPlugins, ShapeTable, ShapeTables
from reconcilers.scheduler.wording import Rejection, Wording

MIN_NODES_TO_FIND: Final = 100
"""minFeasibleNodesToFind."""
MIN_PERCENTAGE: Final = 5
"""minFeasibleNodesPercentageToFind."""

Pick = Callable[[int], int]
"""Draws an index below a bound, for a choice among equals."""


@attrs.frozen(eq=False)
class Check:
    """A domain plugin with what it prepared for one pod."""

    keep: Callable[[Sequence[int]], Sequence[int]]
    filter: Callable[[NodeInfo], Rejection | None]


@attrs.frozen
class Placed:
    """The pod goes to `node`."""

    node: NodeInfo
    feasible: int
    """How many nodes passed the filters."""


@attrs.frozen
class Unplaced:
    """No node takes the pod; `rejections` has the reason of each, in node order (empty: there are no nodes)."""

    rejections: Sequence[Rejection]


def nodes_to_find(nodes: int, percentage: int) -> int:
    """How many feasible nodes are enough (numFeasibleNodesToFind); `percentage` 0 means adaptive.

    >>> [nodes_to_find(n, 0) for n in (50, 100, 500, 1000, 5000, 6000)]
    [50, 100, 230, 420, 500, 300]
    """
    if nodes < MIN_NODES_TO_FIND or percentage >= 100:
        return nodes
    share = percentage or max(MIN_PERCENTAGE, 50 - nodes // 125)
    return max(MIN_NODES_TO_FIND, nodes * share // 100)


@attrs.define(eq=False)
class Placement:
    """See the module's text."""

    cache: Cache
    nominations: Nominations
    settings: Settings
    local: LocalPlugins
    tables: ShapeTables
    spread: PodTopologySpread
    affinity: InterPodAffinity
    start: int = attrs.field(default=0, init=False)
    """Where in the node order the next pod begins."""

    @classmethod
    def of(
        cls,
        cache: Cache,
        nominations: Nominations,
        settings: Settings,
        default_selector: DefaultSelector,
    ) -> Placement:
        local = LocalPlugins.of(settings)
        return cls(
            cache=cache,
            nominations=nominations,
            settings=settings,
            local=local,
            tables=ShapeTables(cache, local),
            spread=PodTopologySpread(cache, default_selector, rounds=settings.at_least("1.21")),
            affinity=InterPodAffinity(
                cache, Wording(settings), from_zero=not settings.at_least("1.23")
            ),
        )

    def place(self, pod: PodInfo, pick: Pick) -> Placed | Unplaced:
        """Choose a node for the pod. Changes nothing but the place where the next pod begins."""
        cache = self.cache
        order = cache.order
        table = self.tables.of(pod.shape)
        nominated = self._try_nominated(pod)
        if nominated is not None:
            return Placed(nominated, 1)
        if not order:
            return Unplaced(())
        checks = self.checks(pod)
        wanted = nodes_to_find(len(order), self.settings.percentage_of_nodes_to_score)
        promised = self._promised(pod)
        found, looked_at = self._find(pod, table, checks, promised, wanted)
        self.start = (self.start + looked_at) % len(order)
        if not found:
            return Unplaced(self._explain(pod, table, checks))
        if len(found) == 1:
            return Placed(order[found[0]], 1)
        totals = self._score(pod, table, found)
        best = max(totals)
        equals = totals.count(best)
        chosen = nth_of(found, totals, best, pick(equals) if equals > 1 else 0)
        return Placed(order[chosen], len(found))

    # -- filtering ---------------------------------------------------------------------------------

    def checks(self, pod: PodInfo) -> list[Check]:
        """The domain plugins that have something to check for this pod."""
        checks: list[Check] = []
        spread = self.spread.prepare(pod)
        if spread is not None:
            checks.append(
                Check(
                    partial(self.spread.keep, state=spread),
                    partial(self.spread.filter, pod, state=spread),
                )
            )
        affinity = self.affinity.prepare(pod)
        if affinity is not None:
            checks.append(
                Check(
                    partial(self.affinity.keep, state=affinity),
                    partial(self.affinity.filter, pod, state=affinity),
                )
            )
        return checks

    def fits(self, pod: PodInfo, node: NodeInfo) -> Rejection | None:
        """Ask all filters about one node, as the cache stands now; the first No, or None."""
        refused = self.local.filter(pod.shape, node)
        if refused is not None:
            return refused
        for check in self.checks(pod):
            refused = check.filter(node)
            if refused is not None:
                return refused
        return None

    def fits_beside_nominated(self, pod: PodInfo, node: NodeInfo) -> Rejection | None:
        """As `fits`, with the pods that wait for the node and have at least this priority, and also without them."""
        waiting = [
            other
            for other in self.nominations.waiting_for(node.name)
            if other.priority >= pod.priority and other.uid != pod.uid
        ]
        if waiting:
            with self.cache.supposing(node) as supposed:
                for other in waiting:
                    if other.uid not in node.pods:
                        supposed.add(other)
                refused = self.fits(pod, node)
            if refused is not None:
                return refused
        return self.fits(pod, node)

    def _try_nominated(self, pod: PodInfo) -> NodeInfo | None:
        """The node that was cleared for the pod goes before all others, if it fits now."""
        name = self.nominations.node_of(pod.uid)
        if not name or not self.settings.at_least("1.22"):
            return None
        node = self.cache.node(name)
        if node is None or self.fits_beside_nominated(pod, node) is not None:
            return None
        return node

    def _promised(self, pod: PodInfo) -> dict[int, NodeInfo]:
        """Positions of nodes for which other pods wait that this one must not displace."""
        promised: dict[int, NodeInfo] = {}
        for name in self.nominations.nodes():
            node = self.cache.node(name)
            if node is not None and any(
                other.priority >= pod.priority and other.uid != pod.uid
                for other in self.nominations.waiting_for(name)
            ):
                promised[node.position] = node
        return promised

    def _find(
        self,
        pod: PodInfo,
        table: ShapeTable,
        checks: list[Check],
        promised: dict[int, NodeInfo],
        wanted: int,
    ) -> tuple[Sequence[int], int]:
        """The first `wanted` feasible positions from `start` on, and how many nodes that took."""
        scores = table.scores
        size, looked_at = len(scores), 0
        found: Sequence[int] = ()
        while looked_at < size and len(found) < wanted:
            first = (self.start + looked_at) % size
            last = min(first + max(wanted - len(found), 64), size, first + size - looked_at)
            looked_at += last - first
            passing: Sequence[int] = range(first, last)
            if REFUSED in scores[first:last]:
                passing = [p for p in passing if scores[p] != REFUSED]
            for check in checks:
                if passing:
                    passing = check.keep(passing)
            if promised:
                passing = [
                    p
                    for p in passing
                    if p not in promised or self.fits_beside_nominated(pod, promised[p]) is None
                ]
            found = [*found, *passing] if found else passing
        if len(found) > wanted:
            found = found[:wanted]
            looked_at = (found[-1] - self.start) % size + 1
        return found, looked_at

    def _explain(self, pod: PodInfo, table: ShapeTable, checks: list[Check]) -> list[Rejection]:
        """Each node's reason, when none is feasible."""
        rejections: list[Rejection] = []
        for node, refused in zip(self.cache.order, table.refusals, strict=True):
            reason = refused
            for check in checks:
                reason = reason or check.filter(node)
            reason = reason or self.fits_beside_nominated(pod, node)
            assert reason is not None, f"{node} was refused without a reason"
            rejections.append(reason)
        return rejections

    # -- scoring -----------------------------------------------------------------------------------

    def _score(self, pod: PodInfo, table: ShapeTable, found: Sequence[int]) -> list[int]:
        """The weighted total of each node found. Parts that are equal for all of them are left out."""
        weights = self.local.weights
        totals = take(table.scores, found)
        avoided = take(table.avoided, found) if table.has_avoided else []
        if any(avoided):
            most = max(avoided)
            worth = {a: weights.taints * (MAX_SCORE - a * MAX_SCORE // most) for a in set(avoided)}
            totals = plus(totals, look_up(worth, avoided))
        if pod.shape.preferred_terms:
            preferred = take(table.preferred, found)
            most = max(preferred)
            if most:
                worth = {s: weights.node_affinity * (s * MAX_SCORE // most) for s in set(preferred)}
                totals = plus(totals, look_up(worth, preferred))
        spread = self.spread.weigh(pod)
        if spread is not None:
            totals = plus(totals, self.spread.scores(found, spread, weights.spread))
        affinity = self.affinity.weigh(pod)
        if affinity is not None:
            totals = plus(totals, self.affinity.scores(found, affinity, weights.pod_affinity))
        return totals
