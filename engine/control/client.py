"""The typed client: what reconcilers, kubelets and users call.

A `Client` turns typed verbs into `Request` values and sends them through its endpoint, whatever stands behind that:
the API server itself, a link with faults, a recorder. Kinds are named by their class (`Pod`) or, for kinds
without one, by their `Resource`.
"""

from __future__ import annotations

from builtins import list as List  # noqa: N812 - `list` is a method here
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeVar, cast

import attrs

from engine.api.request import (
    Endpoint,
    ObjectList,
    PatchType,
    Preconditions,
    Propagation,
    Request,
    Subresource,
    Verb,
    WatchRequest,
    WatchStream,
)
from engine.objects.base import Json
from engine.objects.binding import Binding, Scale, ScaleSpec
from engine.objects.core import Namespace
from engine.objects.meta import KubeObject, ObjectMeta, ObjectReference, Uid
from engine.objects.pod import Pod
from engine.objects.scheme import Resource, Scheme
from store import maker

T = TypeVar("T", bound=KubeObject)

_new_request: Final = maker(Request)


@attrs.frozen(kw_only=True)
class Client:
    """A way to the cluster for one process. Every method raises ApiError; each is a checkpoint.

    `timeout_seconds` bounds each call when the way to the server is disturbed: after it `Timeout` is raised, and whether
    the write was applied is not known.
    """

    endpoint: Endpoint
    scheme: Scheme
    timeout_seconds: float | None = None

    async def create(self, obj: T) -> T:
        """Create `obj`; returns it as stored. Raises AlreadyExists, Invalid, Forbidden, NotFound (namespace)."""
        return cast("T", await self._send(self._of(Verb.CREATE, obj)))

    async def get(
        self,
        kind: type[T] | Resource,
        name: str,
        namespace: str = "",
        *,
        resource_version: str = "",
    ) -> T:
        """The newest state of one object. Raises NotFound."""
        request = self._request(Verb.GET, kind, name, namespace, resource_version=resource_version)
        return cast("T", await self._send(request))

    async def list(  # noqa: PLR0913 - the options of one list call
        self,
        kind: type[T] | Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        exact: bool = False,
    ) -> List[T]:
        """All matching objects in key order; an empty namespace means all namespaces."""
        listed = await self.list_page(
            kind,
            namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            resource_version=resource_version,
            exact=exact,
        )
        return cast("List[T]", List(listed.items))

    async def list_page(  # noqa: PLR0913 - the options of one list call
        self,
        kind: type[T] | Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        exact: bool = False,
        limit: int = 0,
        continue_token: str = "",
    ) -> ObjectList:
        """One page of a list, with the resourceVersion it shows. Raises Gone for a page whose snapshot is compacted."""
        request = self._request(
            Verb.LIST,
            kind,
            "",
            namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            resource_version=resource_version,
            exact=exact,
            limit=limit,
            continue_token=continue_token,
        )
        answer = await self.endpoint.request(request)
        assert isinstance(answer, ObjectList)
        return answer

    def watch(
        self,
        kind: type[T] | Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
    ) -> AbstractAsyncContextManager[WatchStream]:
        """A watch from `resource_version` on, open for the length of the block. Raises Gone."""
        return self.endpoint.watch(
            WatchRequest(
                resource=self.scheme.resource_of(kind),
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                resource_version=resource_version,
            )
        )

    async def update(self, obj: T) -> T:
        """Replace `obj`; with a resourceVersion, only if it is the newest. Raises Conflict, NotFound, Invalid."""
        return cast("T", await self._send(self._of(Verb.UPDATE, obj)))

    async def update_status(self, obj: T) -> T:
        """Replace the status of `obj`, and nothing else. Raises as `update`."""
        return cast("T", await self._send(self._of(Verb.UPDATE, obj, "status")))

    async def patch(  # noqa: PLR0913 - the options of one patch call
        self,
        kind: type[T] | Resource,
        name: str,
        namespace: str,
        patch: Json,
        *,
        patch_type: PatchType = PatchType.MERGE,
        subresource: Subresource = "",
    ) -> T:
        """Patch one object. Raises NotFound, Conflict (resourceVersion in the patch), Invalid."""
        request = self._request(
            Verb.PATCH,
            kind,
            name,
            namespace,
            patch=patch,
            patch_type=patch_type,
            subresource=subresource,
        )
        return cast("T", await self._send(request))

    async def apply(self, obj: KubeObject) -> KubeObject:
        """Create or update `obj` as `kubectl apply` does, keeping what others set. Raises Invalid."""
        metadata = obj.metadata
        request = self._request(
            Verb.PATCH,
            self.scheme.resource_of(obj),
            metadata.name,
            metadata.namespace,
            patch=self.scheme.to_dict(obj),
            patch_type=PatchType.APPLY,
        )
        return await self._send(request)

    async def delete(  # noqa: PLR0913 - the options of one delete call
        self,
        kind: type[T] | Resource | KubeObject,
        name: str = "",
        namespace: str = "",
        *,
        uid: Uid | None = None,
        resource_version: str | None = None,
        propagation: Propagation | None = None,
        grace_period_seconds: int | None = None,
    ) -> KubeObject:
        """Delete an object: by kind and name, or the very object given (its uid is then a precondition).

        Returns the object as it was left: marked for deletion, or as it was when it was removed.
        Raises NotFound, Conflict (preconditions).
        """
        if not isinstance(kind, (type, Resource)):
            metadata = kind.metadata
            name, namespace = metadata.name, metadata.namespace
            uid = uid if uid is not None else metadata.uid or None
        request = self._request(
            Verb.DELETE,
            self.scheme.resource_of(kind),
            name,
            namespace,
            preconditions=Preconditions(uid=uid, resource_version=resource_version),
            propagation=propagation,
            grace_period_seconds=grace_period_seconds,
        )
        return await self._send(request)

    async def bind(self, pod: Pod, node_name: str) -> None:
        """Assign `pod` to a node. Raises Conflict when it is bound already, is being deleted, or is another of the name."""
        metadata = pod.metadata
        binding = Binding(
            metadata=ObjectMeta(name=metadata.name, namespace=metadata.namespace, uid=metadata.uid),
            target=ObjectReference(kind="Node", name=node_name),
        )
        await self.endpoint.request(self._of(Verb.CREATE, pod, "binding", binding))

    async def scale(
        self, kind: type[T] | Resource, name: str, namespace: str, replicas: int
    ) -> None:
        """Set the desired replicas through the scale subresource. Raises NotFound, Invalid."""
        scale = Scale(
            metadata=ObjectMeta(name=name, namespace=namespace), spec=ScaleSpec(replicas=replicas)
        )
        await self._send(
            self._request(Verb.UPDATE, kind, name, namespace, object=scale, subresource="scale")
        )

    async def finalize(self, namespace: Namespace) -> Namespace:
        """Write `spec.finalizers` of a namespace, which only this subresource may. Raises Conflict, NotFound."""
        return cast("Namespace", await self._send(self._of(Verb.UPDATE, namespace, "finalize")))

    async def _send(self, request: Request) -> KubeObject:
        answer = await self.endpoint.request(request)
        assert answer is not None
        assert not isinstance(answer, ObjectList)
        return answer

    def _request(
        self,
        verb: Verb,
        kind: type[T] | Resource,
        name: str,
        namespace: str,
        **options: object,
    ) -> Request:
        return Request(
            verb=verb,
            resource=self.scheme.resource_of(kind),
            name=name,
            namespace=namespace,
            timeout_seconds=self.timeout_seconds,
            **options,  # type: ignore[arg-type]  # Request's own, checked by its __init__
        )

    def _of(
        self,
        verb: Verb,
        obj: KubeObject,
        subresource: Subresource = "",
        body: KubeObject | None = None,
    ) -> Request:
        """A write of `obj`: what most requests are."""
        metadata = obj.metadata
        return _new_request(
            verb,
            self.scheme.resource_of(obj),
            metadata.name,
            metadata.namespace,
            subresource,
            obj if body is None else body,
            timeout_seconds=self.timeout_seconds,
        )
