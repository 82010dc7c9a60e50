"""A node as the scheduler sees it: what it offers, what its pods have taken, and which pods they are.

The sums are kept up to date pod by pod; `check` compares them with a recount. A node that is unknown to the API while pods
are still bound to it has an info as well, with `node` None: it holds their place and is never offered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

import attrs

from engine import EMPTY, Node, Taint
from reconcilers.scheduler.pod_info import (
    HostPort,
    NodeTerm,
    PodInfo,
    Requirement,
    Shape,
    TolerationKey,
    request_of,
)

ZONE_LABEL: Final = "topology.kubernetes.io/zone"
REGION_LABEL: Final = "topology.kubernetes.io/region"
HOSTNAME_LABEL: Final = "kubernetes.io/hostname"
K = TypeVar("K")


NO_SCHEDULE: Final = "NoSchedule"
NO_EXECUTE: Final = "NoExecute"
PREFER_NO_SCHEDULE: Final = "PreferNoSchedule"


@attrs.define(eq=False)
class NodeInfo:
    """See the module's text. Amounts are in the units of `Request`."""

    name: str
    node: Node | None = None
    position: int = -1
    """Index in the cache's node order; -1 while it is not in it."""
    labels: Mapping[str, str] = EMPTY
    unschedulable: bool = False
    hard_taints: tuple[Taint, ...] = ()
    """Those that repel: NoSchedule and NoExecute."""
    soft_taints: tuple[Taint, ...] = ()
    """Those that are only avoided: PreferNoSchedule."""
    cpu: int = 0
    memory: int = 0
    ephemeral: int = 0
    scalars: dict[str, int] = attrs.field(factory=dict)
    max_pods: int = 0
    used_cpu: int = 0
    used_memory: int = 0
    used_ephemeral: int = 0
    used_scalars: dict[str, int] = attrs.field(factory=dict)
    counted_cpu: int = 0
    """As `used_cpu`, with the default for containers that request none; for scores."""
    counted_memory: int = 0
    ports: dict[HostPort, int] = attrs.field(factory=dict)
    """Host ports in use, and by how many pods (more than one only by force)."""
    pods: dict[str, PodInfo] = attrs.field(factory=dict)
    """By uid."""
    priorities: dict[int, int] = attrs.field(factory=dict)
    """How many pods there are of each priority."""
    generation: int = 0
    """Grows with every change."""

    def __repr__(self) -> str:
        known = "" if self.node is not None else ", gone"
        return (
            f"NodeInfo({self.name}, {len(self.pods)} pods, cpu {self.used_cpu}/{self.cpu}m{known})"
        )

    @property
    def zone(self) -> str:
        """Region and zone, by which the node order alternates; empty without either label."""
        region = self.labels.get(REGION_LABEL, "")
        zone = self.labels.get(ZONE_LABEL, "")
        return f"{region}:\0:{zone}" if region or zone else ""

    def set_node(self, node: Node | None) -> None:
        """Take over what the API says of the node."""
        self.node = node
        self.generation += 1
        if node is None:
            self.labels, self.hard_taints, self.soft_taints = EMPTY, (), ()
            self.cpu = self.memory = self.ephemeral = self.max_pods = 0
            self.scalars = {}
            return
        self.labels = node.metadata.labels
        self.unschedulable = node.spec.unschedulable
        self.hard_taints = tuple(
            t for t in node.spec.taints if t.effect in (NO_SCHEDULE, NO_EXECUTE)
        )
        self.soft_taints = tuple(t for t in node.spec.taints if t.effect == PREFER_NO_SCHEDULE)
        offered = request_of(node.status.allocatable)
        self.cpu, self.memory, self.ephemeral = offered.cpu, offered.memory, offered.ephemeral
        self.scalars = dict(offered.scalars)
        pods = node.status.allocatable.get("pods")
        self.max_pods = pods.value if pods is not None else 0

    def add_pod(self, pod: PodInfo) -> None:
        """Count `pod` in."""
        self.pods[pod.uid] = pod
        self._count(pod, 1)

    def remove_pod(self, pod: PodInfo) -> None:
        """Count `pod` out. Raises KeyError when it is not here."""
        del self.pods[pod.uid]
        self._count(pod, -1)

    def _count(self, pod: PodInfo, sign: int) -> None:
        self.generation += 1
        shape = pod.shape
        request = shape.request
        self.used_cpu += sign * request.cpu
        self.used_memory += sign * request.memory
        self.used_ephemeral += sign * request.ephemeral
        self.counted_cpu += sign * shape.counted_cpu
        self.counted_memory += sign * shape.counted_memory
        for name, amount in request.scalars:
            change(self.used_scalars, name, sign * amount)
        for port in shape.ports:
            change(self.ports, port, sign)
        change(self.priorities, pod.priority, sign)

    def check(self) -> None:
        """Assert that the sums equal a recount of the pods."""
        recount = NodeInfo(self.name)
        for pod in self.pods.values():
            recount.add_pod(pod)
        for field in (
            "used_cpu",
            "used_memory",
            "used_ephemeral",
            "used_scalars",
            "counted_cpu",
            "counted_memory",
            "ports",
            "priorities",
        ):
            kept, counted = getattr(self, field), getattr(recount, field)
            assert kept == counted, f"{self.name}.{field}: kept {kept}, counted {counted}"


def change(counts: dict[K, int], key: K, by: int) -> None:
    """Add to a count; one that becomes 0 is dropped."""
    total = counts.get(key, 0) + by
    if total:
        counts[key] = total
    else:
        counts.pop(key, None)


def tolerates(tolerations: tuple[TolerationKey, ...], taint: Taint) -> bool:
    """Whether one of the tolerations covers the taint (component-helpers, ToleratesTaint)."""
    for key, operator, value, effect in tolerations:
        if effect and effect != taint.effect:
            continue
        if key and key != taint.key:
            continue
        if operator == "Exists" or (key and operator == "Equal" and value == taint.value):
            return True
    return False


def first_untolerated(
    tolerations: tuple[TolerationKey, ...], taints: tuple[Taint, ...]
) -> Taint | None:
    """The first of the taints that no toleration covers."""
    for taint in taints:
        if not tolerates(tolerations, taint):
            return taint
    return None


def matches_node_affinity(shape: Shape, node: NodeInfo) -> bool:
    """Whether node selector and required node affinity admit the node."""
    labels = node.labels
    for key, value in shape.node_selector:
        if labels.get(key) != value:
            return False
    terms = shape.required_terms
    return terms is None or any(term and matches_node_term(term, node) for term in terms)


def matches_node_term(term: NodeTerm, node: NodeInfo) -> bool:
    """Whether all requirements of the term hold; an empty one holds."""
    return all(_holds(requirement, node) for requirement in term)


def _holds(requirement: Requirement, node: NodeInfo) -> bool:
    value = node.name if requirement.field else node.labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return _compares(value, requirement)
    return False


def _compares(value: str | None, requirement: Requirement) -> bool:
    if value is None or len(requirement.values) != 1:
        return False
    try:
        number, bound = int(value), int(requirement.values[0])
    except ValueError:
        return False
    return number > bound if requirement.operator == "Gt" else number < bound
