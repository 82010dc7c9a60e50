"""Validation of pods and pod templates (kubernetes/pkg/apis/core/v1/validation): containers and what hangs on them.

Paths are relative to the spec; callers put `spec` or `spec.template.spec` in front.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine.api.errors import FieldError
from engine.api.fields import (
    duplicate,
    forbidden,
    invalid,
    join,
    not_found,
    not_supported,
    required,
)
from engine.api.validation_meta import label_faults, non_negative, positive_seconds
from engine.api.validation_placing import placing_errors
from engine.objects.pod import (
    Container,
    ContainerPort,
    PodSpec,
    Probe,
    ResourceRequirements,
    Volume,
)
from engine.objects.quantity import Quantity

PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
_PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
_RESTART_POLICIES: Final = ("Always", "OnFailure", "Never")
_DNS_POLICIES: Final = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_MESSAGE_POLICIES: Final = ("FallbackToLogsOnError", "File")
_CONTAINER_RESOURCES: Final = ("cpu", "memory", "ephemeral-storage")
_NAME_RULE: Final = (
    "must contain only alphanumeric characters (a-z, 0-9), and hyphens (-)",
    "must contain at least one letter (a-z)",
)


def pod_spec_errors(spec: PodSpec) -> list[FieldError]:
    """Faults of a spec that pods and templates have alike."""
    errors = _volumes_errors(spec.volumes)
    volumes = [volume.name for volume in spec.volumes]
    if not spec.containers:
        errors.append(required("containers"))
    seen: list[str] = []
    for index, container in enumerate(spec.containers):
        errors += _container_errors(container, f"containers[{index}]", volumes, seen)
    for index, container in enumerate(spec.init_containers):
        path = f"initContainers[{index}]"
        errors += _container_errors(container, path, volumes, seen)
        errors += _init_container_errors(container, path)
    errors += _policy("restartPolicy", spec.restart_policy, _RESTART_POLICIES)
    errors += _policy("dnsPolicy", spec.dns_policy, _DNS_POLICIES)
    errors += non_negative(spec.termination_grace_period_seconds, "terminationGracePeriodSeconds")
    errors += positive_seconds(spec.active_deadline_seconds, "activeDeadlineSeconds")
    if spec.hostname:
        errors += [invalid("hostname", spec.hostname, f) for f in label_faults(spec.hostname)]
    if "ephemeralContainers" in spec.extra:
        errors.append(forbidden("ephemeralContainers", "cannot be set on create"))
    return errors + placing_errors(spec)


def _policy(path: str, value: str, allowed: tuple[str, ...]) -> list[FieldError]:
    if not value:
        return [required(path)]
    return [] if value in allowed else [not_supported(path, value, allowed)]


def _volumes_errors(volumes: tuple[Volume, ...]) -> list[FieldError]:
    errors = []
    seen: list[str] = []
    for index, volume in enumerate(volumes):
        path = f"volumes[{index}].name"
        if not volume.name:
            errors.append(required(path))
        else:
            errors += [invalid(path, volume.name, fault) for fault in label_faults(volume.name)]
        if volume.name in seen:
            errors.append(duplicate(path, volume.name))
        seen.append(volume.name)
    return errors


def _container_errors(
    container: Container, path: str, volumes: list[str], seen: list[str]
) -> list[FieldError]:
    name, image = container.name, container.image
    errors = []
    if not name:
        errors.append(required(join(path, "name")))
    else:
        errors += [invalid(join(path, "name"), name, fault) for fault in label_faults(name)]
        if name in seen:
            errors.append(duplicate(join(path, "name"), name))
        seen.append(name)
    if not image:
        errors.append(required(join(path, "image")))
    elif image != image.strip():
        detail = "must not have leading or trailing whitespace"
        errors.append(invalid(join(path, "image"), image, detail))
    errors += _ports_errors(container.ports, join(path, "ports"))
    for index, variable in enumerate(container.env):
        errors += _env_errors(variable.name, f"{path}.env[{index}].name")
    errors += _mounts_errors(container, path, volumes)
    errors += _probes_errors(container, path)
    pull_policy = join(path, "imagePullPolicy")
    errors += _policy(pull_policy, container.image_pull_policy, _PULL_POLICIES)
    message_policy = join(path, "terminationMessagePolicy")
    errors += _policy(message_policy, container.termination_message_policy, _MESSAGE_POLICIES)
    if container.resources is not None:
        errors += resources_errors(container.resources, join(path, "resources"))
    return errors


def _init_container_errors(container: Container, path: str) -> list[FieldError]:
    """A sidecar (restartPolicy Always) may have probes, an init container proper may not."""
    policy = container.restart_policy
    if policy is not None and policy != "Always":
        return [not_supported(join(path, "restartPolicy"), policy, ("Always",))]
    if policy == "Always":
        return []
    return [
        forbidden(
            join(path, field), "may not be set for init containers without restartPolicy=Always"
        )
        for field, probe in (
            ("livenessProbe", container.liveness_probe),
            ("readinessProbe", container.readiness_probe),
            ("startupProbe", container.startup_probe),
        )
        if probe is not None
    ]


def port_number_errors(number: int, path: str) -> list[FieldError]:
    """Faults of a port number."""
    if 1 <= number <= 65535:
        return []
    return [invalid(path, number, "must be between 1 and 65535, inclusive")]


def port_name_errors(name: str, path: str) -> list[FieldError]:
    """Faults of a port's name: an IANA service name of at most 15 characters."""
    errors = []
    if len(name) > 15:
        errors.append(invalid(path, name, "must be no more than 15 characters"))
    if not all("a" <= c <= "z" or "0" <= c <= "9" or c == "-" for c in name):
        errors.append(invalid(path, name, _NAME_RULE[0]))
    if not any("a" <= c <= "z" for c in name):
        errors.append(invalid(path, name, _NAME_RULE[1]))
    if "--" in name:
        errors.append(invalid(path, name, "must not contain consecutive hyphens"))
    if name.startswith("-") or name.endswith("-"):
        errors.append(invalid(path, name, "must not begin or end with a hyphen"))
    return errors


