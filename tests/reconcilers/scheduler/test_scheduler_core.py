"""The core: what it says when nothing fits, what wakes a pod, and that it never overcommits or binds twice."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from engine import Pod, PodSchedulingGate, Settings, Taint
from reconcilers.scheduler import Bind, Fail, SchedulerCore, Skip
from reconcilers.scheduler.queue import Where
from reconcilers.scheduler.wording import Wording, rejection
from tests.reconcilers.scheduler.making import (
    HOSTNAME,
    SECOND,
    ZONE,
    bound_to,
    decide,
    far,
    first,
    make_core,
    make_node,
    make_pod,
    near,
    place,
    spread,
    terminating,
)

NODES = (
    make_node("a", cpu="1"),
    make_node("b", cpu="1", taints=(Taint(key="k", value="v", effect="NoSchedule"),)),
    make_node("c", cpu="1", unschedulable=True),
)


def failure(core: SchedulerCore, pod: Pod) -> str:
    decision = decide(core, pod)
    assert isinstance(decision, Fail), decision
    return decision.message


@pytest.mark.parametrize(
    ("compat", "message"),
    [
        (
            "1.20",
            (
                "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had taint {k: v}, that the pod didn't "
                "tolerate, 1 node(s) were unschedulable."
            ),
        ),
        (
            "1.30",
            (
                "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {k: v}, 1 node(s) were "
                "unschedulable. preemption: 0/3 nodes are available: 1 No preemption victims found for incoming "
                "pod, 2 Preemption is not helpful for scheduling."
            ),
        ),
        (
            "1.35",
            (
                "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), 1 node(s) were "
                "unschedulable. no new claims to deallocate, preemption: 0/3 nodes are available: 1 No preemption "
                "victims found for incoming pod, 2 Preemption is not helpful for scheduling."
            ),
        ),
    ],
)
def test_message_by_version(compat: str, message: str) -> None:
    """The text of FailedScheduling, word for word."""
    core = make_core(*NODES, compat=compat, pods=(make_pod("x", cpu="1", node="a"),))

    assert message == failure(core, make_pod("p", cpu="1"))


def test_reasons_are_sorted_as_text() -> None:
    """'10 x' comes before '2 y', and a node counts for each reason it gives."""
    reasons = [rejection("F", "y", "z")] * 2 + [rejection("F", "x")] * 10

    assert (
        Wording(Settings(compat="1.20")).unschedulable(12, reasons, None)
        == "0/12 nodes are available: 10 x, 2 y, 2 z."
    )


def test_no_nodes() -> None:
    """Without nodes the text is another, and the pod is tried again after its back-off."""
    core = make_core()
    decision = decide(core, make_pod("p"))

    assert isinstance(decision, Fail)
    assert decision.message == "no nodes available to schedule pods"
    assert core.wake_at() == SECOND
    core.node_changed(None, make_node("n"), SECOND // 2)
    core.tick(SECOND)
    assert isinstance(core.next(SECOND), Bind)


def test_never_preempting_pod() -> None:
    """PreemptionPolicy Never is told."""
    core = make_core(make_node("a", cpu="1"), pods=(make_pod("x", cpu="1", node="a"),))

    assert failure(core, make_pod("p", cpu="1", priority=9, preemption_policy="Never")).endswith(
        "preemption: not eligible due to preemptionPolicy=Never."
    )


def test_deleted_room_wakes_the_pod() -> None:
    """An assigned pod's deletion is what a pod short of resources waits for."""
    present = make_pod("x", cpu="1", node="a")
    core = make_core(make_node("a", cpu="1"), pods=(present,))
    failure(core, make_pod("p", cpu="1"))

    assert core.next(2 * SECOND) is None
    core.pod_changed(present, None, 2 * SECOND)
    assert isinstance(core.next(2 * SECOND), Bind)


def test_finished_pods_free_their_room() -> None:
    """Succeeded and Failed pods take no room, and are not scheduled."""
    present = make_pod("x", cpu="1", node="a")
    done = attrs.evolve(present, status=attrs.evolve(present.status, phase="Succeeded"))
    core = make_core(make_node("a", cpu="1"), pods=(present,))
    core.pod_changed(present, done, 0)

    assert place(core, make_pod("p", cpu="1")) == "a"


def test_node_change_wakes_only_whom_it_may_help() -> None:
    """A node that came helps pods it could take; a heartbeat helps nobody."""
    core = make_core(make_node("a", cpu="1"))
    failure(core, make_pod("p", cpu="1", node_selector={"disk": "ssd"}))
    core.node_changed(None, make_node("b"), 2 * SECOND)
    assert core.next(2 * SECOND) is None
    core.node_changed(make_node("b"), make_node("b", pods="50"), 3 * SECOND)
    assert core.next(3 * SECOND) is None
    core.node_changed(make_node("b"), make_node("b", labels={"disk": "ssd"}), 4 * SECOND)

    assert isinstance(core.next(4 * SECOND), Bind)


