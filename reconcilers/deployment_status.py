"""The status of a Deployment: its numbers, its conditions, and whether it makes progress.

Progress is measured against the status last written: more updated pods, fewer old ones, more ready
or available ones. While there is some, the Progressing condition is renewed; when none came for
`progressDeadlineSeconds`, it says so (controllers.md 4.2.10 to 4.2.13). A rollout that has once
completed is not judged again until the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from engine import (
    Condition,
    Deployment,
    DeploymentStatus,
    ReplicaSet,
    Time,
    condition_of,
    replaced,
    without_condition,
)
from reconcilers.deployment_rollout import available, desired, max_unavailable, total

AVAILABLE: Final = "Available"
PROGRESSING: Final = "Progressing"
REPLICA_FAILURE: Final = "ReplicaFailure"

NO_DEADLINE: Final = 2**31 - 1
"""A progressDeadlineSeconds of MaxInt32 means none."""
_US: Final = 1_000_000


def has_deadline(deployment: Deployment) -> bool:
    """Whether the Deployment's progress is watched."""
    seconds = deployment.spec.progress_deadline_seconds
    return seconds is not None and seconds != NO_DEADLINE


def with_condition(
    conditions: tuple[Condition, ...], condition: Condition
) -> tuple[Condition, ...]:
    """The conditions with this one instead of the last of its type. One with the same status and
    reason stays as it is; lastTransitionTime changes with the status only.
    """
    present = condition_of(conditions, condition.type)
    if present is not None and present.status == condition.status:
        if present.reason == condition.reason:
            return conditions
        condition = attrs.evolve(condition, last_transition_time=present.last_transition_time)
    return (*without_condition(conditions, condition.type), condition)


def new_condition(type_: str, status: str, reason: str, message: str, now_us: int) -> Condition:
    """A condition of now."""
    now = Time.of(now_us)
    return Condition(
        type=type_,
        status=status,
        last_update_time=now,
        last_transition_time=now,
        reason=reason,
        message=message,
    )


def with_status_condition(deployment: Deployment, condition: Condition) -> Deployment:
    """The Deployment with that condition in its status."""
    conditions = with_condition(deployment.status.conditions, condition)
    return replaced(deployment, status=replaced(deployment.status, conditions=conditions))


def counted(
    deployment: Deployment, old: Sequence[ReplicaSet], new: ReplicaSet | None, now_us: int
) -> DeploymentStatus:
    """The status with its numbers and the Available condition brought up to date."""
    everyone = (*old, new) if new is not None else tuple(old)
    there = available(everyone)
    enough = there >= desired(deployment) - max_unavailable(deployment)
    condition = (
        new_condition(
            AVAILABLE,
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
            now_us,
        )
        if enough
        else new_condition(
            AVAILABLE,
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
            now_us,
        )
    )
    return replaced(
        deployment.status,
        observed_generation=deployment.metadata.generation,
        replicas=sum(rs.status.replicas for rs in everyone),
        updated_replicas=new.status.replicas if new is not None else 0,
        ready_replicas=sum(rs.status.ready_replicas for rs in everyone),
        available_replicas=there,
        unavailable_replicas=max(0, total(everyone) - there),
        conditions=with_condition(deployment.status.conditions, condition),
    )


def is_complete(deployment: Deployment, status: DeploymentStatus) -> bool:
    """Whether all replicas are of the new template and available, and no old one is left."""
    replicas = desired(deployment)
    return (
        status.updated_replicas == replicas
        and status.replicas == replicas
        and status.available_replicas == replicas
        and status.observed_generation >= deployment.metadata.generation
    )


def _progressed(before: DeploymentStatus, status: DeploymentStatus) -> bool:
    return (
        status.updated_replicas > before.updated_replicas
        or status.replicas - status.updated_replicas < before.replicas - before.updated_replicas
        or status.ready_replicas > before.ready_replicas
        or status.available_replicas > before.available_replicas
    )


def _timed_out(deployment: Deployment, status: DeploymentStatus, now_us: int) -> bool:
    condition = condition_of(status.conditions, PROGRESSING)
    if condition is None or condition.reason == "NewReplicaSetAvailable":
        return False
    if condition.reason == "ProgressDeadlineExceeded":
        return True
    return _deadline(deployment, condition) < now_us


