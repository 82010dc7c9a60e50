"""Who manages what: controller references, and the adoption and release of children.

A controller owns the children that carry its uid in the reference with `controller: true`. Its
selector decides the rest: an orphan that matches is adopted, a child that has ceased to match is
let go. `claim` sorts the candidates and touches nothing; `settle` carries the sorting out through
the client.

    A ReplicaSet `web` (uid u1, selector app=web) looks at four pods: one of u1 that matches is
    *kept*, one of u1 whose label was changed is *released*, an orphan with app=web is *adopted*,
    and a pod of u2 is left alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, Generic, TypeVar, cast

import attrs

from engine import (
    ApiError,
    Client,
    Conflict,
    Invalid,
    KubeObject,
    LabelSelector,
    NotFound,
    ObjectMeta,
    Pod,
    Selector,
    Uid,
    controller_ref,
)

T = TypeVar("T", bound=KubeObject)

NAMESPACE_TERMINATING: Final = "NamespaceTerminating"
"""Cause of a Forbidden create (api/core/v1 NamespaceTerminatingCause)."""

CONTROLLER_INDEX: Final = "reconcilers/controller"
"""Index of children by `controller_index`."""

NAMESPACE_INDEX: Final = "reconcilers/namespace"
"""Index of possible owners by namespace."""


def orphans_of(namespace: str) -> str:
    """The value under which `controller_index` keeps the objects of a namespace that have no
    controller.
    """
    return f"orphans/{namespace}"


def controller_index(obj: KubeObject) -> tuple[str, ...]:
    """Index function: the uid of the controller, or `orphans_of` the namespace.

    So a controller finds its candidates without looking at the rest of the namespace (Kubernetes
    1.34's pod controller index has the same two kinds of value).
    """
    owner = obj.metadata.controller
    return (owner.uid if owner is not None else orphans_of(obj.metadata.namespace),)


def namespace_is_terminating(error: ApiError) -> bool:
    """Whether a create was refused because its namespace is being deleted: nothing will help, so
    nothing is tried again and nothing is said (controllers.md 0.13).
    """
    return any(cause.reason == NAMESPACE_TERMINATING for cause in error.causes)


def is_everything(selector: LabelSelector | None) -> bool:
    """Whether a selector is present and has no requirement: it would take every object."""
    return selector is not None and not selector.match_labels and not selector.match_expressions


@attrs.frozen(kw_only=True)
class Claims(Generic[T]):
    """The candidates that concern a controller, each once, in the order given."""

    kept: tuple[T, ...] = ()
    adopted: tuple[T, ...] = ()
    released: tuple[T, ...] = ()


def claim(owner: KubeObject, selector: Selector, candidates: Iterable[T]) -> Claims[T]:
    """Sort the candidates by the rules of controllers.md 0.10."""
    uid = owner.metadata.uid
    leaving = owner.metadata.deletion_timestamp is not None
    # The children of one template share one map of labels: looked at once, not once for each.
    labels: Mapping[str, str] | None = None
    matches = False
    kept: list[T] = []
    adopted: list[T] = []
    released: list[T] = []
    for candidate in candidates:
        metadata = candidate.metadata
        reference = metadata.controller
        if metadata.labels is not labels:
            labels = metadata.labels
            matches = selector.matches(labels)
        if reference is not None:
            if reference.uid != uid:
                continue
            if matches:
                kept.append(candidate)
            elif not leaving:
                released.append(candidate)
        elif matches and not leaving and metadata.deletion_timestamp is None:
            adopted.append(candidate)
    return Claims(kept=tuple(kept), adopted=tuple(adopted), released=tuple(released))


def without_references(metadata: ObjectMeta, uids: Iterable[Uid]) -> ObjectMeta:
    """The metadata without the references to those owners."""
    gone = dict.fromkeys(uids)
    references = tuple(r for r in metadata.owner_references if r.uid not in gone)
    return attrs.evolve(metadata, owner_references=references)


def with_metadata(obj: T, metadata: ObjectMeta) -> T:
    """`obj` with other metadata, whatever its kind: all are attrs classes with that field."""
    changed: KubeObject = attrs.evolve(cast("Pod", obj), metadata=metadata)
    return cast("T", changed)


async def settle(client: Client, owner: KubeObject, claims: Claims[T]) -> list[T]:
    """Adopt and release as `claims` says; returns the children that are the owner's now.

    Before the first adoption the owner is read live: a cached owner may be gone, and a child
    adopted by it would be lost to its successor. Writes carry the child's resourceVersion, so a
    child that changed meanwhile is a Conflict and is looked at again. Raises ApiError.
    """
    children = list(claims.kept)
    for child in claims.released:
        metadata = without_references(child.metadata, (owner.metadata.uid,))
        await _write_unless_gone(client.update, with_metadata(child, metadata))
    if claims.adopted:
        await _refuse_adoption_by_a_ghost(client, owner)
        reference = controller_ref(owner)
        for child in claims.adopted:
            references = (*child.metadata.owner_references, reference)
            metadata = attrs.evolve(child.metadata, owner_references=references)
            adopted = await _write_unless_gone(client.update, with_metadata(child, metadata))
            if adopted is not None:
                children.append(adopted)
    return children


async def _write_unless_gone(write: Callable[[T], Awaitable[T]], obj: T) -> T | None:
    try:
        return await write(obj)
    except (NotFound, Invalid):
        # 404: nothing left to claim. 422: the name now belongs to another object (its uid differs).
        return None


async def _refuse_adoption_by_a_ghost(client: Client, owner: KubeObject) -> None:
    metadata = owner.metadata
    resource = client.scheme.resource_of(owner)
    live: KubeObject = await client.get(resource, metadata.name, metadata.namespace)
    if live.metadata.uid != metadata.uid:
        raise Conflict(
            f"original {owner.kind} {metadata.namespace}/{metadata.name} is gone: "
            f"got uid {live.metadata.uid}, wanted {metadata.uid}"
        )
    if live.metadata.deletion_timestamp is not None:
        raise Conflict(
            f"{metadata.namespace}/{metadata.name} has just been deleted at "
            f"{live.metadata.deletion_timestamp}"
        )
