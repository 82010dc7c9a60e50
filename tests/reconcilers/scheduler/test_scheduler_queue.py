"""The scheduling queue: order, back-off, flushes, events, gates; and its invariants under random steps."""

from __future__ import annotations

import attrs
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine import PodSchedulingGate, Settings
from reconcilers.scheduler.pod_info import PodInfo, pod_info
from reconcilers.scheduler.queue import Event, QueuedPod, SchedulingQueue, Where
from tests.reconcilers.scheduler.making import SECOND, make_pod

FIT = ("NodeResourcesFit",)


def waiting(name: str, priority: int = 0) -> PodInfo:
    return pod_info(make_pod(name, priority=priority))


def popped(queue: SchedulingQueue, now: int = 0) -> QueuedPod:
    queued = queue.pop(now)
    assert queued is not None
    return queued


def failed(queue: SchedulingQueue, now: int, plugins: tuple[str, ...] = FIT) -> QueuedPod:
    queued = popped(queue, now)
    queue.failed(queued.info.uid, plugins, now)
    return queued


def test_priority_then_time() -> None:
    """Highest priority first; among equals the longest waiting."""
    queue = SchedulingQueue(Settings())
    for time, (name, priority) in enumerate([("a", 0), ("b", 5), ("c", 5), ("d", -1)]):
        queue.add(waiting(name, priority), time)

    assert [popped(queue).info.name for _ in range(4)] == ["b", "c", "a", "d"]
    assert queue.pop(9) is None


