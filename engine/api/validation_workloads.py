"""Validation of Deployment, ReplicaSet and ReplicationController (kubernetes/pkg/apis/apps/validation, core/validation)."""

from __future__ import annotations

import re
from typing import Final

from engine.api.errors import FieldError
from engine.api.fields import forbidden, invalid, not_supported, required
from engine.api.validation_meta import (
    annotations_errors,
    below,
    labels_errors,
    non_negative,
    selector_errors,
)
from engine.api.validation_pod import pod_spec_errors
from engine.objects.apps import (
    Deployment,
    DeploymentSpec,
    DeploymentStrategy,
    ReplicaSet,
    ReplicationController,
)
from engine.objects.meta import LabelSelector
from engine.objects.pod import PodTemplateSpec
from engine.objects.selectors import SelectorError, selector_of
from engine.objects.writers import unstructure

_PERCENT: Final = re.compile(r"[0-9]+%", re.ASCII)
_IMMUTABLE: Final = "field is immutable"
_MISMATCH: Final = "`selector` does not match template `labels`"


def deployment_errors(deployment: Deployment) -> list[FieldError]:
    """Faults of a deployment's spec."""
    spec = deployment.spec
    errors = non_negative(spec.replicas, "spec.replicas")
    errors += _selector_and_template_errors(spec.selector, spec.template, "deployment")
    errors += _strategy_errors(spec.strategy)
    errors += non_negative(spec.min_ready_seconds, "spec.minReadySeconds")
    errors += non_negative(spec.revision_history_limit, "spec.revisionHistoryLimit")
    return errors + _deadline_errors(spec)


def _deadline_errors(spec: DeploymentSpec) -> list[FieldError]:
    deadline, path = spec.progress_deadline_seconds, "spec.progressDeadlineSeconds"
    errors = non_negative(deadline, path)
    if deadline is not None and deadline <= spec.min_ready_seconds:
        errors.append(invalid(path, deadline, "must be greater than minReadySeconds"))
    return errors


def _strategy_errors(strategy: DeploymentStrategy | None) -> list[FieldError]:
    path = "spec.strategy"
    if strategy is None:
        return [required(path)]
    rolling = strategy.rolling_update
    if strategy.type == "Recreate":
        if rolling is None:
            return []
        detail = "may not be specified when strategy `type` is 'Recreate'"
        return [forbidden(f"{path}.rollingUpdate", detail)]
    if strategy.type != "RollingUpdate":
        return [not_supported(f"{path}.type", strategy.type, ("Recreate", "RollingUpdate"))]
    if rolling is None:
        return [required(f"{path}.rollingUpdate", "this should be defaulted and never be nil")]
    unavailable, surge = rolling.max_unavailable, rolling.max_surge
    unavailable_path = f"{path}.rollingUpdate.maxUnavailable"
    errors = _amount_errors(unavailable, unavailable_path)
    errors += _amount_errors(surge, f"{path}.rollingUpdate.maxSurge")
    if _is_zero(unavailable) and _is_zero(surge):
        detail = "may not be 0 when `maxSurge` is 0"
        errors.append(invalid(unavailable_path, unavailable, detail))
    if isinstance(unavailable, str) and _above_all(unavailable):
        errors.append(invalid(unavailable_path, unavailable, "must not be greater than 100%"))
    return errors


def _amount_errors(amount: int | str | None, path: str) -> list[FieldError]:
    """A number of pods, or a percentage of them."""
    if isinstance(amount, str):
        if _PERCENT.fullmatch(amount) is None:
            # The doubled percent sign is real.
            return [invalid(path, amount, "must be an integer or percentage (e.g '5%%')")]
        return []
    return non_negative(amount, path)


def _above_all(percentage: str) -> bool:
    return _PERCENT.fullmatch(percentage) is not None and int(percentage[:-1]) > 100


