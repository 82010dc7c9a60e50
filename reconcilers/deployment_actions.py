"""The writes a Deployment's plan can ask for; each a value, so that a plan can be compared and
shown.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from engine import Deployment, ReplicaSet


@attrs.frozen
class CreateReplicaSet:
    """Create it; when its name is taken, `after_clash` says what to do."""

    replica_set: ReplicaSet


@attrs.frozen
class UpdateReplicaSet:
    """Write it: another size, other annotations."""

    replica_set: ReplicaSet


@attrs.frozen
class DeleteReplicaSet:
    """Delete it: it is history."""

    replica_set: ReplicaSet


@attrs.frozen
class UpdateDeployment:
    """Write spec and metadata: a rollback."""

    deployment: Deployment


@attrs.frozen
class UpdateStatus:
    """Write the status, and the revision annotation with it."""

    deployment: Deployment


@attrs.frozen
class Say:
    """Tell an Event about the Deployment, once the writes before it are done."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


Action: TypeAlias = (
    CreateReplicaSet | UpdateReplicaSet | DeleteReplicaSet | UpdateDeployment | UpdateStatus | Say
)


@attrs.frozen(kw_only=True)
class Plan:
    """The writes in order, and when to look again though nothing changes (seconds)."""

    actions: tuple[Action, ...]
    check_after: float | None = None