def test_backoff_doubles_to_ten_seconds() -> None:
    """1, 2, 4, 8, 10, 10 seconds."""
    queue = SchedulingQueue(Settings())

    assert [queue.backoff(n) // SECOND for n in range(7)] == [0, 1, 2, 4, 8, 10, 10]


def test_error_backs_off_and_comes_back_at_the_tick() -> None:
    """A failure by no plugin is tried again after its back-off, at the next whole second of the flusher."""
    queue = SchedulingQueue(Settings())
    queue.add(waiting("a"), 0)
    queued = failed(queue, SECOND // 4, ())

    assert queued.where is Where.BACKOFF
    assert queue.pop(SECOND) is None
    assert queue.next_flush() == 2 * SECOND
    assert queue.flush(2 * SECOND - 1) == 0
    assert queue.flush(2 * SECOND) == 1
    assert popped(queue).attempts == 2


def test_unschedulable_waits_for_the_flush() -> None:
    """With no events, the next attempt comes after 5 minutes, found by the 30 s scan; 60 s before 1.21."""
    for compat, due in (("1.35", 330), ("1.20", 90)):
        queue = SchedulingQueue(Settings.for_version(compat))
        queue.add(waiting("a"), 0)
        queued = failed(queue, SECOND)

        assert queued.where is Where.UNSCHEDULABLE
        assert queue.next_flush() == due * SECOND
        assert queue.flush(due * SECOND) == 1
        assert queued.where is Where.ACTIVE


def test_exactly_the_longest_stay_is_not_longer() -> None:
    """The flusher moves pods that stayed *longer* than the limit."""
    queue = SchedulingQueue(Settings.for_version("1.20"))
    queue.add(waiting("a"), 0)
    failed(queue, 0)

    assert queue.flush(60 * SECOND) == 0
    assert queue.next_flush() == 90 * SECOND


def test_events_help_those_they_concern() -> None:
    """From 1.32 on an event moves just pods refused by a plugin it may help; before, all."""
    for compat, moved in (("1.35", 0), ("1.31", 1)):
        queue = SchedulingQueue(Settings.for_version(compat))
        queue.add(waiting("a"), 0)
        failed(queue, 0, ("NodeAffinity",))

        assert queue.move(Event.POD_DELETED, 20 * SECOND) == moved
        assert queue.move(Event.NODE_LABELS, 20 * SECOND) == 1 - moved


def test_hint_decides_per_pod() -> None:
    """The hint sees each pod that the event concerns."""
    queue = SchedulingQueue(Settings())
    for name in ("a", "b"):
        queue.add(waiting(name), 0)
        failed(queue, 0)

    assert queue.move(Event.NODE_ADDED, 2 * SECOND, lambda info: info.name == "b") == 1
    assert popped(queue, 2 * SECOND).info.name == "b"


def test_moved_pod_waits_out_its_backoff() -> None:
    """An event during the back-off leads there first; up to 1.32 it is waited out."""
    queue = SchedulingQueue(Settings.for_version("1.32"))
    queue.add(waiting("a"), 0)
    failed(queue, 0)

    assert queue.move(Event.POD_DELETED, SECOND // 2) == 1
    assert queue.pop(SECOND // 2) is None
    queue.flush(SECOND)
    assert popped(queue, SECOND).attempts == 2


def test_idle_scheduler_does_not_wait_for_backoff() -> None:
    """From 1.33 on, with nothing active, a pod that was refused (not one that erred) is tried before its time."""
    queue = SchedulingQueue(Settings())
    for name, plugins in (("erred", ()), ("refused", FIT)):
        queue.add(waiting(name), 0)
        failed(queue, 0, plugins)
    queue.move(Event.POD_DELETED, SECOND // 2)

    assert popped(queue, SECOND // 2).info.name == "refused"
    assert queue.pop(SECOND // 2) is None


def test_event_during_the_attempt() -> None:
    """An event that comes while the pod is in flight is not lost."""
    queue = SchedulingQueue(Settings())
    queue.add(waiting("a"), 0)
    queued = popped(queue)
    queue.move(Event.POD_DELETED, 1)
    queue.failed(queued.info.uid, FIT, 2)

    assert queued.where is Where.BACKOFF


def test_gates() -> None:
    """A gated pod waits until its gates are gone, whatever happens."""
    queue = SchedulingQueue(Settings())
    pod = make_pod("a", scheduling_gates=(PodSchedulingGate(name="g"),))
    queue.add(pod_info(pod), 0)
    queue.move(Event.NODE_ADDED, 1)
    queue.flush(1000 * SECOND)

    assert queue.pop(1) is None
    open_pod = attrs.evolve(pod, spec=attrs.evolve(pod.spec, scheduling_gates=()))
    queue.update(pod_info(open_pod), 2, spec_changed=True)
    assert popped(queue, 2).info.name == "a"


def test_own_status_writes_do_not_wake() -> None:
    """An update of the status leaves an unschedulable pod where it is; one of the spec moves it."""
    queue = SchedulingQueue(Settings())
    queue.add(waiting("a"), 0)
    queued = failed(queue, 0)
    queue.update(waiting("a"), 5 * SECOND, spec_changed=False)

    assert queued.where is Where.UNSCHEDULABLE
    queue.update(waiting("a"), 5 * SECOND, spec_changed=True)
    assert queued.where is Where.ACTIVE


def test_causes_gather_until_the_attempt() -> None:
    """What moved a pod is known when it is tried, and forgotten after."""
    queue = SchedulingQueue(Settings())
    queue.because = (7,)
    queue.add(waiting("a"), 0)

    assert popped(queue).causes == (7,)
    queue.failed("uid-a", FIT, 0)
    queue.because = (9, "timer:x")
    queue.move(Event.NODE_ADDED, 5 * SECOND)
    assert popped(queue, 5 * SECOND).causes == (9, "timer:x")


class QueueMachine(RuleBasedStateMachine):
    """Random steps; after each one every pod stands in its place once."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = SchedulingQueue(Settings())
        self.now = 0

    names = st.sampled_from("abcdef")

    @rule(name=names, priority=st.integers(-1, 1), gated=st.booleans())
    def add(self, name: str, priority: int, gated: bool) -> None:
        gates = (PodSchedulingGate(name="g"),) if gated else ()
        self.queue.add(
            pod_info(make_pod(name, priority=priority, scheduling_gates=gates)), self.now
        )

    @rule(name=names, changed=st.booleans())
    def update(self, name: str, changed: bool) -> None:
        queued = self.queue.get(f"uid-{name}")
        priority = queued.info.priority if queued is not None else 0
        self.queue.update(waiting(name, priority), self.now, spec_changed=changed)

    @rule(name=names)
    def remove(self, name: str) -> None:
        self.queue.remove(f"uid-{name}")

    @rule()
    def pop(self) -> None:
        best = [q for q in self.queue if q.where is Where.ACTIVE]
        queued = self.queue.pop(self.now)
        if best:
            assert queued is not None
            assert queued.info.priority == max(q.info.priority for q in best)
        elif queued is not None:
            assert queued.refused_by, "only refused pods skip their back-off"

    @rule(plugins=st.sampled_from([(), FIT, ("InterPodAffinity", "TaintToleration")]))
    def fail(self, plugins: tuple[str, ...]) -> None:
        for queued in list(self.queue):
            if queued.where is Where.IN_FLIGHT:
                self.queue.failed(queued.info.uid, plugins, self.now)
                return

    @rule(event=st.sampled_from(list(Event)))
    def move(self, event: Event) -> None:
        self.queue.move(event, self.now)

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.7, 31.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)
        due = self.queue.next_flush()
        moved = self.queue.flush(self.now)
        assert (moved > 0) == (due is not None and due <= self.now)

    @invariant()
    def holds(self) -> None:
        self.queue.check()


QueueMachine.TestCase.settings = hypothesis_settings(max_examples=60, stateful_step_count=40)
TestQueueMachine = QueueMachine.TestCase