def test_uncordoned_node_wakes() -> None:
    """Removing the cordon is an event."""
    core = make_core(make_node("a", unschedulable=True))
    failure(core, make_pod("p"))
    core.node_changed(make_node("a", unschedulable=True), make_node("a"), 2 * SECOND)

    assert isinstance(core.next(2 * SECOND), Bind)


def test_arriving_pod_wakes_whom_it_keeps_company() -> None:
    """A pod waiting for company is tried when a matching pod is bound."""
    core = make_core(make_node("a", zone="z"))
    failure(core, make_pod("p", affinity=near(ZONE, app="db")))
    core.pod_changed(None, make_pod("other", node="a"), 2 * SECOND)
    assert core.next(2 * SECOND) is None
    core.pod_changed(None, make_pod("db", labels={"app": "db"}, node="a"), 2 * SECOND)

    assert isinstance(core.next(2 * SECOND), Bind)


def test_deleting_pod_is_skipped() -> None:
    """A pod on its way out gets no node."""
    decision = decide(make_core(make_node("a")), terminating(make_pod("p")))

    assert isinstance(decision, Skip)
    assert decision.message == "skip schedule deleting pod: default/p"


def test_foreign_pods_are_left_alone() -> None:
    """Pods of another scheduler are not taken in, but count where they are."""
    core = make_core(make_node("a", cpu="1"))
    core.pod_changed(None, make_pod("p", scheduler_name="mine"), 0)

    assert core.next(0) is None


def test_failed_binding_frees_the_room_and_is_tried_again() -> None:
    """What was assumed is given back, and the pod backs off."""
    core = make_core(make_node("a", cpu="1"))
    decision = decide(core, make_pod("p", cpu="1"))
    assert isinstance(decision, Bind)

    assert core.bind_failed("uid-p", 0)
    core.check()
    core.tick(SECOND)
    assert isinstance(core.next(SECOND), Bind)


def test_pod_replaced_by_one_of_its_name() -> None:
    """A new uid is a new pod: the old one's place is given back."""
    core = make_core(make_node("a", cpu="1"))
    old = make_pod("p", cpu="1")
    place(core, old)
    new = attrs.evolve(old, metadata=attrs.evolve(old.metadata, uid=old.metadata.uid + "2"))
    core.pod_changed(bound_to(old, "a"), new, 0)

    assert isinstance(core.next(0), Bind)
    core.check()


def test_no_second_decision_on_a_stale_view() -> None:
    """A pending state seen after the decision does not bring the pod back into the queue."""
    core = make_core(make_node("a"))
    pod = make_pod("p")
    assert isinstance(decide(core, pod), Bind)
    core.bound(pod.metadata.uid, 0)
    core.pod_changed(pod, attrs.evolve(pod, status=attrs.evolve(pod.status, message="x")), 0)

    assert core.next(0) is None


TEMPLATES = [
    make_pod("t0", cpu="300m", memory="256Mi"),
    make_pod("t1", cpu="1", labels={"app": "x"}),
    make_pod("t2", memory="1Gi", labels={"app": "x"}, affinity=far(HOSTNAME, app="x")),
    make_pod("t3", cpu="500m", labels={"app": "y"}, topology_spread_constraints=(spread(ZONE, app="y"),)),
    make_pod("t4", cpu="700m", labels={"app": "y"}, affinity=near(ZONE, app="y")),
    make_pod("t5", cpu="1", priority=10),
    make_pod("t6", host_port=80, priority=5),
]  # fmt: skip

STEPS = st.one_of(
    st.tuples(st.just("pod"), st.integers(0, len(TEMPLATES) - 1)),
    st.tuples(st.just("node"), st.integers(0, 4)),
    st.tuples(st.just("lose node"), st.integers(0, 4)),
    st.tuples(st.just("decide"), st.just(0)),
    st.tuples(st.just("answer"), st.integers(0, 2)),
    st.tuples(st.just("show"), st.just(0)),
    st.tuples(st.just("delete"), st.integers(0, 9)),
    st.tuples(st.just("wait"), st.integers(1, 40)),
)


