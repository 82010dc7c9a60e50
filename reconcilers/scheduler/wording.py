"""What the scheduler says: reasons of rejections, and the text of `FailedScheduling`, by Kubernetes version.

A `Rejection` is one plugin's No for one pod on one node. Rejections are interned, so that those of 5,000 nodes are
counted by identity. Texts: pkg/scheduler/framework/types.go (FitError) and each plugin's error constants.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import attrs

from engine import Settings, Taint

NO_NODES: Final = "no nodes available to schedule pods"
NO_VICTIMS: Final = "No preemption victims found for incoming pod"
NOT_HELPFUL: Final = "Preemption is not helpful for scheduling"
NEVER_PREEMPTS: Final = "not eligible due to preemptionPolicy=Never."
VICTIM_TERMINATING: Final = "not eligible due to a terminating pod on the nominated node."
GATED_REASON: Final = "SchedulingGated"
GATED_MESSAGE: Final = "Scheduling is blocked due to non-empty scheduling gates"


@attrs.frozen(eq=False)
class Rejection:
    """Why `plugin` refuses a node. `unresolvable`: removing pods from the node cannot help."""

    plugin: str
    reasons: tuple[str, ...]
    unresolvable: bool


@lru_cache(maxsize=4096)
def rejection(plugin: str, *reasons: str, unresolvable: bool = False) -> Rejection:
    """The one `Rejection` of these values (a bounded cache)."""
    return Rejection(plugin, reasons, unresolvable)


@attrs.frozen
class Wording:
    """The texts of one Kubernetes version."""

    settings: Settings

    def taint(self, taint: Taint) -> str:
        """Newest: no longer names the taint, so that messages of many nodes can be counted together (1.35)."""
        if self.settings.at_least("1.35"):
            return "node(s) had untolerated taint(s)"
        named = f"{{{taint.key}: {taint.value}}}"
        if self.settings.at_least("1.23"):
            return f"node(s) had untolerated taint {named}"
        return f"node(s) had taint {named}, that the pod didn't tolerate"

    @property
    def node_affinity(self) -> str:
        if self.settings.at_least("1.22"):
            return "node(s) didn't match Pod's node affinity/selector"
        return "node(s) didn't match Pod's node affinity"

    def pod_affinity(self, reason: str) -> tuple[str, ...]:
        """Up to 1.21 a general reason went before each of InterPodAffinity's own."""
        if self.settings.at_least("1.22"):
            return (reason,)
        return ("node(s) didn't match pod affinity/anti-affinity", reason)

    def preempted(self, preemptor_key: str, preemptor_uid: str, node: str) -> str:
        """The message of the victim's `Preempted` Event."""
        if self.settings.at_least("1.26"):
            return f"Preempted by pod {preemptor_uid} on node {node}"
        return f"Preempted by {preemptor_key} on node {node}"

    def unschedulable(
        self, nodes: int, rejections: Iterable[Rejection], preemption: str | None
    ) -> str:
        """The message of `FailedScheduling`. `preemption` is what preemption had to say; None after success.

        >>> Wording(Settings(compat="1.20")).unschedulable(3, [rejection("F", "Insufficient cpu")] * 3, None)
        '0/3 nodes are available: 3 Insufficient cpu.'
        """
        message = unavailable(nodes, rejections)
        if preemption is None or not self.settings.at_least("1.24"):
            return message
        claims = "no new claims to deallocate, " if self.settings.at_least("1.34") else ""
        return f"{message} {claims}preemption: {preemption}"


def unavailable(nodes: int, rejections: Iterable[Rejection]) -> str:
    """`0/N nodes are available: ...`, each reason with its count, sorted as text ("10 x" before "2 y")."""
    counts: Counter[str] = Counter()
    for refused, times in Counter(rejections).items():
        for reason in refused.reasons:
            counts[reason] += times
    reasons = ", ".join(sorted(f"{times} {reason}" for reason, times in counts.items()))
    return f"0/{nodes} nodes are available: {reasons}."
