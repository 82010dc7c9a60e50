"""What the tests of faults share: a settled cluster with one workload, and questions to its log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import wavetank
from engine import ContainerStatus, Event, Node, Pod, condition_of
from sim_nodes import SimulatedNode
from wavetank import Cluster, ImageBehaviour, View

T = TypeVar("T")

NODES: Final = tuple(
    SimulatedNode(name=f"node-{number}", zone=f"zone-{'ab'[number % 2]}") for number in range(3)
)

WEB: Final = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
        - name: main
          image: registry.example/web:1
          {probes}
"""
PROBES: Final = "livenessProbe: {httpGet: {port: 80}, periodSeconds: 5}\n          readinessProbe: {httpGet: {port: 80}, periodSeconds: 2}"


def play(
    body: Callable[[Cluster], Awaitable[T]],
    *,
    replicas: int = 3,
    probes: str = PROBES,
    images: Sequence[ImageBehaviour] = (),
    seed: int = 1,
) -> T:
    """Run `body` on three nodes with a Deployment `web`, all settled."""

    async def main(cluster: Cluster) -> T:
        await cluster.apply(WEB.format(replicas=replicas, probes=probes))
        await cluster.settled()
        return await body(cluster)

    result = wavetank.run(main, nodes=NODES, seed=seed, images=images, invariants=())
    return result.value  # type: ignore[return-value]  # main returns what the body does


def first(cluster: Cluster) -> Pod:
    """The pod that `Deployment/default/web#0` names."""
    return cluster.chaos.world.pod("Deployment/default/web#0")


def status(cluster: Cluster, pod: Pod) -> ContainerStatus:
    """What the API shows of its container now."""
    return shown(cluster, pod).status.container_statuses[0]


def shown(cluster: Cluster, pod: Pod) -> Pod:
    return cluster.view.the(Pod, pod.metadata.name, pod.metadata.namespace)


def condition(cluster: Cluster, node: str, type_: str) -> str:
    found = condition_of(cluster.view.the(Node, node, "").status.conditions, type_)
    return "" if found is None else found.status


def taints(cluster: Cluster, node: str) -> list[str]:
    """As KEY:EFFECT, without the part of the key that all have."""
    return [
        f"{taint.key.rpartition('/')[2]}:{taint.effect}"
        for taint in cluster.view.the(Node, node, "").spec.taints
    ]


def reasons(cluster: Cluster, name: str) -> list[str]:
    """The reasons of the Events about an object, in the order of their creation."""
    events = [each for each in cluster.view.list(Event) if each.involved_object.name == name]
    return [e.reason for e in sorted(events, key=lambda e: int(e.metadata.resource_version))]


def ready(pod: Pod) -> bool:
    found = condition_of(pod.status.conditions, "Ready")
    return found is not None and found.status == "True"


def unhealthy(view: View, node: str) -> bool:
    """Whether the control plane thinks the node is silent."""
    return not view.node(node).ready
