"""ReplicationController (core/v1), ReplicaSet and Deployment (apps/v1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs

from engine.objects.base import EMPTY, ApiType
from engine.objects.meta import Condition, LabelSelector, TypedObject
from engine.objects.pod import PodTemplateSpec


@attrs.frozen(kw_only=True, repr=False)
class ReplicaSetSpec(ApiType):
    replicas: int | None = None
    min_ready_seconds: int = 0
    selector: LabelSelector | None = None
    template: PodTemplateSpec = PodTemplateSpec()  # noqa: RUF009 -- frozen, and so safely shared


@attrs.frozen(kw_only=True, repr=False)
class ReplicaSetStatus(ApiType):
    """Also the status of a ReplicationController: the two have the same fields."""

    replicas: int = 0
    fully_labeled_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


@attrs.frozen(kw_only=True, repr=False)
class ReplicaSet(TypedObject):
    api_version: ClassVar[str] = "apps/v1"
    kind: ClassVar[str] = "ReplicaSet"

    spec: ReplicaSetSpec = ReplicaSetSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()


@attrs.frozen(kw_only=True, repr=False)
class ReplicationControllerSpec(ApiType):
    replicas: int | None = None
    min_ready_seconds: int = 0
    selector: Mapping[str, str] = EMPTY
    template: PodTemplateSpec | None = None


@attrs.frozen(kw_only=True, repr=False)
class ReplicationController(TypedObject):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "ReplicationController"

    spec: ReplicationControllerSpec = ReplicationControllerSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()


@attrs.frozen(kw_only=True, repr=False)
class RollingUpdateDeployment(ApiType):
    """Absolute numbers or percentages of the desired replicas ("25%")."""

    max_unavailable: int | str | None = None
    max_surge: int | str | None = None


@attrs.frozen(kw_only=True, repr=False)
class DeploymentStrategy(ApiType):
    """`type` is RollingUpdate or Recreate."""

    type: str = ""
    rolling_update: RollingUpdateDeployment | None = None


@attrs.frozen(kw_only=True, repr=False)
class DeploymentSpec(ApiType):
    replicas: int | None = None
    selector: LabelSelector | None = None
    template: PodTemplateSpec = PodTemplateSpec()  # noqa: RUF009 -- frozen, and so safely shared
    strategy: DeploymentStrategy | None = None
    min_ready_seconds: int = 0
    revision_history_limit: int | None = None
    paused: bool = False
    progress_deadline_seconds: int | None = None


@attrs.frozen(kw_only=True, repr=False)
class DeploymentStatus(ApiType):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    conditions: tuple[Condition, ...] = ()
    collision_count: int | None = None


@attrs.frozen(kw_only=True, repr=False)
class Deployment(TypedObject):
    api_version: ClassVar[str] = "apps/v1"
    kind: ClassVar[str] = "Deployment"

    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()
