"""Validation of the kinds around the pods: Service, ConfigMap, Secret, Node, PriorityClass, Event, Lease."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from engine.api.errors import FieldError
from engine.api.fields import duplicate, forbidden, invalid, not_supported, required, too_long
from engine.api.validation_meta import key_faults, value_faults
from engine.api.validation_placing import TAINT_EFFECTS
from engine.api.validation_pod import PROTOCOLS, port_name_errors, port_number_errors
from engine.objects.core import ConfigMap, Event, Lease, Node, PriorityClass, Secret, Service

_IMMUTABLE: Final = "field is immutable"
_CONFIG_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+", re.ASCII)
_CONFIG_KEY_MESSAGE: Final = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
    "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
MAX_DATA_BYTES: Final = 1024 * 1024
"""Of a ConfigMap or Secret (MaxSecretSize)."""
_SERVICE_TYPES: Final = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_HIGHEST_USER_PRIORITY: Final = 1_000_000_000
SYSTEM_PRIORITIES: Final[Mapping[str, int]] = {
    "system-cluster-critical": 2_000_000_000,
    "system-node-critical": 2_000_001_000,
}


# -- Service ---------------------------------------------------------------------------------------


def service_errors(service: Service) -> list[FieldError]:
    """Faults of a service."""
    spec = service.spec
    errors = []
    headless = spec.cluster_ip == "None"
    if not spec.ports and not headless and spec.type != "ExternalName":
        errors.append(required("spec.ports"))
    if spec.type not in _SERVICE_TYPES:
        errors.append(not_supported("spec.type", spec.type, _SERVICE_TYPES))
    if spec.type == "ExternalName" and not spec.external_name:
        errors.append(required("spec.externalName"))
    if spec.session_affinity not in ("ClientIP", "None"):
        affinities = ("ClientIP", "None")
        errors.append(not_supported("spec.sessionAffinity", spec.session_affinity, affinities))
    for key, value in spec.selector.items():
        errors += [invalid("spec.selector", key, fault) for fault in key_faults(key)]
        errors += [invalid("spec.selector", value, fault) for fault in value_faults(value)]
    return errors + _service_ports_errors(service)


def _service_ports_errors(service: Service) -> list[FieldError]:
    ports = service.spec.ports
    errors = []
    names: list[str] = []
    pairs: list[tuple[str, int]] = []
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        if not port.name and len(ports) > 1:
            errors.append(required(f"{path}.name"))
        elif port.name:
            if port.name in names:
                errors.append(duplicate(f"{path}.name", port.name))
            names.append(port.name)
        errors += port_number_errors(port.port, f"{path}.port")
        if port.protocol not in PROTOCOLS:
            errors.append(not_supported(f"{path}.protocol", port.protocol, PROTOCOLS))
        target = port.target_port
        if isinstance(target, int):
            errors += port_number_errors(target, f"{path}.targetPort")
        elif target is not None:
            errors += port_name_errors(target, f"{path}.targetPort")
        if port.node_port and service.spec.type in ("ClusterIP", "ExternalName"):
            detail = f"may not be used when `type` is '{service.spec.type}'"
            errors.append(forbidden(f"{path}.nodePort", detail))
        pair = (port.protocol, port.port)
        if pair in pairs:
            errors.append(duplicate(path, {"protocol": port.protocol, "port": port.port}))
        pairs.append(pair)
    return errors


def service_update_errors(new: Service, old: Service) -> list[FieldError]:
    """Faults of a change of a service."""
    errors = [] if new.spec is old.spec else service_errors(new)
    before, after = old.spec.cluster_ip, new.spec.cluster_ip
    if before and after != before and new.spec.type != "ExternalName":
        errors.append(invalid("spec.clusterIPs[0]", [after], "may not change once set"))
    return errors


# -- ConfigMap and Secret --------------------------------------------------------------------------


def _keys_errors(path: str, keys: Iterable[str]) -> list[FieldError]:
    errors = []
    for key in keys:
        place = f"{path}[{key}]"
        if len(key) > 253:
            errors.append(invalid(place, key, "must be no more than 253 characters"))
        if _CONFIG_KEY.fullmatch(key) is None:
            errors.append(invalid(place, key, _CONFIG_KEY_MESSAGE))
        elif key == ".":
            errors.append(invalid(place, key, "must not be '.'"))
        elif key.startswith(".."):
            errors.append(
                invalid(
                    place, key, "must not be '..'" if key == ".." else "must not start with '..'"
                )
            )
    return errors


def config_map_errors(config_map: ConfigMap) -> list[FieldError]:
    """Faults of a config map."""
    errors = _keys_errors("data", config_map.data)
    errors += _keys_errors("binaryData", config_map.binary_data)
    errors += [
        invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
        for key in config_map.data
        if key in config_map.binary_data
    ]
    if _size(config_map.data) + _size(config_map.binary_data) > MAX_DATA_BYTES:
        errors.append(too_long("", MAX_DATA_BYTES))
    return errors


def _size(data: Mapping[str, str]) -> int:
    return sum(len(value.encode()) for value in data.values())


_SECRET_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}
"""Keys that a secret of the type must have."""
_ACCOUNT_TOKEN: Final = "kubernetes.io/service-account-token"  # noqa: S105 -- the name of a type
_ACCOUNT_NAME: Final = "kubernetes.io/service-account.name"


def secret_errors(secret: Secret) -> list[FieldError]:
    """Faults of a secret."""
    errors = _keys_errors("data", secret.data)
    if _size(secret.data) > MAX_DATA_BYTES:
        errors.append(too_long("data", MAX_DATA_BYTES))
    errors += [
        required(f"data[{key}]")
        for key in _SECRET_KEYS.get(secret.type, ())
        if key not in secret.data
    ]
    if secret.type == "kubernetes.io/basic-auth" and not (
        "username" in secret.data or "password" in secret.data
    ):
        errors += [required("data[username]"), required("data[password]")]
    if secret.type == _ACCOUNT_TOKEN and not secret.metadata.annotations.get(_ACCOUNT_NAME):
        errors.append(required(f"metadata.annotations[{_ACCOUNT_NAME}]"))
    return errors


def _frozen_data_errors(
    new: ConfigMap | Secret, old: ConfigMap | Secret, *, same: bool
) -> list[FieldError]:
    """What `immutable: true` forbids."""
    if not old.immutable:
        return []
    detail = "field is immutable when `immutable` is set"
    errors = [] if new.immutable else [forbidden("immutable", detail)]
    return errors if same else [*errors, forbidden("data", detail)]


def config_map_update_errors(new: ConfigMap, old: ConfigMap) -> list[FieldError]:
    """Faults of a change of a config map."""
    same = new.data == old.data and new.binary_data == old.binary_data
    return config_map_errors(new) + _frozen_data_errors(new, old, same=same)


def secret_update_errors(new: Secret, old: Secret) -> list[FieldError]:
    """Faults of a change of a secret."""
    errors = secret_errors(new) + _frozen_data_errors(new, old, same=new.data == old.data)
    if new.type != old.type:
        errors.append(invalid("type", new.type, _IMMUTABLE))
    return errors


# -- Node ------------------------------------------------------------------------------------------


def node_errors(node: Node) -> list[FieldError]:
    """Faults of a node's spec."""
    errors = []
    seen: list[tuple[str, str]] = []
    for index, taint in enumerate(node.spec.taints):
        path = f"spec.taints[{index}]"
        errors += [invalid(f"{path}.key", taint.key, fault) for fault in key_faults(taint.key)]
        errors += [
            invalid(f"{path}.value", taint.value, fault) for fault in value_faults(taint.value)
        ]
        if not taint.effect:
            errors.append(required(f"{path}.effect"))
        elif taint.effect not in TAINT_EFFECTS:
            errors.append(not_supported(f"{path}.effect", taint.effect, TAINT_EFFECTS))
        pair = (taint.key, taint.effect)
        if pair in seen:
            errors.append(duplicate(path, {"key": taint.key, "effect": taint.effect}))
        seen.append(pair)
    return errors


