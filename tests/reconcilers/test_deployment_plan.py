"""What a Deployment's sync writes, in order."""

from __future__ import annotations

import attrs
import pytest

from engine import (
    Condition,
    Container,
    Deployment,
    DeploymentSpec,
    DeploymentStrategy,
    LabelSelector,
    ObjectMeta,
    Pod,
    PodSpec,
    PodStatus,
    PodTemplateSpec,
    ReplicaSet,
    ReplicaSetStatus,
    RollingUpdateDeployment,
    Settings,
    Time,
    Uid,
    condition_of,
    controller_ref,
)
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
from reconcilers.deployment_plan import (
    Observed,
    after_clash,
    after_failed_create,
    plan,
    scaled_text,
)
from reconcilers.deployment_revision import HASH_LABEL, REVISION, REVISION_HISTORY, ROLLBACK_TO
from reconcilers.deployment_rollout import DESIRED_REPLICAS, MAX_REPLICAS

SECOND = 1_000_000


def template(version: int) -> PodTemplateSpec:
    return PodTemplateSpec(
        metadata=ObjectMeta(labels={"app": "web"}),
        spec=PodSpec(containers=(Container(name="web", image=f"web:{version}"),)),
    )


def web(replicas: int = 3, version: int = 1, strategy: str = "RollingUpdate") -> Deployment:
    rolling = RollingUpdateDeployment(max_surge="25%", max_unavailable="25%")
    return Deployment(
        metadata=ObjectMeta(name="web", namespace="default", uid=Uid("d"), generation=1),
        spec=DeploymentSpec(
            replicas=replicas,
            selector=LabelSelector(match_labels={"app": "web"}),
            template=template(version),
            strategy=DeploymentStrategy(
                type=strategy, rolling_update=rolling if strategy == "RollingUpdate" else None
            ),
            revision_history_limit=10,
            progress_deadline_seconds=600,
        ),
    )


class World:
    """A Deployment and its ReplicaSets, to which plans are applied."""

    def __init__(self, deployment: Deployment) -> None:
        self.web = deployment
        self.sets: dict[str, ReplicaSet] = {}
        self.pods: tuple[Pod, ...] = ()
        self.now = 0
        self.settings = Settings()

    def plan(self) -> Plan:
        return plan(
            Observed(
                deployment=self.web,
                replica_sets=tuple(self.sets.values()),
                pods=self.pods,
                now_us=self.now,
                settings=self.settings,
            )
        )

    def sync(self) -> tuple[Action, ...]:
        actions = self.plan().actions
        for action in actions:
            match action:
                case CreateReplicaSet(made):
                    name = made.metadata.name
                    metadata = attrs.evolve(
                        made.metadata, uid=Uid(name), creation_timestamp=Time(self.now)
                    )
                    self.sets[name] = attrs.evolve(made, metadata=metadata)
                case UpdateReplicaSet(changed):
                    self.sets[changed.metadata.name] = changed
                case DeleteReplicaSet(gone):
                    del self.sets[gone.metadata.name]
                case UpdateStatus(changed) | UpdateDeployment(changed):
                    self.web = changed
        self.now += SECOND
        return actions

    def report(self, available: bool = True) -> None:
        """Every ReplicaSet reports the pods it specifies."""
        for name, each in self.sets.items():
            size = each.spec.replicas or 0
            ready = size if available else 0
            status = ReplicaSetStatus(replicas=size, ready_replicas=ready, available_replicas=ready)
            self.sets[name] = attrs.evolve(each, status=status)

    def settle(self) -> None:
        """Sync and report until nothing is written any more."""
        for _ in range(50):
            before = (self.web, dict(self.sets))
            self.sync()
            self.report()
            if before == (self.web, self.sets):
                return
        raise AssertionError("never settles")

    def change(self, **spec: object) -> None:
        changed = attrs.evolve(self.web.spec, **spec)
        metadata = attrs.evolve(self.web.metadata, generation=self.web.metadata.generation + 1)
        self.web = attrs.evolve(self.web, spec=changed, metadata=metadata)

    def annotate(self, **annotations: str) -> None:
        merged = {**self.web.metadata.annotations, **annotations}
        metadata = attrs.evolve(self.web.metadata, annotations=merged)
        self.web = attrs.evolve(self.web, metadata=metadata)

    def condition(self, type_: str) -> tuple[str, str, str]:
        condition = condition_of(self.web.status.conditions, type_)
        assert condition is not None
        return condition.status, condition.reason, condition.message

    @property
    def newest(self) -> ReplicaSet:
        return max(self.sets.values(), key=lambda rs: int(rs.metadata.annotations[REVISION]))


