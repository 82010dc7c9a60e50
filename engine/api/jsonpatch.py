"""JSON patch (RFC 6902) and JSON merge patch (RFC 7386), as pure functions on JSON values; the input is never changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from engine.objects.base import Json

MAX_OPERATIONS: Final = 10_000
"""Of one JSON patch (maxJSONPatchOperations of k8s.io/apiserver)."""


class PatchError(ValueError):
    """An operation cannot be applied, or a test failed."""


class PatchFormatError(ValueError):
    """The patch is no patch of its type."""


def merge(target: Json, patch: Json) -> Json:
    """Apply a merge patch: null deletes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def apply_json_patch(target: Json, patch: Json) -> Json:
    """Apply the operations of a JSON patch in order. Raises PatchFormatError, PatchError."""
    if not isinstance(patch, list):
        raise PatchFormatError("a JSON patch must be an array of operations")
    if len(patch) > MAX_OPERATIONS:
        raise PatchFormatError(
            f"the allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(patch)}"
        )
    for operation in patch:
        if not isinstance(operation, dict):
            raise PatchFormatError("an operation of a JSON patch must be an object")
        target = _apply(target, operation)
    return target


def _apply(target: Json, operation: Mapping[str, Json]) -> Json:
    name = operation.get("op")
    path = _pointer(operation, "path")
    if name in ("add", "replace", "test"):
        if "value" not in operation:
            raise PatchFormatError(f"the operation {name} needs a value")
        value = operation["value"]
        if name == "test":
            if _get(target, path) != value:
                raise PatchError(f"testing value {operation['path']} failed")
            return target
        if name == "replace":
            _get(target, path)
        return _edit(target, path, value, _add if name == "add" else _replace)
    if name == "remove":
        return _edit(target, path, None, _remove)
    if name in ("move", "copy"):
        source = _pointer(operation, "from")
        value = _get(target, source)
        if name == "move":
            if path[: len(source)] == source and path != source:
                raise PatchError("a value cannot be moved into itself")
            target = _edit(target, source, None, _remove)
        return _edit(target, path, value, _add)
    raise PatchFormatError(f"unexpected kind: {name}")


def _pointer(operation: Mapping[str, Json], member: str) -> list[str]:
    """The steps of a JSON pointer."""
    text = operation.get(member)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise PatchFormatError(f"{member} must be a JSON pointer, and is {text!r}")
    return [step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:]]


def _get(target: Json, path: list[str]) -> Json:
    for step in path:
        if isinstance(target, dict) and step in target:
            target = target[step]
        elif isinstance(target, list):
            target = target[_index(step, len(target) - 1)]
        else:
            raise PatchError(f"missing path: {step!r}")
    return target


def _index(step: str, last: int) -> int:
    if not (step.isascii() and step.isdigit()) or (step[0] == "0" and step != "0"):
        raise PatchError(f"{step!r} is no index")
    if int(step) > last:
        raise PatchError(f"index {step} is out of range")
    return int(step)


_Edit = Callable[[Json, str, Json], Json]


def _edit(target: Json, path: list[str], value: Json, edit: _Edit) -> Json:
    """A copy of `target` with the value at `path` edited."""
    if not path:
        if edit is _remove:
            raise PatchError("the whole document cannot be removed")
        return value
    step, rest = path[0], path[1:]
    if not rest:
        return edit(target, step, value)
    if isinstance(target, dict) and step in target:
        return {**target, step: _edit(target[step], rest, value, edit)}
    if isinstance(target, list):
        at = _index(step, len(target) - 1)
        return [*target[:at], _edit(target[at], rest, value, edit), *target[at + 1 :]]
    raise PatchError(f"missing path: {step!r}")


def _add(parent: Json, step: str, value: Json) -> Json:
    if isinstance(parent, dict):
        return {**parent, step: value}
    if isinstance(parent, list):
        at = len(parent) if step == "-" else _index(step, len(parent))
        return [*parent[:at], value, *parent[at:]]
    raise PatchError(f"nothing can be added to {parent!r}")


def _replace(parent: Json, step: str, value: Json) -> Json:
    if isinstance(parent, list):
        at = _index(step, len(parent) - 1)
        return [*parent[:at], value, *parent[at + 1 :]]
    return _add(parent, step, value)


def _remove(parent: Json, step: str, _: Json) -> Json:
    if isinstance(parent, dict) and step in parent:
        return {key: value for key, value in parent.items() if key != step}
    if isinstance(parent, list):
        at = _index(step, len(parent) - 1)
        return [*parent[:at], *parent[at + 1 :]]
    raise PatchError(f"missing path: {step!r}")
