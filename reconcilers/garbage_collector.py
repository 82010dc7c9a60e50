"""The garbage collector: deletes what has lost its owners.

It watches every kind that takes part, custom ones included, and keeps the owner graph
(`garbage_collector_graph.py`). A change there names the objects to examine; each is read live, its
owners are judged, and `garbage_collector_plan.py` says what to do. Absence is never taken from a
cache that might be behind: an owner counts as gone when its removal was delivered or when the
server says so, and every deletion names the uid and resourceVersion that were judged.

Its keys are uids, in the form `Key("", uid)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import attrs

from engine import (
    Change,
    Done,
    Key,
    KubeObject,
    NotFound,
    OwnerReference,
    Reconciler,
    Requeue,
    Resource,
    Result,
    Source,
    Uid,
    UnknownKind,
    Watches,
)
from reconcilers.garbage_collector_graph import (
    FOREGROUND,
    Identity,
    Node,
    OwnerGraph,
    same_to_the_graph,
)
from reconcilers.garbage_collector_plan import (
    Action,
    Delete,
    DropReferences,
    Examine,
    Observed,
    OwnerState,
    Release,
    RemoveFinalizer,
    UnblockOwners,
    plan,
)
from reconcilers.ownership import with_metadata, without_references


class GarbageCollector(Reconciler):
    """Reconciles objects of all kinds, by uid."""

    name: ClassVar[str] = "garbagecollector"
    component: ClassVar[str] = "garbage-collector-controller"
    workers: ClassVar[int] = 20
    """--concurrent-gc-syncs."""

    graph: OwnerGraph

    def sources(self) -> Sequence[Source]:
        """Every kind that takes part in garbage collection."""
        sources = [
            Watches(resource, on_change=self._changed)
            for resource in self.client.scheme.resources
            if resource.garbage_collected
        ]
        return cast("Sequence[Source]", sources)

    async def setup(self) -> None:
        """An empty graph, which the informers fill before the first object is examined."""
        self.graph = OwnerGraph()

    def _changed(self, change: Change[KubeObject]) -> None:
        old, new = change.old, change.new
        if old is not None and new is not None and same_to_the_graph(old.metadata, new.metadata):
            return
        due: list[Uid] = []
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            due += self.graph.remove(old.metadata.uid)
        if new is not None:
            due += self.graph.observe(new)
        self._examine(due)

    def _examine(self, uids: Sequence[Uid]) -> None:
        for uid in uids:
            self.queue.add(Key("", uid))

    async def reconcile(self, key: Key) -> Result:
        """Examine one object: read it live, judge its owners, and do what the plan says."""
        node = self.graph.get(Uid(key.name))
        if node is None or not self._is_worth_a_look(node):
            return Done()
        item = await self._live(node.identity)
        if item is None:
            # Its removal is on its way to us, and will wake its dependants.
            return Done()
        owners, unseen = await self._judge_owners(item)
        if owners is None:
            return Done()
        uid = node.identity.uid
        observed = Observed(
            item=item,
            owners=tuple(owners),
            dependants=tuple(self.graph.dependants(uid)),
            blocking=tuple(self.graph.blocking(uid)),
        )
        for action in plan(observed):
            item = await self._carry_out(item, action)
        # An owner that exists but was not delivered yet may be gone before it ever is: look again
        # until it is seen.
        return Requeue() if unseen else Done()

    def _is_worth_a_look(self, node: Node) -> bool:
        """Whether anything could be done: not while it is merely on its way out, nor while all
        owners are well.
        """
        if node.being_deleted:
            return node.orphaning or node.waiting
        return any(
            self._known_state(reference, node.identity.namespace) is not OwnerState.SOLID
            for reference in node.owners
        )

    def _known_state(self, reference: OwnerReference, namespace: str) -> OwnerState | None:
        """What the graph knows of an owner; None when the server must be asked."""
        if self.graph.is_absent(reference.uid):
            return OwnerState.DANGLING
        owner = self.graph.get(reference.uid)
        if owner is None or not owner.is_meant_by(reference, namespace):
            return None
        return OwnerState.WAITING if owner.waiting else OwnerState.SOLID

    async def _judge_owners(
        self, item: KubeObject
    ) -> tuple[list[tuple[OwnerReference, OwnerState]] | None, bool]:
        """Each owner reference with its state, and whether an owner exists that the graph has not
        seen.

        None when the item must be left alone: a cluster-wide object cannot be owned by one in a
        namespace.
        """
        metadata = item.metadata
        if metadata.deletion_timestamp is not None:
            return [], False
        judged: list[tuple[OwnerReference, OwnerState]] = []
        unseen = False
        for reference in metadata.owner_references:
            state = self._known_state(reference, metadata.namespace)
            if state is None:
                try:
                    resource = self.client.scheme.resource_of(
                        (reference.api_version, reference.kind)
                    )
                except UnknownKind:
                    # Of a kind that nobody serves nothing can be known, and so nothing is deleted.
                    judged.append((reference, OwnerState.SOLID))
                    continue
                if resource.namespaced and not metadata.namespace:
                    return None, False
                self._report_wrong_namespace(item, reference, resource)
                state = await self._live_state(reference, resource, metadata.namespace)
                unseen |= state is not OwnerState.DANGLING and self.graph.get(reference.uid) is None
            judged.append((reference, state))
        return judged, unseen

    async def _live_state(
        self, reference: OwnerReference, resource: Resource, namespace: str
    ) -> OwnerState:
        identity = Identity(
            api_version=resource.api_version,
            kind=resource.kind,
            namespace=namespace if resource.namespaced else "",
            name=reference.name,
            uid=reference.uid,
        )
        owner = await self._live(identity)
        if owner is None:
            return OwnerState.DANGLING
        metadata = owner.metadata
        waits = metadata.deletion_timestamp is not None and FOREGROUND in metadata.finalizers
        return OwnerState.WAITING if waits else OwnerState.SOLID

    async def _live(self, identity: Identity) -> KubeObject | None:
        """The object at the server, or None if it is gone or another has its name."""
        resource = self.client.scheme.resource_of((identity.api_version, identity.kind))
        try:
            obj: KubeObject = await self.client.get(resource, identity.name, identity.namespace)
        except NotFound:
            return None
        return obj if obj.metadata.uid == identity.uid else None

    async def _carry_out(self, item: KubeObject, action: Action) -> KubeObject:
        """Do one action; returns the item as it then is."""
        metadata = item.metadata
        try:
            match action:
                case DropReferences(owners):
                    changed = without_references(metadata, owners)
                    return await self.client.update(with_metadata(item, changed))
                case UnblockOwners():
                    references = tuple(
                        attrs.evolve(r, block_owner_deletion=False)
                        for r in metadata.owner_references
                    )
                    changed = attrs.evolve(metadata, owner_references=references)
                    return await self.client.update(with_metadata(item, changed))
                case RemoveFinalizer(finalizer):
                    kept = tuple(name for name in metadata.finalizers if name != finalizer)
                    changed = attrs.evolve(metadata, finalizers=kept)
                    return await self.client.update(with_metadata(item, changed))
                case Delete(propagation):
                    version = metadata.resource_version
                    return await self.client.delete(
                        item, resource_version=version, propagation=propagation
                    )
                case Release(dependants):
                    for dependant in dependants:
                        await self._release(dependant, metadata.uid)
                case Examine(dependants):
                    self._examine(dependants)
        except NotFound:
            # It went while we looked; its removal is on its way to us.
            return item
        return item

    async def _release(self, dependant: Node, owner: Uid) -> None:
        """Take the reference to `owner` out of a dependant that stays."""
        live = await self._live(dependant.identity)
        if live is None:
            return
        changed = without_references(live.metadata, (owner,))
        if changed != live.metadata:
            try:
                await self.client.update(with_metadata(live, changed))
            except NotFound:
                return

    def _report_wrong_namespace(
        self, item: KubeObject, reference: OwnerReference, resource: Resource
    ) -> None:
        """Say it when an owner is known to be in another namespace: it cannot own the item."""
        owner = self.graph.get(reference.uid)
        namespace = item.metadata.namespace
        if owner is None or not resource.namespaced or owner.identity.namespace == namespace:
            return
        text = (
            f"[{reference.api_version}/{reference.kind}, namespace: {namespace}, "
            f"name: {reference.name}, uid: {reference.uid}]"
        )
        message = f'ownerRef {text} does not exist in namespace "{namespace}"'
        self.recorder.event(item, "Warning", "OwnerRefInvalidNamespace", message)
