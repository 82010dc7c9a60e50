"""The owner graph: every object by its uid, with its owners and its dependants.

Fed by informers of all kinds, in whatever order they deliver, the graph answers who must be
examined after a change. It keeps the dependants of owners that it has never seen as well, for an
owner may be delivered after what it owns, or be gone. Names do not count here, only uids: an object
made again under its old name owns nothing of its predecessor.

    A ReplicaSet u1 and a pod u2 of it. Pod first: u1 is unknown, so u2 is to be examined. Then u1:
    nothing. u1 is removed: u2 is to be examined, and whoever examines it finds its owner absent.

Each change costs O(references + dependants of the object), never a look at the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from engine import KubeObject, ObjectMeta, OwnerReference, Uid

ORPHAN: Final = "orphan"
FOREGROUND: Final = "foregroundDeletion"
"""Finalizers that say what becomes of the dependants of an object that is being deleted."""

ABSENT_LIMIT: Final = 500
"""Removed owners remembered, so that their dependants need not ask for them (absentOwnerCache)."""


@attrs.frozen(kw_only=True)
class Identity:
    """The coordinates of an object and its uid."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: Uid


def identity_of(obj: KubeObject) -> Identity:
    """The identity of `obj`."""
    metadata = obj.metadata
    return Identity(
        api_version=obj.api_version,
        kind=obj.kind,
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
    )


def group_of(api_version: str) -> str:
    """The group of an apiVersion: a reference may name another version than the object has."""
    return api_version.rpartition("/")[0]


@attrs.frozen(kw_only=True)
class Node:
    """What the graph knows of one object."""

    identity: Identity
    owners: tuple[OwnerReference, ...] = ()
    being_deleted: bool = False
    orphaning: bool = False
    """Being deleted, and its dependants are first to be let go."""
    waiting: bool = False
    """Being deleted in the foreground: it waits for its dependants to be deleted."""

    def is_meant_by(self, reference: OwnerReference, namespace: str) -> bool:
        """Whether a reference in an object of `namespace` has this object's coordinates."""
        own = self.identity
        return (
            reference.uid == own.uid
            and reference.name == own.name
            and reference.kind == own.kind
            and group_of(reference.api_version) == group_of(own.api_version)
            and own.namespace in {"", namespace}
        )


def node_of(obj: KubeObject) -> Node:
    """The node of an object as it is now."""
    metadata = obj.metadata
    leaving = metadata.deletion_timestamp is not None
    return Node(
        identity=identity_of(obj),
        owners=metadata.owner_references,
        being_deleted=leaving,
        orphaning=leaving and ORPHAN in metadata.finalizers,
        waiting=leaving and FOREGROUND in metadata.finalizers,
    )


def same_to_the_graph(old: ObjectMeta, new: ObjectMeta) -> bool:
    """Whether a change of an object makes no difference to its node; so it is with nearly all."""
    return (
        old.uid == new.uid
        and old.deletion_timestamp == new.deletion_timestamp
        and old.owner_references == new.owner_references
        and old.finalizers == new.finalizers
    )


@attrs.frozen(kw_only=True)
class GraphStatistics:
    """Objects, and references between them or to owners not seen."""

    nodes: int
    references: int


