"""What the reconcilers ask about nodes."""

from __future__ import annotations

from typing import Final

from engine.objects.core import Node, Taint
from engine.objects.meta import Condition, condition_of

ZONE_LABEL: Final = "topology.kubernetes.io/zone"
REGION_LABEL: Final = "topology.kubernetes.io/region"
HOSTNAME_LABEL: Final = "kubernetes.io/hostname"

TAINT_NOT_READY: Final = "node.kubernetes.io/not-ready"
TAINT_UNREACHABLE: Final = "node.kubernetes.io/unreachable"
TAINT_UNSCHEDULABLE: Final = "node.kubernetes.io/unschedulable"
TAINT_OUT_OF_SERVICE: Final = "node.kubernetes.io/out-of-service"


def ready_condition(node: Node) -> Condition | None:
    """Its condition Ready: True, False (the kubelet says so) or Unknown (it is silent)."""
    return condition_of(node.status.conditions, "Ready")


def is_ready(node: Node) -> bool:
    """Whether its condition Ready is True."""
    ready = ready_condition(node)
    return ready is not None and ready.status == "True"


def zone_of(node: Node) -> str:
    """The zone of its label, or ""."""
    return node.metadata.labels.get(ZONE_LABEL, "")


def has_taint(node: Node, key: str, effect: str) -> bool:
    """Whether it carries a taint of that key and effect, whatever the value."""
    return any(taint.key == key and taint.effect == effect for taint in node.spec.taints)


def without_taint(taints: tuple[Taint, ...], key: str, effect: str) -> tuple[Taint, ...]:
    """The taints without those of that key and effect; the same tuple if there are none."""
    kept = tuple(taint for taint in taints if (taint.key, taint.effect) != (key, effect))
    return taints if len(kept) == len(taints) else kept


def with_taint(taints: tuple[Taint, ...], taint: Taint) -> tuple[Taint, ...]:
    """The taints with this one at the end, instead of one of its key and effect."""
    return (*without_taint(taints, taint.key, taint.effect), taint)
