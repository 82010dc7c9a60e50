"""Ranges of pod addresses for nodes."""

from __future__ import annotations

from ipaddress import IPv4Network

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from engine import Node, Settings
from reconcilers.node_ipam import NodeIpam, NodeRanges
from tests.reconcilers.node_cluster import NodeCluster, simulate


def test_ranges_are_given_in_order_and_used_again_last() -> None:
    """The first nodes get .0, .1, .2; a range given back waits until all others had their turn."""
    ranges = NodeRanges("10.244.0.0/22", 24)

    assert [ranges.take(name) for name in ("a", "b", "c")] == [
        "10.244.0.0/24",
        "10.244.1.0/24",
        "10.244.2.0/24",
    ]
    assert ranges.take("a") == "10.244.0.0/24"

    ranges.release("a")

    assert ranges.take("d") == "10.244.3.0/24"
    assert ranges.take("e") == "10.244.0.0/24"
    assert ranges.take("f") is None


def test_a_node_keeps_the_range_it_came_with() -> None:
    """Ranges that nodes have already are not given out; those from elsewhere do not matter."""
    ranges = NodeRanges("10.244.0.0/23", 24)
    ranges.occupy("a", "10.244.0.0/24")
    ranges.occupy("b", "192.168.7.0/24")

    assert ranges.take("a") == "10.244.0.0/24"
    assert ranges.take("c") == "10.244.1.0/24"
    assert ranges.take("d") is None


def test_the_default_serves_five_thousand_nodes() -> None:
    """The second network takes over after 256 nodes, and no two ranges overlap."""
    settings = Settings()
    ranges = NodeRanges(settings.cluster_cidr, settings.node_cidr_mask_size)
    given_out = [ranges.take(f"n{number}") for number in range(5000)]

    assert given_out[255] == "10.244.255.0/24"
    assert given_out[256] == "10.128.0.0/24"
    assert len(dict.fromkeys(given_out)) == 5000
    assert None not in given_out


@pytest.mark.parametrize(
    "networks", ["", "10.244.0.0", "10.244.0.1/16", "10.244.0.0/25", "fd00::/48"]
)
def test_bad_networks_are_refused(networks: str) -> None:
    """What cannot hold one range is an error when the controller starts, not an empty pool."""
    with pytest.raises(ValueError):
        NodeRanges(networks, 24)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "release", "occupy"]),
        st.sampled_from(["a", "b", "c", "d", "e"]),
        st.integers(0, 3),
    ),
    max_size=40,
)


@given(STEPS)
def test_a_range_taken_is_never_another_nodes(steps: list[tuple[str, str, int]]) -> None:
    """Whatever nodes come, go and bring: `take` gives a range that no other node has."""
    ranges = NodeRanges("10.244.0.0/22", 24)
    owned: dict[str, str] = {}
    for step, name, number in steps:
        if step == "release":
            ranges.release(name)
            owned.pop(name, None)
        elif step == "occupy":
            owned[name] = f"10.244.{number}.0/24"
            ranges.occupy(name, owned[name])
        else:
            before = owned.get(name)
            others = [cidr for owner, cidr in owned.items() if owner != name]
            cidr = ranges.take(name)
            if before is not None:
                assert cidr == before
            elif cidr is None:
                assert len(dict.fromkeys(others)) == 4
            else:
                assert cidr not in others
                assert IPv4Network(cidr).prefixlen == 24
                owned[name] = cidr
        ranges.check()

    assert len(ranges) == len(owned)


def ranges_of(cluster: NodeCluster) -> dict[str, str]:
    """The range of each node as last seen."""
    return {
        seen.object.metadata.name: seen.object.spec.pod_cidr
        for seen in cluster.history
        if isinstance(seen.object, Node)
    }


def test_every_node_gets_a_range_and_keeps_it_over_a_restart() -> None:
    """Nodes get theirs when they come; a restarted controller learns what is given before it gives more."""

    async def comes(cluster: NodeCluster) -> None:
        for number in range(3):
            await cluster.add_node(f"n{number}")
        await trio.sleep(1)
        cluster.crash("node-ipam")
        await trio.sleep(1)
        cluster.start(NodeIpam())
        await cluster.add_node("late")
        await trio.sleep(1)

    ranges = ranges_of(simulate(comes, NodeIpam()))

    assert sorted(ranges.values()) == [f"10.244.{number}.0/24" for number in range(4)]
    assert ranges["late"] == "10.244.3.0/24"


def test_without_a_range_left_a_node_is_told_and_waits() -> None:
    """CIDRNotAvailable; the range of a node that goes is given to the one that waits."""
    settings = attrs.evolve(Settings(), cluster_cidr="10.0.0.0/24")

    async def waits(cluster: NodeCluster) -> None:
        await cluster.add_node("first")
        await trio.sleep(1)
        await cluster.add_node("second")
        await trio.sleep(10)
        cluster.silence("first")
        await cluster.client.delete(Node, "first")
        await trio.sleep(60)

    cluster = simulate(waits, NodeIpam(), settings=settings)

    assert ranges_of(cluster)["second"] == "10.0.0.0/24"
    assert cluster.events("CIDRNotAvailable")[0][1:] == (
        "Node/second",
        "Node second status is now: CIDRNotAvailable",
        "cidrAllocator",
    )