@attrs.define(eq=False)
class OwnerGraph:
    """See the module's text. `observe` and `remove` return the uids to examine, each once, in a
    fixed order.
    """

    _nodes: dict[Uid, Node] = attrs.field(factory=dict, init=False)
    _dependants: dict[Uid, dict[Uid, None]] = attrs.field(factory=dict, init=False)
    _absent: dict[Uid, None] = attrs.field(factory=dict, init=False)

    def get(self, uid: Uid) -> Node | None:
        """The node, if its object was seen and not seen removed."""
        return self._nodes.get(uid)

    def is_absent(self, uid: Uid) -> bool:
        """Whether the object is known to be gone; uids never come back."""
        return uid in self._absent

    def dependants(self, uid: Uid) -> list[Node]:
        """The objects that name it as an owner, in the order in which they did."""
        return [self._nodes[dependant] for dependant in self._dependants.get(uid, ())]

    def blocking(self, uid: Uid) -> list[Node]:
        """The dependants that a foreground deletion waits for."""
        return [
            node
            for node in self.dependants(uid)
            if any(r.uid == uid and r.block_owner_deletion for r in node.owners)
        ]

    def observe(self, obj: KubeObject) -> list[Uid]:
        """`obj` was added or changed."""
        node = node_of(obj)
        uid = node.identity.uid
        before = self._nodes.get(uid)
        self._nodes[uid] = node
        due: dict[Uid, None] = {}
        self._relink(uid, before.owners if before is not None else (), node.owners, due)
        self._check_references(node, before, due)
        if before is None:
            # Dependants that came first may have meant something else by this uid.
            for dependant in self.dependants(uid):
                references = [r for r in dependant.owners if r.uid == uid]
                namespace = dependant.identity.namespace
                if not all(node.is_meant_by(r, namespace) for r in references):
                    due[dependant.identity.uid] = None
        if node.waiting and (before is None or not before.waiting):
            due.update(dict.fromkeys(d.identity.uid for d in self.dependants(uid)))
            due[uid] = None
        if node.orphaning and (before is None or not before.orphaning):
            due[uid] = None
        return list(due)

    def remove(self, uid: Uid) -> list[Uid]:
        """The object is gone."""
        node = self._nodes.pop(uid, None)
        if node is None:
            return []
        due: dict[Uid, None] = dict.fromkeys(self._dependants.get(uid, ()))
        if due:
            self._remember_absent(uid)
        for reference in node.owners:
            self._unlink(uid, reference.uid)
            owner = self._nodes.get(reference.uid)
            if owner is not None and owner.waiting:
                due[reference.uid] = None
        return list(due)

    def statistics(self) -> GraphStatistics:
        """How large it is."""
        references = sum(len(dependants) for dependants in self._dependants.values())
        return GraphStatistics(nodes=len(self._nodes), references=references)

    def check(self) -> None:
        """Assert that owners and dependants say the same."""
        expected: dict[Uid, dict[Uid, None]] = {}
        for uid, node in self._nodes.items():
            for reference in node.owners:
                expected.setdefault(reference.uid, {})[uid] = None
        assert expected == self._dependants, "the dependants are not those that the references name"
        assert len(self._absent) <= ABSENT_LIMIT

    def _relink(
        self,
        uid: Uid,
        before: Sequence[OwnerReference],
        after: Sequence[OwnerReference],
        due: dict[Uid, None],
    ) -> None:
        """Follow a change of references; an owner that no longer waits for this object is to be
        examined.
        """
        if before == after:
            return
        still = dict.fromkeys(r.uid for r in after)
        blocked = dict.fromkeys(r.uid for r in after if r.block_owner_deletion)
        for reference in before:
            if reference.uid not in still:
                self._unlink(uid, reference.uid)
            if reference.block_owner_deletion and reference.uid not in blocked:
                owner = self._nodes.get(reference.uid)
                if owner is not None and owner.waiting:
                    due[reference.uid] = None
        for owner_uid in still:
            self._dependants.setdefault(owner_uid, {})[uid] = None

    def _check_references(self, node: Node, before: Node | None, due: dict[Uid, None]) -> None:
        """An object whose owner is unknown, or not what it says, is to be examined; so is one whose
        owner waits.
        """
        if before is not None and before.owners == node.owners:
            return
        for reference in node.owners:
            owner = self._nodes.get(reference.uid)
            if (
                owner is None
                or owner.waiting
                or not owner.is_meant_by(reference, node.identity.namespace)
            ):
                due[node.identity.uid] = None

    def _unlink(self, uid: Uid, owner: Uid) -> None:
        dependants = self._dependants.get(owner)
        if dependants is not None:
            dependants.pop(uid, None)
            if not dependants:
                del self._dependants[owner]

    def _remember_absent(self, uid: Uid) -> None:
        self._absent[uid] = None
        if len(self._absent) > ABSENT_LIMIT:
            del self._absent[next(iter(self._absent))]
