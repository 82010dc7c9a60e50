"""The arithmetic of rollouts, by tables and by a little world in which a Deployment rolls."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from engine import (
    Container,
    Deployment,
    DeploymentSpec,
    DeploymentStrategy,
    LabelSelector,
    ObjectMeta,
    PodSpec,
    PodTemplateSpec,
    ReplicaSet,
    ReplicaSetSpec,
    ReplicaSetStatus,
    RollingUpdateDeployment,
    Settings,
    Time,
    Uid,
)
from reconcilers.deployment_actions import (
    CreateReplicaSet,
    DeleteReplicaSet,
    UpdateReplicaSet,
    UpdateStatus,
)
from reconcilers.deployment_plan import Observed, plan
from reconcilers.deployment_rollout import (
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    max_replicas,
    max_surge,
    max_unavailable,
    new_size,
    rescale,
    resolve,
    shrink_old,
    size_of,
    total,
    was_scaled,
)
from reconcilers.deployment_status import is_complete


def deployment(
    replicas: int = 10,
    surge: int | str = "25%",
    unavailable: int | str = "25%",
    strategy: str = "RollingUpdate",
) -> Deployment:
    rolling = RollingUpdateDeployment(max_surge=surge, max_unavailable=unavailable)
    return Deployment(
        metadata=ObjectMeta(name="web", namespace="default", uid=Uid("d"), generation=1),
        spec=DeploymentSpec(
            replicas=replicas,
            selector=LabelSelector(match_labels={"app": "web"}),
            template=template(0),
            strategy=DeploymentStrategy(
                type=strategy, rolling_update=rolling if strategy == "RollingUpdate" else None
            ),
            revision_history_limit=10,
            progress_deadline_seconds=600,
        ),
    )


def template(version: int) -> PodTemplateSpec:
    return PodTemplateSpec(
        metadata=ObjectMeta(labels={"app": "web"}),
        spec=PodSpec(containers=(Container(name="web", image=f"web:{version}"),)),
    )


def replica_set(
    name: str,
    size: int,
    available: int = 0,
    *,
    created: int = 0,
    noted: tuple[int, int] | None = None,
) -> ReplicaSet:
    annotations = {}
    if noted is not None:
        annotations = {DESIRED_REPLICAS: str(noted[0]), MAX_REPLICAS: str(noted[1])}
    return ReplicaSet(
        metadata=ObjectMeta(
            name=name, uid=Uid(name), creation_timestamp=Time(created), annotations=annotations
        ),
        spec=ReplicaSetSpec(replicas=size),
        status=ReplicaSetStatus(replicas=size, available_replicas=available),
    )


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (10, "25%", "25%", (3, 2)),
        (3, "25%", "25%", (1, 0)),
        (1, "25%", "25%", (1, 0)),
        (0, "25%", "25%", (0, 0)),
        (4, 0, "1%", (0, 1)),
        (4, 0, 0, (0, 1)),
        (4, 2, 9, (2, 4)),
        (4, "100%", "100%", (4, 4)),
    ],
)
def test_bounds(
    replicas: int, surge: int | str, unavailable: int | str, expected: tuple[int, int]
) -> None:
    """Surge is rounded up, unavailable down and capped; both zero means one unavailable."""
    web = deployment(replicas, surge, unavailable)

    assert expected == (max_surge(web), max_unavailable(web))


def test_recreate_has_no_bounds() -> None:
    web = deployment(strategy="Recreate")

    assert (max_surge(web), max_unavailable(web)) == (0, 0)
    assert new_size(web, [replica_set("old", 10)], 0) == 10


@given(st.integers(0, 1000), st.integers(0, 100))
def test_percentages_round_away_from_each_other(whole: int, percent: int) -> None:
    """Up and down differ by one unless the share is whole."""
    up = resolve(f"{percent}%", whole, round_up=True)
    down = resolve(f"{percent}%", whole, round_up=False)

    assert up - down == (1 if percent * whole % 100 else 0)
    assert down == percent * whole // 100


def test_golden_first_steps_of_ten() -> None:
    """controllers.md 10.2: new 0 -> 3, old 10 -> 8, new 3 -> 5, then nothing until pods are
    available.
    """
    web = deployment()
    old, new = replica_set("old", 10, 10), replica_set("new", 0)
    assert new_size(web, [old, new], 0) == 3

    new = replica_set("new", 3)
    assert steps(web, [old], new) == [("old", 8)]

    # The ReplicaSet still reports ten available pods.
    old = replica_set("old", 8, 10)
    assert new_size(web, [old, new], 3) == 5

    new = replica_set("new", 5)
    assert steps(web, [old], new) == []
    assert steps(web, [replica_set("old", 8, 8)], replica_set("new", 5, 1)) == [("old", 7)]


def steps(web: Deployment, old: list[ReplicaSet], new: ReplicaSet) -> list[tuple[str, int]]:
    return [(step.replica_set.metadata.name, step.size) for step in shrink_old(web, old, new)]


def test_unavailable_old_pods_go_first() -> None:
    """A rollover: the set in the middle never became available and goes before the good one
    shrinks.
    """
    web = deployment()
    good, bad = replica_set("good", 8, 8), replica_set("bad", 5, 0, created=1)

    assert steps(web, [good, bad], replica_set("new", 0)) == [("bad", 0)]


def test_a_stuck_rollout_keeps_the_old_pods() -> None:
    """A lost old pod is no reason to shrink while the new pods are unavailable (the example of 13
    pods).
    """
    web = deployment()

    assert steps(web, [replica_set("old", 8, 7)], replica_set("new", 5, 0)) == []


def test_pods_about_to_go_do_not_count_as_available() -> None:
    """A set that was told to shrink to 8 still reports 10: it must not shrink for their sake."""
    web = deployment()
    unhealthy, lagging = replica_set("bad", 3, 0), replica_set("good", 8, 10, created=1)

    assert steps(web, [unhealthy, lagging], replica_set("new", 0)) == [("bad", 0)]


@pytest.mark.parametrize(
    ("replicas", "sets", "expected"),
    [
        # 10 -> 15 in the middle of a rollout: 19 allowed, shared out by size, the rest to the
        # largest.
        (15, [("old", 8, 10, 13), ("new", 5, 10, 13)], [("old", 12), ("new", 7)]),
        # 10 -> 5: 7 allowed (5 + 25% rounded up).
        (5, [("old", 8, 10, 13), ("new", 5, 10, 13)], [("old", 4), ("new", 3)]),
        (0, [("old", 8, 10, 13), ("new", 5, 10, 13)], [("old", 0), ("new", 0)]),
        # One active set takes it all.
        (15, [("old", 10, 10, 13), ("new", 0, 10, 13)], [("old", 15)]),
        # None is active: the new one.
        (2, [("old", 0, 0, 0), ("new", 0, 0, 0)], [("new", 2)]),
    ],
)
def test_scaling_in_the_middle_of_a_rollout(
    replicas: int, sets: list[tuple[str, int, int, int]], expected: list[tuple[str, int]]
) -> None:
    """controllers.md 4.2.8."""
    web = deployment(replicas)
    old, new = (
        replica_set(name, size, noted=(noted, most), created=created)
        for created, (name, size, noted, most) in enumerate(sets)
    )

    sizings = rescale(web, [old], new)

    assert was_scaled(web, [old, new]) is (total([old, new]) > 0)
    assert expected == [(sizing.replica_set.metadata.name, sizing.size) for sizing in sizings]


def test_old_sets_of_a_saturated_deployment_go() -> None:
    web = deployment(4)
    old = replica_set("old", 2, 2, noted=(4, 5))
    new = replica_set("new", 4, 4, noted=(4, 5))

    assert [(s.replica_set.metadata.name, s.size) for s in rescale(web, [old], new)] == [("old", 0)]


@given(
    replicas=st.integers(0, 40),
    surge=st.integers(0, 100),
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=5),
)
def test_proportional_scaling_fills_the_room(replicas: int, surge: int, sizes: list[int]) -> None:
    """Whatever the sizes, none is negative, and they add up to what is allowed; but for what rounding left to the
    largest set beyond its own size, which stays for the rollout to take down, as in Kubernetes.
    """
    web = deployment(replicas, f"{surge}%", 1)
    noted = (sum(sizes) + 1, sum(sizes) + 1)
    sets = [
        replica_set(f"rs{number}", size, created=number, noted=noted)
        for number, size in enumerate(sizes)
    ]
    running = [each for each in sets if size_of(each) > 0]

    sizings = rescale(web, sets[:-1], sets[-1])

    assert all(sizing.size >= 0 for sizing in sizings)
    if len(running) > 1:
        allowed = max_replicas(web) if replicas > 0 else 0
        left = sum(sizing.size for sizing in sizings) - allowed
        assert left == 0 or (left > 0 and sizings[0].size == 0)


class Rolling(RuleBasedStateMachine):
    """A Deployment, its ReplicaSets and their pods, with every order of syncs, pod starts and pod
    losses.

    A pod is a bool: available or not. A ReplicaSet's status always tells its pods; its pods follow
    its spec only when it is `realised`.
    """

    @initialize(
        replicas=st.integers(0, 12), surge=st.integers(0, 50), unavailable=st.integers(0, 50)
    )
    def begin(self, replicas: int, surge: int, unavailable: int) -> None:
        self.web = deployment(replicas, f"{surge}%", f"{unavailable}%")
        self.sets: dict[str, ReplicaSet] = {}
        self.pods: dict[str, list[bool]] = {}
        self.clock = 0

    @rule()
    def sync(self) -> None:
        before = self.lasting()
        least = (self.web.spec.replicas or 0) - max_unavailable(self.web)
        self.clock += 1_000_000
        observed = Observed(
            deployment=self.web,
            replica_sets=tuple(self.sets.values()),
            now_us=self.clock,
            settings=Settings(),
        )
        for action in plan(observed).actions:
            match action:
                case CreateReplicaSet(made):
                    name = made.metadata.name
                    assert name not in self.sets
                    metadata = attrs.evolve(
                        made.metadata, uid=Uid(name), creation_timestamp=Time(self.clock)
                    )
                    self.sets[name] = attrs.evolve(made, metadata=metadata)
                    self.pods[name] = []
                case UpdateReplicaSet(changed):
                    self.sets[changed.metadata.name] = changed
                case DeleteReplicaSet(gone):
                    assert not self.pods[gone.metadata.name]
                    del self.sets[gone.metadata.name]
                case UpdateStatus(changed):
                    self.web = changed

        # The plan itself never takes the available pods below the bound, nor lower where they are
        # below already.
        assert self.lasting() >= min(before, least)

    def lasting(self) -> int:
        """Available pods once every ReplicaSet has followed its spec, unavailable pods being
        deleted first.
        """
        return sum(min(sum(self.pods[name]), size_of(rs)) for name, rs in self.sets.items())

    def told(self, name: str) -> None:
        pods = self.pods[name]
        status = ReplicaSetStatus(
            replicas=len(pods), ready_replicas=sum(pods), available_replicas=sum(pods)
        )
        self.sets[name] = attrs.evolve(self.sets[name], status=status)

    @precondition(lambda self: self.sets)
    @rule(which=st.integers(0, 20))
    def realise(self, which: int) -> None:
        name = list(self.sets)[which % len(self.sets)]
        size = size_of(self.sets[name])
        pods = sorted(self.pods[name], reverse=True)[:size]
        self.pods[name] = pods + [False] * (size - len(pods))
        self.told(name)

    @precondition(lambda self: any(self.pods.values()))
    @rule(which=st.integers(0, 200), available=st.booleans())
    def turn(self, which: int, available: bool) -> None:
        places = [(name, i) for name, pods in self.pods.items() for i in range(len(pods))]
        name, i = places[which % len(places)]
        self.pods[name][i] = available
        self.told(name)

    @rule(version=st.integers(0, 2))
    def change_template(self, version: int) -> None:
        spec = attrs.evolve(self.web.spec, template=template(version))
        self.web = attrs.evolve(self.web, spec=spec)

    @invariant()
    def within_surge(self) -> None:
        if hasattr(self, "web"):
            assert total(self.sets.values()) <= max_replicas(self.web)

    def teardown(self) -> None:
        """Left alone, with pods that start, every rollout completes."""
        if not hasattr(self, "web"):
            return
        for _ in range(60):
            self.sync()
            for number in range(len(self.sets)):
                self.realise(number)
            for name, pods in self.pods.items():
                self.pods[name] = [True] * len(pods)
                if name in self.sets:
                    self.told(name)
        assert is_complete(self.web, self.web.status)


TestARollingUpdateKeepsItsBounds = Rolling.TestCase
TestARollingUpdateKeepsItsBounds.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
