"""The owner graph under every order of deliveries."""

from __future__ import annotations

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine import ConfigMap, ObjectMeta, OwnerReference, Time, Uid
from reconcilers.garbage_collector_graph import FOREGROUND, ORPHAN, OwnerGraph


def config_map(
    name: str,
    owners: tuple[str, ...] = (),
    *,
    leaving: str | None = None,
    blocking: bool = True,
    namespace: str = "ns",
) -> ConfigMap:
    """An object whose uid is its name; `leaving` is the finalizer with which it is deleted."""
    return ConfigMap(
        metadata=ObjectMeta(
            name=name,
            namespace=namespace,
            uid=Uid(name),
            deletion_timestamp=Time(0) if leaving is not None else None,
            finalizers=(leaving,) if leaving else (),
            owner_references=tuple(
                OwnerReference(
                    api_version="v1",
                    kind="ConfigMap",
                    name=owner,
                    uid=Uid(owner),
                    block_owner_deletion=blocking,
                )
                for owner in owners
            ),
        )
    )


def test_an_object_with_known_owners_needs_no_look() -> None:
    graph = OwnerGraph()
    assert graph.observe(config_map("a")) == []
    assert graph.observe(config_map("b", ("a",))) == []


def test_an_unknown_owner_is_to_be_asked_for() -> None:
    """Whether it comes later or never came."""
    graph = OwnerGraph()
    assert graph.observe(config_map("b", ("a",))) == ["b"]
    assert graph.observe(config_map("a")) == []
    assert [node.identity.uid for node in graph.dependants(Uid("a"))] == ["b"]


def test_the_dependants_of_a_removed_owner_are_examined() -> None:
    """And the owner is known to be absent from then on."""
    graph = OwnerGraph()
    graph.observe(config_map("a"))
    graph.observe(config_map("b", ("a",)))
    graph.observe(config_map("c", ("a",)))

    assert graph.remove(Uid("a")) == ["b", "c"]
    assert graph.is_absent(Uid("a"))
    assert graph.remove(Uid("a")) == []


def test_foreground_deletion_examines_both_sides() -> None:
    """Dependants first; the owner again when one goes, or no longer blocks it."""
    graph = OwnerGraph()
    graph.observe(config_map("a"))
    graph.observe(config_map("b", ("a",)))
    graph.observe(config_map("c", ("a",)))
    assert graph.observe(config_map("a", leaving=FOREGROUND)) == ["b", "c", "a"]
    assert graph.observe(config_map("a", leaving=FOREGROUND)) == []

    assert "a" in graph.observe(config_map("c", ("a",), blocking=False))
    assert [node.identity.uid for node in graph.blocking(Uid("a"))] == ["b"]
    assert graph.remove(Uid("b")) == ["a"]
    assert graph.blocking(Uid("a")) == []


def test_orphaning_examines_the_owner() -> None:
    graph = OwnerGraph()
    graph.observe(config_map("a"))
    assert graph.observe(config_map("a", leaving=ORPHAN)) == ["a"]


def test_an_owner_in_another_namespace_is_not_the_one_meant() -> None:
    """In whichever order they come."""
    graph = OwnerGraph()
    graph.observe(config_map("a", namespace="far"))
    assert graph.observe(config_map("b", ("a",))) == ["b"]

    graph = OwnerGraph()
    graph.observe(config_map("b", ("a",)))
    assert graph.observe(config_map("a", namespace="far")) == ["b"]


NAMES = st.sampled_from(["a", "b", "c", "d"])


class Growing(RuleBasedStateMachine):
    """Random deliveries; what was examined and what is left unexamined must add up."""

    def __init__(self) -> None:
        super().__init__()
        self.graph = OwnerGraph()
        self.objects: dict[str, ConfigMap] = {}
        self.gone: list[str] = []

    @rule(
        name=NAMES, owners=st.lists(NAMES, unique=True), leaving=st.sampled_from([None, FOREGROUND])
    )
    def deliver(self, name: str, owners: list[str], leaving: str | None) -> None:
        uid = f"{name}{self.gone.count(name)}"
        references = tuple(f"{owner}{self.gone.count(owner)}" for owner in owners)
        obj = config_map(uid, references, leaving=leaving)
        due = self.graph.observe(obj)
        before = self.objects.get(uid)
        self.objects[uid] = obj
        assert len(due) == len(set(due))
        changed = (
            before is None or before.metadata.owner_references != obj.metadata.owner_references
        )
        if changed and any(reference not in self.objects for reference in references):
            assert uid in due

    @rule(name=NAMES)
    def take(self, name: str) -> None:
        uid = f"{name}{self.gone.count(name)}"
        if self.objects.pop(uid, None) is None:
            return
        self.gone.append(name)
        due = self.graph.remove(Uid(uid))
        for other, obj in self.objects.items():
            if any(r.uid == uid for r in obj.metadata.owner_references):
                assert other in due

    @invariant()
    def whole(self) -> None:
        self.graph.check()
        assert len(self.objects) == self.graph.statistics().nodes


TestGraph = Growing.TestCase
TestGraph.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_node_follows_its_object() -> None:
    """What is read of a node is what was last delivered."""
    graph = OwnerGraph()
    obj = config_map("a")
    graph.observe(obj)
    moved = attrs.evolve(obj, metadata=attrs.evolve(obj.metadata, deletion_timestamp=Time(0)))
    graph.observe(moved)

    node = graph.get(Uid("a"))
    assert node is not None
    assert (node.being_deleted, node.orphaning, node.waiting) == (True, False, False)
