"""The node IPAM controller: gives every node the range of addresses that its pods live in
(`spec.podCIDR`).

Ranges are cut from `cluster_cidr` one after the other, so that a range given back is used again
only when all others have had their turn. A node that comes with a range keeps it. When no range is
left the node is told so and waits.

Source: kubernetes pkg/controller/nodeipam/ipam/range_allocator.go, .../cidrset.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import ClassVar, Final

import attrs

from engine import (
    Done,
    For,
    Key,
    Node,
    NotFound,
    ObjectReference,
    Reconciler,
    RequeueAfter,
    Result,
    Source,
)

RETRY: Final = 30.0
"""Seconds until a node without a range is looked at again; a node that goes away may have left one."""


class NodeRanges:
    """The ranges of one pool of networks, and who has them. Taking the next is O(1) while the pool
    is not nearly full.

    A range's life: `take` gives it to a node; asked again for the same node it gives the same;
    `release` makes it free; and when the pool has been gone through, `take` comes back to it.
    """

    def __init__(self, networks: str, mask: int) -> None:
        """Raises ValueError for what is no list of IPv4 networks, or too small for one range."""
        self._mask = mask
        self._pools = [IPv4Network(text.strip()) for text in networks.split(",")]
        for pool in self._pools:
            if pool.prefixlen > mask:
                raise ValueError(f"cluster_cidr {pool} is smaller than one node's range, /{mask}")
        self._used = [bytearray(1 << (mask - pool.prefixlen)) for pool in self._pools]
        """How many nodes have each range: one, unless someone gave a range out by hand."""
        self._next = [0 for _ in self._pools]
        self._owned: dict[str, str] = {}

    def __len__(self) -> int:
        """Ranges that nodes have."""
        return len(self._owned)

    def owned(self, node: str) -> str | None:
        """The range of that node."""
        return self._owned.get(node)

    def take(self, node: str) -> str | None:
        """The node's range: the one it has, or else the next free one; None when all are used."""
        if node in self._owned:
            return self._owned[node]
        for place, used in enumerate(self._used):
            index = used.find(0, self._next[place])
            if index < 0:
                index = used.find(0)
            if index >= 0:
                used[index] = 1
                self._next[place] = (index + 1) % len(used)
                cidr = self._range(place, index)
                self._owned[node] = cidr
                return cidr
        return None

    def occupy(self, node: str, cidr: str) -> None:
        """Note that the node has that range, wherever it is from; another that it had is free again."""
        if self._owned.get(node) == cidr:
            return
        self.release(node)
        self._owned[node] = cidr
        self._count(cidr, +1)

    def release(self, node: str) -> None:
        """The node is gone: its range is free."""
        cidr = self._owned.pop(node, None)
        if cidr is not None:
            self._count(cidr, -1)

    def _range(self, place: int, index: int) -> str:
        pool = self._pools[place]
        base = int(pool.network_address) + (index << (32 - self._mask))
        return str(IPv4Network((base, self._mask)))

    def _count(self, cidr: str, step: int) -> None:
        """Count all ranges that `cidr` touches; one from outside our pools touches none."""
        network = IPv4Network(cidr, strict=False)
        for place, pool in enumerate(self._pools):
            if not network.overlaps(pool):
                continue
            shift = 32 - self._mask
            base = int(pool.network_address)
            first = max(int(network.network_address) - base, 0) >> shift
            last = (int(network.broadcast_address) - base) >> shift
            for index in range(first, min(last, len(self._used[place]) - 1) + 1):
                self._used[place][index] += step

    def check(self) -> None:
        """Assert that every node's range is marked as used."""
        for cidr in self._owned.values():
            network = IPv4Network(cidr, strict=False)
            for place, pool in enumerate(self._pools):
                if network.prefixlen == self._mask and network.subnet_of(pool):
                    base = int(pool.network_address)
                    index = (int(network.network_address) - base) >> (32 - self._mask)
                    assert self._used[place][index], f"{cidr} is owned and not marked as used"


class NodeIpam(Reconciler):
    """See the module's text."""

    name: ClassVar[str] = "node-ipam"
    component: ClassVar[str] = "cidrAllocator"
    workers: ClassVar[int] = 8

    def sources(self) -> Sequence[Source]:
        return (For(Node),)

    async def setup(self) -> None:
        self._ranges = NodeRanges(self.settings.cluster_cidr, self.settings.node_cidr_mask_size)
        self._began = False

    async def reconcile(self, key: Key) -> Result:
        self._begin()
        node = self.informer(Node).get(key)
        if node is None:
            self._ranges.release(key.name)
            return Done()
        if node.spec.pod_cidr:
            self._ranges.occupy(key.name, node.spec.pod_cidr)
            return Done()
        cidr = self._ranges.take(key.name)
        if cidr is None:
            self._tell(node, "CIDRNotAvailable")
            return RequeueAfter(RETRY)
        spec = attrs.evolve(node.spec, pod_cidr=cidr, pod_cidrs=(cidr,))
        try:
            # With the resourceVersion that we saw: if someone else gave it a range, this conflicts
            # and is read anew.
            await self.client.update(attrs.evolve(node, spec=spec))
        except NotFound:
            self._ranges.release(key.name)
        return Done()

    def _begin(self) -> None:
        """Before the first range is given, note all that nodes have already: the informer has
        synced by now.
        """
        if self._began:
            return
        self._began = True
        for node in self.informer(Node).list():
            if node.spec.pod_cidr:
                self._ranges.occupy(node.metadata.name, node.spec.pod_cidr)

    def _tell(self, node: Node, reason: str) -> None:
        name = node.metadata.name
        about = ObjectReference(
            api_version=node.api_version, kind=node.kind, name=name, uid=node.metadata.uid
        )
        self.recorder.event(about, "Normal", reason, f"Node {name} status is now: {reason}")
