"""PodTopologySpread: keeps matching pods evenly spread over the domains of a topology key.

`DoNotSchedule` constraints refuse a node whose domain would have more than `maxSkew` pods above the emptiest one;
`ScheduleAnyway` constraints score. A pod without constraints of its own gets Kubernetes' default soft ones, if a Service or
a controller selects it (podtopologyspread/plugin.go, systemDefaultConstraints).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import ClassVar, Final

import attrs

from engine import NOTHING, Selector, TopologySpreadConstraint
from reconcilers.scheduler.cache import Cache
from reconcilers.scheduler.columns import keep_up_to, look_up, take
from reconcilers.scheduler.counts import DomainCounts, EligibilityKey, Selection, SelectionKey
from reconcilers.scheduler.node_info import HOSTNAME_LABEL, ZONE_LABEL, NodeInfo
from reconcilers.scheduler.plugins.resources import MAX_SCORE
from reconcilers.scheduler.pod_info import PodInfo, Request, Shape
from reconcilers.scheduler.terms import Conjunct, texts, with_label_keys
from reconcilers.scheduler.wording import Rejection, rejection

HARD: Final = "DoNotSchedule"
SOFT: Final = "ScheduleAnyway"
DEFAULT_CONSTRAINTS: Final = ((HOSTNAME_LABEL, 3), (ZONE_LABEL, 5))
"""Key and maxSkew of the default soft constraints."""

MISMATCH: Final = "node(s) didn't match pod topology spread constraints"
MISSING_LABEL: Final = f"{MISMATCH} (missing required label)"

DefaultSelector = Callable[[PodInfo], Selector]
"""What the default constraints count: the pods of the pod's Services and controller; `NOTHING` when it has none."""


@attrs.frozen
class HardConstraint:
    """One DoNotSchedule constraint, ready to be asked."""

    topology_key: str
    limit: int | None
    """Most pods a domain may have already; None when no domain counts and all is allowed."""
    counts: Mapping[str, int]

    def allows(self, value: str | None) -> bool:
        """Whether a node with this value of the key may take the pod."""
        return value is not None and (self.limit is None or self.counts.get(value, 0) <= self.limit)


@attrs.frozen
class SoftConstraint:
    """One ScheduleAnyway constraint; by host name the pods of the node itself count, else those of the domain."""

    topology_key: str
    max_skew: int
    selection: Selection
    counts: DomainCounts | None


@attrs.frozen
class Weighing:
    """The soft constraints of a pod. With `strict`, nodes that lack any of the keys score 0."""

    constraints: tuple[SoftConstraint, ...]
    strict: bool

    @property
    def keys(self) -> list[str]:
        return [constraint.topology_key for constraint in self.constraints]


