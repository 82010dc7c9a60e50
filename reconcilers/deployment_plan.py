"""What a Deployment does next: the writes of one sync, in order.

`plan` is pure. It goes through the same steps as Kubernetes' `syncDeployment` (controllers.md
4.2.2) and, where that would write, notes the write and goes on as if it had been done; the shell
then does the writes one by one and stops at the first that fails. Being cut off between two writes
is harmless: the next sync finds what was done and plans the rest.

    A new Deployment `web` with 3 replicas: create ReplicaSet web-6d4f (3 replicas, revision 1), say
    "Scaled up replica set web-6d4f from 0 to 3", write the Deployment's status (Progressing:
    NewReplicaSetCreated) with its revision, then its numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from engine import Deployment, DeploymentStatus, Pod, ReplicaSet, Settings, condition_of, replaced
from reconcilers.deployment_actions import (
    Action,
    CreateReplicaSet,
    DeleteReplicaSet,
    Plan,
    Say,
    UpdateDeployment,
    UpdateReplicaSet,
    UpdateStatus,
)
from reconcilers.deployment_revision import (
    REVISION,
    ROLLBACK_TO,
    last_revision,
    make_replica_set,
    next_revision,
    renewed,
    resized,
    revision_of,
    rolled_back,
    same_template,
    split,
    surplus_history,
    without_rollback,
)
from reconcilers.deployment_rollout import (
    Sizing,
    active,
    desired,
    is_rolling,
    new_size,
    rescale,
    shrink_old,
    size_of,
    was_scaled,
)
from reconcilers.deployment_status import (
    PROGRESSING,
    counted,
    has_deadline,
    is_complete,
    new_condition,
    paused_condition,
    progress_check,
    rollout_status,
    with_status_condition,
)
from reconcilers.ownership import is_everything

CREATE_FAILED: Final = "ReplicaSetCreateError"


@attrs.frozen(kw_only=True)
class Observed:
    """One Deployment and what belongs to it, at one moment."""

    deployment: Deployment
    replica_sets: tuple[ReplicaSet, ...] = ()
    """Those it controls."""
    pods: tuple[Pod, ...] = ()
    """The pods of those ReplicaSets; wanted for the strategy Recreate only."""
    now_us: int
    settings: Settings


def plan(observed: Observed) -> Plan:
    """The writes of one sync."""
    deployment = observed.deployment
    sync = _Sync(observed, deployment, *split(deployment, observed.replica_sets))
    if is_everything(deployment.spec.selector):
        sync.refuse_everything()
    elif deployment.metadata.deletion_timestamp is not None:
        sync.take_new(create=False)
        sync.write_status(counted(sync.deployment, sync.old, sync.new, observed.now_us))
    else:
        sync.note_pause()
        if deployment.spec.paused:
            sync.take_new(create=False)
            sync.resize()
        elif ROLLBACK_TO in deployment.metadata.annotations:
            sync.take_new(create=True)
            sync.roll_back()
        else:
            sync.take_new(create=False)
            if was_scaled(sync.deployment, sync.everyone):
                sync.resize()
            elif is_rolling(deployment):
                sync.roll()
            else:
                sync.recreate()
    return Plan(actions=tuple(sync.actions), check_after=sync.check_after)


def scaled_text(
    name: str, before: int, after: int, settings: Settings, *, made: bool = False
) -> str:
    """The message of a ScalingReplicaSet event, which was reworded in 1.27 (not for a new
    ReplicaSet) and 1.31.
    """
    text = f"Scaled {'up' if after > before else 'down'} replica set {name}"
    if settings.at_least("1.31"):
        return f"{text} from {before} to {after}"
    if settings.at_least("1.27") and not made:
        return f"{text} to {after} from {before}"
    return f"{text} to {after}"


def after_clash(deployment: Deployment, existing: ReplicaSet) -> tuple[Action, ...]:
    """What to do when the name of the new ReplicaSet is taken: nothing if it is ours, made by a
    sync whose result the cache does not show yet; else count the collision, which makes another
    hash.
    """
    owner = existing.metadata.controller
    if (
        owner is not None
        and owner.uid == deployment.metadata.uid
        and same_template(existing.spec.template, deployment.spec.template)
    ):
        return ()
    count = (deployment.status.collision_count or 0) + 1
    status = attrs.evolve(deployment.status, collision_count=count)
    return (UpdateStatus(attrs.evolve(deployment, status=status)),)


def after_failed_create(
    deployment: Deployment, name: str, error: str, now_us: int
) -> tuple[Action, ...]:
    """What to write and say when the new ReplicaSet could not be created."""
    message = f'Failed to create new replica set "{name}": {error}'
    said = Say("Warning", CREATE_FAILED, message)
    if not has_deadline(deployment):
        return (said,)
    condition = new_condition(PROGRESSING, "False", CREATE_FAILED, message, now_us)
    return (said, UpdateStatus(with_status_condition(deployment, condition)))


@attrs.define(eq=False)
class _Sync:
    """One sync in the making: the objects as they will be after the actions noted so far."""

    observed: Observed
    deployment: Deployment
    new: ReplicaSet | None
    old: list[ReplicaSet]
    actions: list[Action] = attrs.field(factory=list)
    check_after: float | None = None

    @property
    def everyone(self) -> list[ReplicaSet]:
        return self.old if self.new is None else [*self.old, self.new]

    # -- steps -------------------------------------------------------------------------------------

    def refuse_everything(self) -> None:
        """A selector that takes every pod is a mistake: say so, touch nothing."""
        text = "This deployment is selecting all pods. A non-empty selector is required."
        self.actions.append(Say("Warning", "SelectingAll", text))
        generation = self.deployment.metadata.generation
        if self.deployment.status.observed_generation < generation:
            status = attrs.evolve(self.deployment.status, observed_generation=generation)
            self._update_status(replaced(self.deployment, status=status))

    def note_pause(self) -> None:
        """Keep the deadline from counting while the Deployment is paused."""
        condition = paused_condition(self.deployment, self.observed.now_us)
        if condition is not None:
            self._update_status(with_status_condition(self.deployment, condition))

    def take_new(self, *, create: bool) -> None:
        """Find the new ReplicaSet and bring its annotations and the Deployment's revision up to
        date, or make one.
        """
        revision = next_revision(self.old)
        if self.new is None:
            if create:
                self._make_new(revision)
            return
        fresh = renewed(self.deployment, self.new, revision)
        if fresh != self.new:
            self.new = fresh
            self.actions.append(UpdateReplicaSet(fresh))
            return
        deployment = self._with_revision(revision_of(self.new))
        present = condition_of(deployment.status.conditions, PROGRESSING)
        if has_deadline(deployment) and present is None:
            text = f'Found new replica set "{self.new.metadata.name}"'
            deployment = self._progressing(deployment, "FoundNewReplicaSet", text)
        if deployment != self.deployment:
            self._update_status(deployment)

    def resize(self) -> None:
        """The Deployment was scaled, or is paused: sizes change, versions do not."""
        self._scale_all(rescale(self.deployment, self.old, self.new))
        self._clean_up()
        self.write_status(counted(self.deployment, self.old, self.new, self.observed.now_us))

    def roll_back(self) -> None:
        """Put the template of an earlier revision into the Deployment, which then rolls out like
        any other.
        """
        text = self.deployment.metadata.annotations[ROLLBACK_TO]
        revision = int(text) if text.isdecimal() else 0
        revision = revision or last_revision(self.everyone)
        target = next(
            (rs for rs in self.everyone if revision and revision_of(rs) == revision), None
        )
        name = self.deployment.metadata.name
        if target is None:
            what = "the revision to rollback to" if revision else "last revision"
            text = f"Unable to find {what}."
            self.actions.append(Say("Warning", "DeploymentRollbackRevisionNotFound", text))
            self.actions.append(UpdateDeployment(without_rollback(self.deployment)))
        elif same_template(target.spec.template, self.deployment.spec.template):
            text = (
                f'The rollback revision contains the same template as current deployment "{name}"'
            )
            self.actions.append(Say("Warning", "DeploymentRollbackTemplateUnchanged", text))
            self.actions.append(UpdateDeployment(without_rollback(self.deployment)))
        else:
            self.actions.append(UpdateDeployment(rolled_back(self.deployment, target)))
            text = f'Rolled back deployment "{name}" to revision {revision}'
            self.actions.append(Say("Normal", "DeploymentRollback", text))

    def roll(self) -> None:
        """One step of a rolling update: grow the new ReplicaSet, else shrink the old ones, else
        clean up.
        """
        self.take_new(create=True)
        assert self.new is not None
        # The status is that of the sets as they were seen: what was just asked for shows in the
        # next sync.
        old, new = list(self.old), self.new
        size = new_size(self.deployment, self.everyone, size_of(new))
        if size != size_of(new):
            self._scale(Sizing(new, size))
        else:
            steps = shrink_old(self.deployment, active(self.old), new)
            self._scale_all(steps)
            if not steps and is_complete(self.deployment, self.deployment.status):
                self._clean_up()
        self._judge(old, new)

    def recreate(self) -> None:
        """Stop every old pod, wait until it is gone, then start the new ones."""
        running = active(self.old)
        if running:
            old, new = list(self.old), self.new
            self._scale_all([Sizing(replica_set, 0) for replica_set in running])
            self._judge(old, new)
            return
        if _old_pods_run(self.observed.pods, self.new):
            self._judge(self.old, self.new)
            return
        self.take_new(create=True)
        assert self.new is not None
        new = self.new
        self._scale(Sizing(new, desired(self.deployment)))
        if is_complete(self.deployment, self.deployment.status):
            self._clean_up()
        self._judge(self.old, new)

    # -- writes ------------------------------------------------------------------------------------

    def write_status(self, status: DeploymentStatus) -> bool:
        """Note the status if it differs; whether it does."""
        if status == self.deployment.status:
            return False
        self._update_status(replaced(self.deployment, status=status))
        return True

    def _judge(self, old: Sequence[ReplicaSet], new: ReplicaSet | None) -> None:
        status = rollout_status(self.deployment, old, new, self.observed.now_us)
        if not self.write_status(status):
            self.check_after = progress_check(self.deployment, status, self.observed.now_us)

    def _update_status(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.actions.append(UpdateStatus(deployment))

    def _make_new(self, revision: int) -> None:
        made = make_replica_set(self.deployment, revision)
        size = new_size(self.deployment, [*self.old, made], 0)
        made = attrs.evolve(made, spec=attrs.evolve(made.spec, replicas=size))
        name = made.metadata.name
        self.actions.append(CreateReplicaSet(made))
        self.new = made
        if size > 0:
            text = scaled_text(name, 0, size, self.observed.settings, made=True)
            self.actions.append(Say("Normal", "ScalingReplicaSet", text))
        deployment = self._with_revision(revision)
        if has_deadline(deployment):
            text = f'Created new replica set "{name}"'
            deployment = self._progressing(deployment, "NewReplicaSetCreated", text)
        if deployment != self.deployment:
            self._update_status(deployment)

    def _with_revision(self, revision: int) -> Deployment:
        metadata = self.deployment.metadata
        if metadata.annotations.get(REVISION) == str(revision):
            return self.deployment
        annotations = {**metadata.annotations, REVISION: str(revision)}
        return attrs.evolve(
            self.deployment, metadata=attrs.evolve(metadata, annotations=annotations)
        )

    def _progressing(self, deployment: Deployment, reason: str, text: str) -> Deployment:
        condition = new_condition(PROGRESSING, "True", reason, text, self.observed.now_us)
        return with_status_condition(deployment, condition)

    def _scale_all(self, sizings: Sequence[Sizing]) -> None:
        for sizing in sizings:
            self._scale(sizing)

    def _scale(self, sizing: Sizing) -> None:
        """Note the write, unless size and notes are right already, and the event, if the size
        changes.
        """
        name = sizing.replica_set.metadata.name
        before = next(rs for rs in self.everyone if rs.metadata.name == name)
        after = resized(self.deployment, before, sizing.size)
        if after == before:
            return
        self.actions.append(UpdateReplicaSet(after))
        self._replace(name, after)
        if size_of(before) != sizing.size:
            settings = self.observed.settings
            text = scaled_text(name, size_of(before), sizing.size, settings)
            self.actions.append(Say("Normal", "ScalingReplicaSet", text))

    def _replace(self, name: str, after: ReplicaSet) -> None:
        if self.new is not None and self.new.metadata.name == name:
            self.new = after
        self.old = [after if rs.metadata.name == name else rs for rs in self.old]

    def _clean_up(self) -> None:
        for replica_set in surplus_history(self.deployment, self.old):
            self.actions.append(DeleteReplicaSet(replica_set))


def _old_pods_run(pods: Sequence[Pod], new: ReplicaSet | None) -> bool:
    """Whether a pod of another ReplicaSet than the new one has not finished, terminating ones
    included.
    """
    current = new.metadata.uid if new is not None else ""
    for pod in pods:
        owner = pod.metadata.controller
        if owner is None or owner.uid == current:
            continue
        if pod.status.phase not in {"Succeeded", "Failed"}:
            return True
    return False
