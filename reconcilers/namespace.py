"""The namespace controller: empties a namespace that is being deleted, then lets it go.

A deleted namespace keeps the finalizer `kubernetes` in its spec. This controller deletes everything
in it, kind by kind, looks again until nothing remains, and takes the finalizer out (controllers.md
5.4). It reads live, not from caches: an object that a cache does not show yet would outlive its
namespace. `namespace_plan.py` decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, cast

import attrs

from engine import (
    ApiError,
    Change,
    Conflict,
    Done,
    Key,
    KubeObject,
    MethodNotAllowed,
    Namespace,
    NotFound,
    Propagation,
    Reconciler,
    RequeueAfter,
    Resource,
    Result,
    Source,
    Watches,
    key_of,
)
from reconcilers.namespace_plan import (
    Finalize,
    Observed,
    Remaining,
    Retry,
    UpdateStatus,
    Wait,
    deletion_order,
    mark_terminating,
    plan,
)

RETRY_BASE: Final = 0.005
RETRY_MAX: Final = 60.0
"""Seconds between tries after a failure, doubled from the first to the second (nsController's rate
limiter).
"""

_GARBAGE_FINALIZERS: Final = ("orphan", "foregroundDeletion")


class NamespaceReconciler(Reconciler):
    """Reconciles namespaces that are being deleted."""

    name: ClassVar[str] = "namespace"
    workers: ClassVar[int] = 10
    """--concurrent-namespace-syncs."""

    _failures: dict[Key, int]

    def sources(self) -> Sequence[Source]:
        """Namespaces."""
        return cast("Sequence[Source]", (Watches(Namespace, on_change=self._changed),))

    async def setup(self) -> None:
        """No failures yet."""
        self._failures = {}

    def _changed(self, change: Change[Namespace]) -> None:
        """Begin a while after the deletion: creates that were admitted before it are then done."""
        namespace = change.new
        if namespace is not None and namespace.metadata.deletion_timestamp is not None:
            self.queue.add_after(key_of(namespace), self.settings.namespace_deletion_grace)

    async def reconcile(self, key: Key) -> Result:
        """One round: mark, delete, look what remains, and do what the plan says."""
        try:
            namespace = await self.client.get(Namespace, key.name)
            if namespace.metadata.deletion_timestamp is None:
                return Done()
            if namespace.status.phase != "Terminating":
                namespace = await self.client.update_status(mark_terminating(namespace))
            remaining, errors = await self._delete_content(key.name)
            observed = Observed(
                namespace=namespace,
                remaining=tuple(remaining),
                errors=tuple(errors),
                now_us=self.clock.unix_us(),
            )
            return await self._carry_out(key, observed)
        except NotFound:
            self._failures.pop(key, None)
            return Done()

    async def _carry_out(self, key: Key, observed: Observed) -> Result:
        result: Result = Done()
        version = observed.namespace.metadata.resource_version
        for action in plan(observed):
            match action:
                case UpdateStatus(namespace):
                    written = await self.client.update_status(namespace)
                    version = written.metadata.resource_version
                case Finalize(namespace):
                    metadata = attrs.evolve(namespace.metadata, resource_version=version)
                    await self.client.finalize(attrs.evolve(namespace, metadata=metadata))
                case Wait(seconds):
                    result = RequeueAfter(seconds)
                case Retry():
                    tries = self._failures.get(key, 0)
                    self._failures[key] = tries + 1
                    return RequeueAfter(min(RETRY_BASE * float(2 ** min(tries, 20)), RETRY_MAX))
        self._failures.pop(key, None)
        return result

    async def _delete_content(self, name: str) -> tuple[list[Remaining], list[str]]:
        """Delete everything in the namespace; returns what remains, by kind, and the errors met."""
        remaining: list[Remaining] = []
        errors: list[str] = []
        pods_first = self.settings.at_least("1.33")
        for resource in deletion_order(self.client.scheme.resources, pods_first=pods_first):
            try:
                objects = await self._delete_kind(resource, name, errors)
            except MethodNotAllowed:
                continue
            except ApiError as error:
                errors.append(error.message)
                continue
            if objects:
                remaining.append(Remaining(resource=resource, objects=tuple(objects)))
                if pods_first and resource.group_resource == "pods":
                    break
        return remaining, errors

    async def _delete_kind(
        self, resource: Resource, namespace: str, errors: list[str]
    ) -> list[KubeObject]:
        objects: list[KubeObject] = await self.client.list(resource, namespace)
        for obj in objects:
            metadata = obj.metadata
            held = any(name in _GARBAGE_FINALIZERS for name in metadata.finalizers)
            if metadata.deletion_timestamp is not None and not held:
                continue
            try:
                await self.client.delete(obj, propagation=Propagation.BACKGROUND)
            except (NotFound, Conflict):
                # Gone, or another object by now: the list below tells.
                continue
            except ApiError as error:
                errors.append(error.message)
        return await self.client.list(resource, namespace) if objects else []
