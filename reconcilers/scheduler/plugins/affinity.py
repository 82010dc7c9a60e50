"""InterPodAffinity: pods that want to be near others, or far from them, in domains of a topology key.

Three things refuse a node: the pod's own affinity finds nobody there, its own anti-affinity finds somebody, or a pod that is
there already wants nobody like it. Preferences, in both directions, score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import attrs

from reconcilers.scheduler.cache import Cache
from reconcilers.scheduler.columns import keep_at, keep_off, look_up, plus, take
from reconcilers.scheduler.counts import DomainCounts, EligibilityKey, Kind, SelectionKey
from reconcilers.scheduler.node_info import NodeInfo
from reconcilers.scheduler.plugins.resources import MAX_SCORE
from reconcilers.scheduler.pod_info import PodInfo
from reconcilers.scheduler.terms import HARD_AFFINITY_WEIGHT, Conjunct, Term
from reconcilers.scheduler.wording import Rejection, Wording, rejection

AFFINITY: Final = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY: Final = "node(s) didn't match pod anti-affinity rules"
EXISTING: Final = "node(s) didn't satisfy existing pods anti-affinity rules"

Counts = Mapping[str, int]

_NO_VALUE: Final[Mapping[None, None]] = {None: None}
"""Stands for the value of nodes that lack the key."""


@attrs.frozen
class Requirements:
    """What must hold on a node, as counts per domain."""

    near: tuple[DomainCounts, ...]
    """Pods that match all of the pod's affinity terms, per term's key."""
    alone: bool
    """No pod in the cluster matches the affinity and the pod itself would: it may be the first."""
    far: tuple[DomainCounts, ...]
    unwelcome: tuple[tuple[str, Counts], ...]
    """Per key, domains of pods whose anti-affinity means the pod."""


@attrs.frozen
class Preference:
    """`weight` for each pod counted in the node's domain."""

    topology_key: str
    weight: int
    counts: Counts


@attrs.frozen
class InterPodAffinity:
    """See the module's text."""

    name: ClassVar[str] = "InterPodAffinity"
    cache: Cache
    wording: Wording
    from_zero: bool
    """Up to 1.22 the scale always included 0; then it runs from the least to the greatest score."""

    def prepare(self, pod: PodInfo) -> Requirements | None:
        terms = pod.terms
        unwelcome = tuple(
            (carriers.term.topology_key, carriers.counts)
            for carriers in self.cache.index.carriers_meaning(pod)
            if carriers.kind is Kind.ANTI_AFFINITY
        )
        if not (terms.affinity or terms.anti_affinity or unwelcome):
            return None
        together = tuple(term.conjunct for term in terms.affinity)
        near = tuple(self._counts(together, term) for term in terms.affinity)
        alone = not any(counts.counts for counts in near) and self.cache.index.means(together, pod)
        far = tuple(self._counts((term.conjunct,), term) for term in terms.anti_affinity)
        return Requirements(near, alone, far, unwelcome)

    def _counts(self, conjuncts: tuple[Conjunct, ...], term: Term) -> DomainCounts:
        return self.cache.index.counts(
            SelectionKey(conjuncts, live=False),
            term.topology_key,
            EligibilityKey((term.topology_key,)),
        )

    def filter(self, pod: PodInfo, node: NodeInfo, state: Requirements) -> Rejection | None:
        del pod
        labels = node.labels
        for near in state.near:
            value = labels.get(near.topology_key)
            if value is None or not (state.alone or value in near.counts):
                return self._refuse(AFFINITY, unresolvable=True)
        for far in state.far:
            if labels.get(far.topology_key) in far.counts:
                return self._refuse(ANTI_AFFINITY)
        for key, counts in state.unwelcome:
            if labels.get(key) in counts:
                return self._refuse(EXISTING)
        return None

    def _refuse(self, reason: str, *, unresolvable: bool = False) -> Rejection:
        return rejection(self.name, *self.wording.pod_affinity(reason), unresolvable=unresolvable)

    def keep(self, positions: Sequence[int], state: Requirements) -> Sequence[int]:
        for near in state.near:
            column = take(self.cache.values(near.topology_key), positions)
            if state.alone:
                positions = keep_off(positions, column, _NO_VALUE)
            else:
                positions = keep_at(positions, column, near.counts)
        for key, counts in (*((f.topology_key, f.counts) for f in state.far), *state.unwelcome):
            if counts:
                column = take(self.cache.values(key), positions)
                positions = keep_off(positions, column, counts)
        return positions

    def weigh(self, pod: PodInfo) -> tuple[Preference, ...] | None:
        preferences = [
            Preference(term.topology_key, term.weight, self._counts((term.conjunct,), term).counts)
            for term in pod.terms.preferred
        ]
        for carriers in self.cache.index.carriers_meaning(pod):
            key = carriers.term.topology_key
            if carriers.kind is Kind.PREFERRED:
                preferences.append(Preference(key, carriers.term.weight, carriers.counts))
            elif carriers.kind is Kind.AFFINITY:
                preferences.append(Preference(key, HARD_AFFINITY_WEIGHT, carriers.counts))
        return tuple(p for p in preferences if p.counts) or None

    def scores(
        self, positions: Sequence[int], state: tuple[Preference, ...], weight: int
    ) -> list[int]:
        """The sum over all preferences, scaled to 0..100, times `weight`."""
        totals = [0] * len(positions)
        for preference in state:
            column = take(self.cache.values(preference.topology_key), positions)
            counts, each = preference.counts, preference.weight
            worth = {v: each * counts.get(v, 0) if v is not None else 0 for v in set(column)}
            totals = plus(totals, look_up(worth, column))
        least, most = min(totals), max(totals)
        if self.from_zero:
            least, most = min(least, 0), max(most, 0)
        if most == least:
            return [0] * len(totals)
        span = most - least
        scaled = {t: weight * int(MAX_SCORE * ((t - least) / span)) for t in set(totals)}
        return look_up(scaled, totals)
