"""What the controllers that end pods share: finding the pods of a node, and leaving a condition on
a pod.
"""

from __future__ import annotations

import attrs

from engine import Condition, Pod, Time, set_condition


def index_by_node(pod: Pod) -> tuple[str, ...]:
    """Index function: the node that the pod is bound to, if it is."""
    return (pod.spec.node_name,) if pod.spec.node_name else ()


def with_condition(pod: Pod, condition: Condition, now: int) -> Pod:
    """`pod` with that condition in its status, set at `now` (Unix microseconds); the same object
    when it says so already.
    """
    conditions = set_condition(pod.status.conditions, condition, Time.of(now))
    if conditions is pod.status.conditions:
        return pod
    return attrs.evolve(pod, status=attrs.evolve(pod.status, conditions=conditions))
