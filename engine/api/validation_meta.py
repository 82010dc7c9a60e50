"""Validation of metadata, names, labels and selectors (k8s.io/apimachinery/pkg/api/validation and pkg/util/validation)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final

import attrs

from engine.api.errors import FieldError
from engine.api.fields import forbidden, invalid, join, required, too_long
from engine.objects.labels import label_key_faults, label_value_faults
from engine.objects.meta import LabelSelector, LabelSelectorRequirement, ObjectMeta, OwnerReference
from engine.objects.scheme import NameRule, Resource

_SUBDOMAIN: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL_1035: Final = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_PATTERN: Final = re.compile(_SUBDOMAIN, re.ASCII)
_LABEL_PATTERN: Final = re.compile(_LABEL, re.ASCII)
_LABEL_1035_PATTERN: Final = re.compile(_LABEL_1035, re.ASCII)
_SUBDOMAIN_MESSAGE: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    f"'{_SUBDOMAIN}')"
)
_LABEL_MESSAGE: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
    "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    f"'{_LABEL}')"
)
_LABEL_1035_MESSAGE: Final = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
    "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
    f"validation is '{_LABEL_1035}')"
)
MAX_ANNOTATION_BYTES: Final = 256 * 1024
"""Keys and values together (TotalAnnotationSizeLimitB)."""
_STANDARD_FINALIZERS: Final = ("kubernetes", "orphan", "foregroundDeletion")
_MAX_INT32: Final = 2**31 - 1


# -- names -----------------------------------------------------------------------------------------


@lru_cache(maxsize=8192)
def subdomain_faults(value: str) -> tuple[str, ...]:
    """What is wrong with a DNS-1123 subdomain."""
    return _name_faults(value, 253, _SUBDOMAIN_PATTERN, _SUBDOMAIN_MESSAGE)


@lru_cache(maxsize=8192)
def label_faults(value: str) -> tuple[str, ...]:
    """What is wrong with a DNS-1123 label."""
    return _name_faults(value, 63, _LABEL_PATTERN, _LABEL_MESSAGE)


def label_1035_faults(value: str) -> tuple[str, ...]:
    """What is wrong with a DNS-1035 label."""
    return _name_faults(value, 63, _LABEL_1035_PATTERN, _LABEL_1035_MESSAGE)


def _name_faults(
    value: str, longest: int, pattern: re.Pattern[str], message: str
) -> tuple[str, ...]:
    faults = []
    if len(value) > longest:
        faults.append(f"must be no more than {longest} characters")
    if pattern.fullmatch(value) is None:
        faults.append(message)
    return tuple(faults)


def _path_segment_faults(value: str) -> tuple[str, ...]:
    """What cannot be a step of a URL path."""
    if value in (".", ".."):
        return (f"may not be '{value}'",)
    return tuple(f"may not contain '{illegal}'" for illegal in "/%" if illegal in value)


_RULES: Final[Mapping[NameRule, Callable[[str], tuple[str, ...]]]] = {
    NameRule.SUBDOMAIN: subdomain_faults,
    NameRule.LABEL: label_faults,
    NameRule.LABEL_1035: label_1035_faults,
    NameRule.PATH_SEGMENT: _path_segment_faults,
}


def name_errors(metadata: ObjectMeta, rule: NameRule) -> list[FieldError]:
    """Faults of `generateName` (a trailing dash is fine) and of the name."""
    check = _RULES[rule]
    errors = []
    if metadata.generate_name:
        base = metadata.generate_name
        if base.endswith("-"):
            base = base[:-1] + "a"
        errors += [
            invalid("metadata.generateName", metadata.generate_name, fault) for fault in check(base)
        ]
    errors += [invalid("metadata.name", metadata.name, fault) for fault in check(metadata.name)]
    return errors


# -- labels and selectors --------------------------------------------------------------------------


@lru_cache(maxsize=8192)
def key_faults(key: str) -> tuple[str, ...]:
    """What is wrong with the key of a label, annotation, taint or finalizer."""
    return tuple(label_key_faults(key))


@lru_cache(maxsize=8192)
def value_faults(value: str) -> tuple[str, ...]:
    """What is wrong with the value of a label."""
    return tuple(label_value_faults(value))


def labels_errors(labels: Mapping[str, str], path: str) -> list[FieldError]:
    """Faults of a map of labels."""
    errors = []
    for key, value in labels.items():
        errors += [invalid(path, key, fault) for fault in key_faults(key)]
        errors += [invalid(path, value, fault) for fault in value_faults(value)]
    return errors


def annotations_errors(annotations: Mapping[str, str], path: str) -> list[FieldError]:
    """Faults of a map of annotations."""
    errors = []
    size = 0
    for key, value in annotations.items():
        errors += [invalid(path, key, fault) for fault in key_faults(key.lower())]
        size += len(key.encode()) + len(value.encode())
    if size > MAX_ANNOTATION_BYTES:
        errors.append(too_long(path, MAX_ANNOTATION_BYTES))
    return errors


def selector_errors(selector: LabelSelector, path: str) -> list[FieldError]:
    """Faults of a structured label selector."""
    errors = labels_errors(selector.match_labels, join(path, "matchLabels"))
    for index, requirement in enumerate(selector.match_expressions):
        errors += requirement_errors(requirement, join(path, f"matchExpressions[{index}]"))
    return errors


def requirement_errors(
    requirement: LabelSelectorRequirement, path: str, *, comparisons: bool = False
) -> list[FieldError]:
    """Faults of one expression; `comparisons` allows Gt and Lt, as node selectors do."""
    errors = []
    operator, values = requirement.operator, requirement.values
    values_path, operator_path = join(path, "values"), join(path, "operator")
    if operator in ("In", "NotIn"):
        if not values:
            detail = "must be specified when `operator` is 'In' or 'NotIn'"
            errors.append(required(values_path, detail))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errors.append(forbidden(values_path, detail))
    elif comparisons and operator in ("Gt", "Lt"):
        if len(values) != 1:
            detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            errors.append(required(values_path, detail))
    else:
        errors.append(invalid(operator_path, operator, "not a valid selector operator"))
    errors += [
        invalid(join(path, "key"), requirement.key, fault) for fault in key_faults(requirement.key)
    ]
    if not comparisons:
        errors += [
            invalid(f"{values_path}[{index}]", value, fault)
            for index, value in enumerate(values)
            for fault in value_faults(value)
        ]
    return errors


# -- metadata --------------------------------------------------------------------------------------


def owners_errors(owners: Iterable[OwnerReference]) -> list[FieldError]:
    """Faults of the owner references."""
    path = "metadata.ownerReferences"
    errors = []
    controller = ""
    for owner in owners:
        for field, text, what in (
            ("apiVersion", owner.api_version, "version"),
            ("kind", owner.kind, "kind"),
            ("name", owner.name, "name"),
            ("uid", owner.uid, "uid"),
        ):
            if not text:
                errors.append(invalid(f"{path}.{field}", text, f"{what} must not be empty"))
        if (owner.api_version, owner.kind) == ("v1", "Event"):
            errors.append(
                invalid(
                    path,
                    f"{owner.api_version}, Kind={owner.kind}",
                    "is disallowed from being an owner",
                )
            )
        if owner.controller:
            if controller:
                detail = (
                    'Only one reference can have Controller set to true. Found "true" in references for '
                    f"{controller} and {owner.name}"
                )
                errors.append(invalid(path, [one.name for one in owners if one.controller], detail))
            controller = owner.name
    return errors


def finalizers_errors(finalizers: tuple[str, ...]) -> list[FieldError]:
    """Faults of the finalizers."""
    path = "metadata.finalizers"
    errors = []
    for index, finalizer in enumerate(finalizers):
        place = f"{path}[{index}]"
        errors += [invalid(place, finalizer, fault) for fault in key_faults(finalizer)]
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            errors.append(invalid(place, finalizer, detail))
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        detail = "finalizers orphan and foregroundDeletion cannot be both set"
        errors.append(invalid(path, list(finalizers), detail))
    return errors


def metadata_create_errors(metadata: ObjectMeta, resource: Resource) -> list[FieldError]:
    """Faults of a new object's metadata."""
    errors = name_errors(metadata, resource.name_rule)
    if metadata.namespace:
        if not resource.namespaced:
            errors.append(forbidden("metadata.namespace", "not allowed on this type"))
        else:
            errors += [
                invalid("metadata.namespace", metadata.namespace, fault)
                for fault in label_faults(metadata.namespace)
            ]
    if metadata.labels:
        errors += labels_errors(metadata.labels, "metadata.labels")
    if metadata.annotations:
        errors += annotations_errors(metadata.annotations, "metadata.annotations")
    if metadata.owner_references:
        errors += owners_errors(metadata.owner_references)
    if metadata.finalizers:
        errors += finalizers_errors(metadata.finalizers)
    return errors


