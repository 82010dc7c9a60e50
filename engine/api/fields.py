"""Field errors in Kubernetes' words (`k8s.io/apimachinery/pkg/util/validation/field/errors.go`).

Validation functions return lists of these; `engine.api.refusals.invalid` joins them into one `Invalid`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from engine.api.errors import FieldError


def show_value(value: object) -> str:
    """A value as the messages print it: texts quoted, numbers and booleans bare, the rest as JSON."""
    if isinstance(value, Mapping):
        value = dict(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, default=str)


def required(path: str, detail: str = "") -> FieldError:
    """The field must be given."""
    text = f"Required value: {detail}" if detail else "Required value"
    return FieldError(path=path, reason="FieldValueRequired", detail=text)


def invalid(path: str, value: object, detail: str) -> FieldError:
    """The value is wrong, and `detail` says what would be right."""
    text = f"Invalid value: {show_value(value)}: {detail}"
    return FieldError(path=path, reason="FieldValueInvalid", detail=text)


def not_supported(path: str, value: str, supported: Iterable[str]) -> FieldError:
    """The value is none of those allowed."""
    allowed = ", ".join(show_value(one) for one in sorted(supported))
    text = f"Unsupported value: {show_value(value)}: supported values: {allowed}"
    return FieldError(path=path, reason="FieldValueNotSupported", detail=text)


def forbidden(path: str, detail: str) -> FieldError:
    """The field may not be set, or not be changed, here."""
    return FieldError(path=path, reason="FieldValueForbidden", detail=f"Forbidden: {detail}")


def duplicate(path: str, value: object) -> FieldError:
    """The value must be the only one of its kind, and is not."""
    text = f"Duplicate value: {show_value(value)}"
    return FieldError(path=path, reason="FieldValueDuplicate", detail=text)


def not_found(path: str, value: object) -> FieldError:
    """The value names something that is not there."""
    text = f"Not found: {show_value(value)}"
    return FieldError(path=path, reason="FieldValueNotFound", detail=text)


def too_long(path: str, limit: int) -> FieldError:
    """More than `limit` bytes."""
    text = f"Too long: may not be more than {limit} bytes"
    return FieldError(path=path, reason="FieldValueTooLong", detail=text)


def join(parent: str, child: str) -> str:
    """The path of a child field; an index (`[0]`) follows without a dot."""
    if not parent or child.startswith("["):
        return parent + child
    return f"{parent}.{child}"
