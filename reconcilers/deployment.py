"""The Deployment controller: versions of a ReplicaSet, one growing while the others shrink.

What to write is decided in `deployment_plan.py`, with the arithmetic in `deployment_rollout.py`,
versions and annotations in `deployment_revision.py`, and conditions in `deployment_status.py`. Here
the ReplicaSets are claimed and the writes done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, cast

from engine import (
    AlreadyExists,
    ApiError,
    Change,
    Deployment,
    Done,
    For,
    Key,
    KubeObject,
    NotFound,
    OwnerReference,
    Pod,
    Reconciler,
    ReplicaSet,
    Requeue,
    RequeueAfter,
    Result,
    Source,
    Watches,
    index_by_namespace,
    key_of,
    replaced,
    selector_of,
)
from reconcilers.deployment_actions import (
    Action,
    CreateReplicaSet,
    DeleteReplicaSet,
    Say,
    UpdateDeployment,
    UpdateReplicaSet,
    UpdateStatus,
)
from reconcilers.deployment_plan import Observed, after_clash, after_failed_create, plan
from reconcilers.deployment_rollout import is_rolling
from reconcilers.ownership import (
    CONTROLLER_INDEX,
    NAMESPACE_INDEX,
    T,
    claim,
    controller_index,
    is_everything,
    namespace_is_terminating,
    orphans_of,
    settle,
    with_metadata,
)


class DeploymentReconciler(Reconciler):
    """Reconciles Deployments."""

    name: ClassVar[str] = "deployment"
    workers: ClassVar[int] = 5
    """--concurrent-deployment-syncs."""

    def sources(self) -> Sequence[Source]:
        """Deployments, their ReplicaSets, and pods, of which only the last one's end matters
        (Recreate).
        """
        sources = (
            For(Deployment),
            Watches(ReplicaSet, on_change=self._replica_set_changed),
            Watches(Pod, on_change=self._pod_changed),
        )
        return cast("Sequence[Source]", sources)

    async def setup(self) -> None:
        """The indexes that keep a sync independent of the size of the cluster."""
        self.informer(Deployment).add_index(NAMESPACE_INDEX, index_by_namespace)
        self.informer(ReplicaSet).add_index(CONTROLLER_INDEX, controller_index)
        self.informer(Pod).add_index(CONTROLLER_INDEX, controller_index)

    async def reconcile(self, key: Key) -> Result:
        """Claim the ReplicaSets and do the writes that the plan says."""
        deployment = self.informer(Deployment).get(key)
        if deployment is None:
            return Done()
        steps = plan(self._observe(deployment, await self._claim(deployment)))
        outcome = await self._carry_out(deployment, steps.actions)
        if outcome is None and steps.check_after is not None:
            return RequeueAfter(steps.check_after)
        return outcome

    # -- what is seen ------------------------------------------------------------------------------

    async def _claim(self, deployment: Deployment) -> list[ReplicaSet]:
        if is_everything(deployment.spec.selector):
            return []
        replica_sets = self.informer(ReplicaSet)
        metadata = deployment.metadata
        candidates = replica_sets.by_index(CONTROLLER_INDEX, metadata.uid)
        candidates += replica_sets.by_index(CONTROLLER_INDEX, orphans_of(metadata.namespace))
        claims = claim(deployment, selector_of(deployment.spec.selector), candidates)
        return await settle(self.client, deployment, claims)

    def _observe(self, deployment: Deployment, replica_sets: list[ReplicaSet]) -> Observed:
        return Observed(
            deployment=deployment,
            replica_sets=tuple(replica_sets),
            pods=() if is_rolling(deployment) else tuple(self._pods_of(replica_sets)),
            now_us=self.clock.unix_us(),
            settings=self.settings,
        )

    def _pods_of(self, replica_sets: Iterable[ReplicaSet]) -> list[Pod]:
        pods = self.informer(Pod)
        return [
            pod
            for replica_set in replica_sets
            for pod in pods.by_index(CONTROLLER_INDEX, replica_set.metadata.uid)
        ]

    # -- what is done ------------------------------------------------------------------------------

    async def _carry_out(self, deployment: Deployment, actions: Iterable[Action]) -> Result:
        """Do the writes in order. Each carries the resourceVersion that the one before it left, so
        a change by anyone else in between is a Conflict, which ends this sync and begins another.
        """
        versions: dict[str, str] = {}

        def current(obj: T) -> T:
            version = versions.get(obj.metadata.uid, obj.metadata.resource_version)
            return with_metadata(obj, replaced(obj.metadata, resource_version=version))

        def written(obj: KubeObject) -> None:
            versions[obj.metadata.uid] = obj.metadata.resource_version

        for action in actions:
            match action:
                case CreateReplicaSet(replica_set):
                    stop = await self._create(deployment, replica_set)
                    if stop is not None:
                        return stop
                case DeleteReplicaSet(replica_set):
                    await self._delete(replica_set)
                case UpdateReplicaSet(changed) | UpdateDeployment(changed):
                    written(await self.client.update(current(changed)))
                case UpdateStatus(changed):
                    written(await self.client.update_status(current(changed)))
                case Say(type_, reason, message):
                    self.recorder.event(deployment, type_, reason, message)
        return None

    async def _create(self, deployment: Deployment, replica_set: ReplicaSet) -> Result:
        """Create the new ReplicaSet; a result other than None ends the sync."""
        try:
            await self.client.create(replica_set)
        except AlreadyExists:
            return await self._clash(deployment, replica_set)
        except ApiError as error:
            if namespace_is_terminating(error):
                return Done()
            now_us = self.clock.unix_us()
            name = replica_set.metadata.name
            await self._carry_out(
                deployment, after_failed_create(deployment, name, error.message, now_us)
            )
            raise
        return None

    async def _clash(self, deployment: Deployment, replica_set: ReplicaSet) -> Result:
        metadata = replica_set.metadata
        existing = await self.client.get(ReplicaSet, metadata.name, metadata.namespace)
        actions = after_clash(deployment, existing)
        await self._carry_out(deployment, actions)
        # Ours but not yet in the cache: its delivery will wake us.
        return Requeue() if actions else Done()

    async def _delete(self, replica_set: ReplicaSet) -> None:
        try:
            await self.client.delete(replica_set)
        except NotFound:
            return

    # -- what wakes it -----------------------------------------------------------------------------

    def _replica_set_changed(self, change: Change[ReplicaSet]) -> None:
        """Wake the owner before and after the change; an orphan wakes all who might adopt it."""
        old, new = change.old, change.new
        for replica_set in (old, new):
            owner = replica_set.metadata.controller if replica_set is not None else None
            if replica_set is not None and owner is not None:
                self._enqueue(self._resolve(replica_set, owner))
        if new is None or new.metadata.controller is not None:
            return
        if new.metadata.deletion_timestamp is not None:
            return
        if (
            old is None
            or old.metadata.controller is not None
            or old.metadata.labels != new.metadata.labels
        ):
            self._enqueue_matching(new)

    def _pod_changed(self, change: Change[Pod]) -> None:
        """The end of the last pod lets a Recreate go on."""
        pod = change.old
        owner = pod.metadata.controller if pod is not None else None
        if change.new is not None or pod is None or owner is None or owner.kind != ReplicaSet.kind:
            return
        replica_sets = self.informer(ReplicaSet)
        replica_set = replica_sets.get(Key(pod.metadata.namespace, owner.name))
        reference = replica_set.metadata.controller if replica_set is not None else None
        if replica_set is None or replica_set.metadata.uid != owner.uid or reference is None:
            return
        deployment = self._resolve(replica_set, reference)
        if deployment is None or is_rolling(deployment):
            return
        siblings = replica_sets.by_index(CONTROLLER_INDEX, deployment.metadata.uid)
        if not self._pods_of(siblings):
            self._enqueue(deployment)

    def _resolve(self, child: ReplicaSet, reference: OwnerReference) -> Deployment | None:
        """The Deployment the reference means, and not merely one of the same name."""
        if reference.kind != Deployment.kind:
            return None
        owner = self.informer(Deployment).get(Key(child.metadata.namespace, reference.name))
        return owner if owner is not None and owner.metadata.uid == reference.uid else None

    def _enqueue(self, deployment: Deployment | None) -> None:
        if deployment is not None:
            self.queue.add(key_of(deployment))

    def _enqueue_matching(self, replica_set: ReplicaSet) -> None:
        metadata = replica_set.metadata
        for deployment in self.informer(Deployment).by_index(NAMESPACE_INDEX, metadata.namespace):
            selector = deployment.spec.selector
            if not is_everything(selector) and selector_of(selector).matches(metadata.labels):
                self._enqueue(deployment)
