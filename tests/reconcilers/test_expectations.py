"""Expectations against a model."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine import Key
from reconcilers.expectations import Expectations

OWNERS = st.sampled_from([Key("ns", "a"), Key("ns", "b")])
PODS = st.sampled_from([Key("ns", f"p{number}") for number in range(4)])
TIMEOUT = 300


class Observing(RuleBasedStateMachine):
    """Random calls; the model is a pair of a count and a list for each owner."""

    def __init__(self) -> None:
        super().__init__()
        self.real = Expectations(TIMEOUT)
        self.model: dict[Key, tuple[int, list[Key], int]] = {}
        self.now = 0

    @rule(owner=OWNERS, count=st.integers(0, 3))
    def create(self, owner: Key, count: int) -> None:
        self.real.expect_creations(owner, count, self.now)
        self.model[owner] = (count, [], self.now)

    @rule(owner=OWNERS, pods=st.lists(PODS, unique=True))
    def delete(self, owner: Key, pods: list[Key]) -> None:
        self.real.expect_deletions(owner, pods, self.now)
        self.model[owner] = (0, pods, self.now)

    @rule(owner=OWNERS)
    def created(self, owner: Key) -> None:
        self.real.creation_observed(owner)
        if owner in self.model:
            count, pods, since = self.model[owner]
            self.model[owner] = (max(0, count - 1), pods, since)

    @rule(owner=OWNERS, pod=PODS)
    def deleted(self, owner: Key, pod: Key) -> None:
        self.real.deletion_observed(owner, pod)
        if owner in self.model:
            count, pods, since = self.model[owner]
            self.model[owner] = (count, [each for each in pods if each != pod], since)

    @rule(owner=OWNERS)
    def forget(self, owner: Key) -> None:
        self.real.forget(owner)
        self.model.pop(owner, None)

    @rule(span=st.sampled_from([1, TIMEOUT, TIMEOUT + 1]))
    def wait(self, span: int) -> None:
        self.now += span

    @invariant()
    def agree(self) -> None:
        self.real.check()
        for owner in (Key("ns", "a"), Key("ns", "b")):
            count, pods, since = self.model.get(owner, (0, [], 0))
            fulfilled = (count == 0 and not pods) or self.now - since > TIMEOUT
            assert fulfilled == self.real.fulfilled(owner, self.now)
        statistics = self.real.statistics()
        assert len(self.model) == statistics.records
        assert sum(len(pods) for _, pods, _ in self.model.values()) == statistics.deletions


TestExpectations = Observing.TestCase
TestExpectations.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
