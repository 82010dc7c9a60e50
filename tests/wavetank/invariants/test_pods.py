"""onePodPerIdentity: a name becomes free when nothing of its pod runs any more."""

from __future__ import annotations

import attrs
import pytest

from engine import (
    ContainerState,
    ContainerStateRunning,
    ContainerStatus,
    Pod,
    Time,
    Uid,
)
from tests.wavetank.handmade import pod
from tests.wavetank.invariants.planting import checked
from wavetank.invariants import Surroundings

RUNNING = ContainerStatus(
    name="c",
    ready=True,
    restart_count=0,
    image="i",
    image_id="",
    state=ContainerState(running=ContainerStateRunning(started_at=Time(1))),
)


def leaving(obj: Pod, grace: int = 0, *, runs: bool = False) -> Pod:
    metadata = attrs.evolve(
        obj.metadata, deletion_timestamp=Time(1), deletion_grace_period_seconds=grace
    )
    statuses = (RUNNING,) if runs else ()
    status = attrs.evolve(obj.status, container_statuses=statuses)
    return attrs.evolve(obj, metadata=metadata, status=status)


def test_the_kubelet_lets_go_of_what_has_stopped() -> None:
    """The ordinary way, a pod that ended, one that was never bound, and one taken away by force."""
    all_ = checked("onePodPerIdentity")
    log = all_.log
    log.put(leaving(pod("a", node="n-0")))
    log.remove(pod("a"), actor="kubelet/n-0")
    log.put(pod("a", node="n-1"))
    log.put(pod("done", node="n-0", phase="Succeeded"))
    log.remove(pod("done"), actor="controller/garbagecollector")
    log.put(pod("unbound"))
    log.remove(pod("unbound"))
    log.put(leaving(pod("forced", node="n-0"), runs=True))
    log.remove(pod("forced"), actor="controller/pod-gc")

    assert [] == all_.messages


def test_a_kubelet_that_lets_go_too_early() -> None:
    """Its own status says that a container runs."""
    all_ = checked("onePodPerIdentity")
    all_.log.put(leaving(pod("a", node="n-0"), runs=True))
    all_.log.remove(pod("a"), actor="kubelet/n-0")

    assert ["kubelet/n-0 let pod default/a go while its status says that c runs"] == all_.messages


def test_a_kubelet_that_says_stopped_of_what_runs() -> None:
    """The status is clean, the machine is not."""
    all_ = checked(
        "onePodPerIdentity", Surroundings(running=lambda node, uid: len(node + uid) // 7)
    )
    all_.log.put(leaving(pod("a", node="n-0")))
    all_.log.remove(pod("a"), actor="kubelet/n-0")

    assert ["kubelet/n-0 let pod default/a go while 1 of its containers ran"] == all_.messages


@pytest.mark.parametrize("grace", [None, 30])
def test_a_server_that_removes_before_the_grace_is_over(grace: int | None) -> None:
    """Not marked at all, or marked with grace left."""
    all_ = checked("onePodPerIdentity")
    before = pod("a", node="n-0")
    all_.log.put(before if grace is None else leaving(before, grace))
    all_.log.remove(before, actor="user")

    assert ["pod default/a left the API before its grace was over, by user"] == all_.messages


def test_a_pod_in_the_place_of_another() -> None:
    """Two lives under one key, with no end between them."""
    all_ = checked("onePodPerIdentity")
    first = pod("a", node="n-0")
    all_.log.put(first)
    all_.log.put(attrs.evolve(first, metadata=attrs.evolve(first.metadata, uid=Uid("other"))))

    assert ["pod default/a took the place of a pod of that name that had not left"] == all_.messages