def said(actions: tuple[Action, ...]) -> list[str]:
    return [action.message for action in actions if isinstance(action, Say)]


def sizes(world: World) -> list[int]:
    return [rs.spec.replicas or 0 for rs in world.sets.values()]


def test_a_new_deployment() -> None:
    """controllers.md 10.1: ReplicaSet, event, status with revision, then numbers."""
    world = World(web())

    actions = world.sync()

    made = world.newest
    name = made.metadata.name
    assert [CreateReplicaSet, Say, UpdateStatus, UpdateStatus] == [type(a) for a in actions]
    assert [f"Scaled up replica set {name} from 0 to 3"] == said(actions)
    assert made.metadata.annotations == {REVISION: "1", DESIRED_REPLICAS: "3", MAX_REPLICAS: "4"}
    digest = name.removeprefix("web-")
    assert set(digest) <= set("456789bcdf")
    assert 1 <= len(digest) <= 10
    labels = {"app": "web", HASH_LABEL: digest}
    assert labels == made.metadata.labels == made.spec.template.metadata.labels
    assert made.spec.selector is not None
    assert labels == made.spec.selector.match_labels
    assert (controller_ref(world.web),) == made.metadata.owner_references
    assert world.web.metadata.annotations[REVISION] == "1"
    created = f'Created new replica set "{name}"'
    assert ("True", "NewReplicaSetCreated", created) == world.condition("Progressing")
    unavailable = "Deployment does not have minimum availability."
    assert ("False", "MinimumReplicasUnavailable", unavailable) == world.condition("Available")
    assert world.web.status.unavailable_replicas == 3


def test_it_completes_and_then_rests() -> None:
    """Progress is told while it lasts, completion once, and a settled Deployment writes nothing."""
    world = World(web())
    world.sync()
    world.report(available=False)
    world.sync()
    name = world.newest.metadata.name
    progressing = f'ReplicaSet "{name}" is progressing.'
    assert ("True", "ReplicaSetUpdated", progressing) == world.condition("Progressing")

    world.report()
    world.sync()

    assert (
        "True",
        "NewReplicaSetAvailable",
        f'ReplicaSet "{name}" has successfully progressed.',
    ) == (world.condition("Progressing"))
    assert (world.condition("Available")) == (
        "True",
        "MinimumReplicasAvailable",
        "Deployment has minimum availability.",
    )
    assert Plan(actions=()) == world.plan()


@pytest.mark.parametrize(
    ("compat", "made", "expected"),
    [
        ("1.35", False, "Scaled down replica set web-1 from 3 to 2"),
        ("1.35", True, "Scaled down replica set web-1 from 3 to 2"),
        ("1.27", False, "Scaled down replica set web-1 to 2 from 3"),
        ("1.27", True, "Scaled down replica set web-1 to 2"),
        ("1.20", False, "Scaled down replica set web-1 to 2"),
    ],
)
def test_wording_of_scaling_events(compat: str, made: bool, expected: str) -> None:
    """The text changed in 1.27 and 1.31."""
    assert expected == scaled_text("web-1", 3, 2, Settings.for_version(compat), made=made)


