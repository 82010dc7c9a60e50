"""What label keys and values may look like (`k8s.io/apimachinery/pkg/api/validate/content`)."""

from __future__ import annotations

import re
from typing import Final

_NAME: Final = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_SUBDOMAIN: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_NAME_PATTERN: Final = re.compile(_NAME, re.ASCII)
_VALUE_PATTERN: Final = re.compile(f"({_NAME})?", re.ASCII)
_SUBDOMAIN_PATTERN: Final = re.compile(_SUBDOMAIN, re.ASCII)

_NAME_MESSAGE: Final = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    f"'{_NAME}')"
)
_VALUE_MESSAGE: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
    f"validation is '({_NAME})?')"
)
_PREFIX_MESSAGE: Final = (
    "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    f"'{_SUBDOMAIN}')"
)
_KEY_MESSAGE: Final = (
    "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    f"'{_NAME}') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
)


def label_key_faults(key: str) -> list[str]:
    """What is wrong with a label key (also of annotations and finalizers), in Kubernetes' words."""
    faults: list[str] = []
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        return [_KEY_MESSAGE]
    if slash and not prefix:
        faults.append("prefix part must be non-empty")
    elif slash:
        if len(prefix) > 253:
            faults.append("prefix part must be no more than 253 characters")
        if _SUBDOMAIN_PATTERN.fullmatch(prefix) is None:
            faults.append(_PREFIX_MESSAGE)
    if not name:
        faults.append("name part must be non-empty")
    elif len(name) > 63:
        faults.append("name part must be no more than 63 characters")
    if _NAME_PATTERN.fullmatch(name) is None:
        faults.append(_NAME_MESSAGE)
    return faults


def label_value_faults(value: str) -> list[str]:
    """What is wrong with a label value, in Kubernetes' words."""
    faults: list[str] = []
    if len(value) > 63:
        faults.append("must be no more than 63 characters")
    if _VALUE_PATTERN.fullmatch(value) is None:
        faults.append(_VALUE_MESSAGE)
    return faults
