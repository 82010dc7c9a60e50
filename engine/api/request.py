"""What a process asks of the API server, and the seam it asks through.

Every process reaches the cluster through an `Endpoint`: the API server is one, a link that may delay, drop or
partition wraps one, and so may a recorder, a counter or an HTTP front. A `Request` is a value, so that each of them can
look at it, keep it or refuse it.
"""

from __future__ import annotations

import enum
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

import attrs

from engine.objects.base import Json
from engine.objects.meta import KubeObject, Uid
from engine.objects.scheme import Resource


class Verb(enum.Enum):
    """The verbs of the API, as audit logs and RBAC spell them."""

    __hash__ = object.__hash__
    """A member is equal to itself alone, and by identity it is found without a call of Python's: requests are routed by their verb."""

    CREATE = "create"
    GET = "get"
    LIST = "list"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"


class Propagation(enum.Enum):
    """What a delete does with the dependants (`propagationPolicy`)."""

    BACKGROUND = "Background"
    FOREGROUND = "Foreground"
    ORPHAN = "Orphan"


class PatchType(enum.Enum):
    """The patch formats, by content type."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    APPLY = "application/apply-patch+yaml"
    """Client-side apply, done whole at the server: three-way merge of last-applied, live and the manifest given;
    creates the object when it is absent."""


Subresource = Literal["", "status", "scale", "binding", "finalize"]


@attrs.frozen(kw_only=True)
class Preconditions:
    """A delete goes ahead only if these match; None matches anything."""

    uid: Uid | None = None
    resource_version: str | None = None


@attrs.frozen(kw_only=True)
class Request:
    """One call of the API.

    `object` is the body of create and update (for `binding` a `Binding`, for `scale` a `Scale`); `patch` the body of a
    patch, in JSON terms. Selectors are in their text form. `resource_version` is of get and list: "" the newest, "0" whatever
    the server's cache has, "N" at least N; with `exact`, exactly N. `limit` 0 means all.
    `timeout_seconds` is how long the caller waits for the answer; None waits for ever.
    """

    verb: Verb
    resource: Resource
    name: str = ""
    namespace: str = ""
    subresource: Subresource = ""
    object: KubeObject | None = None
    patch: Json = None
    patch_type: PatchType | None = None
    label_selector: str = ""
    field_selector: str = ""
    resource_version: str = ""
    exact: bool = False
    limit: int = 0
    continue_token: str = ""
    preconditions: Preconditions = Preconditions()
    propagation: Propagation | None = None
    grace_period_seconds: int | None = None
    timeout_seconds: float | None = None


@attrs.frozen(kw_only=True)
class ObjectList:
    """The answer to a list: `items` in key order, `resource_version` of the moment it shows,
    `continue_token` when a limit cut it.
    """

    items: tuple[KubeObject, ...]
    resource_version: str
    continue_token: str = ""


class WatchEventType(enum.Enum):
    """What a watcher is told about an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@attrs.frozen
class WatchEvent:
    """One change, as a watcher with selectors sees it; `revision` is the object's resourceVersion as an integer.

    An object that leaves the selector is DELETED, with its old content and the new revision. A BOOKMARK has
    no object and promises that nothing up to `revision` is outstanding.
    """

    type: WatchEventType
    object: KubeObject | None
    revision: int


@attrs.frozen(kw_only=True)
class WatchRequest:
    """Watch a kind from `resource_version` (exclusive): "" or "0" begin with an ADDED for every object."""

    resource: Resource
    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""
    resource_version: str = ""
    timeout_seconds: float | None = None


class WatchStream(Protocol):
    """An open watch."""

    async def receive(self) -> tuple[WatchEvent, ...]:
        """Wait for the next batch: at least one event, all of a revision together.

        Raises Gone when the history it needs is compacted, trio.EndOfChannel when the server ends the stream
        (time-out, restart, slow consumer): watch again from the last revision seen.
        """
        ...


class Endpoint(Protocol):
    """The narrow way to the cluster; every fault acts here."""

    async def request(self, request: Request) -> KubeObject | ObjectList | None:
        """Carry out one call. A delete that removes the object at once returns its last state.

        Raises ApiError.
        """
        ...

    def watch(self, request: WatchRequest) -> AbstractAsyncContextManager[WatchStream]:
        """Open a watch for the length of the block. Entering raises ApiError."""
        ...
