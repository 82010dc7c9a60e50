"""Node-local plugins about the node itself: its name, labels, taints and the cordon."""

from __future__ import annotations

from typing import ClassVar, Final

import attrs

from engine import Taint
from reconcilers.scheduler.node_info import (
    NO_SCHEDULE,
    PREFER_NO_SCHEDULE,
    NodeInfo,
    first_untolerated,
    matches_node_affinity,
    matches_node_term,
    tolerates,
)
from reconcilers.scheduler.pod_info import Shape
from reconcilers.scheduler.wording import Rejection, Wording, rejection

CORDON_TAINT: Final = Taint(key="node.kubernetes.io/unschedulable", effect=NO_SCHEDULE)


@attrs.frozen
class NodeUnschedulable:
    """Refuses cordoned nodes."""

    name: ClassVar[str] = "NodeUnschedulable"

    def filter(self, shape: Shape, node: NodeInfo) -> Rejection | None:
        if not node.unschedulable or tolerates(shape.tolerations, CORDON_TAINT):
            return None
        return rejection(self.name, "node(s) were unschedulable", unresolvable=True)


@attrs.frozen
class NodeName:
    """Refuses all nodes but the one the pod names."""

    name: ClassVar[str] = "NodeName"

    def filter(self, shape: Shape, node: NodeInfo) -> Rejection | None:
        if not shape.node_name or shape.node_name == node.name:
            return None
        return rejection(
            self.name, "node(s) didn't match the requested hostname", unresolvable=True
        )


@attrs.frozen
class TaintToleration:
    """Refuses nodes with a taint that repels the pod, and prefers nodes with few it would avoid."""

    name: ClassVar[str] = "TaintToleration"
    wording: Wording

    def filter(self, shape: Shape, node: NodeInfo) -> Rejection | None:
        if not node.hard_taints:
            return None
        taint = first_untolerated(shape.tolerations, node.hard_taints)
        if taint is None:
            return None
        return rejection(self.name, self.wording.taint(taint), unresolvable=True)

    def score(self, shape: Shape, node: NodeInfo) -> int:
        """How many PreferNoSchedule taints are not tolerated: less is better."""
        if not node.soft_taints:
            return 0
        able = tuple(t for t in shape.tolerations if t.effect in ("", PREFER_NO_SCHEDULE))
        return sum(not tolerates(able, taint) for taint in node.soft_taints)


@attrs.frozen
class NodeAffinity:
    """Refuses nodes outside node selector and required affinity, and scores by preferred affinity."""

    name: ClassVar[str] = "NodeAffinity"
    wording: Wording

    def filter(self, shape: Shape, node: NodeInfo) -> Rejection | None:
        if matches_node_affinity(shape, node):
            return None
        return rejection(self.name, self.wording.node_affinity, unresolvable=True)

    def score(self, shape: Shape, node: NodeInfo) -> int:
        """Sum of the weights of the preferred terms that the node matches: more is better."""
        return sum(
            weight for weight, term in shape.preferred_terms if matches_node_term(term, node)
        )
