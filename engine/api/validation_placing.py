"""Validation of what decides where a pod runs: node selectors, affinity, tolerations, topology spread."""

from __future__ import annotations

from typing import Final

from engine.api.errors import FieldError
from engine.api.fields import duplicate, invalid, join, not_supported, required
from engine.api.validation_meta import (
    key_faults,
    labels_errors,
    requirement_errors,
    selector_errors,
    subdomain_faults,
    value_faults,
)
from engine.objects.pod import (
    NodeAffinity,
    NodeSelectorTerm,
    PodAffinity,
    PodAffinityTerm,
    PodSpec,
    Toleration,
    TopologySpreadConstraint,
)

TAINT_EFFECTS: Final = ("NoExecute", "NoSchedule", "PreferNoSchedule")
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"


def placing_errors(spec: PodSpec) -> list[FieldError]:
    """Faults of the placing part of a spec; paths are relative to it."""
    errors = []
    if spec.node_selector:
        errors += labels_errors(spec.node_selector, "nodeSelector")
    if spec.node_name:
        errors += [invalid("nodeName", spec.node_name, f) for f in subdomain_faults(spec.node_name)]
    affinity = spec.affinity
    if affinity is not None:
        if affinity.node_affinity is not None:
            errors += _node_affinity_errors(affinity.node_affinity, "affinity.nodeAffinity")
        if affinity.pod_affinity is not None:
            errors += _pod_affinity_errors(affinity.pod_affinity, "affinity.podAffinity")
        if affinity.pod_anti_affinity is not None:
            errors += _pod_affinity_errors(affinity.pod_anti_affinity, "affinity.podAntiAffinity")
    for index, toleration in enumerate(spec.tolerations):
        errors += toleration_errors(toleration, f"tolerations[{index}]")
    return errors + _spread_errors(spec.topology_spread_constraints)


def toleration_errors(toleration: Toleration, path: str) -> list[FieldError]:
    """Faults of a toleration (ValidateTolerations)."""
    errors = []
    key, operator, value = toleration.key, toleration.operator, toleration.value
    if key:
        errors += [invalid(join(path, "key"), key, fault) for fault in key_faults(key)]
    elif operator != "Exists":
        detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        errors.append(invalid(join(path, "operator"), operator, detail))
    if toleration.toleration_seconds is not None and toleration.effect != "NoExecute":
        detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        errors.append(invalid(join(path, "effect"), toleration.effect, detail))
    if operator in ("Equal", ""):
        faults = value_faults(value)
        if faults:
            errors.append(invalid(join(path, "operator"), value, ";".join(faults)))
    elif operator == "Exists":
        if value:
            detail = "value must be empty when `operator` is 'Exists'"
            errors.append(invalid(join(path, "operator"), toleration.value, detail))
    else:
        errors.append(not_supported(join(path, "operator"), operator, ("Equal", "Exists")))
    if toleration.effect and toleration.effect not in TAINT_EFFECTS:
        errors.append(not_supported(join(path, "effect"), toleration.effect, TAINT_EFFECTS))
    return errors


def _weight_errors(weight: int, path: str) -> list[FieldError]:
    if 1 <= weight <= 100:
        return []
    return [invalid(join(path, "weight"), weight, "must be in the range 1-100")]


def _node_affinity_errors(affinity: NodeAffinity, path: str) -> list[FieldError]:
    errors = []
    selector = affinity.required_during_scheduling_ignored_during_execution
    if selector is not None:
        terms = f"{path}.{_REQUIRED}.nodeSelectorTerms"
        if not selector.node_selector_terms:
            errors.append(required(terms, "must have at least one node selector term"))
        for index, term in enumerate(selector.node_selector_terms):
            errors += _node_term_errors(term, f"{terms}[{index}]")
    preferred = affinity.preferred_during_scheduling_ignored_during_execution
    for index, weighted in enumerate(preferred):
        place = f"{path}.{_PREFERRED}[{index}]"
        errors += _weight_errors(weighted.weight, place)
        errors += _node_term_errors(weighted.preference, f"{place}.preference")
    return errors


def _node_term_errors(term: NodeSelectorTerm, path: str) -> list[FieldError]:
    errors = []
    for index, requirement in enumerate(term.match_expressions):
        place = f"{path}.matchExpressions[{index}]"
        errors += requirement_errors(requirement, place, comparisons=True)
    for index, requirement in enumerate(term.match_fields):
        place = f"{path}.matchFields[{index}]"
        if requirement.key != "metadata.name":
            detail = "not a valid field selector key"
            errors.append(invalid(f"{place}.key", requirement.key, detail))
        if requirement.operator not in ("In", "NotIn"):
            detail = "not a valid selector operator"
            errors.append(invalid(f"{place}.operator", requirement.operator, detail))
        elif len(requirement.values) != 1:
            detail = (
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            )
            errors.append(required(f"{place}.values", detail))
    return errors


def _pod_affinity_errors(affinity: PodAffinity, path: str) -> list[FieldError]:
    errors = []
    terms = affinity.required_during_scheduling_ignored_during_execution
    for index, term in enumerate(terms):
        errors += _pod_term_errors(term, f"{path}.{_REQUIRED}[{index}]")
    preferred = affinity.preferred_during_scheduling_ignored_during_execution
    for index, weighted in enumerate(preferred):
        place = f"{path}.{_PREFERRED}[{index}]"
        errors += _weight_errors(weighted.weight, place)
        errors += _pod_term_errors(weighted.pod_affinity_term, f"{place}.podAffinityTerm")
    return errors


def _pod_term_errors(term: PodAffinityTerm, path: str) -> list[FieldError]:
    errors = []
    if term.label_selector is not None:
        errors += selector_errors(term.label_selector, f"{path}.labelSelector")
    if term.namespace_selector is not None:
        errors += selector_errors(term.namespace_selector, f"{path}.namespaceSelector")
    return errors + _topology_key_errors(term.topology_key, path)


def _topology_key_errors(key: str, path: str) -> list[FieldError]:
    place = join(path, "topologyKey")
    if not key:
        return [required(place, "can not be empty")]
    return [invalid(place, key, fault) for fault in key_faults(key)]


def _spread_errors(constraints: tuple[TopologySpreadConstraint, ...]) -> list[FieldError]:
    errors = []
    seen: list[tuple[str, str]] = []
    for index, constraint in enumerate(constraints):
        path = f"topologySpreadConstraints[{index}]"
        if constraint.max_skew <= 0:
            errors.append(
                invalid(f"{path}.maxSkew", constraint.max_skew, "must be greater than zero")
            )
        errors += _topology_key_errors(constraint.topology_key, path)
        actions = ("DoNotSchedule", "ScheduleAnyway")
        action = constraint.when_unsatisfiable
        if action not in actions:
            errors.append(not_supported(f"{path}.whenUnsatisfiable", action, actions))
        pair = (constraint.topology_key, action)
        if pair in seen:
            shown = f"{{{pair[0]}, {pair[1]}}}"
            errors.append(duplicate(f"{path}.{{topologyKey, whenUnsatisfiable}}", shown))
        seen.append(pair)
        domains = constraint.min_domains
        if domains is not None and domains <= 0:
            errors.append(invalid(f"{path}.minDomains", domains, "must be greater than zero"))
        if constraint.label_selector is not None:
            errors += selector_errors(constraint.label_selector, f"{path}.labelSelector")
    return errors