def metadata_update_errors(new: ObjectMeta, old: ObjectMeta) -> list[FieldError]:
    """Faults of what an update changed in the metadata."""
    if new is old:
        return []
    errors = []
    if new.labels is not old.labels:
        errors += labels_errors(new.labels, "metadata.labels")
    if new.annotations is not old.annotations:
        errors += annotations_errors(new.annotations, "metadata.annotations")
    if new.owner_references is not old.owner_references:
        errors += owners_errors(new.owner_references)
    if new.finalizers is not old.finalizers:
        errors += finalizers_errors(new.finalizers)
        added = [one for one in new.finalizers if one not in old.finalizers]
        if old.deletion_timestamp is not None and added:
            shown = ", ".join(f'"{one}"' for one in added)
            errors.append(
                forbidden(
                    "metadata.finalizers",
                    "no new finalizers can be added if the object is being deleted, found new "
                    f"finalizers []string{{{shown}}}",
                )
            )
    return errors


# -- numbers ---------------------------------------------------------------------------------------


def non_negative(value: int | None, path: str) -> list[FieldError]:
    """A count, a number of seconds: None is unset."""
    if value is not None and value < 0:
        return [invalid(path, value, "must be greater than or equal to 0")]
    return []


def positive_seconds(value: int | None, path: str) -> list[FieldError]:
    """A deadline: 1 to 2147483647."""
    if value is not None and not 1 <= value <= _MAX_INT32:
        return [invalid(path, value, f"must be between 1 and {_MAX_INT32}, inclusive")]
    return []


def below(prefix: str, errors: Iterable[FieldError]) -> list[FieldError]:
    """The errors of a part, with the path to the part in front."""
    return [attrs.evolve(error, path=join(prefix, error.path)) for error in errors]
