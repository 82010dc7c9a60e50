"""Adoption and release."""

from __future__ import annotations

import attrs
import pytest

from engine import (
    ConfigMap,
    ObjectMeta,
    OwnerReference,
    ReplicaSet,
    Time,
    Uid,
    controller_ref,
    selector_of,
)
from reconcilers.ownership import (
    claim,
    controller_index,
    orphans_of,
    without_references,
)

OWNER = ReplicaSet(metadata=ObjectMeta(name="web", namespace="ns", uid=Uid("u1")))
LEAVING = attrs.evolve(OWNER, metadata=attrs.evolve(OWNER.metadata, deletion_timestamp=Time(0)))
OTHER = ReplicaSet(metadata=ObjectMeta(name="web", namespace="ns", uid=Uid("u2")))


def child(owner: ReplicaSet | None, *, matches: bool, leaving: bool = False) -> ConfigMap:
    return ConfigMap(
        metadata=ObjectMeta(
            name="child",
            namespace="ns",
            labels={"app": "web" if matches else "else"},
            deletion_timestamp=Time(0) if leaving else None,
            owner_references=(controller_ref(owner),) if owner is not None else (),
        )
    )


@pytest.mark.parametrize(
    ("owner", "candidate", "expected"),
    [
        (OWNER, child(OWNER, matches=True), "kept"),
        (OWNER, child(OWNER, matches=True, leaving=True), "kept"),
        (OWNER, child(OWNER, matches=False), "released"),
        (OWNER, child(OTHER, matches=True), ""),
        (OWNER, child(None, matches=True), "adopted"),
        (OWNER, child(None, matches=False), ""),
        (OWNER, child(None, matches=True, leaving=True), ""),
        (LEAVING, child(OWNER, matches=True), "kept"),
        (LEAVING, child(OWNER, matches=False), ""),
        (LEAVING, child(None, matches=True), ""),
    ],
)
def test_rules_of_claiming(owner: ReplicaSet, candidate: ConfigMap, expected: str) -> None:
    """controllers.md 0.10, case by case."""
    claims = claim(owner, selector_of({"app": "web"}), [candidate])

    got = attrs.asdict(claims, recurse=False)
    assert {name: (candidate,) if name == expected else () for name in got} == got


def test_the_index_finds_children_and_orphans() -> None:
    assert controller_index(child(OWNER, matches=True)) == ("u1",)
    assert (orphans_of("ns"),) == controller_index(child(None, matches=True))


def test_release_drops_one_owner_and_keeps_the_rest() -> None:
    """References to other owners are not the controller's to touch."""
    other = OwnerReference(api_version="v1", kind="ConfigMap", name="x", uid=Uid("u9"))
    metadata = ObjectMeta(owner_references=(controller_ref(OWNER), other))

    assert (other,) == without_references(metadata, [Uid("u1")]).owner_references