def test_a_missed_deadline_is_told_once_and_undone_by_progress() -> None:
    """600 s after the last progress, not before; the check is planned for then."""
    world = World(web())
    world.sync()
    world.report(available=False)
    world.sync()
    last = world.now - SECOND
    assert world.plan().check_after == 600.0
    world.now = last + 600 * SECOND
    assert world.plan().actions == ()

    world.now += 1
    world.sync()

    name = world.newest.metadata.name
    timed_out = f'ReplicaSet "{name}" has timed out progressing.'
    assert ("False", "ProgressDeadlineExceeded", timed_out) == world.condition("Progressing")
    assert Plan(actions=()) == world.plan()

    world.report()
    world.sync()
    assert world.condition("Progressing")[1] == "NewReplicaSetAvailable"


def test_a_lost_pod_after_completion_starts_no_deadline() -> None:
    """4.2.12: what has completed is not judged again."""
    world = World(web())
    world.settle()
    each = world.newest
    status = attrs.evolve(each.status, ready_replicas=2, available_replicas=2)
    world.sets[each.metadata.name] = attrs.evolve(each, status=status)
    world.sync()

    assert world.condition("Progressing")[1] == "NewReplicaSetAvailable"
    assert world.condition("Available")[1] == "MinimumReplicasUnavailable"
    world.now += 10_000 * SECOND
    assert Plan(actions=()) == world.plan()


def test_rollback_by_annotation_gives_the_old_set_a_new_revision() -> None:
    """Revision 1 becomes 3, and remembers that it was 1."""
    world = World(web())
    world.settle()
    first = world.newest.metadata.name
    world.change(template=template(2))
    world.settle()
    assert world.web.metadata.annotations[REVISION] == "2"

    world.annotate(**{ROLLBACK_TO: "0"})
    actions = world.sync()
    assert said(actions) == ['Rolled back deployment "web" to revision 1']
    assert ROLLBACK_TO not in world.web.metadata.annotations
    world.settle()

    assert first == world.newest.metadata.name
    annotations = world.newest.metadata.annotations
    assert (annotations[REVISION], annotations[REVISION_HISTORY]) == ("3", "1")
    assert world.web.metadata.annotations[REVISION] == "3"


@pytest.mark.parametrize(
    ("to", "reason", "message"),
    [
        ("7", "DeploymentRollbackRevisionNotFound", "Unable to find the revision to rollback to."),
        ("0", "DeploymentRollbackRevisionNotFound", "Unable to find last revision."),
        (
            "1",
            "DeploymentRollbackTemplateUnchanged",
            'The rollback revision contains the same template as current deployment "web"',
        ),
    ],
)
def test_rollbacks_that_cannot_be(to: str, reason: str, message: str) -> None:
    """They are told, and the request is taken back."""
    world = World(web())
    world.settle()
    world.annotate(**{ROLLBACK_TO: to})

    actions = world.sync()

    assert [Say("Warning", reason, message)] == [a for a in actions if isinstance(a, Say)]
    assert ROLLBACK_TO not in world.web.metadata.annotations


def test_paused_scales_but_does_not_roll() -> None:
    """4.2.14; resuming says so and rolls."""
    world = World(web())
    world.settle()
    world.change(paused=True, template=template(2), replicas=5)
    world.settle()
    assert sizes(world) == [5]
    assert world.condition("Progressing") == ("Unknown", "DeploymentPaused", "Deployment is paused")

    world.change(paused=False)
    resumed = world.sync()[0]
    assert isinstance(resumed, UpdateStatus)
    condition = condition_of(resumed.deployment.status.conditions, "Progressing")
    assert condition is not None
    assert (condition.status, condition.reason) == ("Unknown", "DeploymentResumed")
    world.settle()
    assert sizes(world) == [0, 5]


def test_recreate_waits_for_the_last_old_pod() -> None:
    """Old to 0, then nothing while an old pod, even a terminating one, is there, then new."""
    world = World(web(strategy="Recreate"))
    world.settle()
    old = world.newest
    world.change(template=template(2))
    world.pods = (
        Pod(
            metadata=ObjectMeta(name="p", owner_references=(controller_ref(old),)),
            status=PodStatus(phase="Running"),
        ),
    )
    world.settle()
    assert sizes(world) == [0]

    finished = attrs.evolve(world.pods[0], status=PodStatus(phase="Failed"))
    world.pods = (finished,)
    world.settle()
    assert sizes(world) == [0, 3]