class World:
    """An API of its own around the core: bindings are answered late, or lost, and shown later still."""

    def __init__(self) -> None:
        self.core = SchedulerCore(Settings(), first)
        self.now = 0
        self.pods: dict[str, Pod] = {}
        self.shown: dict[str, Pod] = {}
        self.binding: list[Bind] = []
        self.nodes: dict[str, int] = {}

    def step(self, what: str, number: int) -> None:
        getattr(self, what.replace(" ", "_"))(number)
        self.core.check()
        self.check()

    def pod(self, number: int) -> None:
        template = TEMPLATES[number]
        name = f"p{len(self.pods)}"
        metadata = attrs.evolve(template.metadata, name=name, uid=f"uid-{name}")
        pod = self.pods[name] = self.shown[name] = attrs.evolve(template, metadata=metadata)
        self.core.pod_changed(None, pod, self.now)

    def node(self, number: int) -> None:
        node = make_node(f"n{number}", cpu="2", memory="2Gi", pods="4", zone="ab"[number % 2])
        self.core.node_changed(None, node, self.now)

    def lose_node(self, number: int) -> None:
        node = make_node(f"n{number}")
        self.core.node_changed(node, None, self.now)

    def decide(self, number: int) -> None:
        del number
        decision = self.core.next(self.now)
        if isinstance(decision, Bind):
            assert self.pods[decision.pod.name].spec.node_name == "", "bound twice"
            self.binding.append(decision)
        elif isinstance(decision, Fail) and decision.preempted is not None:
            for victim in decision.preempted.victims:
                assert victim.priority < decision.pod.priority
                self.remove(victim.name)

    def answer(self, how: int) -> None:
        if not self.binding:
            return
        decision = self.binding.pop(0)
        pod = self.pods.get(decision.pod.name)
        if how == 0 or pod is None:
            self.core.bind_failed(decision.pod.uid, self.now)
            return
        assert not pod.spec.node_name, "bound twice"
        self.pods[pod.metadata.name] = bound_to(pod, decision.node)
        self.core.bound(decision.pod.uid, self.now)

    def show(self, number: int) -> None:
        """The informer catches up."""
        del number
        for name, pod in self.pods.items():
            if self.shown[name] is not pod:
                self.core.pod_changed(self.shown[name], pod, self.now)
                self.shown[name] = pod

    def delete(self, number: int) -> None:
        self.remove(f"p{number}")

    def remove(self, name: str) -> None:
        if self.pods.pop(name, None) is not None:
            self.core.pod_changed(self.shown.pop(name), None, self.now)

    def wait(self, seconds: int) -> None:
        self.now += seconds * SECOND
        self.core.tick(self.now)

    def check(self) -> None:
        """By the API's own truth: no node has more than it offers."""
        load: dict[str, tuple[int, int, int]] = {}
        for pod in self.pods.values():
            if pod.spec.node_name:
                requests = pod.spec.containers[0].resources
                assert requests is not None
                cpu, memory, count = load.get(pod.spec.node_name, (0, 0, 0))
                load[pod.spec.node_name] = (
                    cpu + (requests.requests["cpu"].milli if "cpu" in requests.requests else 0),
                    memory
                    + (requests.requests["memory"].value if "memory" in requests.requests else 0),
                    count + 1,
                )
        for node, (cpu, memory, count) in load.items():
            assert cpu <= 2000, node
            assert memory <= 2 * 1024**3, node
            assert count <= 4, node


@given(st.lists(STEPS, max_size=80))
@hypothesis_settings(max_examples=150, deadline=None)
def test_never_overcommits_and_never_binds_twice(steps: list[tuple[str, int]]) -> None:
    """Whatever comes, is answered late or not at all, and in whatever order it is seen."""
    world = World()
    for node in range(3):
        world.node(node)
    for what, number in steps:
        world.step(what, number)


@given(st.lists(st.integers(0, len(TEMPLATES) - 1), max_size=25))
@hypothesis_settings(max_examples=40, deadline=None)
def test_same_input_same_decisions(kinds: list[int]) -> None:
    """Two cores that hear the same decide the same."""

    def run() -> list[str]:
        world = World()
        for node in range(3):
            world.node(node)
        told = []
        for kind in kinds:
            world.pod(kind)
            decision = world.core.next(0)
            told.append(
                decision.node
                if isinstance(decision, Bind)
                else str(getattr(decision, "message", ""))
            )
        return told

    assert run() == run()


def test_gated_pod_is_not_decided_on() -> None:
    """Gates hold a pod back from 1.27 on."""
    core = make_core(make_node("a"))
    core.pod_changed(None, make_pod("p", scheduling_gates=(PodSchedulingGate(name="g"),)), 0)

    assert core.next(0) is None
    queued = core.queue.get("uid-p")
    assert queued is not None
    assert queued.where is Where.GATED
