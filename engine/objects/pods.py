"""What the reconcilers and kubelets ask about pods, answered as Kubernetes does.

Sources: `k8s.io/kubernetes/pkg/api/v1/pod`, `pkg/controller/controller_utils.go`, `k8s.io/component-helpers/resource` and
`pkg/apis/core/v1/helper/qos`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, Literal

from engine.objects.base import Time
from engine.objects.core import Taint
from engine.objects.meta import Condition
from engine.objects.pod import Container, Pod, PodSpec, Toleration
from engine.objects.quantity import NO_RESOURCES, ZERO, Quantity

QosClass = Literal["Guaranteed", "Burstable", "BestEffort"]

_QOS_RESOURCES: Final = ("cpu", "memory")
_TERMINAL: Final = ("Succeeded", "Failed")
_MICROSECONDS: Final = 1_000_000


def is_terminal(pod: Pod) -> bool:
    """Whether all its containers have ended for good: Succeeded or Failed."""
    return pod.status.phase in _TERMINAL


def is_active(pod: Pod) -> bool:
    """Whether it counts as a replica: neither terminal nor being deleted."""
    return pod.status.phase not in _TERMINAL and pod.metadata.deletion_timestamp is None


def ready_condition(pod: Pod) -> Condition | None:
    """Its condition Ready."""
    return pod.status.ready_condition


def is_ready(pod: Pod) -> bool:
    """Whether its condition Ready is True."""
    ready = pod.status.ready_condition
    return ready is not None and ready.status == "True"


def is_available(pod: Pod, min_ready_seconds: int, now: Time) -> bool:
    """Whether it has been ready for `min_ready_seconds`."""
    ready = ready_condition(pod)
    if ready is None or ready.status != "True":
        return False
    if min_ready_seconds == 0:
        return True
    since = ready.last_transition_time
    return since is not None and since + min_ready_seconds * _MICROSECONDS <= now


def is_sidecar(container: Container) -> bool:
    """Whether an init container keeps running beside the others (restartPolicy Always)."""
    return container.restart_policy == "Always"


def pod_requests(pod: Pod) -> Mapping[str, Quantity]:
    """What the scheduler must find room for.

    The containers and sidecars run together; each other init container runs alone, beside the sidecars started before it. The larger of
    the two counts, and the overhead comes on top (`PodRequests` of component-helpers).
    """
    running = _sum(_requests(container) for container in pod.spec.containers)
    sidecars: Mapping[str, Quantity] = NO_RESOURCES
    starting: Mapping[str, Quantity] = NO_RESOURCES
    for container in pod.spec.init_containers:
        requests = _sum((sidecars, _requests(container)))
        if is_sidecar(container):
            sidecars = requests
        starting = _maximum(starting, requests)
    total = _maximum(_sum((running, sidecars)), starting)
    if pod.spec.overhead:
        total = _sum((total, pod.spec.overhead))
    return MappingProxyType(dict(total))


def _requests(container: Container) -> Mapping[str, Quantity]:
    return NO_RESOURCES if container.resources is None else container.resources.requests


def _sum(parts: Iterable[Mapping[str, Quantity]]) -> Mapping[str, Quantity]:
    total: dict[str, Quantity] = {}
    for part in parts:
        for name, quantity in part.items():
            total[name] = total[name] + quantity if name in total else quantity
    return total


def _maximum(a: Mapping[str, Quantity], b: Mapping[str, Quantity]) -> Mapping[str, Quantity]:
    larger = dict(a)
    for name, quantity in b.items():
        if quantity > larger.get(name, ZERO):
            larger[name] = quantity
    return larger


def qos_class(spec: PodSpec) -> QosClass:
    """The class by which the kubelet ranks a pod for eviction (kubernetes/pkg/apis/core/v1/helper/qos).

    Guaranteed: every container limits cpu and memory and requests as much. BestEffort: none asks for either.
    """
    requests: dict[str, Quantity] = {}
    limits: dict[str, Quantity] = {}
    guaranteed = True
    for container in (*spec.containers, *spec.init_containers):
        resources = container.resources
        limited = 0
        if resources is not None:
            _add_compute(requests, resources.requests)
            limited = _add_compute(limits, resources.limits)
        guaranteed = guaranteed and limited == len(_QOS_RESOURCES)
    if not requests and not limits:
        return "BestEffort"
    # A limit without a request counts as the request: defaulting has filled it in.
    if guaranteed and all(requests.get(name, limits[name]) == limits[name] for name in limits):
        return "Guaranteed"
    return "Burstable"


def _add_compute(total: dict[str, Quantity], part: Mapping[str, Quantity]) -> int:
    """Add the cpu and memory of a container that are above zero; return how many there were."""
    found = 0
    for name in _QOS_RESOURCES:
        quantity = part.get(name, ZERO)
        if quantity > ZERO:
            total[name] = total.get(name, ZERO) + quantity
            found += 1
    return found


def tolerates_taint(toleration: Toleration, taint: Taint) -> bool:
    """Whether one toleration covers the taint (`Toleration.ToleratesTaint`).

    An empty effect covers all effects, an empty key (with Exists) all keys.
    """
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator in {"", "Equal"}:
        return toleration.value == taint.value
    return toleration.operator == "Exists"


def tolerates(tolerations: Iterable[Toleration], taint: Taint) -> bool:
    """Whether any of the tolerations covers the taint."""
    return any(tolerates_taint(toleration, taint) for toleration in tolerations)


def untolerated_taint(
    taints: Iterable[Taint], tolerations: tuple[Toleration, ...], effects: Iterable[str]
) -> Taint | None:
    """The first taint with one of the effects that no toleration covers, or None."""
    wanted = tuple(effects)
    for taint in taints:
        if taint.effect in wanted and not tolerates(tolerations, taint):
            return taint
    return None
