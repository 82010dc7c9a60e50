"""Preemption: whom to evict so that a pod of higher priority fits (plugins/defaultpreemption).

For each node where evicting may help, all pods of lower priority are taken away for the sake of argument; if the pod then
fits, they are given back one by one, the important first, and those that no longer fit beside it are the victims. Of the nodes
found, the one whose victims matter least is cleared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from engine import Pod, Settings
from reconcilers.scheduler.cache import Cache
from reconcilers.scheduler.node_info import NodeInfo
from reconcilers.scheduler.nominations import Nominations
from reconcilers.scheduler.placement import Pick, Placement
from reconcilers.scheduler.pod_info import PodInfo, Shape
from reconcilers.scheduler.wording import (
    NEVER_PREEMPTS,
    NO_VICTIMS,
    NOT_HELPFUL,
    VICTIM_TERMINATING,
    Rejection,
    rejection,
    unavailable,
)

NAME: Final = "DefaultPreemption"
MIN_CANDIDATE_PERCENTAGE: Final = 10
"""DefaultPreemptionArgs.minCandidateNodesPercentage."""
MIN_CANDIDATES: Final = 100
"""DefaultPreemptionArgs.minCandidateNodesAbsolute."""
MAX_REMEMBERED: Final = 16
"""Kinds of preemptors whose dry runs are remembered."""
_PRIORITY_OFFSET: Final = 2**31
"""Added to each priority, so that more victims never weigh less (preemption.go, pickOneNodeForPreemption)."""
_NOT_STARTED: Final = 2**62
"""Start time of a pod that has not started: later than all others."""


@attrs.frozen
class Candidate:
    """Evicting `victims`, most important first, makes room on `node`."""

    node: NodeInfo
    victims: tuple[PodInfo, ...]

    @property
    def cost(self) -> tuple[int, int, int, int]:
        """Least is best: the highest priority, the sum of priorities, the number, and how long the first have run."""
        highest = self.victims[0].priority
        return (
            highest,
            sum(victim.priority + _PRIORITY_OFFSET for victim in self.victims),
            len(self.victims),
            -min(_started(v.pod) for v in self.victims if v.priority == highest),
        )


@attrs.frozen(kw_only=True)
class Preempted:
    """Clear `node` of `victims`; `displaced` waited for it with a lower priority and must look elsewhere."""

    node: str
    victims: tuple[PodInfo, ...]
    displaced: tuple[PodInfo, ...]


@attrs.frozen
class NotPreempted:
    """Nobody is evicted; `message` says why. `waits`: an earlier nomination stays in force."""

    message: str
    waits: bool


_Tried = dict[NodeInfo, tuple[int, Candidate | Rejection]]
"""Outcomes of dry runs, with the generation of the node that they hold for."""


@attrs.frozen(eq=False)
class Preemption:
    """See the module's text."""

    cache: Cache
    placement: Placement
    nominations: Nominations
    settings: Settings
    _tried: dict[tuple[Shape, int], _Tried] = attrs.field(factory=dict, init=False)

    def preempt(
        self, pod: PodInfo, rejections: Sequence[Rejection], pick: Pick
    ) -> Preempted | NotPreempted:
        """Decide what to do for a pod that no node takes; `rejections` are the nodes' reasons in node order."""
        if pod.pod.spec.preemption_policy == "Never":
            return NotPreempted(NEVER_PREEMPTS, waits=True)
        if self._victims_terminate(pod, rejections):
            return NotPreempted(VICTIM_TERMINATING, waits=True)
        order = self.cache.order
        potential = [
            n for n, refused in zip(order, rejections, strict=True) if not refused.unresolvable
        ]
        candidates, refusals = self._candidates(pod, potential, pick)
        if not candidates:
            hopeless = [rejection(NAME, NOT_HELPFUL)] * (len(order) - len(potential))
            return NotPreempted(unavailable(len(order), refusals + hopeless), waits=False)
        best = min(candidates, key=lambda candidate: candidate.cost)
        displaced = [
            other
            for other in self.nominations.waiting_for(best.node.name)
            if other.priority < pod.priority and other.uid != pod.uid
        ]
        return Preempted(node=best.node.name, victims=best.victims, displaced=tuple(displaced))

    def _candidates(
        self, pod: PodInfo, potential: list[NodeInfo], pick: Pick
    ) -> tuple[list[Candidate], list[Rejection]]:
        """Nodes that can be cleared, as many as are enough, and why the others cannot."""
        if min(self.cache.priorities, default=pod.priority) >= pod.priority:
            return [], [rejection(NAME, NO_VICTIMS)] * len(potential)
        candidates: list[Candidate] = []
        refusals: list[Rejection] = []
        offset = pick(len(potential)) if potential else 0
        enough = len(potential) * MIN_CANDIDATE_PERCENTAGE // 100
        enough = min(max(enough, MIN_CANDIDATES), len(potential))
        alike = self._alike(pod)
        for node in potential[offset:] + potential[:offset]:
            tried = self._try(pod, node, alike)
            if isinstance(tried, Rejection):
                refusals.append(tried)
                continue
            candidates.append(tried)
            if len(candidates) >= enough:
                break
        return candidates, refusals

    def _alike(self, pod: PodInfo) -> _Tried | None:
        """What was found out for pods like this one; None when other nodes' pods matter to it as well."""
        if self.placement.checks(pod):
            return None
        key = (pod.shape, pod.priority)
        if key not in self._tried:
            while len(self._tried) >= MAX_REMEMBERED:
                del self._tried[next(iter(self._tried))]
            self._tried[key] = {}
        return self._tried[key]

    def _try(self, pod: PodInfo, node: NodeInfo, alike: _Tried | None) -> Candidate | Rejection:
        """Dry run, or what one found for a pod like this while the node was as it is now."""
        if alike is None or self.nominations.waiting_for(node.name):
            return self._dry_run(pod, node)
        known = alike.get(node)
        if known is None or known[0] != node.generation:
            known = alike[node] = (node.generation, self._dry_run(pod, node))
        return known[1]

    def _victims_terminate(self, pod: PodInfo, rejections: Sequence[Rejection]) -> bool:
        """The pod has preempted before, and its victims are still on their way out."""
        node = self.cache.node(self.nominations.node_of(pod.uid))
        if node is None or (rejections and rejections[node.position].unresolvable):
            return False
        return any(
            other.terminating and other.priority < pod.priority and self._preempted(other.pod)
            for other in node.pods.values()
        )

    def _preempted(self, victim: Pod) -> bool:
        """From 1.26 on only pods that terminate because of a preemption are waited for."""
        if not self.settings.at_least("1.26"):
            return True
        return any(
            c.type == "DisruptionTarget"
            and c.status == "True"
            and c.reason == "PreemptionByScheduler"
            for c in victim.status.conditions
        )

    def _dry_run(self, pod: PodInfo, node: NodeInfo) -> Candidate | Rejection:
        """Who would have to leave the node."""
        if min(node.priorities, default=pod.priority) >= pod.priority:
            return rejection(NAME, NO_VICTIMS)
        lower = [other for other in node.pods.values() if other.priority < pod.priority]
        fits = self.placement.fits_beside_nominated
        victims: list[PodInfo] = []
        with self.cache.supposing(node) as supposed:
            for other in lower:
                supposed.remove(other)
            refused = fits(pod, node)
            if refused is not None:
                return refused
            for other in sorted(lower, key=_importance):
                supposed.add(other)
                if fits(pod, node) is not None:
                    supposed.remove(other)
                    victims.append(other)
        if not victims:
            return rejection(NAME, NO_VICTIMS)
        return Candidate(node, tuple(victims))


def _importance(pod: PodInfo) -> tuple[int, int, str, str]:
    """Sorts the most important first: high priority, then long running (util.MoreImportantPod), then by name."""
    return (-pod.priority, _started(pod.pod), pod.namespace, pod.name)


def _started(pod: Pod) -> int:
    return pod.status.start_time if pod.status.start_time is not None else _NOT_STARTED
