"""Whether a node takes a pod that was bound to it: the checks a kubelet makes again, and its reasons for refusing (6.1.3, 6.1.4).

The scheduler's answer may be stale, or absent when somebody set spec.nodeName by hand. Rules: pkg/kubelet/lifecycle/predicate.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from engine import (
    Node,
    NodeSelectorTerm,
    Pod,
    Quantity,
    Taint,
    Toleration,
    node_selector_of,
)
from sim_nodes.pod_status import is_sidecar

_ZERO: Final = Quantity(0)
_ALL_ADDRESSES: Final = "0.0.0.0"  # noqa: S104 - the API's word for all of them; nothing is bound


@attrs.frozen
class Rejection:
    """Why a pod is refused: `reason` as `OutOfcpu`, `message` as the status shows it."""

    reason: str
    message: str


_HostPort = tuple[str, str, int]


@attrs.define(eq=False)
class Ledger:
    """What the admitted pods of a node take together; adding and removing one costs what that one has, not what all have."""

    pods: dict[str, Pod] = attrs.field(factory=dict, init=False)
    _used: dict[str, Quantity] = attrs.field(factory=dict, init=False)
    _ports: dict[_HostPort, str] = attrs.field(factory=dict, init=False)

    def add(self, pod: Pod) -> None:
        """Count an admitted pod."""
        self.pods[pod.metadata.uid] = pod
        _add(self._used, pod_requests(pod))
        for port in _host_ports(pod):
            self._ports[port] = pod.metadata.uid

    def remove(self, uid: str) -> None:
        """Count it no more: it has ended. Does nothing for a pod that was not admitted."""
        pod = self.pods.pop(uid, None)
        if pod is None:
            return
        for name, amount in pod_requests(pod).items():
            self._used[name] -= amount
        for port in _host_ports(pod):
            if self._ports.get(port) == uid:
                del self._ports[port]

    def used(self, resource: str) -> Quantity:
        return self._used.get(resource, _ZERO)

    def holds(self, wanted: _HostPort) -> bool:
        """Whether a pod has that host port, on that address or on all."""
        address, protocol, number = wanted
        for other, other_protocol, other_number in self._ports:
            if (protocol, number) == (other_protocol, other_number) and (
                address == other or _ALL_ADDRESSES in {address, other}
            ):
                return True
        return False

    def check(self) -> None:
        """Assert that the totals are the sums."""
        totals: dict[str, Quantity] = {}
        for pod in self.pods.values():
            _add(totals, pod_requests(pod))
        assert all(totals.get(name, _ZERO) == used for name, used in self._used.items())


def admit(pod: Pod, ledger: Ledger, node: Node) -> Rejection | None:
    """None when `node` takes `pod` beside the pods it has admitted and that have not ended."""
    shortage = _shortage(pod, ledger, node)
    if shortage is not None:
        return shortage
    failed = _failed_predicate(pod, ledger, node)
    if failed is not None:
        return Rejection(failed, f"Predicate {failed} failed")
    return _untolerated(pod, node)


# -- resources -----------------------------------------------------------------------------------


def pod_requests(pod: Pod) -> dict[str, Quantity]:
    """What the pod takes of its node: the sum over its containers and sidecars, or the largest init container with the
    sidecars before it if that is more, and the overhead.
    """
    spec = pod.spec
    total: dict[str, Quantity] = {}
    for container in spec.containers:
        _add(total, _requests(container.resources.requests if container.resources else None))
    peak: dict[str, Quantity] = {}
    sidecars: dict[str, Quantity] = {}
    for container in spec.init_containers:
        own = dict(_requests(container.resources.requests if container.resources else None))
        if is_sidecar(container):
            _add(total, own)
            _add(sidecars, own)
        else:
            _add(own, sidecars)
            for name, amount in own.items():
                peak[name] = max(peak.get(name, _ZERO), amount)
    for name, amount in peak.items():
        total[name] = max(total.get(name, _ZERO), amount)
    _add(total, spec.overhead)
    return total


def _requests(requests: Mapping[str, Quantity] | None) -> Mapping[str, Quantity]:
    return requests if requests is not None else {}


def _add(total: dict[str, Quantity], amounts: Mapping[str, Quantity]) -> None:
    for name, amount in amounts.items():
        total[name] = total[name] + amount if name in total else amount


def _shortage(pod: Pod, ledger: Ledger, node: Node) -> Rejection | None:
    allocatable = node.status.allocatable
    pods = allocatable.get("pods")
    if pods is not None and len(ledger.pods) + 1 > pods.value:
        return _out_of("pods", 1, len(ledger.pods), pods.value)
    for name, amount in pod_requests(pod).items():
        if not amount:
            continue
        capacity, taken = allocatable.get(name, _ZERO), ledger.used(name)
        if taken + amount > capacity:
            if name == "cpu":
                return _out_of(name, amount.milli, taken.milli, capacity.milli)
            return _out_of(name, amount.value, taken.value, capacity.value)
    return None


def _out_of(resource: str, requested: int, used: int, capacity: int) -> Rejection:
    message = (
        f"Node didn't have enough resource: {resource}, "
        f"requested: {requested}, used: {used}, capacity: {capacity}"
    )
    return Rejection(f"OutOf{resource}", message)


# -- node name, labels, ports --------------------------------------------------------------------


def _failed_predicate(pod: Pod, ledger: Ledger, node: Node) -> str | None:
    spec = pod.spec
    if spec.node_name and spec.node_name != node.metadata.name:
        return "NodeName"
    if not matches_node(pod, node):
        return "NodeAffinity"
    if any(ledger.holds(port) for port in _host_ports(pod)):
        return "NodePorts"
    return None


def _host_ports(pod: Pod) -> list[_HostPort]:
    return [
        (port.host_ip or _ALL_ADDRESSES, port.protocol or "TCP", port.host_port)
        for container in pod.spec.containers
        for port in container.ports
        if port.host_port
    ]


def matches_node(pod: Pod, node: Node) -> bool:
    """Whether the node has the labels that nodeSelector and the required node affinity ask for."""
    labels = node.metadata.labels
    spec = pod.spec
    if any(labels.get(key) != value for key, value in spec.node_selector.items()):
        return False
    affinity = spec.affinity.node_affinity if spec.affinity is not None else None
    required = (
        affinity.required_during_scheduling_ignored_during_execution
        if affinity is not None
        else None
    )
    if required is None:
        return True
    return any(_term_matches(term, node) for term in required.node_selector_terms)


def _term_matches(term: NodeSelectorTerm, node: Node) -> bool:
    if not term.match_expressions and not term.match_fields:
        return False
    fields = {"metadata.name": node.metadata.name}
    return node_selector_of(term.match_expressions).matches(
        node.metadata.labels
    ) and node_selector_of(term.match_fields).matches(fields)


# -- taints --------------------------------------------------------------------------------------


def _untolerated(pod: Pod, node: Node) -> Rejection | None:
    """A kubelet minds NoExecute taints only."""
    for taint in node.spec.taints:
        if taint.effect == "NoExecute" and not any(
            tolerates(each, taint) for each in pod.spec.tolerations
        ):
            return Rejection("TaintToleration", "Predicate TaintToleration failed")
    return None


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether the toleration matches the taint (2.5.5)."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.value == taint.value
