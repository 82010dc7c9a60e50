"""A pod as the scheduler sees it: its requests, and what it demands of nodes, computed once.

`Shape` gathers all of a pod that node-local plugins look at. Pods of one workload have equal shapes, and whatever is
found out about a shape and a node holds for each of them: that is what makes ten thousand like pods cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

import attrs

from engine import (
    Container,
    LabelSelectorRequirement,
    NodeSelectorTerm,
    Pod,
    PodSpec,
    Quantity,
    Toleration,
)
from reconcilers.scheduler.terms import AffinityTerms, affinity_terms

DEFAULT_CPU_MILLI: Final = 100
"""What a container without a cpu request counts for in scores (util/pod_resources.go DefaultMilliCPURequest)."""
DEFAULT_MEMORY: Final = 200 * 1024 * 1024
"""And without a memory request, bytes (DefaultMemoryRequest)."""

MEASURED: Final = ("cpu", "memory", "ephemeral-storage")


ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - compared, never bound


class Request(NamedTuple):
    """Resources of a pod: cpu in thousandths, memory and ephemeral storage in bytes, others as whole units by name."""

    cpu: int = 0
    memory: int = 0
    ephemeral: int = 0
    scalars: tuple[tuple[str, int], ...] = ()


class HostPort(NamedTuple):
    """A port taken on the node itself; address `0.0.0.0` stands for all."""

    address: str
    protocol: str
    port: int


class Requirement(NamedTuple):
    """One requirement of a node selector term; `field` marks one on `metadata.name`."""

    key: str
    operator: str
    values: tuple[str, ...]
    field: bool


NodeTerm = tuple[Requirement, ...]
"""All must hold; an empty term matches nothing where it is required."""


class TolerationKey(NamedTuple):
    """A toleration without its seconds, which matter to eviction only."""

    key: str
    operator: str
    value: str
    effect: str


class Shape(NamedTuple):
    """All that decides, with the node, on a node-local plugin's verdict and score."""

    request: Request
    counted_cpu: int
    counted_memory: int
    ports: tuple[HostPort, ...]
    node_name: str
    tolerations: tuple[TolerationKey, ...]
    node_selector: tuple[tuple[str, str], ...]
    required_terms: tuple[NodeTerm, ...] | None
    preferred_terms: tuple[tuple[int, NodeTerm], ...]


@attrs.define(eq=False)
class PodInfo:
    """A pod with what the scheduler derives from it. The derived parts never change; a changed pod has a new info."""

    pod: Pod
    uid: str
    namespace: str
    name: str
    priority: int
    shape: Shape
    terms: AffinityTerms
    label_items: tuple[tuple[str, str], ...]
    terminating: bool

    @property
    def key(self) -> str:
        """`namespace/name`, as messages name it."""
        return f"{self.namespace}/{self.name}"

    def absorb(self, pod: Pod) -> bool:
        """Take over a newer state of the pod if nothing derived changes with it; False if a new info is needed.

        Parts that did not change are the same objects, as the API server shares them: most updates cost six comparisons.
        """
        old, new = self.pod.spec, pod.spec
        if (
            self.terminating == (pod.metadata.deletion_timestamp is not None)
            and old.containers == new.containers
            and self.pod.metadata.labels == pod.metadata.labels
            and old.tolerations == new.tolerations
            and old.init_containers == new.init_containers
            and old.priority == new.priority
            and old.affinity == new.affinity
            and old.node_selector == new.node_selector
            and old.topology_spread_constraints == new.topology_spread_constraints
            and old.overhead == new.overhead
            and old.scheduling_gates == new.scheduling_gates
        ):
            self.pod = pod
            return True
        return False

    def __repr__(self) -> str:
        return f"PodInfo({self.key}, priority {self.priority})"


def pod_info(pod: Pod) -> PodInfo:
    """Derive the info of a pod."""
    metadata, spec = pod.metadata, pod.spec
    return PodInfo(
        pod=pod,
        uid=metadata.uid,
        namespace=metadata.namespace,
        name=metadata.name,
        priority=spec.priority or 0,
        shape=shape_of(spec),
        terms=affinity_terms(pod),
        label_items=_one_for_all_labels(tuple(metadata.labels.items())),
        terminating=metadata.deletion_timestamp is not None,
    )


