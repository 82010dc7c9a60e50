"""Preemption: on which node, whom, and how the preemptor gets there."""

from __future__ import annotations

import attrs
import pytest

from engine import Condition, Node, Pod
from reconcilers.scheduler import Bind, Fail, SchedulerCore
from reconcilers.scheduler.preemption import Preempted
from tests.reconcilers.scheduler.making import (
    HOSTNAME,
    SECOND,
    decide,
    far,
    make_core,
    make_node,
    make_pod,
    terminating,
)


def preemption(core: SchedulerCore, pod: Pod) -> Preempted:
    decision = decide(core, pod)
    assert isinstance(decision, Fail), decision
    assert decision.preempted is not None, decision.message
    assert decision.nominated == decision.preempted.node
    core.check()
    return decision.preempted


def victims(found: Preempted) -> list[str]:
    return [victim.name for victim in found.victims]


def full(name: str, *pods: Pod) -> tuple[Node, tuple[Pod, ...]]:
    """A node of two cores and its pods."""
    placed = (attrs.evolve(p, spec=attrs.evolve(p.spec, node_name=name)) for p in pods)
    return make_node(name, cpu="2"), tuple(placed)


def cluster(*parts: tuple[Node, tuple[Pod, ...]], compat: str = "1.35") -> SchedulerCore:
    return make_core(
        *(node for node, _ in parts),
        pods=tuple(p for _, pods in parts for p in pods),
        compat=compat,
    )


def test_as_few_as_needed_and_the_least_important() -> None:
    """Those that can stay beside the preemptor stay: the important and the long-running first."""
    core = cluster(
        full(
            "a",
            make_pod("old", cpu="500m", priority=1, started=10),
            make_pod("new", cpu="500m", priority=1, started=20),
            make_pod("low", cpu="500m", priority=0, started=1),
            make_pod("equal", cpu="500m", priority=9),
        )
    )

    assert victims(preemption(core, make_pod("p", cpu="1", priority=9))) == ["new", "low"]


@pytest.mark.parametrize(
    ("a", "b", "better"),
    [
        (("1", 5, 1), ("1", 3, 1), "b"),
        (("1", 3, 2), ("1", 3, 1), "b"),
        (("1", 3, 1), ("1", 3, 1), "a"),
    ],
)
def test_node_choice(a: tuple[str, int, int], b: tuple[str, int, int], better: str) -> None:
    """The lowest highest priority, then the smallest sum, then the first."""
    parts = []
    for name, (cpu, priority, count) in (("a", a), ("b", b)):
        share = f"{2000 // count}m"
        del cpu
        pods = [make_pod(f"{name}{i}", cpu=share, priority=priority) for i in range(count)]
        parts.append(full(name, *pods))

    assert preemption(cluster(*parts), make_pod("p", cpu="2", priority=9)).node == better


def test_node_choice_by_start_time() -> None:
    """Among equals, the node whose important victims have run for the shortest time."""
    core = cluster(
        full("a", make_pod("a0", cpu="2", priority=1, started=10)),
        full("b", make_pod("b0", cpu="2", priority=1, started=99)),
    )

    assert preemption(core, make_pod("p", cpu="2", priority=9)).node == "b"


def test_only_where_it_helps() -> None:
    """A node that refuses for other reasons is not cleared."""
    core = cluster(full("a", make_pod("a0", cpu="2")), full("b", make_pod("b0", cpu="2")))
    core.node_changed(make_node("a", cpu="2"), make_node("a", cpu="2", unschedulable=True), 0)

    assert preemption(core, make_pod("p", cpu="2", priority=9)).node == "b"


def test_preempting_for_anti_affinity() -> None:
    """A victim may be whoever the pod cannot stand."""
    core = cluster(full("a", make_pod("noisy", labels={"app": "x"}), make_pod("quiet")))

    found = preemption(core, make_pod("p", priority=9, affinity=far(HOSTNAME, app="x")))
    assert victims(found) == ["noisy"]


