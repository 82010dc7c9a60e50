"""The API's errors, with Kubernetes' reasons, codes and messages (api-conventions, "Response Status Kind").

Split by who must act next: `Conflict`, `TooManyRequests`, `Timeout`, `ServerTimeout` and `Unavailable` are worth
trying again after a fresh read or a wait; `Gone` asks for a new list; the rest asks the caller to change the request.
"""

from __future__ import annotations

from typing import ClassVar

import attrs


@attrs.frozen(kw_only=True)
class FieldError:
    """One fault of one field: `path` as `spec.containers[0].image`, `reason` as `FieldValueRequired`,
    `detail` as `Required value`.
    """

    path: str
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}"


class ApiError(Exception):
    """Base of all errors that an API request can raise."""

    reason: ClassVar[str] = ""
    code: ClassVar[int] = 500

    def __init__(
        self, message: str, *, causes: tuple[FieldError, ...] = (), retry_after_seconds: int = 0
    ) -> None:
        super().__init__(message)
        self.message = message
        self.causes = causes
        self.retry_after_seconds = retry_after_seconds


class BadRequest(ApiError):
    """The request itself is wrong."""

    reason, code = "BadRequest", 400


class Forbidden(ApiError):
    """Admission refuses, or the namespace is being deleted."""

    reason, code = "Forbidden", 403


class NotFound(ApiError):
    """There is no such object, kind or subresource."""

    reason, code = "NotFound", 404


class MethodNotAllowed(ApiError):
    """The kind or subresource has no such verb."""

    reason, code = "MethodNotAllowed", 405


class AlreadyExists(ApiError):
    """An object of the name exists."""

    reason, code = "AlreadyExists", 409


class Conflict(ApiError):
    """The object changed since it was read, or a precondition does not hold."""

    reason, code = "Conflict", 409


class Gone(ApiError):
    """The revision asked for is compacted, or older than the watch cache's window: list again."""

    reason, code = "Expired", 410


class Invalid(ApiError):
    """`causes` has every fault of the object, each with its path."""

    reason, code = "Invalid", 422


class TooManyRequests(ApiError):
    """The server, or a disruption budget, asks to wait."""

    reason, code = "TooManyRequests", 429


class InternalError(ApiError):
    """The server cannot do what it should be able to do."""

    reason, code = "InternalError", 500


class ServerTimeout(ApiError):
    """The server gave up; nothing was written."""

    reason, code = "ServerTimeout", 500


class Unavailable(ApiError):
    """No API server could be reached; nothing was written."""

    reason, code = "ServiceUnavailable", 503


class Timeout(ApiError):
    """No answer came in time. A write may have been applied all the same: read before you try again."""

    reason, code = "Timeout", 504