def shape_of(spec: PodSpec) -> Shape:
    """The shape of a pod's spec."""
    request = counted = _total(spec, 0, 0)
    if not all(map(_names_both, (*spec.containers, *spec.init_containers))):
        counted = _total(spec, DEFAULT_CPU_MILLI, DEFAULT_MEMORY)
    affinity = spec.affinity.node_affinity if spec.affinity is not None else None
    required = None
    preferred: tuple[tuple[int, NodeTerm], ...] = ()
    if affinity is not None:
        selector = affinity.required_during_scheduling_ignored_during_execution
        if selector is not None:
            required = tuple(_node_term(term) for term in selector.node_selector_terms)
        preferred = tuple(
            (term.weight, _node_term(term.preference))
            for term in affinity.preferred_during_scheduling_ignored_during_execution
        )
    shape = Shape(
        request=request,
        counted_cpu=counted.cpu,
        counted_memory=counted.memory,
        ports=_host_ports(spec),
        node_name=spec.node_name,
        tolerations=tuple(_toleration_key(t) for t in spec.tolerations),
        node_selector=tuple(spec.node_selector.items()),
        required_terms=required,
        preferred_terms=preferred,
    )
    return _one_for_all_shapes(shape)


@lru_cache(maxsize=4096)
def _one_for_all_shapes(shape: Shape) -> Shape:
    """The first one of those that are equal: pods of a workload share it, and compare it at a glance."""
    return shape


@lru_cache(maxsize=4096)
def _one_for_all_labels(items: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Likewise."""
    return items


def _names_both(container: Container) -> bool:
    requests = container.resources.requests if container.resources is not None else {}
    return "cpu" in requests and "memory" in requests


def request_of(
    resources: Mapping[str, Quantity], cpu_default: int = 0, memory_default: int = 0
) -> Request:
    """A resource list as numbers; a resource not named counts as its default."""
    cpu, memory, ephemeral = cpu_default, memory_default, 0
    scalars: list[tuple[str, int]] = []
    for name, quantity in resources.items():
        if name == "cpu":
            cpu = quantity.milli
        elif name == "memory":
            memory = quantity.value
        elif name == "ephemeral-storage":
            ephemeral = quantity.value
        elif name != "pods":
            scalars.append((name, quantity.value))
    return Request(cpu, memory, ephemeral, tuple(scalars))


def _total(spec: PodSpec, cpu_default: int, memory_default: int) -> Request:
    """The overhead + max(app + sidecars, each init container + sidecars started before it)."""

    def of(container: Container) -> Request:
        resources = container.resources
        named = resources.requests if resources is not None else {}
        return request_of(named, cpu_default, memory_default)

    total = Request()
    for container in spec.containers:
        total = _add(total, of(container))
    if spec.init_containers:
        sidecars, peak = Request(), Request()
        for container in spec.init_containers:
            if container.restart_policy == "Always":
                sidecars = _add(sidecars, of(container))
                peak = _larger(peak, sidecars)
            else:
                peak = _larger(peak, _add(sidecars, of(container)))
        total = _larger(_add(total, sidecars), peak)
    if spec.overhead:
        total = _add(total, request_of(spec.overhead))
    return total


def _add(a: Request, b: Request) -> Request:
    scalars = a.scalars
    if b.scalars:
        sums = dict(scalars)
        for name, amount in b.scalars:
            sums[name] = sums.get(name, 0) + amount
        scalars = tuple(sums.items())
    return Request(a.cpu + b.cpu, a.memory + b.memory, a.ephemeral + b.ephemeral, scalars)


def _larger(a: Request, b: Request) -> Request:
    scalars = dict(a.scalars)
    for name, amount in b.scalars:
        scalars[name] = max(scalars.get(name, 0), amount)
    return Request(
        max(a.cpu, b.cpu),
        max(a.memory, b.memory),
        max(a.ephemeral, b.ephemeral),
        tuple(scalars.items()),
    )


def _host_ports(spec: PodSpec) -> tuple[HostPort, ...]:
    ports: list[HostPort] = []
    for container in spec.containers:
        for port in container.ports:
            taken = port.host_port or (port.container_port if spec.host_network else 0)
            if taken:
                ports.append(HostPort(port.host_ip or ANY_ADDRESS, port.protocol or "TCP", taken))
    return tuple(ports)


def _toleration_key(toleration: Toleration) -> TolerationKey:
    return TolerationKey(
        toleration.key, toleration.operator or "Equal", toleration.value, toleration.effect
    )


def _node_term(term: NodeSelectorTerm) -> NodeTerm:
    def read(requirements: tuple[LabelSelectorRequirement, ...], field: bool) -> NodeTerm:
        return tuple(Requirement(r.key, r.operator, r.values, field) for r in requirements)

    return read(term.match_expressions, False) + read(term.match_fields, True)
