"""ownerExists and nothingOnMissingNode: what is to be collected is."""

from __future__ import annotations

import attrs
import trio

import wavetank
from engine import Key, Node, ObjectMeta, OwnerReference, Pod, ReplicaSet, Time, Uid
from tests.wavetank.contract import DEPLOYMENT
from tests.wavetank.handmade import node, pod, replica_set
from tests.wavetank.invariants.planting import EVERYONE, checked, fault
from wavetank import Cluster
from wavetank.invariants import (
    InvariantChecker,
    NothingOnMissingNode,
    OwnerExists,
    Surroundings,
)


def owned(*owners: str, kind: str = "ReplicaSet") -> Pod:
    references = tuple(
        OwnerReference(api_version="apps/v1", kind=kind, name=name, uid=Uid(f"uid-{name}"))
        for name in owners
    )
    metadata = ObjectMeta(
        name="a", namespace="default", uid=Uid("uid-a"), owner_references=references
    )
    return pod("a", metadata=metadata)


def ownerless(name: str) -> ReplicaSet:
    made = replica_set(1, name)
    return attrs.evolve(made, metadata=attrs.evolve(made.metadata, owner_references=()))


def test_an_orphan_that_stays() -> None:
    """Found at the first event after its time, once."""
    all_ = checked("ownerExists")
    log = all_.log
    log.put(ownerless("web"))
    log.put(owned("web"))
    log.seconds = 10
    log.remove(ownerless("web"))
    log.seconds = 129
    log.put(node("n-0"))
    assert [] == all_.messages

    log.seconds = 130
    log.put(node("n-1"))
    log.seconds = 500
    log.put(node("n-2"))

    found = (
        "Pod default/a is there 120s after its last owner (ReplicaSet web) was gone; "
        "it must be collected within 120s"
    )
    assert [found] == all_.messages


def test_an_orphan_at_the_end_of_the_run() -> None:
    """No event comes any more."""
    all_ = checked("ownerExists")
    all_.log.put(owned("never-was"))
    all_.log.seconds = 120
    all_.finish()

    assert 1 == len(all_.messages)


def test_what_is_no_orphan() -> None:
    """Collected in time, being deleted, with another owner, adopted, disowned, or of a kind that nobody serves."""
    for after in (
        attrs.evolve(
            owned("web"), metadata=attrs.evolve(owned("web").metadata, deletion_timestamp=Time(1))
        ),
        owned("web", "other"),
        owned("other"),
        owned(),
        owned("web", kind="Unheard"),
        None,
    ):
        all_ = checked("ownerExists")
        log = all_.log
        log.put(ownerless("other"))
        log.put(ownerless("web"))
        log.put(owned("web"))
        log.remove(ownerless("web"))
        log.seconds = 100
        if after is None:
            log.remove(owned("web"))
        else:
            log.put(after)
        log.seconds = 5000
        log.put(node("n-0"))
        all_.finish()

        assert [] == all_.messages


def test_one_of_two_owners_is_enough_and_none_is_not() -> None:
    """The clock starts when the last one goes."""
    all_ = checked("ownerExists")
    log = all_.log
    log.put(ownerless("x"))
    log.put(ownerless("y"))
    log.put(owned("x", "y"))
    log.remove(ownerless("x"))
    log.seconds = 1000
    log.put(node("n-0"))
    log.remove(ownerless("y"))
    log.seconds = 1119
    log.put(node("n-0"))
    assert [] == all_.messages

    log.seconds = 1121
    log.put(node("n-0"))

    assert 1 == len(all_.messages)


def test_an_owner_reborn_is_another() -> None:
    """The same name with another uid owns nothing of the former's."""
    all_ = checked("ownerExists")
    log = all_.log
    log.put(ownerless("web"))
    log.put(owned("web"))
    log.remove(ownerless("web"))
    reborn = ownerless("web")
    log.put(attrs.evolve(reborn, metadata=attrs.evolve(reborn.metadata, uid=Uid("other"))))
    log.seconds = 121
    log.put(node("n-0"))

    assert 1 == len(all_.messages)