def _ports_errors(ports: tuple[ContainerPort, ...], path: str) -> list[FieldError]:
    errors = []
    names: list[str] = []
    for index, port in enumerate(ports):
        place = f"{path}[{index}]"
        if port.name:
            errors += port_name_errors(port.name, f"{place}.name")
            if port.name in names:
                errors.append(duplicate(f"{place}.name", port.name))
            names.append(port.name)
        if port.container_port == 0:
            errors.append(required(f"{place}.containerPort"))
        else:
            errors += port_number_errors(port.container_port, f"{place}.containerPort")
        if port.host_port:
            errors += port_number_errors(port.host_port, f"{place}.hostPort")
        errors += _policy(f"{place}.protocol", port.protocol, PROTOCOLS)
    return errors


def _env_errors(name: str, path: str) -> list[FieldError]:
    if not name:
        return [required(path)]
    if all(" " <= c <= "~" and c != "=" for c in name):
        return []
    detail = "a valid environment variable name must consist only of printable ASCII characters other than '='"
    return [invalid(path, name, detail)]


def _mounts_errors(container: Container, path: str, volumes: list[str]) -> list[FieldError]:
    errors = []
    places: list[str] = []
    for index, mount in enumerate(container.volume_mounts):
        place = f"{path}.volumeMounts[{index}]"
        if not mount.name:
            errors.append(required(f"{place}.name"))
        elif mount.name not in volumes:
            errors.append(not_found(f"{place}.name", mount.name))
        if not mount.mount_path:
            errors.append(required(f"{place}.mountPath"))
        if mount.mount_path in places:
            errors.append(invalid(f"{place}.mountPath", mount.mount_path, "must be unique"))
        places.append(mount.mount_path)
    return errors