def test_history_beyond_the_limit_goes_lowest_revision_first() -> None:
    """With a limit of 2, the two newest old sets stay."""
    world = World(web())
    world.change(revision_history_limit=2)
    names = []
    for version in range(5):
        world.change(template=template(version))
        world.settle()
        names.append(world.newest.metadata.name)

    assert names[2:] == list(world.sets)


def test_annotations_are_copied_to_the_new_set_only() -> None:
    """All but those that the controllers and kubectl keep for themselves."""
    world = World(web())
    world.settle()
    world.annotate(**{"team": "shop", "kubectl.kubernetes.io/last-applied-configuration": "{}"})
    world.settle()

    annotations = world.newest.metadata.annotations
    assert annotations["team"] == "shop"
    assert "kubectl.kubernetes.io/last-applied-configuration" not in annotations


def test_a_selector_of_everything_is_refused() -> None:
    world = World(web())
    world.change(selector=LabelSelector())

    actions = world.sync()

    message = "This deployment is selecting all pods. A non-empty selector is required."
    assert Say("Warning", "SelectingAll", message) == actions[0]
    assert world.web.status.observed_generation == world.web.metadata.generation
    assert world.sets == {}


def test_a_taken_name_counts_a_collision_unless_it_is_ours() -> None:
    """Another collision count makes another name."""
    world = World(web())
    world.sync()
    ours = world.newest
    assert after_clash(world.web, ours) == ()

    orphan = attrs.evolve(ours, metadata=attrs.evolve(ours.metadata, owner_references=()))
    (write,) = after_clash(world.web, orphan)
    assert isinstance(write, UpdateStatus)
    assert write.deployment.status.collision_count == 1
    again = World(write.deployment)
    again.sync()
    assert ours.metadata.name != again.newest.metadata.name


def test_a_failed_create_is_written_and_said() -> None:
    actions = after_failed_create(web(), "web-1", "no", 0)

    text = 'Failed to create new replica set "web-1": no'
    assert Say("Warning", "ReplicaSetCreateError", text) == actions[0]
    assert isinstance(actions[1], UpdateStatus)
    condition = condition_of(actions[1].deployment.status.conditions, "Progressing")
    assert condition is not None
    assert ("False", "ReplicaSetCreateError", text) == (
        condition.status,
        condition.reason,
        condition.message,
    )


def test_a_replica_failure_is_passed_on_and_taken_back() -> None:
    """10.25."""
    world = World(web())
    world.sync()
    each = world.newest
    failure = Condition(
        type="ReplicaFailure",
        status="True",
        reason="FailedCreate",
        message="quota",
        last_transition_time=Time(SECOND),
    )
    world.sets[each.metadata.name] = attrs.evolve(
        each, status=attrs.evolve(each.status, conditions=(failure,))
    )
    world.sync()
    assert world.condition("ReplicaFailure") == ("True", "FailedCreate", "quota")

    world.settle()
    assert condition_of(world.web.status.conditions, "ReplicaFailure") is None


def test_a_spelled_out_default_is_no_new_version() -> None:
    """`hostNetwork: false` in a manifest makes the same pods as nothing at all."""
    world = World(web())
    world.settle()
    spelled = attrs.evolve(
        template(1), spec=attrs.evolve(template(1).spec, extra={"hostNetwork": False})
    )
    world.change(template=spelled)
    world.settle()
    assert len(world.sets) == 1

    unknown = attrs.evolve(template(1), spec=attrs.evolve(template(1).spec, extra={"novel": 1}))
    world.change(template=unknown)
    world.settle()
    assert len(world.sets) == 2


def test_a_deployment_that_is_being_deleted_only_reports() -> None:
    world = World(web())
    world.settle()
    metadata = attrs.evolve(world.web.metadata, deletion_timestamp=Time(0))
    world.web = attrs.evolve(world.web, metadata=metadata)
    world.change(template=template(2), replicas=9)

    actions = world.sync()

    assert [UpdateStatus] == [type(action) for action in actions]