def test_a_disturbance_stops_the_clock() -> None:
    """While it lasts nothing is said, and afterwards the collector may be at its longest back-off; then it is too late."""
    all_ = checked("ownerExists")
    log = all_.log
    log.put(owned("gone"))
    log.put(fault("process.pause", "controller/garbagecollector"), actor="chaos")
    log.seconds = 3000
    log.put(node("n-0"))
    log.put(fault("process.pause", "controller/garbagecollector", "Healed"), actor="chaos")
    log.seconds = 3000 + 1000 + 119
    log.put(node("n-0"))
    assert [] == all_.messages

    log.seconds += 2
    log.put(node("n-0"))

    assert 1 == len(all_.messages)


def test_a_pod_on_a_missing_node() -> None:
    """Bound before or after the Node went; a crash of a node excuses nobody."""
    all_ = checked("nothingOnMissingNode")
    log = all_.log
    log.put(node("n-0"))
    log.put(pod("a", node="n-0"))
    log.put(fault("crashNode", "n-0"), actor="chaos")
    log.seconds = 10
    log.remove(node("n-0"))
    log.seconds = 60
    log.put(pod("late", node="n-0"))
    log.seconds = 189
    log.put(node("n-1"))
    assert [] == all_.messages

    log.seconds = 191
    log.put(node("n-1"))
    log.seconds = 240
    all_.finish()

    assert [
        "pod default/a is bound to node n-0, which has been missing for 181s; 180s are allowed",
        "pod default/late is bound to node n-0, which has been missing for 180s; 180s are allowed",
    ] == all_.messages


def test_a_pod_that_was_seen_to() -> None:
    """Removed, held by a finalizer, or its node is there again."""
    all_ = checked("nothingOnMissingNode")
    log = all_.log
    log.put(node("n-0"))
    for name in ("a", "b", "c"):
        log.put(pod(name, node="n-0" if name != "c" else "n-9"))
    log.remove(node("n-0"))
    held = pod("b", node="n-0")
    metadata = attrs.evolve(held.metadata, deletion_timestamp=Time(1), finalizers=("x/y",))
    log.put(attrs.evolve(held, metadata=metadata))
    log.remove(pod("a", node="n-0"))
    log.put(node("n-9"))
    log.seconds = 1000
    log.put(node("n-1"))

    assert [] == all_.messages


def test_a_restarted_collector_begins_anew() -> None:
    """Its quarantine was in its memory."""
    all_ = checked("nothingOnMissingNode")
    log = all_.log
    log.put(pod("a", node="n-0"))
    log.seconds = 100
    log.put(fault("restartReconciler", "pod-gc", "Healed"), actor="chaos")
    log.seconds = 279
    log.put(node("n-1"))
    assert [] == all_.messages

    log.seconds = 281
    log.put(node("n-1"))

    assert 1 == len(all_.messages)


def test_without_collectors_nothing_is_said() -> None:
    """A cluster of one's own reconcilers promises nothing."""
    for name in ("ownerExists", "nothingOnMissingNode"):
        all_ = checked(name, Surroundings())
        all_.log.put(owned("never-was"))
        all_.log.put(pod("b", node="n-9"))
        all_.log.seconds = 10_000
        all_.log.put(node("n-0"))
        all_.finish()

        assert [] == all_.messages


def test_a_cluster_whose_collectors_are_missing_is_found_out() -> None:
    """The real thing, without the two controllers: pods outlive their Deployment, and their node."""
    checker = InvariantChecker([OwnerExists(), NothingOnMissingNode()])

    async def main(cluster: Cluster) -> None:
        checker.begin(Surroundings(settings=cluster.settings, reconcilers=EVERYONE))
        cluster.observer.add(checker)
        await cluster.apply(DEPLOYMENT.format(name="web", replicas=2, version=1))
        await cluster.settled()
        await cluster.client.delete(wavetank.Deployment, "web", "default")
        await cluster.chaos.crash("node-0")
        await cluster.client.delete(Node, "node-0")
        await trio.sleep(400)
        checker.finish(cluster.view, cluster.clock.now_ns())
        assert Key("default", "web") not in cluster.view.state.raw("Deployment")

    kept = [
        each
        for each in wavetank.default_reconcilers()
        if each.name not in ("garbagecollector", "pod-gc")
    ]
    wavetank.run(main, reconcilers=kept, nodes=2, invariants=())

    assert {"ownerExists", "nothingOnMissingNode"} == {each.name for each in checker.violations}
