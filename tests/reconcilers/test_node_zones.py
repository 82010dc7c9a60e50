"""States of zones, and the speed at which their nodes are tainted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Node, ObjectMeta, Settings
from reconcilers.node_zones import (
    Disruption,
    TokenBucket,
    ZoneCount,
    ZoneName,
    Zones,
    ZoneState,
    is_excluded,
    rate_of,
    state_of,
    zone_of,
)

SECOND = 1_000_000
SETTINGS = Settings()
A, B = ZoneName("a"), ZoneName("b")


@pytest.mark.parametrize(
    ("ready", "not_ready", "expected"),
    [
        (0, 0, ZoneState.NORMAL),
        (0, 1, ZoneState.FULL),
        (1, 2, ZoneState.NORMAL),  # a third node must be lost before a share counts
        (1, 3, ZoneState.PARTIAL),
        (9, 11, ZoneState.PARTIAL),  # exactly 55 %
        (10, 11, ZoneState.NORMAL),
        (0, 60, ZoneState.FULL),
        (25, 35, ZoneState.PARTIAL),
    ],
)
def test_state_of_a_zone(ready: int, not_ready: int, expected: ZoneState) -> None:
    """Full without a ready node, partial from three lost nodes and 55 % on (reference 2.6.2)."""
    assert expected is state_of(ZoneCount(ready, not_ready), SETTINGS.unhealthy_zone_threshold)


@pytest.mark.parametrize(
    ("state", "size", "expected"),
    [
        (ZoneState.NORMAL, 3, 0.1),
        (ZoneState.FULL, 3, 0.1),
        (ZoneState.PARTIAL, 50, 0.0),
        (ZoneState.PARTIAL, 51, 0.01),
    ],
)
def test_rate_of_a_zone(state: ZoneState, size: int, expected: float) -> None:
    """A partly lost zone is slow when large and stands still when small (reference 2.6.3)."""
    assert expected == rate_of(state, size, SETTINGS)


def test_zone_names() -> None:
    """Region and zone together name a zone; old labels stand in; no labels make the empty zone."""
    new = {"topology.kubernetes.io/region": "r", "topology.kubernetes.io/zone": "z"}
    old = {
        "failure-domain.beta.kubernetes.io/region": "r",
        "failure-domain.beta.kubernetes.io/zone": "z",
    }

    assert zone_of(Node(metadata=ObjectMeta(labels=new))) == "r:\x00:z"
    assert zone_of(Node(metadata=ObjectMeta(labels=old))) == "r:\x00:z"
    assert zone_of(Node()) == ""


@pytest.mark.parametrize(
    ("name", "label", "compat", "expected"),
    [
        ("n", True, "1.35", True),
        ("n", False, "1.35", False),
        ("kube-master", False, "1.20", True),
        ("kube-master-abc", False, "1.20", True),
        ("kube-master", False, "1.21", False),
        ("kube-mastery-abc", False, "1.20", False),
    ],
)
def test_excluded_nodes(name: str, label: bool, compat: str, expected: bool) -> None:
    """The label excludes a node; before 1.21 a master's name does as well."""
    labels = {"node.kubernetes.io/exclude-disruption": ""} if label else {}
    node = Node(metadata=ObjectMeta(name=name, labels=labels))

    assert expected is is_excluded(node, Settings.for_version(compat))


def test_bucket_holds_one_token() -> None:
    """The first token is there at once, the next after 1/rate, and none is saved up."""
    bucket = TokenBucket(0.1)

    assert bucket.take(0)
    assert not bucket.take(10 * SECOND - 1)
    assert bucket.take(100 * SECOND)
    assert not bucket.take(100 * SECOND)


def test_bucket_keeps_its_emptiness_when_the_rate_changes() -> None:
    """A new rate does not give a token for nothing: an empty bucket is empty for a period of the
    new rate.
    """
    bucket = TokenBucket(0.1)
    bucket.take(0)
    bucket.set_rate(0.01, SECOND)

    assert bucket.available_at() == 101 * SECOND

    bucket.set_rate(0.0, 2 * SECOND)

    assert bucket.available_at() is None
    assert not bucket.take(10_000 * SECOND)

    bucket.set_rate(0.1, 200 * SECOND)

    assert bucket.available_at() == 210 * SECOND


def times_of_tainting(zones: Zones, until: int) -> list[tuple[int, str]]:
    """Taint whatever is due, as soon as it is, until `until`."""
    taken: list[tuple[int, str]] = []
    now = 0
    while True:
        for _, name in zones.take_due(now):
            taken.append((now, name))
        due = zones.next_due()
        if due is None or due > until:
            return taken
        now = max(now, due)


def test_a_lost_zone_is_tainted_at_the_full_rate() -> None:
    """10.21: a zone of 20 nodes lost as a whole beside healthy ones: the first at once, the 20th
    after 190 s.
    """
    zones = Zones(SETTINGS)
    zones.ensure(A)
    zones.ensure(B)
    zones.judge({A: ZoneCount(20, 0), B: ZoneCount(20, 0)}, 0)
    zones.judge({A: ZoneCount(0, 20), B: ZoneCount(20, 0)}, 0)
    for number in range(20):
        zones.mark(A, f"n{number:02}", tainted=False)

    taken = times_of_tainting(zones, 1000 * SECOND)

    assert [(number * 10 * SECOND, f"n{number:02}") for number in range(20)] == taken