@attrs.frozen
class PodTopologySpread:
    """See the module's text."""

    name: ClassVar[str] = "PodTopologySpread"
    cache: Cache
    default_selector: DefaultSelector
    rounds: bool
    """Scores are rounded from 1.21 on, and cut before."""

    # -- hard --------------------------------------------------------------------------------------

    def prepare(self, pod: PodInfo) -> tuple[HardConstraint, ...] | None:
        constraints = [
            c for c in pod.pod.spec.topology_spread_constraints if c.when_unsatisfiable == HARD
        ]
        if not constraints:
            return None
        keys = tuple(c.topology_key for c in constraints)
        return tuple(self._hard(pod, constraint, keys) for constraint in constraints)

    def _hard(
        self, pod: PodInfo, constraint: TopologySpreadConstraint, keys: tuple[str, ...]
    ) -> HardConstraint:
        key = _selected(pod, constraint)
        index = self.cache.index
        counts = index.counts(key, constraint.topology_key, _eligible(pod, constraint, keys))
        least = counts.minimum(constraint.min_domains or 1)
        itself = int(index.means(key.conjuncts, pod))
        limit = None if least is None else least + constraint.max_skew - itself
        return HardConstraint(constraint.topology_key, limit, counts.counts)

    def filter(
        self, pod: PodInfo, node: NodeInfo, state: tuple[HardConstraint, ...]
    ) -> Rejection | None:
        del pod
        for constraint in state:
            value = node.labels.get(constraint.topology_key)
            if value is None:
                return rejection(self.name, MISSING_LABEL, unresolvable=True)
            if not constraint.allows(value):
                return rejection(self.name, MISMATCH)
        return None

    def keep(self, positions: Sequence[int], state: tuple[HardConstraint, ...]) -> Sequence[int]:
        for constraint in state:
            column = take(self.cache.values(constraint.topology_key), positions)
            if constraint.limit is not None:
                positions = keep_up_to(positions, column, constraint.counts, constraint.limit)
            elif None in column:
                positions = [p for p, v in zip(positions, column, strict=True) if v is not None]
        return positions

    # -- soft --------------------------------------------------------------------------------------

    def weigh(self, pod: PodInfo) -> Weighing | None:
        constraints = pod.pod.spec.topology_spread_constraints
        if constraints:
            soft = [c for c in constraints if c.when_unsatisfiable == SOFT]
            keys = tuple(c.topology_key for c in soft)
            weighed = tuple(
                self._soft(c.topology_key, c.max_skew, _selected(pod, c), _eligible(pod, c, keys))
                for c in soft
            )
            return Weighing(weighed, strict=True) if weighed else None
        selector = self.default_selector(pod)
        if selector is NOTHING:
            return None
        selected = SelectionKey((Conjunct((pod.namespace,), NOTHING, selector),), live=True)
        shape = _affinity_part(pod.shape)
        return Weighing(
            tuple(
                self._soft(key, max_skew, selected, EligibilityKey((key,), shape))
                for key, max_skew in DEFAULT_CONSTRAINTS
            ),
            strict=False,
        )

    def _soft(
        self, topology_key: str, max_skew: int, key: SelectionKey, eligible: EligibilityKey
    ) -> SoftConstraint:
        index = self.cache.index
        counts = None
        if topology_key != HOSTNAME_LABEL:
            counts = index.counts(key, topology_key, eligible)
        return SoftConstraint(topology_key, max_skew, index.selection(key), counts)

    def scores(self, positions: Sequence[int], state: Weighing, weight: int) -> list[int]:
        """Few matching pods in the node's domains: near 100 times `weight`.

        Nodes without a key gain nothing from its constraint; with `strict` they score 0 and do not count at all.
        """
        if state.strict and not all(map(self.cache.everywhere, state.keys)):
            return self._scores_of_some(positions, state, weight)
        return self._normalised(self._totals(positions, state), weight)

    def _scores_of_some(self, positions: Sequence[int], state: Weighing, weight: int) -> list[int]:
        columns = [take(self.cache.values(key), positions) for key in state.keys]
        kept = [i for i, values in enumerate(zip(*columns, strict=True)) if None not in values]
        scores = [0] * len(positions)
        if kept:
            totals = self._totals([positions[i] for i in kept], state)
            for i, score in zip(kept, self._normalised(totals, weight), strict=True):
                scores[i] = score
        return scores

    def _totals(self, positions: Sequence[int], state: Weighing) -> list[float]:
        totals: list[float] = []
        for constraint in state.constraints:
            if self.cache.nowhere(constraint.topology_key):
                continue  # no node gains anything
            if constraint.counts is None:
                worth = self._worth_of_hosts(constraint, positions)
            else:
                column = take(self.cache.values(constraint.topology_key), positions)
                worth = _worth_of_domains(constraint, constraint.counts.counts, column)
            totals = list(map(operator.add, totals, worth)) if totals else worth
        return totals or [0.0] * len(positions)

    def _worth_of_hosts(self, constraint: SoftConstraint, positions: Sequence[int]) -> list[float]:
        """What the pods on each node itself add. Mostly few nodes have any."""
        base, scale = float(constraint.max_skew - 1), math.log(len(positions) + 2)
        found = constraint.selection.by_node
        if isinstance(positions, range) and len(found) < len(positions):
            worth = [base] * len(positions)
            for node, count in found.items():
                if node.position in positions:
                    worth[node.position - positions.start] += count * scale
        else:
            at = {node.position: count for node, count in found.items()}
            counts = list(map(at.get, positions, repeat(0)))
            worth = look_up({count: count * scale + base for count in set(counts)}, counts)
        if self.cache.everywhere(constraint.topology_key):
            return worth
        column = take(self.cache.values(constraint.topology_key), positions)
        return [0.0 if v is None else w for w, v in zip(worth, column, strict=True)]

    def _normalised(self, totals: list[float], weight: int) -> list[int]:
        """100 for the least, less for more: 100 * (max + min - s) / max."""
        if self.rounds:
            raw = {total: math.floor(total + 0.5) for total in set(totals)}
        else:
            raw = {total: int(total) for total in set(totals)}
        least, most = min(raw.values()), max(raw.values())
        if most == 0:
            return [weight * MAX_SCORE] * len(totals)
        worth = {t: weight * (MAX_SCORE * (most + least - r) // most) for t, r in raw.items()}
        return look_up(worth, totals)


def _worth_of_domains(
    constraint: SoftConstraint, counts: Mapping[str, int], column: list[str | None]
) -> list[float]:
    """What the pods in each node's domain add; the fewer domains there are, the less."""
    present = {value for value in set(column) if value is not None}
    base, scale = float(constraint.max_skew - 1), math.log(len(present) + 2)
    worth: dict[str | None, float] = {v: counts.get(v, 0) * scale + base for v in present}
    worth[None] = 0.0
    return look_up(worth, column)


def _selected(pod: PodInfo, constraint: TopologySpreadConstraint) -> SelectionKey:
    selector = with_label_keys(
        constraint.label_selector, pod.pod, same=texts(constraint.extra.get("matchLabelKeys"))
    )
    return SelectionKey((Conjunct((pod.namespace,), NOTHING, selector),), live=True)


def _eligible(
    pod: PodInfo, constraint: TopologySpreadConstraint, keys: tuple[str, ...]
) -> EligibilityKey:
    """Nodes outside the pod's affinity do not count; tainted ones do, unless the constraint says `Honor`."""
    extra = constraint.extra
    ignores_affinity = extra.get("nodeAffinityPolicy") == "Ignore"
    honours_taints = extra.get("nodeTaintsPolicy") == "Honor"
    return EligibilityKey(
        keys,
        None if ignores_affinity else _affinity_part(pod.shape),
        pod.shape.tolerations if honours_taints else None,
    )


def _affinity_part(shape: Shape) -> Shape | None:
    """The part of a shape that node affinity looks at, so that pods of other sizes share the counts."""
    if not shape.node_selector and shape.required_terms is None:
        return None
    return Shape(Request(), 0, 0, (), "", (), shape.node_selector, shape.required_terms, ())
