"""Node pressure: the kubelet's eviction manager, as far as a cluster sees it (6.9.5 to 6.9.7).

How much of anything is used is not simulated: a shortage is there while a fault says so. While it is, the manager looks every 10 s and evicts one pod a
time, as many as the fault allows; the node's condition says so at once and for 5 minutes after, and pods are refused accordingly.

`PressureWatch` decides and waits for nothing: `look` is given the pods and the time, and says whom to evict and when to look again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from engine import Pod, Quantity, Toleration, qos_class
from sim_nodes.admission import Rejection, pod_requests
from sim_nodes.disturbances import Disturbances, PressureKind
from sim_nodes.texts import EVICTED, pressure_condition
from sim_nodes.units import NEVER, NS

_LOOK_NS: Final = 10 * NS
"""monitoringInterval of the eviction manager."""
_TRANSITION_NS: Final = 300 * NS
"""evictionPressureTransitionPeriod: how long a condition stays after the shortage was last seen."""
_CRITICAL_PRIORITY: Final = 2_000_000_000
"""SystemCriticalPriority: such pods are neither evicted nor refused."""
_MIRROR: Final = "kubernetes.io/config.mirror"
_ZERO: Final = Quantity(0)

RESOURCES: Final[Mapping[PressureKind, str]] = {
    PressureKind.MEMORY: "memory",
    PressureKind.DISK: "ephemeral-storage",
    PressureKind.PID: "pids",
}
"""What the messages call that which is short."""
TAINTS: Final[Mapping[PressureKind, str]] = {
    PressureKind.MEMORY: "node.kubernetes.io/memory-pressure",
    PressureKind.DISK: "node.kubernetes.io/disk-pressure",
    PressureKind.PID: "node.kubernetes.io/pid-pressure",
}


@attrs.frozen
class Eviction:
    """One pod to evict, by its uid, and what is short."""

    uid: str
    kind: PressureKind


@attrs.define(eq=False)
class PressureWatch:
    """What one kubelet incarnation has seen of shortages. One that is started again has seen none."""

    disturbances: Disturbances
    _seen_ns: dict[PressureKind, int] = attrs.field(factory=dict, init=False)
    _evicts_at: int = attrs.field(default=0, init=False)

    def __bool__(self) -> bool:
        """Whether there is anything to look at."""
        return bool(self._seen_ns or self.disturbances.pressure)

    def under(self, kind: PressureKind) -> bool:
        """Whether the node has that condition."""
        return kind in self._seen_ns

    def look(self, pods: Iterable[Pod], now: int) -> tuple[Eviction | None, int]:
        """Take up what is short now; returns the pod to evict, and when to look again."""
        pressing = dict.fromkeys(effect.value.kind for effect in self.disturbances.pressure)
        for kind in pressing:
            self._seen_ns[kind] = now
        over = [k for k, seen in self._seen_ns.items() if seen + _TRANSITION_NS <= now]
        for kind in over:
            del self._seen_ns[kind]
        if not pressing:
            return None, min(
                (seen + _TRANSITION_NS for seen in self._seen_ns.values()), default=NEVER
            )
        if now < self._evicts_at:
            return None, self._evicts_at
        self._evicts_at = now + _LOOK_NS
        return self._victim(pods), self._evicts_at

    def _victim(self, pods: Iterable[Pod]) -> Eviction | None:
        """One pod because of what is shortest, memory first."""
        for kind in PressureKind:
            for effect in self.disturbances.pressure:
                if effect.value.kind is kind and effect.value.evictions > 0:
                    ranked = sorted((pod for pod in pods if not critical(pod)), key=_rank)
                    if ranked:
                        effect.value.evictions -= 1
                        return Eviction(ranked[0].metadata.uid, kind)
        return None

    def refuses(self, pod: Pod) -> Rejection | None:
        """Why the node takes no such pod now; None when it does (6.9.7)."""
        if not self._seen_ns or critical(pod):
            return None
        for kind in PressureKind:
            if not self.under(kind):
                continue
            if kind is PressureKind.MEMORY and (
                qos_class(pod.spec) != "BestEffort"
                or any(_tolerates_memory(each) for each in pod.spec.tolerations)
            ):
                continue
            return Rejection(EVICTED, pressure_condition(kind.value))
        return None


def critical(pod: Pod) -> bool:
    """Whether the node keeps and takes the pod whatever is short."""
    return (pod.spec.priority or 0) >= _CRITICAL_PRIORITY or _MIRROR in pod.metadata.annotations


def _tolerates_memory(toleration: Toleration) -> bool:
    key = TAINTS[PressureKind.MEMORY]
    return toleration.key in {"", key} and toleration.effect in {"", "NoSchedule"}


_RANKS: Final = {"BestEffort": 0, "Burstable": 1, "Guaranteed": 2}


def _rank(pod: Pod) -> tuple[int, int, int, str, str]:
    """Who goes first: of those whose use is not known, what they did not request counts as more than they may have."""
    requested = pod_requests(pod).get("memory", _ZERO).value
    return (
        _RANKS[qos_class(pod.spec)],
        pod.spec.priority or 0,
        requested,
        pod.metadata.namespace,
        pod.metadata.name,
    )
