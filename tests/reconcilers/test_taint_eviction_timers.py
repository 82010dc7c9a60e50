"""Tolerations, and the timers that follow from them."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import (
    Key,
    ObjectMeta,
    Pod,
    PodSpec,
    Taint,
    Toleration,
    Uid,
)
from reconcilers.taint_eviction_timers import (
    FOR_EVER,
    UNTOLERATED,
    EvictionTimers,
    Keep,
    Wait,
    tolerated_seconds,
)

SECOND = 1_000_000
KEY = Key("default", "p")
UNREACHABLE = Taint(key="node.kubernetes.io/unreachable", effect="NoExecute")
NOT_READY = Taint(key="node.kubernetes.io/not-ready", effect="NoExecute")


def for_seconds(taint: Taint, seconds: int | None) -> Toleration:
    return Toleration(
        key=taint.key, operator="Exists", effect="NoExecute", toleration_seconds=seconds
    )


def pod(*tolerations: Toleration, uid: str = "u1") -> Pod:
    return Pod(
        metadata=ObjectMeta(name=KEY.name, namespace=KEY.namespace, uid=Uid(uid)),
        spec=PodSpec(node_name="n", tolerations=tolerations),
    )


@pytest.mark.parametrize(
    ("tolerations", "taints", "expected"),
    [
        ((), (UNREACHABLE,), UNTOLERATED),
        ((for_seconds(UNREACHABLE, 300),), (UNREACHABLE,), 300),
        ((for_seconds(UNREACHABLE, 300),), (UNREACHABLE, NOT_READY), UNTOLERATED),
        ((for_seconds(UNREACHABLE, 300), for_seconds(NOT_READY, 30)), (UNREACHABLE, NOT_READY), 30),
        ((for_seconds(UNREACHABLE, None),), (UNREACHABLE,), FOR_EVER),
        (
            (for_seconds(UNREACHABLE, None), for_seconds(NOT_READY, 5)),
            (UNREACHABLE, NOT_READY),
            5,
        ),
        ((for_seconds(UNREACHABLE, -7),), (UNREACHABLE,), 0),
        # of two that cover the taint the first counts
        ((for_seconds(UNREACHABLE, 300), for_seconds(UNREACHABLE, 1)), (UNREACHABLE,), 300),
    ],
)
def test_tolerated_together(
    tolerations: tuple[Toleration, ...], taints: tuple[Taint, ...], expected: int
) -> None:
    """2.5.2: the shortest of the tolerations used; none without a limit; an untolerated taint at once."""
    assert expected == tolerated_seconds(tolerations, taints)


def test_a_timer_runs_out_once() -> None:
    """300 s after it was judged the pod is due, and after its deletion never again."""
    timers = EvictionTimers()
    default = pod(for_seconds(UNREACHABLE, 300))

    assert Wait(300 * SECOND) == timers.judge(KEY, default, (UNREACHABLE,), 0)
    assert timers.due(KEY, 300 * SECOND - 1) is None
    assert timers.due(KEY, 300 * SECOND) == "u1"

    timers.deleted(KEY, Uid("u1"))

    assert timers.due(KEY, 301 * SECOND) is None
    assert Keep() == timers.judge(KEY, default, (NOT_READY,), 301 * SECOND)
    assert not timers.cancel(KEY)


def test_a_running_timer_keeps_its_time() -> None:
    """2.5.2: judged again under other taints or tolerations that say a time, the first time stands."""
    timers = EvictionTimers()
    both = (for_seconds(UNREACHABLE, 300), for_seconds(NOT_READY, 30))
    timers.judge(KEY, pod(*both), (UNREACHABLE,), 0)

    assert Wait(200 * SECOND) == timers.judge(KEY, pod(*both), (NOT_READY,), 100 * SECOND)
    assert timers.due(KEY, 130 * SECOND) is None
    assert timers.due(KEY, 300 * SECOND) == "u1"


def test_what_is_no_longer_tolerated_goes_at_once() -> None:
    """A second taint that the pod does not tolerate: the timer is called off, and the deletion is now."""
    timers = EvictionTimers()
    each = pod(for_seconds(UNREACHABLE, 300))
    timers.judge(KEY, each, (UNREACHABLE,), 0)

    outcome = timers.judge(KEY, each, (UNREACHABLE, NOT_READY), SECOND)

    assert Wait(0, cancelled=True) == outcome
    assert timers.due(KEY, SECOND) == "u1"


def test_a_toleration_without_limit_calls_the_deletion_off() -> None:
    """Tolerations may be added to a running pod; then nothing is due any more, and that is told once."""
    timers = EvictionTimers()
    timers.judge(KEY, pod(for_seconds(UNREACHABLE, 300)), (UNREACHABLE,), 0)
    patient = pod(for_seconds(UNREACHABLE, None))

    assert Keep(cancelled=True) == timers.judge(KEY, patient, (UNREACHABLE,), SECOND)
    assert Keep() == timers.judge(KEY, patient, (UNREACHABLE,), SECOND)
    assert timers.due(KEY, 300 * SECOND) is None


def test_another_pod_of_the_name_begins_anew() -> None:
    """A timer belongs to one life of a pod: its successor is judged for itself, even if the first
    was deleted.
    """
    timers = EvictionTimers()
    timers.judge(KEY, pod(for_seconds(UNREACHABLE, 300)), (UNREACHABLE,), 0)
    timers.deleted(KEY, Uid("u1"))
    successor = pod(for_seconds(UNREACHABLE, 300), uid="u2")

    assert Wait(300 * SECOND) == timers.judge(KEY, successor, (UNREACHABLE,), 500 * SECOND)
    assert timers.due(KEY, 800 * SECOND) == "u2"


TAINTS = st.sampled_from([(UNREACHABLE,), (NOT_READY,), (UNREACHABLE, NOT_READY)])
TOLERATIONS = st.lists(
    st.builds(
        for_seconds,
        st.sampled_from([UNREACHABLE, NOT_READY]),
        st.sampled_from([None, -1, 0, 30, 300]),
    ),
    max_size=3,
).map(tuple)


@given(st.lists(st.tuples(TAINTS, TOLERATIONS, st.integers(0, 100)), max_size=12))
def test_judging_twice_is_judging_once(
    steps: list[tuple[tuple[Taint, ...], tuple[Toleration, ...], int]],
) -> None:
    """Idempotence: the same look again changes nothing and tells nothing; and a timer never moves
    to later.
    """
    timers = EvictionTimers()
    now = 0
    due: int | None = None
    for taints, tolerations, seconds in steps:
        now += seconds * SECOND
        each = pod(*tolerations)
        outcome = timers.judge(KEY, each, taints, now)
        again = timers.judge(KEY, each, taints, now)

        assert attrs.evolve(outcome, cancelled=False) == again
        if isinstance(outcome, Keep):
            due = None
            assert KEY not in timers
        else:
            moved = now + outcome.microseconds
            assert due is None or moved <= due or outcome.cancelled
            due = moved
            assert (timers.due(KEY, now) is not None) == (outcome.microseconds <= 0)
