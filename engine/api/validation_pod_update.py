"""Validation of changes of pods: what may change in a spec, and what may not (reference/api.md, 8.3)."""

from __future__ import annotations

from typing import Final

import attrs

from engine.api.errors import FieldError
from engine.api.fields import forbidden, invalid, required
from engine.api.validation_meta import positive_seconds
from engine.objects.pod import Container, Pod, PodSpec

_UPDATE_MESSAGE: Final = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
    "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
    "negative)"
)


def pod_update_errors(new: Pod, old: Pod) -> list[FieldError]:
    """Faults of a change of a pod's spec."""
    after, before = new.spec, old.spec
    if after is before:
        return []
    errors = []
    for field, containers, olds in (
        ("containers", after.containers, before.containers),
        ("initContainers", after.init_containers, before.init_containers),
    ):
        if len(containers) != len(olds):
            return [forbidden(f"spec.{field}", "pod updates may not add or remove containers")]
        errors += [
            required(f"spec.{field}[{index}].image")
            for index, container in enumerate(containers)
            if not container.image
        ]
    errors += _deadline_errors(after.active_deadline_seconds, before.active_deadline_seconds)
    errors += _added_tolerations_errors(after, before)
    gates = [gate.name for gate in before.scheduling_gates]
    if any(gate.name not in gates for gate in after.scheduling_gates):
        detail = "only deletion is allowed, but found new scheduling gate"
        errors.append(forbidden("spec.schedulingGates", detail))
    if _without_mutable(after, before) != before:
        errors.append(forbidden("spec", _UPDATE_MESSAGE))
    return errors


def _deadline_errors(new: int | None, old: int | None) -> list[FieldError]:
    path = "spec.activeDeadlineSeconds"
    errors = positive_seconds(new, path)
    if old is not None:
        if new is None:
            errors.append(
                invalid(path, new, "must not update from a positive integer to nil value")
            )
        elif new > old:
            errors.append(invalid(path, new, "must be less than or equal to previous value"))
    return errors


def _added_tolerations_errors(new: PodSpec, old: PodSpec) -> list[FieldError]:
    if new.tolerations is old.tolerations:
        return []
    kept = [attrs.evolve(one, toleration_seconds=None) for one in new.tolerations]
    if all(attrs.evolve(one, toleration_seconds=None) in kept for one in old.tolerations):
        return []
    detail = "existing toleration can not be modified except its tolerationSeconds"
    return [forbidden("spec.tolerations", detail)]


def _without_mutable(new: PodSpec, old: PodSpec) -> PodSpec:
    """`new` with what may change as it was."""
    grace = new.termination_grace_period_seconds
    if grace == 1 and (old.termination_grace_period_seconds or 0) < 0:
        grace = old.termination_grace_period_seconds
    return attrs.evolve(
        new,
        containers=_old_images(new.containers, old.containers),
        init_containers=_old_images(new.init_containers, old.init_containers),
        active_deadline_seconds=old.active_deadline_seconds,
        tolerations=old.tolerations,
        scheduling_gates=old.scheduling_gates,
        termination_grace_period_seconds=grace,
    )


def _old_images(new: tuple[Container, ...], old: tuple[Container, ...]) -> tuple[Container, ...]:
    return tuple(
        attrs.evolve(after, image=before.image) for after, before in zip(new, old, strict=True)
    )
