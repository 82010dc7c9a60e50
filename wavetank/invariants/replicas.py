"""What the invariants of Deployments count: pods by the ReplicaSet that controls them, kept up event by event."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import attrs

from engine import Deployment, Key, KubeObject, Pod, ReplicaSet
from wavetank.view import View


@attrs.define(eq=False)
class PodCounts:
    """How many pods each ReplicaSet has of which `counts` is true. O(1) for an event; a ReplicaSet met for the first time is counted once."""

    counts: Callable[[Pod], bool]
    _of: dict[str, int] = attrs.field(factory=dict, init=False)

    def observe(self, old: Pod | None, new: Pod | None, view: View) -> bool:
        """Take one change of a pod; returns whether any number changed."""
        before = _owner_uid(old) if old is not None and self.counts(old) else ""
        after = _owner_uid(new) if new is not None and self.counts(new) else ""
        if before == after:
            return False
        for uid, step in ((before, -1), (after, +1)):
            if uid in self._of:
                self._of[uid] += step
            elif uid:
                self._of[uid] = self._counted(uid, view)
        return True

    def of(self, uid: str, view: View) -> int:
        """The number of the ReplicaSet with that uid."""
        found = self._of.get(uid)
        if found is None:
            found = self._of[uid] = self._counted(uid, view)
        return found

    def of_deployment(self, deployment: Deployment, view: View) -> int:
        """The number of all its ReplicaSets together."""
        owned = view.state.controlled_by(deployment.metadata.uid)
        return sum(self.of(replica_set.metadata.uid, view) for replica_set in owned)

    def forget(self, uid: str) -> None:
        """The ReplicaSet is gone."""
        self._of.pop(uid, None)

    def _counted(self, uid: str, view: View) -> int:
        return sum(
            isinstance(pod, Pod) and self.counts(pod) for pod in view.state.controlled_by(uid)
        )


def _owner_uid(pod: Pod) -> str:
    owner = pod.metadata.controller
    return owner.uid if owner is not None and owner.kind == "ReplicaSet" else ""


def deployment_of(obj: KubeObject | None, view: View) -> Deployment | None:
    """The Deployment that the object is, or belongs to."""
    if isinstance(obj, Deployment):
        return obj
    if isinstance(obj, Pod):
        owner = obj.metadata.controller
        if owner is None or owner.kind != "ReplicaSet":
            return None
        found = view.state.raw("ReplicaSet").get(Key(obj.metadata.namespace, owner.name))
        obj = found if found is not None and found.metadata.uid == owner.uid else None
    if isinstance(obj, ReplicaSet):
        owner = obj.metadata.controller
        if owner is not None and owner.kind == "Deployment":
            key = Key(obj.metadata.namespace, owner.name)
            found = view.state.raw("Deployment").get(key)
            if found is not None and found.metadata.uid == owner.uid:
                return cast("Deployment", found)
    return None