# -- probes ----------------------------------------------------------------------------------------


def _probes_errors(container: Container, path: str) -> list[FieldError]:
    errors = []
    for field, probe, once in (
        ("livenessProbe", container.liveness_probe, True),
        ("readinessProbe", container.readiness_probe, False),
        ("startupProbe", container.startup_probe, True),
    ):
        if probe is None:
            continue
        place = join(path, field)
        errors += _probe_errors(probe, place)
        if once and probe.success_threshold != 1:
            detail = "must be 1"
            errors.append(invalid(f"{place}.successThreshold", probe.success_threshold, detail))
    return errors


def _probe_errors(probe: Probe, path: str) -> list[FieldError]:
    handlers: list[str] = []
    errors: list[FieldError] = []
    for field, handler in (
        ("exec", probe.exec),
        ("httpGet", probe.http_get),
        ("tcpSocket", probe.tcp_socket),
        ("grpc", probe.grpc),
    ):
        if handler is None:
            continue
        if handlers:
            detail = "may not specify more than 1 handler type"
            errors.append(forbidden(join(path, field), detail))
        handlers.append(field)
    if not handlers:
        errors.append(required(path, "must specify a handler type"))
    errors += _handler_errors(probe, path)
    for field, value in (
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ):
        errors += non_negative(value, join(path, field))
    return errors


def _handler_errors(probe: Probe, path: str) -> list[FieldError]:
    errors = []
    if probe.exec is not None and not probe.exec.command:
        errors.append(required(f"{path}.exec.command"))
    if probe.http_get is not None:
        if not probe.http_get.path:
            errors.append(required(f"{path}.httpGet.path"))
        errors += _target_port_errors(probe.http_get.port, f"{path}.httpGet.port")
        if probe.http_get.scheme not in ("HTTP", "HTTPS"):
            schemes = ("HTTP", "HTTPS")
            errors.append(not_supported(f"{path}.httpGet.scheme", probe.http_get.scheme, schemes))
    if probe.tcp_socket is not None:
        errors += _target_port_errors(probe.tcp_socket.port, f"{path}.tcpSocket.port")
    if probe.grpc is not None:
        errors += port_number_errors(probe.grpc.port, f"{path}.grpc.port")
    return errors


def _target_port_errors(port: int | str, path: str) -> list[FieldError]:
    """A port by number or by name."""
    if isinstance(port, int):
        return port_number_errors(port, path)
    return port_name_errors(port, path)


# -- resources -------------------------------------------------------------------------------------


def resources_errors(resources: ResourceRequirements, path: str) -> list[FieldError]:
    """Faults of requests and limits."""
    errors = _amounts_errors(resources.limits, join(path, "limits"))
    errors += _amounts_errors(resources.requests, join(path, "requests"))
    for name, request in resources.requests.items():
        limit = resources.limits.get(name)
        if limit is not None and request > limit:
            detail = f"must be less than or equal to {name} limit of {limit.canonical}"
            errors.append(invalid(join(path, "requests"), request.canonical, detail))
        elif limit != request and _extended(name):
            detail = "Limit must be set for non overcommitable resources"
            errors.append(required(join(path, "limits"), detail))
    return errors


def _extended(name: str) -> bool:
    return "/" in name or name.startswith("hugepages-")


def _amounts_errors(amounts: Mapping[str, Quantity], path: str) -> list[FieldError]:
    errors = []
    for name, amount in amounts.items():
        place = f"{path}[{name}]"
        if not _extended(name) and name not in _CONTAINER_RESOURCES:
            errors.append(
                invalid(place, name, "must be a standard resource type or fully qualified")
            )
            errors.append(invalid(place, name, "must be a standard resource for containers"))
        if amount.nano < 0:
            detail = "must be greater than or equal to 0"
            errors.append(invalid(place, amount.canonical, detail))
        elif "/" in name and amount.nano % 10**9:
            errors.append(invalid(place, amount.canonical, "must be an integer"))
    return errors
