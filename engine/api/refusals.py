"""The API's errors as the server words them (reference/api.md, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from engine.api.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    FieldError,
    Forbidden,
    Gone,
    InternalError,
    Invalid,
    NotFound,
    Timeout,
    Unavailable,
)
from engine.objects.scheme import Resource
from store import OutcomeUnknown, StoreClosed, StoreError, StoreFailed, StoreUnavailable

MODIFIED: Final = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def not_found(resource: Resource, name: str) -> NotFound:
    """There is no object of the name."""
    return NotFound(f'{resource.group_resource} "{name}" not found')


def no_such_path() -> NotFound:
    """There is no such kind or subresource."""
    return NotFound("the server could not find the requested resource")


def already_exists(resource: Resource, name: str, *, generated: bool = False) -> AlreadyExists:
    """The name is taken; `generated` when every generated one was."""
    text = f'{resource.group_resource} "{name}" already exists'
    if generated:
        text += ", the server was not able to generate a unique name for the object"
    return AlreadyExists(text)


def conflict(resource: Resource, name: str, why: str, *, subresource: str = "") -> Conflict:
    """The object is not as the caller thinks."""
    what = f"{resource.group_resource}/{subresource}" if subresource else resource.group_resource
    return Conflict(f'Operation cannot be fulfilled on {what} "{name}": {why}')


def forbidden(
    resource: Resource, name: str, why: str, *, causes: tuple[FieldError, ...] = ()
) -> Forbidden:
    """Admission refuses."""
    shown = f' "{name}"' if name else ""
    return Forbidden(f"{resource.group_resource}{shown} is forbidden: {why}", causes=causes)


def invalid(group_kind: str, name: str, faults: Sequence[FieldError]) -> Invalid:
    """The object breaks the rules of its kind; equal faults are shown once."""
    shown = list(dict.fromkeys(str(fault) for fault in faults))
    text = shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"
    return Invalid(f'{group_kind} "{name}" is invalid: {text}', causes=tuple(faults))


def too_old(revision: int, oldest: int) -> Gone:
    """A watch asks for changes that are no longer kept."""
    return Gone(f"too old resource version: {revision} ({oldest})")


def too_large(revision: int, current: int) -> Timeout:
    """A read asks for a revision that has not come yet."""
    cause = FieldError(
        path="", reason="ResourceVersionTooLarge", detail="Too large resource version"
    )
    return Timeout(
        f"Timeout: Too large resource version: {revision}, current: {current}",
        causes=(cause,),
        retry_after_seconds=1,
    )


def translated(error: StoreError) -> ApiError:
    """What the store refuses, in the API's terms. A refusal that a verb foresees has been translated by it."""
    if isinstance(error, OutcomeUnknown):
        return Timeout(f"Timeout: {error}")
    if isinstance(error, (StoreClosed, StoreFailed, StoreUnavailable)):
        return unavailable()
    return InternalError(f"Internal error occurred: {error}")


def unavailable() -> Unavailable:
    """The API server is not running."""
    return Unavailable("the server is currently unable to handle the request")
