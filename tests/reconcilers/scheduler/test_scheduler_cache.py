"""The cache: assumptions, what-if, and the equality of everything kept incrementally with a recount."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine import Pod, Settings, Taint
from reconcilers.scheduler.cache import Cache
from reconcilers.scheduler.nominations import Nominations
from reconcilers.scheduler.placement import Placed, Placement, nodes_to_find
from reconcilers.scheduler.pod_info import PodInfo, pod_info
from reconcilers.scheduler.terms import NO_TERMS
from reconcilers.scheduler.workloads import Workloads
from tests.reconcilers.scheduler.making import (
    HOSTNAME,
    SECOND,
    ZONE,
    bound_to,
    far,
    make_node,
    make_pod,
    near,
    rather_near,
    spread,
    terminating,
)


def test_assumption_is_confirmed() -> None:
    """The pod counts from the decision on, once, whatever the informer says later."""
    cache = Cache()
    node = cache.set_node(make_node("n"))
    pod = make_pod("p", cpu="1")
    cache.assume(pod_info(pod), "n")

    assert node.used_cpu == 1000
    cache.put(bound_to(pod, "n"))
    assert node.used_cpu == 1000
    assert not cache.is_assumed("uid-p")
    cache.check()


def test_assumption_expires_after_binding() -> None:
    """It does not while binding goes on, and does 30 s after."""
    cache = Cache()
    node = cache.set_node(make_node("n"))
    cache.assume(pod_info(make_pod("p", cpu="1")), "n")

    assert cache.expire(1000 * SECOND) == []
    cache.finish_binding("uid-p", 1000 * SECOND)
    assert cache.next_expiry() == 1030 * SECOND
    assert [p.name for p in cache.expire(1030 * SECOND)] == ["p"]
    assert node.used_cpu == 0
    cache.check()


def test_forgetting_after_the_pod_was_seen_does_nothing() -> None:
    """A binding that seemed to fail and had succeeded is not taken back."""
    cache = Cache()
    node = cache.set_node(make_node("n"))
    pod = make_pod("p", cpu="1")
    cache.assume(pod_info(pod), "n")
    cache.put(bound_to(pod, "n"))
    cache.forget("uid-p")

    assert node.used_cpu == 1000


def test_pod_is_never_assumed_twice() -> None:
    """A second assumption is a fault of the caller."""
    cache = Cache()
    cache.set_node(make_node("n"))
    cache.assume(pod_info(make_pod("p")), "n")

    with pytest.raises(ValueError, match="placed already"):
        cache.assume(pod_info(make_pod("p")), "n")


def test_seen_on_another_node_than_assumed() -> None:
    """What the API says wins."""
    cache = Cache()
    one, other = cache.set_node(make_node("a")), cache.set_node(make_node("b"))
    pod = make_pod("p", cpu="1")
    cache.assume(pod_info(pod), "a")
    cache.put(bound_to(pod, "b"))

    assert (one.used_cpu, other.used_cpu) == (0, 1000)
    cache.check()


def test_pods_outlive_their_node() -> None:
    """Pods of a removed node stay counted, and count again when it returns."""
    cache = Cache()
    cache.set_node(make_node("n"))
    cache.put(make_pod("p", cpu="1", node="n"))
    cache.remove_node("n")

    assert cache.node("n") is None
    assert cache.order == []
    cache.check()
    assert cache.set_node(make_node("n")).used_cpu == 1000
    cache.check()


PODS: list[Pod] = [
    make_pod("a", cpu="500m", labels={"app": "x"}),
    make_pod("b", cpu="1", memory="1Gi", labels={"app": "x"}, affinity=far(HOSTNAME, app="x")),
    make_pod("c", labels={"app": "y"}, affinity=near(ZONE, app="x")),
    make_pod("d", host_port=80, labels={"app": "y"}, affinity=rather_near(ZONE, 7, app="y")),
    make_pod(
        "e", cpu="200m", labels={"app": "x", "v": "1"}, topology_spread_constraints=(spread(ZONE, app="x"),)
    ),
    make_pod(
        "f", labels={"app": "y"}, node_selector={"disk": "ssd"},
        topology_spread_constraints=(spread(HOSTNAME, max_skew=2, app="y"), spread(ZONE, soft=True, app="y")),
    ),
    make_pod("g", priority=5, memory="2Gi", namespace="other", labels={"app": "x"}),
]  # fmt: skip


class CacheMachine(RuleBasedStateMachine):
    """Nodes and pods come, change and go; everything kept equals a recount, and the fast paths the slow ones."""

    names = st.sampled_from(["n0", "n1", "n2", "n3"])
    pods = st.integers(0, len(PODS) - 1)

    def __init__(self) -> None:
        super().__init__()
        self.cache = Cache()
        self.placement = Placement.of(self.cache, Nominations(), Settings(), Workloads().selector)
        self.bound: dict[str, Pod] = {}

    @rule(
        name=names, zone=st.sampled_from(["", "a", "b"]), ssd=st.booleans(), tainted=st.booleans()
    )
    def set_node(self, name: str, zone: str, ssd: bool, tainted: bool) -> None:
        taints = (Taint(key="t", effect="NoSchedule"),) if tainted else ()
        labels = {"disk": "ssd"} if ssd else {}
        self.cache.set_node(make_node(name, zone=zone, labels=labels, taints=taints))

    @rule(name=names)
    def remove_node(self, name: str) -> None:
        self.cache.remove_node(name)

    @rule(pod=pods, node=names, leaving=st.booleans())
    def put(self, pod: int, node: str, leaving: bool) -> None:
        made = bound_to(PODS[pod], node)
        made = terminating(made) if leaving else made
        self.cache.put(made)
        self.bound[made.metadata.uid] = made

    @rule(pod=pods)
    def remove(self, pod: int) -> None:
        uid = PODS[pod].metadata.uid
        assert (self.cache.remove(uid) is not None) == (self.bound.pop(uid, None) is not None)

    @rule(pod=pods, node=names)
    def assume(self, pod: int, node: str) -> None:
        info = pod_info(PODS[pod])
        if info.uid not in self.bound and self.cache.node(node) is not None:
            self.cache.assume(info, node)
            self.cache.check()
            self.cache.forget(info.uid)

    @rule(name=names, labels=st.sampled_from([None, {"team": "x"}]))
    def set_namespace(self, name: str, labels: dict[str, str] | None) -> None:
        self.cache.index.set_namespace("other" if name == "n0" else "default", labels)

    @precondition(lambda self: self.cache.order)
    @rule(pod=pods, pick=st.integers(0, 3), removed=st.integers(0, 3))
    def suppose(self, pod: int, pick: int, removed: int) -> None:
        node = self.cache.order[pick % len(self.cache.order)]
        before = (list(node.pods), node.generation)
        with self.cache.supposing(node) as supposed:
            for other in list(node.pods.values())[:removed]:
                supposed.remove(other)
            info = pod_info(PODS[pod])
            if self.cache.pod(info.uid) is None:
                supposed.add(info)
            self.cache.index.check()
        assert before == (list(node.pods), node.generation)

    @precondition(lambda self: self.cache.order)
    @rule(pod=pods, pick=st.integers(0, 3))
    def place(self, pod: int, pick: int) -> None:
        """The nodes found are just those that pass when asked one by one, and the chosen one is among them."""
        info = pod_info(PODS[pod])
        order = self.cache.order
        passing = [n.position for n in order if self.placement.fits(info, n) is None]
        table = self.placement.tables.of(info.shape)
        self.placement.start %= len(order)
        found, looked_at = self.placement._find(
            info, table, self.placement.checks(info), {}, nodes_to_find(len(order), 0)
        )
        assert sorted(found) == passing
        assert looked_at == len(order)
        result = self.placement.place(info, lambda bound: pick % bound)
        if isinstance(result, Placed):
            assert result.node.position in passing
        else:
            assert not passing
            for node, refused in zip(order, result.rejections, strict=True):
                assert refused is self.placement.fits(info, node)

    @invariant()
    def holds(self) -> None:
        self.cache.check()
        self.placement.tables.check()
        expected = {uid: pod.spec.node_name for uid, pod in self.bound.items()}
        assert expected == {uid: p.node.name for uid, p in self.cache._placed.items()}


CacheMachine.TestCase.settings = hypothesis_settings(
    max_examples=60, stateful_step_count=30, deadline=None
)
TestCacheMachine = CacheMachine.TestCase


def test_absorbing_keeps_what_is_derived() -> None:
    """A status change is taken over in place; a change of labels or requests needs a new info."""
    pod = make_pod("p", cpu="1", labels={"a": "b"})
    info: PodInfo = pod_info(pod)

    assert info.terms is NO_TERMS
    assert info.absorb(attrs.evolve(pod, status=attrs.evolve(pod.status, phase="Running")))
    assert not info.absorb(terminating(pod))
    assert not info.absorb(make_pod("p", cpu="2", labels={"a": "b"}))
    assert not info.absorb(make_pod("p", cpu="1"))