def _is_zero(amount: int | str | None) -> bool:
    if isinstance(amount, str):
        return _PERCENT.fullmatch(amount) is not None and int(amount[:-1]) == 0
    return not amount


def deployment_update_errors(new: Deployment, old: Deployment) -> list[FieldError]:
    """Faults of a change of a deployment."""
    if new.spec is old.spec:
        return []
    return deployment_errors(new) + _selector_change(new.spec.selector, old.spec.selector)


def _selector_change(new: LabelSelector | None, old: LabelSelector | None) -> list[FieldError]:
    if new == old or new is None:
        return []
    return [invalid("spec.selector", unstructure(new), _IMMUTABLE)]


def replica_set_errors(replica_set: ReplicaSet) -> list[FieldError]:
    """Faults of a replica set's spec."""
    spec = replica_set.spec
    errors = non_negative(spec.replicas, "spec.replicas")
    errors += non_negative(spec.min_ready_seconds, "spec.minReadySeconds")
    return errors + _selector_and_template_errors(spec.selector, spec.template, "deployment")


def replica_set_update_errors(new: ReplicaSet, old: ReplicaSet) -> list[FieldError]:
    """Faults of a change of a replica set."""
    if new.spec is old.spec:
        return []
    return replica_set_errors(new) + _selector_change(new.spec.selector, old.spec.selector)


def replication_controller_errors(controller: ReplicationController) -> list[FieldError]:
    """Faults of a replication controller's spec."""
    spec = controller.spec
    errors = non_negative(spec.replicas, "spec.replicas")
    errors += non_negative(spec.min_ready_seconds, "spec.minReadySeconds")
    if not spec.selector:
        errors.append(required("spec.selector"))
    if spec.template is None:
        return [*errors, required("spec.template")]
    labels = spec.template.metadata.labels
    if spec.selector and not selector_of(spec.selector).matches(labels):
        errors.append(invalid("spec.template.metadata.labels", labels, _MISMATCH))
    return errors + _template_errors(spec.template)


def replication_controller_update_errors(
    new: ReplicationController, old: ReplicationController
) -> list[FieldError]:
    """Faults of a change of a replication controller."""
    return [] if new.spec is old.spec else replication_controller_errors(new)


def _selector_and_template_errors(
    selector: LabelSelector | None, template: PodTemplateSpec, owner: str
) -> list[FieldError]:
    errors = []
    if selector is None:
        errors.append(required("spec.selector"))
    else:
        errors += selector_errors(selector, "spec.selector")
        if not selector.match_labels and not selector.match_expressions:
            detail = f"empty selector is invalid for {owner}"
            errors.append(invalid("spec.selector", unstructure(selector), detail))
        else:
            errors += _match_errors(selector, template)
    return errors + _template_errors(template)


def _match_errors(selector: LabelSelector, template: PodTemplateSpec) -> list[FieldError]:
    labels = template.metadata.labels
    try:
        matches = selector_of(selector).matches(labels)
    except SelectorError as error:
        return [invalid("spec.selector", unstructure(selector), f"invalid label selector: {error}")]
    return [] if matches else [invalid("spec.template.metadata.labels", labels, _MISMATCH)]


def _template_errors(template: PodTemplateSpec) -> list[FieldError]:
    path = "spec.template"
    metadata, spec = template.metadata, template.spec
    errors = labels_errors(metadata.labels, f"{path}.labels")
    errors += annotations_errors(metadata.annotations, f"{path}.annotations")
    errors += below(f"{path}.spec", pod_spec_errors(spec))
    if spec.restart_policy != "Always":
        errors.append(not_supported(f"{path}.spec.restartPolicy", spec.restart_policy, ("Always",)))
    if spec.active_deadline_seconds is not None:
        detail = "activeDeadlineSeconds in ReplicaSet is not Supported"
        errors.append(forbidden(f"{path}.spec.activeDeadlineSeconds", detail))
    return errors
