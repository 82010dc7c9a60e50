"""The event correlator's three stages, by example and by random walks against a model of client-go's `EventCorrelator`."""

from __future__ import annotations

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from engine import EventCorrelator, ObjectReference, Uid
from engine.control.correlator import CACHE_SIZE, COMBINED, Lru, Remark

SECOND = 1_000_000_000
POD = ObjectReference(api_version="v1", kind="Pod", namespace="default", name="web", uid=Uid("1"))


def said(message: str, *, about: ObjectReference = POD, type_: str = "Normal") -> Remark:
    return Remark(about, type_, "Created", message)


def test_the_same_again_raises_the_count() -> None:
    """Equal to the letter: the first time is kept, the count grows, and the key stays."""
    correlator = EventCorrelator()
    first = correlator.correlate(said("a"), 5 * SECOND)
    second = correlator.correlate(said("a"), 9 * SECOND)

    assert first is not None
    assert second is not None
    assert (1, 2, first.key) == (first.count, second.count, second.key)
    assert (5 * SECOND, 9 * SECOND) == (second.first_ns, second.last_ns)


def test_the_tenth_message_and_all_after_it_are_combined() -> None:
    """Nine pass as they are; from the tenth distinct message on there is one Event with a count (defaultAggregateMaxEvents)."""
    correlator = EventCorrelator()
    verdicts = [correlator.correlate(said(str(number)), 0) for number in range(14)]
    told = [(v.remark.message, v.count) for v in verdicts if v is not None]

    assert [(str(number), 1) for number in range(9)] == told[:9]
    assert [(f"{COMBINED}{number}", number - 8) for number in range(9, 14)] == told[9:]


def test_after_ten_quiet_minutes_similar_remarks_start_over() -> None:
    """The interval counts from the last similar one: at 600 s still combined, after more they pass again."""
    correlator = EventCorrelator()
    for number in range(10):
        correlator.correlate(said(str(number)), 0)
    within = correlator.correlate(said("x"), 600 * SECOND)
    after = correlator.correlate(said("y"), 1200 * SECOND + 1)

    assert within is not None
    assert within.remark.message == f"{COMBINED}x"
    assert after is not None
    assert after.remark.message == "y"


def test_an_object_made_again_is_spoken_of_anew() -> None:
    """The uid is part of every key (client-go getEventKey, getSpamKey): another pod of the name has its own count and budget."""
    correlator = EventCorrelator()
    for _ in range(30):
        correlator.correlate(said("a"), 0)
    other = correlator.correlate(said("a", about=attrs.evolve(POD, uid=Uid("2"))), 0)

    assert other is not None
    assert 1 == other.count


def test_an_object_has_25_remarks_and_then_one_in_five_minutes() -> None:
    """Burst and refill of the spam filter, per object and type; what is cut has been counted."""
    correlator = EventCorrelator()
    passed = [correlator.correlate(said("a"), 0) is not None for _ in range(30)]
    soon = correlator.correlate(said("a"), 299 * SECOND)
    warning = correlator.correlate(said("a", type_="Warning"), 299 * SECOND)
    later = correlator.correlate(said("a"), 300 * SECOND)

    assert [True] * 25 + [False] * 5 == passed
    assert soon is None
    assert warning is not None
    assert later is not None
    assert 32 == later.count


def test_containers_of_a_pod_are_counted_apart() -> None:
    """`fieldPath` is part of what makes two Events the same, and not of what makes them similar (client-go)."""
    correlator = EventCorrelator()
    one = correlator.correlate(
        said("a", about=attrs.evolve(POD, field_path="spec.containers{a}")), 0
    )
    two = correlator.correlate(
        said("a", about=attrs.evolve(POD, field_path="spec.containers{b}")), 0
    )

    assert one is not None
    assert two is not None
    assert (1, 1) == (one.count, two.count)


def test_only_the_entries_used_last_are_remembered() -> None:
    """A cache holds 4096; reading an entry keeps it (maxLruCacheEntries)."""
    cache: Lru[int, int] = Lru()
    for number in range(CACHE_SIZE):
        cache.put(number, number)
    cache.get(0)
    cache.put(CACHE_SIZE, 1)

    assert CACHE_SIZE == len(cache)
    assert (0, None) == (cache.get(0), cache.get(1))


class CorrelatorMachine(RuleBasedStateMachine):
    """Against a model that keeps all that was ever said and recomputes each answer from it."""

    def __init__(self) -> None:
        super().__init__()
        self.correlator = EventCorrelator()
        self.now = 0
        self.similar: dict[tuple[str, str], tuple[list[str], int]] = {}
        self.times: dict[tuple[str, str, str], list[int]] = {}
        self.passed: dict[str, list[int]] = {}

    @rule(seconds=st.sampled_from([0, 1, 30, 300, 601]))
    def wait(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule(
        uid=st.sampled_from("12"),
        reason=st.sampled_from(["Created", "Killing"]),
        messages=st.lists(st.integers(0, 14).map(str), min_size=1, max_size=12),
    )
    def say(self, uid: str, reason: str, messages: list[str]) -> None:
        for message in messages:
            self._say(uid, reason, message)

    def _say(self, uid: str, reason: str, message: str) -> None:
        verdict = self.correlator.correlate(
            Remark(attrs.evolve(POD, uid=Uid(uid)), "Normal", reason, message), self.now
        )
        combined = self._combined(uid, reason, message)
        times = self.times.setdefault((uid, reason, COMBINED if combined else message), [])
        times.append(self.now)
        if self._budget(uid) < 1:
            assert verdict is None
            return
        self.passed.setdefault(uid, []).append(self.now)
        assert verdict is not None
        assert (len(times), times[0], self.now) == (
            verdict.count,
            verdict.first_ns,
            verdict.last_ns,
        )
        assert verdict.remark.message == (COMBINED + message if combined else message)

    def _combined(self, uid: str, reason: str, message: str) -> bool:
        messages, last = self.similar.get((uid, reason), ([], self.now))
        if self.now - last > 600 * SECOND:
            messages = []
        messages = [*messages, *([message] if message not in messages else [])]
        self.similar[uid, reason] = (messages[-9:], self.now)
        return len(messages) >= 10

    def _budget(self, uid: str) -> float:
        tokens, last = 25.0, 0
        for at in self.passed.get(uid, []):
            tokens = min(25.0, tokens + (at - last) / (300 * SECOND)) - 1
            last = at
        # Whole tokens are compared: sums of fractions may differ in their last bits.
        return round(min(25.0, tokens + (self.now - last) / (300 * SECOND)), 9)


TestCorrelatorMachine = CorrelatorMachine.TestCase
TestCorrelatorMachine.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