def node_update_errors(new: Node, old: Node) -> list[FieldError]:
    """Faults of a change of a node."""
    if new.spec is old.spec:
        return []
    errors = node_errors(new)
    if old.spec.pod_cidrs and new.spec.pod_cidrs != old.spec.pod_cidrs:
        detail = 'node updates may not change podCIDR except from "" to valid'
        errors.append(forbidden("spec.podCIDRs", detail))
    if old.spec.provider_id and new.spec.provider_id != old.spec.provider_id:
        detail = 'node updates may not change providerID except from "" to valid'
        errors.append(forbidden("spec.providerID", detail))
    return errors


# -- PriorityClass, Event, Lease -------------------------------------------------------------------


def priority_class_errors(one: PriorityClass) -> list[FieldError]:
    """Faults of a priority class."""
    name = one.metadata.name
    errors = []
    known = SYSTEM_PRIORITIES.get(name)
    if name.startswith("system-") and one.value != known:
        why = (
            f"{name} is not a known system priority class"
            if known is None
            else f"value of {name} PriorityClass must be {known}"
        )
        detail = f"priority class names with 'system-' prefix are reserved for system use only. error: {why}"
        errors.append(forbidden("metadata.name", detail))
    elif known is None and one.value > _HIGHEST_USER_PRIORITY:
        detail = f"maximum allowed value of a user defined priority is {_HIGHEST_USER_PRIORITY}"
        errors.append(forbidden("value", detail))
    policies = ("Never", "PreemptLowerPriority")
    if one.preemption_policy not in policies:
        errors.append(not_supported("preemptionPolicy", one.preemption_policy or "", policies))
    return errors


def priority_class_update_errors(new: PriorityClass, old: PriorityClass) -> list[FieldError]:
    """Faults of a change of a priority class."""
    errors = []
    if new.value != old.value:
        errors.append(forbidden("value", "may not be changed in an update."))
    if new.preemption_policy != old.preemption_policy:
        errors.append(forbidden("preemptionPolicy", "may not be changed in an update."))
    return errors


def event_errors(event: Event) -> list[FieldError]:
    """Faults of an Event: it lives in the namespace of what it is about, or in `default`."""
    about, own = event.involved_object.namespace, event.metadata.namespace
    if about == own or (not about and own == "default"):
        return []
    return [invalid("involvedObject.namespace", about, "does not match event.namespace")]


def lease_errors(lease: Lease) -> list[FieldError]:
    """Faults of a lease."""
    spec = lease.spec
    errors = []
    if spec.lease_duration_seconds is not None and spec.lease_duration_seconds <= 0:
        seconds = spec.lease_duration_seconds
        errors.append(invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    if spec.lease_transitions is not None and spec.lease_transitions < 0:
        transitions = spec.lease_transitions
        errors.append(
            invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0")
        )
    return errors
