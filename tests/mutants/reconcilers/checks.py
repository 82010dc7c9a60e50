"""What the user of `experiments/workloads.yaml` checks."""

from __future__ import annotations

from engine import ServiceAccount
from wavetank import ConfigMap, Deployment, KubeObject, Namespace, ReplicaSet, View

LOST = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
"""Taints of nodes that are not heard of. Those of pressure stay for five minutes."""


def nodes_are_clean(view: View) -> str | None:
    """Every node is heard of, and has a range of addresses of its own."""
    ranges: dict[str, str] = {}
    for node in view.nodes():
        name, spec = node.object.metadata.name, node.object.spec
        taints = [taint.key for taint in spec.taints if taint.key in LOST]
        if taints:
            return f"node {name} is tainted: {', '.join(taints)}"
        other = ranges.setdefault(spec.pod_cidr, name)
        if other != name or not spec.pod_cidr:
            return f"nodes {other} and {name} share the range {spec.pod_cidr!r}"
    return None


def nothing_is_left(view: View) -> str | None:
    """No ReplicaSet and no pod has an owner that is gone, and nothing lies in a namespace that is gone."""
    owners = {each.object.metadata.uid: None for each in view.deployments()}
    sets = view.list(ReplicaSet)
    for replica_set in sets:
        owner = replica_set.metadata.controller
        if owner is not None and owner.uid not in owners:
            return f"ReplicaSet {replica_set.metadata.name} outlives its Deployment"
    owners |= {each.metadata.uid: None for each in sets}
    for pod in view.pods():
        owner = pod.metadata.controller
        if owner is not None and owner.uid not in owners:
            return f"pod {pod.metadata.name} outlives its owner"
    namespaces = {each.metadata.name: None for each in view.list(Namespace)}
    objects: list[KubeObject] = [*view.list(Deployment), *sets, *view.pods()]
    for obj in [*objects, *view.list(ConfigMap)]:
        if obj.metadata.namespace not in namespaces:
            return f"{obj.kind} {obj.metadata.name} lies in no namespace"
    accounts = {each.metadata.namespace: None for each in view.list(ServiceAccount)}
    for name in namespaces:
        if name not in accounts:
            return f"namespace {name} has no account"
    return None
