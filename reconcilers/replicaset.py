"""The ReplicaSet controller: keeps as many pods as it is told to, no more and no fewer.

One engine serves ReplicaSets and ReplicationControllers (`replication_controller.py`): a subclass
says which kind it reads and how that kind looks as a ReplicaSet. What to do is decided in
`replicaset_plan.py`; which pods are its own in `ownership.py`; whether it may act on what it sees
in `expectations.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, TypeAlias, cast

import attrs
import trio

from engine import (
    ApiError,
    Change,
    Done,
    For,
    Informer,
    Key,
    NotFound,
    OwnerReference,
    Pod,
    Reconciler,
    ReplicaSet,
    ReplicaSetStatus,
    ReplicationController,
    RequeueAfter,
    Result,
    Source,
    Watches,
    index_by_namespace,
    is_active,
    key_of,
    replaced,
    selector_of,
)
from reconcilers.expectations import Expectations
from reconcilers.ownership import (
    CONTROLLER_INDEX,
    NAMESPACE_INDEX,
    claim,
    controller_index,
    namespace_is_terminating,
    orphans_of,
    settle,
)
from reconcilers.replicaset_plan import (
    Action,
    CreatePods,
    DeletePods,
    Observed,
    batches,
    desired,
    next_check,
    plan,
    pod_of,
    status_of,
)

Owner: TypeAlias = ReplicaSet | ReplicationController

_NS: Final = 1_000_000_000

_ACTIVE_INDEX: Final = "replicaset/active pods"
"""Those that count, by `controller_index`: a sync looks at the pods of its ReplicaSet alone, and not at whether each of them counts."""


def _active_by_controller(pod: Pod) -> tuple[str, ...]:
    return controller_index(pod) if is_active(pod) else ()


class ReplicaSetReconciler(Reconciler):
    """Reconciles ReplicaSets; the base of the ReplicationController's."""

    name: ClassVar[str] = "replicaset"
    workers: ClassVar[int] = 5
    """--concurrent-replicaset-syncs."""
    kind: ClassVar[type[Owner]] = ReplicaSet

    expectations: Expectations

    def view(self, owner: Owner) -> ReplicaSet:
        """The object as a ReplicaSet."""
        assert isinstance(owner, ReplicaSet)
        return owner

    def sources(self) -> Sequence[Source]:
        """Its own kind, and pods, whose changes `_pod_changed` routes."""
        sources = (
            For(cast("type[ReplicaSet]", self.kind), on_change=self._owner_changed),
            Watches(Pod, on_change=self._pod_changed),
        )
        return cast("Sequence[Source]", sources)

    async def setup(self) -> None:
        """Empty expectations, and the indexes that keep a sync independent of the size of the
        cluster.
        """
        self.expectations = Expectations(int(self.settings.expectations_timeout * _NS))
        self.informer(Pod).add_index(CONTROLLER_INDEX, controller_index)
        self.informer(Pod).add_index(_ACTIVE_INDEX, _active_by_controller)
        self._owners.add_index(CONTROLLER_INDEX, controller_index)
        self._owners.add_index(NAMESPACE_INDEX, index_by_namespace)

    async def reconcile(self, key: Key) -> Result:
        """Claim the pods, make or delete what the plan says, and write the status, whatever came of
        it.
        """
        owner = self._owners.get(key)
        if owner is None:
            self.expectations.forget(key)
            return Done()
        # Asked before the pods are read: what is delivered in between can only make the answer too
        # careful.
        fulfilled = self.expectations.fulfilled(key, self.clock.now_ns())
        observed = self._observe(owner, await self._claim(owner), fulfilled=fulfilled)
        failure: ApiError | None = None
        for action in plan(observed):
            failure = await self._carry_out(owner, action)
        status = status_of(observed, "" if failure is None else failure.message)
        await self._write_status(owner, status)
        if failure is not None:
            raise failure
        # A pod that turns ready wakes us, so this also stands for the wake-up of 4.1.2 after
        # minReadySeconds.
        wait = next_check(observed)
        return Done() if wait is None else RequeueAfter(wait)

    # -- what is seen ------------------------------------------------------------------------------

    @property
    def _owners(self) -> Informer[Owner]:
        return cast("Informer[Owner]", self.informer(cast("type[ReplicaSet]", self.kind)))

    async def _claim(self, owner: Owner) -> list[Pod]:
        pods = self.informer(Pod)
        metadata = owner.metadata
        candidates = pods.by_index(_ACTIVE_INDEX, metadata.uid)
        candidates += pods.by_index(_ACTIVE_INDEX, orphans_of(metadata.namespace))
        claims = claim(owner, selector_of(self.view(owner).spec.selector), candidates)
        return await settle(self.client, owner, claims)

    def _observe(self, owner: Owner, pods: list[Pod], *, fulfilled: bool) -> Observed:
        replica_set = self.view(owner)
        too_many = len(pods) > desired(replica_set)
        return Observed(
            replica_set=replica_set,
            pods=tuple(pods),
            related=tuple(self._related(owner)) if too_many else (),
            expectations_fulfilled=fulfilled,
            now_us=self.clock.unix_us(),
            burst=self.settings.burst_replicas,
            modern=self.settings.at_least("1.22"),
        )

    def _related(self, owner: Owner) -> list[Pod]:
        """The pods of every ReplicaSet of the same Deployment; none without a controller."""
        controller = owner.metadata.controller
        if controller is None:
            return []
        pods = self.informer(Pod)
        siblings = self._owners.by_index(CONTROLLER_INDEX, controller.uid)
        return [
            pod
            for sibling in siblings
            for pod in pods.by_index(CONTROLLER_INDEX, sibling.metadata.uid)
        ]

    # -- what is done ------------------------------------------------------------------------------

    async def _carry_out(self, owner: Owner, action: Action) -> ApiError | None:
        """Returns the first error, if any: the status is to be written all the same."""
        match action:
            case CreatePods(count=count):
                return await self._create(owner, count)
            case DeletePods(pods=pods):
                return await self._delete(owner, pods)

    async def _create(self, owner: Owner, count: int) -> ApiError | None:
        """Make pods in batches that double; the first batch with an error is the last one."""
        key = key_of(owner)
        self.expectations.expect_creations(key, count, self.clock.now_ns())
        errors: list[ApiError] = []
        refused = 0
        pod = pod_of(owner, self.view(owner).spec.template)

        async def create() -> None:
            nonlocal refused
            try:
                created = await self.client.create(pod)
            except ApiError as error:
                refused += 1
                if not namespace_is_terminating(error):
                    message = f"Error creating: {error.message}"
                    self.recorder.event(owner, "Warning", "FailedCreate", message)
                    errors.append(error)
                return
            message = f"Created pod: {created.metadata.name}"
            self.recorder.event(owner, "Normal", "SuccessfulCreate", message)

        asked = 0
        for size in batches(count):
            async with trio.open_nursery() as nursery:
                for _ in range(size):
                    nursery.start_soon(create)
            asked += size
            if errors:
                break
        # No delivery will come for what was refused or never asked for. A pod whose answer was lost
        # may be counted here and still appear: Kubernetes accepts the surplus, which the next sync
        # deletes.
        self.expectations.creation_observed(key, refused + count - asked)
        return errors[0] if errors else None

    async def _delete(self, owner: Owner, pods: tuple[Pod, ...]) -> ApiError | None:
        """Delete all pods at a time."""
        key = key_of(owner)
        self.expectations.expect_deletions(key, map(key_of, pods), self.clock.now_ns())
        errors: list[ApiError] = []

        async def delete(pod: Pod) -> None:
            name = pod.metadata.name
            try:
                await self.client.delete(Pod, name, pod.metadata.namespace)
            except ApiError as error:
                self.expectations.deletion_observed(key, key_of(pod))
                if not isinstance(error, NotFound):
                    message = f"Error deleting: {error.message}"
                    self.recorder.event(owner, "Warning", "FailedDelete", message)
                    errors.append(error)
                return
            self.recorder.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {name}")

        async with trio.open_nursery() as nursery:
            for pod in pods:
                nursery.start_soon(delete, pod)
        return errors[0] if errors else None

    async def _write_status(self, owner: Owner, status: ReplicaSetStatus) -> None:
        """Write the status if it says anything new; after a failure once more, over the live
        object.
        """
        if owner.status == status:
            return
        try:
            await self.client.update_status(replaced(owner, status=status))
        except ApiError:
            metadata = owner.metadata
            kind = self.client.scheme.resource_of(owner)
            live: Owner = await self.client.get(kind, metadata.name, metadata.namespace)
            if live.metadata.uid == metadata.uid:
                await self.client.update_status(attrs.evolve(live, status=status))

    # -- what wakes it -----------------------------------------------------------------------------

    def _owner_changed(self, change: Change[ReplicaSet]) -> None:
        """What was expected for one that is gone is not expected for its successor of the same
        name.
        """
        old, new = change.old, change.new
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            self.expectations.forget(key_of(old))

    def _pod_changed(self, change: Change[Pod]) -> None:
        """Cross off expectations and enqueue owners, before and after the change (controllers.md
        0.11, 1.5.3).
        """
        old, new = change.old, change.new
        if new is None:
            self._pod_left(change.object)
            return
        if new.metadata.deletion_timestamp is not None:
            self._pod_left(new)
            if old is not None and old.metadata.controller != new.metadata.controller:
                self._pod_left(old)
            return
        if old is None:
            self._pod_arrived(new)
            return
        before, after = old.metadata.controller, new.metadata.controller
        if before is not None and before != after:
            self._enqueue(self._resolve(old, before))
        if after is not None:
            self._enqueue(self._resolve(new, after))
        elif before is not None or old.metadata.labels != new.metadata.labels:
            self._enqueue_matching(new)

    def _pod_arrived(self, pod: Pod) -> None:
        reference = pod.metadata.controller
        if reference is None:
            self._enqueue_matching(pod)
            return
        owner = self._resolve(pod, reference)
        if owner is not None:
            self.expectations.creation_observed(key_of(owner))
        self._enqueue(owner)

    def _pod_left(self, pod: Pod) -> None:
        reference = pod.metadata.controller
        owner = self._resolve(pod, reference) if reference is not None else None
        if owner is not None:
            self.expectations.deletion_observed(key_of(owner), key_of(pod))
        self._enqueue(owner)

    def _resolve(self, pod: Pod, reference: OwnerReference) -> Owner | None:
        """The object the reference means: same kind, and not merely the same name."""
        if reference.kind != self.kind.kind:
            return None
        owner = self._owners.get(Key(pod.metadata.namespace, reference.name))
        return owner if owner is not None and owner.metadata.uid == reference.uid else None

    def _enqueue(self, owner: Owner | None) -> None:
        if owner is not None:
            self.queue.add(key_of(owner))

    def _enqueue_matching(self, pod: Pod) -> None:
        """An orphan wakes everyone who might adopt it."""
        metadata = pod.metadata
        for owner in self._owners.by_index(NAMESPACE_INDEX, metadata.namespace):
            if selector_of(self.view(owner).spec.selector).matches(metadata.labels):
                self._enqueue(owner)
