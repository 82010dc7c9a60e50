"""Which taints a node's conditions ask for, and how a list of taints changes.

Two families share the keys. NoSchedule taints mirror the conditions one to one and at once;
NoExecute taints are for not-ready and unreachable alone, exclude each other, and are put on slowly
(`reconcilers.node_zones`). Source: kubernetes pkg/controller/nodelifecycle
(nodeConditionToTaintKeyStatusMap), pkg/util/taints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from engine import Node, Taint, Time, nodes

NO_SCHEDULE: Final = "NoSchedule"
NO_EXECUTE: Final = "NoExecute"

CONDITION_TAINTS: Final[Mapping[tuple[str, str], str]] = {
    ("Ready", "False"): nodes.TAINT_NOT_READY,
    ("Ready", "Unknown"): nodes.TAINT_UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
}
"""Condition and status, and the key of the NoSchedule taint they ask for."""

_OWN_KEYS: Final = (*CONDITION_TAINTS.values(), nodes.TAINT_UNSCHEDULABLE)

_BETA_LABELS: Final = (
    ("kubernetes.io/os", "beta.kubernetes.io/os"),
    ("kubernetes.io/arch", "beta.kubernetes.io/arch"),
)
"""A label, and its old name that must say the same."""


@attrs.frozen
class TaintChange:
    """Taints to put on (in one write) and then to take off (in another, as the real controller does)."""

    add: tuple[Taint, ...] = ()
    remove: tuple[Taint, ...] = ()


def no_schedule_change(node: Node) -> TaintChange | None:
    """What the NoSchedule taints lack to mirror the conditions; None when nothing."""
    taints = node.spec.taints
    wanted = [
        key
        for condition in node.status.conditions
        if (key := CONDITION_TAINTS.get((condition.type, condition.status))) is not None
    ]
    if node.spec.unschedulable:
        wanted.append(nodes.TAINT_UNSCHEDULABLE)
    if not wanted and not taints:
        return None
    add = tuple(
        Taint(key=key, effect=NO_SCHEDULE)
        for key in wanted
        if not nodes.has_taint(node, key, NO_SCHEDULE)
    )
    remove = tuple(
        taint
        for taint in taints
        if taint.effect == NO_SCHEDULE and taint.key in _OWN_KEYS and taint.key not in wanted
    )
    return TaintChange(add, remove) if add or remove else None


def label_change(node: Node) -> dict[str, str]:
    """The labels that a node lacks under their old names, or has wrong there; mostly none."""
    labels = node.metadata.labels
    return {
        old: labels[new]
        for new, old in _BETA_LABELS
        if new in labels and labels.get(old) != labels[new]
    }


def eviction_taint(ready: str) -> TaintChange:
    """The NoExecute taint of a node whose Ready condition has that status, and the other one, to
    take off.
    """
    key, other = (
        (nodes.TAINT_NOT_READY, nodes.TAINT_UNREACHABLE)
        if ready == "False"
        else (nodes.TAINT_UNREACHABLE, nodes.TAINT_NOT_READY)
    )
    return TaintChange((Taint(key=key, effect=NO_EXECUTE),), (Taint(key=other, effect=NO_EXECUTE),))


REACHABLE: Final = (
    Taint(key=nodes.TAINT_UNREACHABLE, effect=NO_EXECUTE),
    Taint(key=nodes.TAINT_NOT_READY, effect=NO_EXECUTE),
)
"""The taints that a ready node must not have."""


def with_taints(node: Node, add: Sequence[Taint], now: int) -> Node:
    """`node` with the taints `add`, put on at `now` (Unix microseconds); one that is there already
    is replaced.
    """
    taints = list(node.spec.taints)
    for taint in add:
        stamped = attrs.evolve(taint, time_added=Time.of(now))
        for place, present in enumerate(taints):
            if present.key == taint.key and present.effect == taint.effect:
                taints[place] = stamped
                break
        else:
            taints.append(stamped)
    return _with(node, tuple(taints))


def without_taints(node: Node, remove: Sequence[Taint]) -> Node:
    """`node` without the taints `remove`, whatever their values; the same object when it has none
    of them.
    """
    taints = node.spec.taints
    for taint in remove:
        taints = nodes.without_taint(taints, taint.key, taint.effect)
    return _with(node, taints)


def _with(node: Node, taints: tuple[Taint, ...]) -> Node:
    if taints is node.spec.taints:
        return node
    return attrs.evolve(node, spec=attrs.evolve(node.spec, taints=taints))