def _deadline(deployment: Deployment, condition: Condition) -> int:
    """Unix microseconds after which the lack of progress is a failure."""
    return (condition.last_update_time or 0) + (
        deployment.spec.progress_deadline_seconds or 0
    ) * _US


def rollout_status(
    deployment: Deployment, old: Sequence[ReplicaSet], new: ReplicaSet | None, now_us: int
) -> DeploymentStatus:
    """The status during a rollout: numbers, and the verdict on its progress."""
    status = counted(deployment, old, new, now_us)
    conditions = status.conditions
    if not has_deadline(deployment):
        conditions = without_condition(conditions, PROGRESSING)
    elif not _was_completed(deployment, status):
        conditions = _judged(deployment, status, new, now_us)
    failure = _replica_failure(old, new)
    if failure is not None:
        conditions = with_condition(conditions, failure)
    else:
        conditions = without_condition(conditions, REPLICA_FAILURE)
    return replaced(status, conditions=conditions)


def _was_completed(deployment: Deployment, status: DeploymentStatus) -> bool:
    present = condition_of(deployment.status.conditions, PROGRESSING)
    return (
        status.replicas == status.updated_replicas
        and present is not None
        and present.reason == "NewReplicaSetAvailable"
    )


def _judged(
    deployment: Deployment, status: DeploymentStatus, new: ReplicaSet | None, now_us: int
) -> tuple[Condition, ...]:
    conditions = status.conditions
    who = (
        f'ReplicaSet "{new.metadata.name}"'
        if new is not None
        else f'Deployment "{deployment.metadata.name}"'
    )
    if is_complete(deployment, status):
        text = f"{who} has successfully progressed."
        condition = new_condition(PROGRESSING, "True", "NewReplicaSetAvailable", text, now_us)
        return with_condition(conditions, condition)
    if _progressed(deployment.status, status):
        text = f"{who} is progressing."
        condition = new_condition(PROGRESSING, "True", "ReplicaSetUpdated", text, now_us)
        present = condition_of(deployment.status.conditions, PROGRESSING)
        if present is not None and present.status == "True":
            since = present.last_transition_time
            condition = attrs.evolve(condition, last_transition_time=since)
        # Replaced even with the same reason: lastUpdateTime is what the deadline counts from.
        return (*without_condition(conditions, PROGRESSING), condition)
    if _timed_out(deployment, status, now_us):
        text = f"{who} has timed out progressing."
        condition = new_condition(PROGRESSING, "False", "ProgressDeadlineExceeded", text, now_us)
        return with_condition(conditions, condition)
    return conditions


def _replica_failure(old: Sequence[ReplicaSet], new: ReplicaSet | None) -> Condition | None:
    """The failure that a ReplicaSet reports, the new one's first."""
    for replica_set in (new, *old):
        if replica_set is None:
            continue
        condition = condition_of(replica_set.status.conditions, REPLICA_FAILURE)
        if condition is not None:
            since = condition.last_transition_time
            return attrs.evolve(condition, last_update_time=since)
    return None


def progress_check(deployment: Deployment, status: DeploymentStatus, now_us: int) -> float | None:
    """Seconds after which to look for a missed deadline; None when there is nothing to wait for.

    Asked when the status did not change: nothing else may come to wake the Deployment. A rollout
    that has completed once has no deadline (Kubernetes looks all the same, several times a second,
    and finds nothing to do).
    """
    present = condition_of(deployment.status.conditions, PROGRESSING)
    if not has_deadline(deployment) or present is None or is_complete(deployment, status):
        return None
    if present.reason in {"ProgressDeadlineExceeded", "NewReplicaSetAvailable"}:
        return None
    # One second more, since conditions carry whole seconds.
    return max(0, _deadline(deployment, present) - now_us) / _US + 1


def paused_condition(deployment: Deployment, now_us: int) -> Condition | None:
    """The condition to set because the Deployment was paused or resumed since; a missed deadline
    stays said.
    """
    if not has_deadline(deployment):
        return None
    present = condition_of(deployment.status.conditions, PROGRESSING)
    if present is not None and present.reason == "ProgressDeadlineExceeded":
        return None
    said = present is not None and present.reason == "DeploymentPaused"
    if deployment.spec.paused and not said:
        return new_condition(
            PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused", now_us
        )
    if not deployment.spec.paused and said:
        return new_condition(
            PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed", now_us
        )
    return None
