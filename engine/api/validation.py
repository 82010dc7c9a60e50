"""Validation of every kind: all faults of an object at once, with Kubernetes' reasons and messages (reference/api.md, 8.2, 8.3).

The tables below say which function checks which kind. An update checks what it changes: parts that are the very ones stored have been
checked before. The rules of pods are in `validation_pod`, `validation_pod_update` and `validation_placing`, those of workloads in `validation_workloads`, the rest
in `validation_core`; metadata and names in `validation_meta`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias, cast

import attrs

from engine.api.errors import FieldError
from engine.api.memo import IdentityMemo
from engine.api.validation_core import (
    config_map_errors,
    config_map_update_errors,
    event_errors,
    lease_errors,
    node_errors,
    node_update_errors,
    priority_class_errors,
    priority_class_update_errors,
    secret_errors,
    secret_update_errors,
    service_errors,
    service_update_errors,
)
from engine.api.validation_meta import below, metadata_create_errors, metadata_update_errors
from engine.api.validation_pod import pod_spec_errors
from engine.api.validation_pod_update import pod_update_errors
from engine.api.validation_workloads import (
    deployment_errors,
    deployment_update_errors,
    replica_set_errors,
    replica_set_update_errors,
    replication_controller_errors,
    replication_controller_update_errors,
)
from engine.objects.apps import Deployment, ReplicaSet, ReplicationController
from engine.objects.core import ConfigMap, Event, Lease, Node, PriorityClass, Secret, Service
from engine.objects.meta import KubeObject
from engine.objects.pod import Pod, PodSpec
from engine.objects.scheme import Resource

_Check: TypeAlias = Callable[[KubeObject], list[FieldError]]
_CheckUpdate: TypeAlias = Callable[[KubeObject, KubeObject], list[FieldError]]


def _lease_update_errors(new: Lease, old: Lease) -> list[FieldError]:
    return [] if new.spec is old.spec else lease_errors(new)


_CREATE: Final = cast(
    "Mapping[type, _Check]",
    {
        Deployment: deployment_errors,
        ReplicaSet: replica_set_errors,
        ReplicationController: replication_controller_errors,
        Service: service_errors,
        ConfigMap: config_map_errors,
        Secret: secret_errors,
        Node: node_errors,
        PriorityClass: priority_class_errors,
        Event: event_errors,
        Lease: lease_errors,
    },
)
_UPDATE: Final = cast(
    "Mapping[type, _CheckUpdate]",
    {
        Pod: pod_update_errors,
        Deployment: deployment_update_errors,
        ReplicaSet: replica_set_update_errors,
        ReplicationController: replication_controller_update_errors,
        Service: service_update_errors,
        ConfigMap: config_map_update_errors,
        Secret: secret_update_errors,
        Node: node_update_errors,
        PriorityClass: priority_class_update_errors,
        Lease: _lease_update_errors,
    },
)


@attrs.define(eq=False)
class Validation:
    """The checks, with a memory of pod specs: pods of one template share theirs."""

    _pod_specs: IdentityMemo[PodSpec, list[FieldError]] = attrs.field(
        factory=lambda: IdentityMemo(pod_spec_errors), init=False
    )

    def create(self, obj: KubeObject, resource: Resource) -> list[FieldError]:
        """All faults of a new object; none is an empty list."""
        errors = metadata_create_errors(obj.metadata, resource)
        if isinstance(obj, Pod):
            return errors + below("spec", self._pod_specs(obj.spec))
        check = _CREATE.get(type(obj))
        return errors + check(obj) if check is not None else errors

    def update(self, new: KubeObject, old: KubeObject, resource: Resource) -> list[FieldError]:  # noqa: ARG002 -- one shape for all three
        """All faults of a change."""
        errors = metadata_update_errors(new.metadata, old.metadata)
        check = _UPDATE.get(type(new))
        return errors + check(new, old) if check is not None else errors

    def update_status(
        self,
        new: KubeObject,
        old: KubeObject,
        resource: Resource,  # noqa: ARG002 -- one shape for all three
    ) -> list[FieldError]:
        """All faults of a change of the status."""
        return metadata_update_errors(new.metadata, old.metadata)
