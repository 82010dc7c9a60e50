"""Defaults of every kind, applied on each write before admission and validation (reference/api.md, 8.1).

`default` returns the very object when it lacks nothing, and what it fills in keeps the identity of all else.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Final, TypeVar, cast

import attrs

from engine.api.memo import IdentityMemo
from engine.api.pod_rules import (
    default_pod_spec,
    default_template_spec,
    each,
    replace_where_changed,
)
from engine.objects.apps import (
    Deployment,
    DeploymentStrategy,
    ReplicaSet,
    ReplicationController,
    RollingUpdateDeployment,
)
from engine.objects.core import Node, PriorityClass, Secret, Service, ServicePort
from engine.objects.meta import KubeObject
from engine.objects.pod import Pod, PodSpec, PodTemplateSpec
from engine.objects.replacing import replaced

T = TypeVar("T", bound=KubeObject)

_QUARTER: Final = "25%"


@attrs.define(eq=False)
class Defaulting:
    """The defaults, with a memory of pod specs: pods made from one template share its spec, and so the work."""

    _pod_specs: IdentityMemo[PodSpec, PodSpec] = attrs.field(
        factory=lambda: IdentityMemo(default_pod_spec), init=False
    )

    def default(self, obj: T) -> T:
        """`obj` with its defaults."""
        if isinstance(obj, Pod):
            spec = self._pod_specs(obj.spec)
            return obj if spec is obj.spec else cast("T", replaced(obj, spec=spec))
        function = _DEFAULTS.get(type(obj))
        return cast("T", function(obj)) if function is not None else obj


def _default_template(template: PodTemplateSpec) -> PodTemplateSpec:
    return replace_where_changed(template, {"spec": default_template_spec(template.spec)})


def _default_deployment(deployment: Deployment) -> Deployment:
    spec = deployment.spec
    new = replace_where_changed(
        spec,
        {
            "replicas": 1 if spec.replicas is None else spec.replicas,
            "strategy": _default_strategy(spec.strategy),
            "template": _default_template(spec.template),
            "revision_history_limit": (
                10 if spec.revision_history_limit is None else spec.revision_history_limit
            ),
            "progress_deadline_seconds": (
                600 if spec.progress_deadline_seconds is None else spec.progress_deadline_seconds
            ),
        },
    )
    return replace_where_changed(deployment, {"spec": new})


def _default_strategy(strategy: DeploymentStrategy | None) -> DeploymentStrategy:
    if strategy is None:
        strategy = DeploymentStrategy()
    if not strategy.type:
        strategy = attrs.evolve(strategy, type="RollingUpdate")
    if strategy.type != "RollingUpdate":
        return strategy
    rolling = strategy.rolling_update or RollingUpdateDeployment()
    filled = replace_where_changed(
        rolling,
        {
            name: _QUARTER if getattr(rolling, name) is None else getattr(rolling, name)
            for name in ("max_unavailable", "max_surge")
        },
    )
    return replace_where_changed(strategy, {"rolling_update": filled})


def _default_replica_set(replica_set: ReplicaSet) -> ReplicaSet:
    spec = replica_set.spec
    new = replace_where_changed(
        spec,
        {
            "replicas": 1 if spec.replicas is None else spec.replicas,
            "template": _default_template(spec.template),
        },
    )
    return replace_where_changed(replica_set, {"spec": new})


def _default_replication_controller(controller: ReplicationController) -> ReplicationController:
    spec = controller.spec
    template = _default_template(spec.template) if spec.template is not None else None
    labels = template.metadata.labels if template is not None else {}
    metadata = controller.metadata
    new = replace_where_changed(
        spec,
        {
            "replicas": 1 if spec.replicas is None else spec.replicas,
            "template": template,
            "selector": spec.selector or labels or spec.selector,
        },
    )
    return replace_where_changed(
        controller,
        {
            "spec": new,
            "metadata": metadata
            if metadata.labels or not labels
            else attrs.evolve(metadata, labels=labels),
        },
    )


def _default_service_port(port: ServicePort) -> ServicePort:
    return replace_where_changed(
        port,
        {
            "protocol": port.protocol or "TCP",
            "target_port": port.port if port.target_port in (None, 0, "") else port.target_port,
        },
    )


def _default_service(service: Service) -> Service:
    spec = service.spec
    type_ = spec.type or "ClusterIP"
    parts: dict[str, object] = {
        "type": type_,
        "session_affinity": spec.session_affinity or "None",
        "ports": each(spec.ports, _default_service_port),
    }
    if type_ != "ExternalName":
        parts["internal_traffic_policy"] = spec.internal_traffic_policy or "Cluster"
        parts["ip_family_policy"] = spec.ip_family_policy or "SingleStack"
        parts["ip_families"] = spec.ip_families or ("IPv4",)
    return replace_where_changed(service, {"spec": replace_where_changed(spec, parts)})


def _default_secret(secret: Secret) -> Secret:
    parts: dict[str, object] = {"type": secret.type or "Opaque"}
    if secret.string_data:
        encoded = {
            key: base64.b64encode(text.encode()).decode()
            for key, text in secret.string_data.items()
        }
        parts["data"] = {**secret.data, **encoded}
        parts["string_data"] = {}
    return replace_where_changed(secret, parts)


def _default_node(node: Node) -> Node:
    if node.status.allocatable or not node.status.capacity:
        return node
    return attrs.evolve(node, status=attrs.evolve(node.status, allocatable=node.status.capacity))


def _default_priority_class(priority_class: PriorityClass) -> PriorityClass:
    policy = priority_class.preemption_policy or "PreemptLowerPriority"
    return replace_where_changed(priority_class, {"preemption_policy": policy})


def _of(function: Callable[[T], T]) -> Callable[[KubeObject], KubeObject]:
    return cast("Callable[[KubeObject], KubeObject]", function)


_DEFAULTS: Final[Mapping[type, Callable[[KubeObject], KubeObject]]] = {
    Deployment: _of(_default_deployment),
    ReplicaSet: _of(_default_replica_set),
    ReplicationController: _of(_default_replication_controller),
    Service: _of(_default_service),
    Secret: _of(_default_secret),
    Node: _of(_default_node),
    PriorityClass: _of(_default_priority_class),
}
"""Kinds with defaults; Pod is `Defaulting.default`'s own."""