def test_does_not_help_when_it_is_too_large_anyway() -> None:
    """What still does not fit without the lower ones is told as the reason."""
    core = cluster(
        full("a", make_pod("low", cpu="500m"), make_pod("equal", cpu="1500m", priority=9))
    )
    decision = decide(core, make_pod("p", cpu="1", priority=9))

    assert isinstance(decision, Fail)
    assert decision.message == (
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, "
        "preemption: 0/1 nodes are available: 1 Insufficient cpu."
    )
    assert decision.nominated == ""


def test_life_of_a_preemptor() -> None:
    """Nominated, it waits while victims terminate, is woken by their end, and takes the node it waited for."""
    node, pods = full("a", make_pod("x", cpu="2"))
    core = cluster((node, pods), full("b", make_pod("y", cpu="2", priority=50)))
    (victim,) = pods
    found = preemption(core, make_pod("p", cpu="2", priority=9))
    assert victims(found) == ["x"]

    marked = attrs.evolve(
        terminating(victim),
        status=attrs.evolve(
            victim.status,
            conditions=(
                Condition(type="DisruptionTarget", status="True", reason="PreemptionByScheduler"),
            ),
        ),
    )
    core.pod_changed(victim, marked, SECOND)
    core.queue.retry("uid-p", SECOND)
    again = core.next(SECOND)
    assert isinstance(again, Fail)
    assert again.preempted is None
    assert again.message.endswith(
        "preemption: not eligible due to a terminating pod on the nominated node."
    )
    core.pod_changed(marked, None, 31 * SECOND)
    decision = core.next(31 * SECOND)
    assert isinstance(decision, Bind)
    assert decision.node == "a"
    assert len(core.nominations) == 0
    core.check()


def test_room_cleared_is_kept_for_the_preemptor() -> None:
    """A pod of lower priority does not slip in; one of higher priority may, and the waiting ones lose their claim."""
    node, pods = full("a", make_pod("x", cpu="2"))
    core = cluster((node, pods))
    preemption(core, make_pod("p", cpu="2", priority=9))
    core.queue.remove("uid-p")  # hold it back, to see what others do meanwhile
    core.pod_changed(pods[0], None, SECOND)

    low = decide(core, make_pod("low", cpu="1", priority=1), SECOND)
    assert isinstance(low, Fail)
    assert "Insufficient cpu" in low.message
    high = decide(core, make_pod("high", cpu="2", priority=99), SECOND)
    assert isinstance(high, Bind)
    core.check()


def test_lower_nominations_are_withdrawn() -> None:
    """A more important preemptor takes over the node that another waits for."""
    core = cluster(full("a", make_pod("x", cpu="2")))
    preemption(core, make_pod("p", cpu="2", priority=9))

    found = preemption(core, make_pod("q", cpu="2", priority=99))
    assert [other.name for other in found.displaced] == ["p"]
    assert core.nominations.node_of("uid-p") == ""
    assert core.nominations.node_of("uid-q") == "a"


def test_nomination_survives_a_restart() -> None:
    """A new scheduler reads it from the pod's status."""
    pod = make_pod("p", cpu="2", priority=9)
    pod = attrs.evolve(pod, status=attrs.evolve(pod.status, nominated_node_name="b"))
    core = make_core(make_node("a"), make_node("b"))
    decision = decide(core, pod)

    assert isinstance(decision, Bind)
    assert decision.node == "b"


def test_remembered_dry_runs_are_those_of_now() -> None:
    """A second preemptor of the same kind sees what has changed since the first."""
    core = cluster(
        full("a", make_pod("a0", cpu="2", priority=1)),
        full("b", make_pod("b0", cpu="2", priority=2)),
    )
    first = make_pod("p", cpu="2", priority=9)
    assert preemption(core, first).node == "a"
    core.pod_changed(first, None, 0)
    core.pod_changed(None, make_pod("a1", priority=3, node="a"), 0)
    core.pod_changed(make_pod("a0", cpu="2", priority=1, node="a"), None, 0)
    core.pod_changed(None, make_pod("a2", cpu="2", priority=8, node="a"), 0)

    assert preemption(core, make_pod("q", cpu="2", priority=9)).node == "b"