@pytest.mark.parametrize(("lost", "size", "taints"), [(35, 60, 10), (23, 40, 1)])
def test_a_partly_lost_zone(lost: int, size: int, taints: int) -> None:
    """10.22: 35 of 60 lost give one node per 100 s; 23 of 40 none until recovery, but for the one
    that had a token.
    """
    zones = Zones(SETTINGS)
    zones.ensure(A)
    zones.judge({A: ZoneCount(size, 0)}, 0)
    for number in range(lost):
        zones.mark(A, f"n{number:02}", tainted=False)
    first = zones.take_due(0)  # before the pass that finds the loss has judged the zone
    zones.judge({A: ZoneCount(size - lost, lost)}, 0)

    taken = times_of_tainting(zones, 900 * SECOND)

    assert first == [(A, "n00")]
    assert taints == len(taken) + len(first)


def test_all_zones_lost_stops_everything_and_a_return_begins_anew() -> None:
    """2.6.3: when all zones are lost no token comes; when one node is back all zones follow their
    states again.
    """
    zones = Zones(SETTINGS)
    well = {A: ZoneCount(3, 0), B: ZoneCount(3, 0)}
    lost = {A: ZoneCount(0, 3), B: ZoneCount(0, 3)}
    back = {A: ZoneCount(1, 2), B: ZoneCount(0, 3)}

    assert zones.judge(well, 0) is Disruption.NONE
    assert zones.judge({A: ZoneCount(0, 3), B: ZoneCount(3, 0)}, 0) is Disruption.NONE
    assert zones.judge(lost, 0) is Disruption.ENTERED

    zones.mark(A, "n", tainted=False)

    assert zones.take_due(SECOND) == []
    assert zones.next_due() is None
    assert zones.judge(lost, SECOND) is Disruption.NONE
    assert zones.judge(back, 5 * SECOND) is Disruption.LEFT
    assert zones.statistics().states == {A: ZoneState.NORMAL, B: ZoneState.FULL}
    assert zones.next_due() == 15 * SECOND


def test_a_cluster_of_one_zone_is_lost_as_a_whole() -> None:
    """2.6.4: one node in one zone, down: nothing is evicted."""
    zones = Zones(SETTINGS)
    zones.judge({A: ZoneCount(1, 0)}, 0)

    assert zones.judge({A: ZoneCount(0, 1)}, 0) is Disruption.ENTERED


def test_a_zone_without_counted_nodes_is_forgotten_and_made_anew() -> None:
    """Its state goes with its last counted node; the next node finds it initial, with a full bucket."""
    zones = Zones(SETTINGS)
    zones.ensure(A)
    zones.judge({A: ZoneCount(1, 0)}, 0)
    zones.mark(A, "n", tainted=False)
    zones.take_due(0)
    zones.judge({}, 0)

    assert zones.statistics().states == {}

    zones.ensure(A)
    zones.mark(A, "m", tainted=False)

    assert zones.statistics().states == {A: ZoneState.INITIAL}
    assert zones.take_due(0) == [(A, "m")]


def test_a_tainted_node_does_not_queue_again() -> None:
    """A node let through queues a second time only without its taint, or after it was forgotten."""
    zones = Zones(SETTINGS)
    zones.ensure(A)

    assert zones.mark(A, "n", tainted=False)
    assert not zones.mark(A, "n", tainted=False)

    zones.take_due(0)

    assert not zones.mark(A, "n", tainted=True)
    assert zones.mark(A, "n", tainted=False)

    zones.take_due(10 * SECOND)
    zones.forget(A, "n")

    assert zones.mark(A, "n", tainted=True)


def test_a_failed_taint_goes_to_the_end() -> None:
    """A node put back waits behind the others; one forgotten meanwhile does not come back."""
    zones = Zones(SETTINGS)
    zones.ensure(A)
    for name in ("n", "m"):
        zones.mark(A, name, tainted=False)
    zones.take_due(0)
    zones.put_back(A, "n")

    assert [name for _, name in times_of_tainting(zones, 100 * SECOND)] == ["m", "n"]

    zones.forget(A, "n")
    zones.put_back(A, "n")

    assert zones.statistics().waiting == 0


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["mark", "retaint", "forget", "put_back", "wait"]),
        st.sampled_from(["n1", "n2", "n3", "n4"]),
        st.integers(0, 15 * SECOND),
    ),
    max_size=60,
)


@given(STEPS)
def test_no_zone_ever_exceeds_its_rate(steps: list[tuple[str, str, int]]) -> None:
    """Whatever is marked, forgotten and put back: two nodes of a zone are at least 10 s apart, and
    none waits twice.
    """
    zones = Zones(SETTINGS)
    zones.ensure(A)
    now, last = 0, -10 * SECOND
    for step, name, microseconds in steps:
        if step == "mark":
            zones.mark(A, name, tainted=False)
        elif step == "retaint":
            zones.mark(A, name, tainted=True)
        elif step == "forget":
            zones.forget(A, name)
        elif step == "put_back":
            zones.put_back(A, name)
        else:
            now += microseconds
        zones.check()
        due = zones.take_due(now)

        assert len(due) <= 1
        if due:
            assert now - last >= 10 * SECOND
            last = now
