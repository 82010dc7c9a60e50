"""Each invariant finds what is planted, and nothing in what is well."""

from __future__ import annotations

import attrs
import pytest

from engine import Lease, LeaseSpec, ObjectMeta, Time, Uid
from tests.wavetank.handmade import HandMade, deployment, node, pod, replica_set
from wavetank.invariants import INVARIANTS, InvariantChecker, as_invariant


def checked(name: str) -> tuple[HandMade, InvariantChecker]:
    checker = InvariantChecker([as_invariant(name)])
    return HandMade([checker]), checker


def messages(checker: InvariantChecker) -> list[str]:
    return [violation.message for violation in checker.violations]


def test_bound_once() -> None:
    """Another node, or none any more; a new pod of the same name is another pod."""
    log, checker = checked("boundOnce")
    log.put(pod("a"))
    log.put(pod("a", node="n-0"))
    log.put(pod("a", node="n-0", ready=True))
    log.remove(pod("a", node="n-0"))
    reborn = pod("a", node="n-1")
    log.put(attrs.evolve(reborn, metadata=attrs.evolve(reborn.metadata, uid=Uid("uid-2"))))
    assert [] == messages(checker)

    log.put(pod("b", node="n-0"))
    revision = log.put(pod("b", node="n-1"))
    log.put(pod("b"))

    assert [
        "pod default/b was bound to n-0 and is now bound to n-1",
        "pod default/b was bound to n-1 and is now bound to no node",
    ] == messages(checker)
    assert revision == checker.violations[0].revision


def test_no_overcommit() -> None:
    """Requests and the number of pods; pods that have ended take nothing."""
    log, checker = checked("noOvercommit")
    log.put(node("n-0", cpu="1", pods="3"))
    log.put(pod("a", node="n-0", cpu="600m"))
    log.put(pod("done", node="n-0", cpu="900m", phase="Succeeded"))
    log.put(pod("b", node="n-0", cpu="400m"))
    log.put(pod("elsewhere", node="n-9", cpu="99"))
    assert [] == messages(checker)

    log.put(pod("c", node="n-0", cpu="1m"))
    log.put(pod("d", node="n-0"))

    assert [
        "node n-0 has 1 cpu to allocate and pods that request 1001m, after pod default/c was bound",
        "node n-0 has 1 cpu to allocate and pods that request 1001m, after pod default/d was bound",
    ] == messages(checker)
    log, checker = checked("noOvercommit")
    log.put(node("n-0", pods="1"))
    log.put(pod("a", node="n-0"))
    log.put(pod("b", node="n-0"))
    assert [
        "node n-0 has 1 pods to allocate and pods that request 2, after pod default/b was bound"
    ] == messages(checker)


def test_within_surge() -> None:
    """25 % of 4 is one more; terminating pods do not count; a lower bound takes hold when the pods have come down to it."""
    log, checker = checked("withinSurge")
    log.put(deployment(4, 4))
    log.put(replica_set(4))
    for number in range(5):
        log.put(pod(f"web-{number}", owner="web-1"))
    dying = pod("web-0", owner="web-1")
    log.put(attrs.evolve(dying, metadata=attrs.evolve(dying.metadata, deletion_timestamp=Time(1))))
    log.put(pod("web-5", owner="web-1"))
    assert [] == messages(checker)

    log.put(deployment(1, 4))
    assert [] == messages(checker)
    log.put(pod("web-6", owner="web-1"))

    assert ["Deployment default/web has 6 pods, 5 are allowed"] == messages(checker)
    for number in range(1, 6):
        log.remove(pod(f"web-{number}", owner="web-1"))
    before = len(checker.violations)
    log.put(pod("web-7", owner="web-1"))
    assert before == len(checker.violations)
    log.put(pod("web-8", owner="web-1"))
    assert "Deployment default/web has 3 pods, 2 are allowed" == messages(checker)[-1]


def lease(holder: str) -> Lease:
    return Lease(
        metadata=ObjectMeta(name="kube-scheduler", namespace="kube-system"),
        spec=LeaseSpec(holder_identity=holder, lease_duration_seconds=15),
    )


def test_one_leader() -> None:
    """Taken when it had run out or was released: well. Taken before: two leaders."""
    log, checker = checked("oneLeader")
    for seconds, holder in ((0, "a"), (10, "a"), (25, "b"), (26, ""), (27, "a")):
        log.seconds = seconds
        log.put(lease(holder))
    assert [] == messages(checker)

    log.seconds = 39.5
    log.put(lease("b"))

    assert [
        "b took the Lease kube-scheduler from a 12.5s after its renewal; it was good for 15s"
    ] == messages(checker)
    assert 39.5 == checker.violations[0].seconds


def test_findings_are_limited() -> None:
    """A rule that breaks at every revision says so ten times."""
    checker = InvariantChecker([as_invariant(lambda view: f"revision {view.revision}")])
    log = HandMade([checker])
    for _ in range(30):
        log.put(pod("a"))

    assert 10 == len(checker.violations)
    assert "revision 2" == checker.violations[0].message


@pytest.mark.parametrize("name", INVARIANTS)
def test_names(name: str) -> None:
    """Each built-in invariant is found by the name it reports under."""
    assert name == as_invariant(name).name
