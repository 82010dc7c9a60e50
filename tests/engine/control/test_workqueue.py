"""The work queue's promises, by example and by random walks against a model."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.control.workqueue import MAX_CAUSES, RateLimits, WorkQueue

SECOND = 1_000_000_000


def test_a_key_waits_once_however_often_it_is_added() -> None:
    """Adds of a waiting key change nothing but its causes."""
    queue: WorkQueue[str] = WorkQueue()

    assert queue.add("a", (1,))
    assert not queue.add("a", (2,))
    assert (("a", (1, 2)), 0) == (queue.get(), len(queue))


def test_a_key_is_worked_on_by_one_worker_at_a_time() -> None:
    """An add while processing waits for `done`, then the key comes back."""
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.get()

    assert not queue.add("a")
    assert len(queue) == 0
    assert queue.done("a")
    assert "a" == queue.get()[0]


def test_keys_come_in_the_order_of_their_first_add() -> None:
    """First in, first out: no key overtakes another."""
    queue: WorkQueue[str] = WorkQueue()
    for key in "cabac":
        queue.add(key)

    assert list("cab") == [queue.get()[0] for _ in range(3)]


def test_back_off_doubles_and_is_forgotten() -> None:
    """5 ms, 10 ms, 20 ms ... and 5 ms again after `forget` (client-go DefaultControllerRateLimiter)."""
    queue: WorkQueue[str] = WorkQueue()
    delays = [queue.add_rate_limited("a", 0) for _ in range(4)]
    queue.forget("a")

    assert [0.005, 0.01, 0.02, 0.04] == delays
    assert queue.add_rate_limited("a", 0) == 0.005


def test_back_off_ends_at_its_maximum() -> None:
    """However often a key fails, it is tried again after max_delay."""
    queue: WorkQueue[str] = WorkQueue(RateLimits(rate=1e9, burst=10**9))
    delays = [queue.add_rate_limited("a", 0) for _ in range(80)]

    assert delays[-1] == 1000.0


def test_retries_of_many_keys_share_a_bucket() -> None:
    """After a burst of 100, retries come at 10 per second."""
    queue: WorkQueue[int] = WorkQueue()
    delays = [queue.add_rate_limited(key, 0) for key in range(120)]

    assert {0.005} == {*delays[:100]}
    assert delays[100:103] == pytest.approx([0.1, 0.2, 0.3])


def test_the_earliest_of_several_delays_counts() -> None:
    """client-go: a later add may bring a delayed key forward, never put it off."""
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 10, 0)
    queue.add_after("a", 5, 0)
    queue.add_after("a", 20, 0)

    assert queue.next_wake() == 5 * SECOND
    assert queue.wake(5 * SECOND) == 1
    queue.get()
    assert queue.next_wake() is None


def test_only_the_newest_causes_are_kept() -> None:
    """A key that a thousand events touch does not carry a thousand causes."""
    queue: WorkQueue[str] = WorkQueue()
    for revision in range(100):
        queue.add("a", (revision,))

    assert queue.get()[1] == tuple(range(100 - MAX_CAUSES, 100))


class WorkQueueMachine(RuleBasedStateMachine):
    """Random adds, delays and workers against a model: no key is lost, doubled or handed out twice."""

    keys = st.sampled_from("abcd")

    def __init__(self) -> None:
        super().__init__()
        self.queue: WorkQueue[str] = WorkQueue()
        self.now = 0
        self.due: dict[str, int] = {}
        self.wanted: dict[str, None] = {}
        self.busy: dict[str, None] = {}

    @rule(key=keys)
    def add(self, key: str) -> None:
        self.queue.add(key)
        self.wanted[key] = None

    @rule(key=keys, delay=st.integers(0, 5))
    def add_after(self, key: str, delay: int) -> None:
        self.queue.add_after(key, delay, self.now)
        if delay == 0:
            self.wanted[key] = None
        else:
            ready = self.now + delay * SECOND
            self.due[key] = min(self.due.get(key, ready), ready)

    @rule(seconds=st.integers(0, 4))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds * SECOND
        self.queue.wake(self.now)
        for key in [key for key, ready in self.due.items() if ready <= self.now]:
            del self.due[key]
            self.wanted[key] = None

    @precondition(lambda self: len(self.queue) > 0)
    @rule()
    def get(self) -> None:
        key, _ = self.queue.get()
        assert key in self.wanted
        assert key not in self.busy
        del self.wanted[key]
        self.busy[key] = None

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(list(self.busy)))
        self.queue.done(key)
        del self.busy[key]

    @invariant()
    def nothing_is_lost(self) -> None:
        self.queue.check()
        available = [key for key in self.wanted if key not in self.busy]
        assert len(available) == len(self.queue)
        expected = min(self.due.values(), default=None)
        assert expected == self.queue.next_wake()


TestWorkQueueMachine = WorkQueueMachine.TestCase
TestWorkQueueMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
