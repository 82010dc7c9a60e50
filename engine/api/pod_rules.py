"""Defaults of pods and of what they are made of, and the QoS class (kubernetes/pkg/apis/core/v1/defaults.go).

The defaults are data: `_DEFAULTS` says for each type which unset fields get which value. What the value of one field takes from another is
code below it. A value that lacks nothing comes back as itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import attrs

from engine.objects.base import ApiType
from engine.objects.pod import (
    ConfigMapVolumeSource,
    Container,
    ContainerPort,
    GRPCAction,
    HTTPGetAction,
    PodSpec,
    Probe,
    ResourceRequirements,
    SecretVolumeSource,
    Volume,
)

V = TypeVar("V", bound=ApiType)

_DEFAULTS: Final[Mapping[type[ApiType], Mapping[str, object]]] = {
    PodSpec: {
        "restart_policy": "Always",
        "dns_policy": "ClusterFirst",
        "termination_grace_period_seconds": 30,
        "scheduler_name": "default-scheduler",
    },
    Container: {
        "termination_message_path": "/dev/termination-log",
        "termination_message_policy": "File",
        "resources": ResourceRequirements(),
    },
    ContainerPort: {"protocol": "TCP"},
    Probe: {
        "timeout_seconds": 1,
        "period_seconds": 10,
        "success_threshold": 1,
        "failure_threshold": 3,
    },
    HTTPGetAction: {"path": "/", "scheme": "HTTP"},
    GRPCAction: {"service": ""},
    ConfigMapVolumeSource: {"default_mode": 0o644},
    SecretVolumeSource: {"default_mode": 0o644},
}


_ROWS: Final[Mapping[type, tuple[tuple[str, object, object], ...]]] = {
    cls: tuple(
        (name, attrs.fields_dict(cls)[name].default, value) for name, value in defaults.items()
    )
    for cls, defaults in _DEFAULTS.items()
}
"""The same table with each field's value when it is unset: field, unset, default."""


def fill(value: V) -> V:
    """`value` with the defaults of its type for what is unset."""
    missing = {
        name: default
        for name, unset, default in _ROWS[type(value)]
        if getattr(value, name) == unset
    }
    return changed(value, missing)


def changed(value: V, changes: Mapping[str, object]) -> V:
    """`value` with other values of those fields; itself when there are none."""
    if not changes:
        return value
    return attrs.evolve(value, **changes)  # type: ignore[arg-type]  # fields of V, by name


def each(items: tuple[V, ...], change: Callable[[V], V]) -> tuple[V, ...]:
    """The items, each changed; the very tuple when no item was."""
    result = tuple([change(item) for item in items])
    return items if all(map(_is_same, result, items)) else result


def _is_same(one: object, other: object) -> bool:
    return one is other


def replace_where_changed(value: V, parts: Mapping[str, object]) -> V:
    """`value` with those parts that are not the very ones it has."""
    return changed(
        value, {name: part for name, part in parts.items() if part is not getattr(value, name)}
    )


def pull_policy(image: str) -> str:
    """Always for the tag `latest` or none (and no digest), else IfNotPresent."""
    if "@" in image:
        return "IfNotPresent"
    name = image.rpartition("/")[2]
    _, colon, tag = name.partition(":")
    return "Always" if not colon or tag == "latest" else "IfNotPresent"


def default_probe(probe: Probe | None) -> Probe | None:
    """The probe with its defaults."""
    if probe is None:
        return None
    http_get = fill(probe.http_get) if probe.http_get is not None else None
    grpc = fill(probe.grpc) if probe.grpc is not None else None
    return fill(replace_where_changed(probe, {"http_get": http_get, "grpc": grpc}))


def default_container(container: Container) -> Container:
    """A container of a pod or a template, with its defaults."""
    container = replace_where_changed(
        container,
        {
            "ports": each(container.ports, fill),
            "liveness_probe": default_probe(container.liveness_probe),
            "readiness_probe": default_probe(container.readiness_probe),
            "startup_probe": default_probe(container.startup_probe),
            "image_pull_policy": container.image_pull_policy or pull_policy(container.image),
        },
    )
    return fill(container)


def _default_volume(volume: Volume) -> Volume:
    if volume.config_map is None and volume.secret is None:
        sources = {key: value for key, value in volume.extra.items() if value is not None}
        return volume if sources else attrs.evolve(volume, extra={"emptyDir": {}})
    config_map = fill(volume.config_map) if volume.config_map is not None else None
    secret = fill(volume.secret) if volume.secret is not None else None
    return replace_where_changed(volume, {"config_map": config_map, "secret": secret})


def default_template_spec(spec: PodSpec) -> PodSpec:
    """The defaults that a pod template gets as well as a pod."""
    containers = each(spec.containers, default_container)
    if spec.host_network:
        containers = each(containers, _host_ports)
    account = spec.service_account_name or spec.service_account
    spec = replace_where_changed(
        spec,
        {
            "containers": containers,
            "init_containers": each(spec.init_containers, default_container),
            "volumes": each(spec.volumes, _default_volume),
            "service_account_name": account
            if account != spec.service_account_name
            else spec.service_account_name,
            "service_account": account if account != spec.service_account else spec.service_account,
        },
    )
    return fill(spec)


def default_pod_spec(spec: PodSpec) -> PodSpec:
    """The defaults of a pod's own spec."""
    spec = default_template_spec(spec)
    spec = replace_where_changed(
        spec,
        {
            "containers": each(spec.containers, _requests_from_limits),
            "init_containers": each(spec.init_containers, _requests_from_limits),
        },
    )
    return (
        spec
        if spec.enable_service_links is not None
        else changed(spec, {"enable_service_links": True})
    )


def _host_ports(container: Container) -> Container:
    def on_host(port: ContainerPort) -> ContainerPort:
        return port if port.host_port else attrs.evolve(port, host_port=port.container_port)

    return replace_where_changed(container, {"ports": each(container.ports, on_host)})


def _requests_from_limits(container: Container) -> Container:
    resources = container.resources
    if resources is None or not resources.limits:
        return container
    missing = {k: v for k, v in resources.limits.items() if k not in resources.requests}
    if not missing:
        return container
    return attrs.evolve(
        container,
        resources=attrs.evolve(resources, requests={**resources.requests, **missing}),
    )
