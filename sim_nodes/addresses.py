"""Pod addresses of one node, handed out from its CIDR as the host-local plugin does: the next free one, round and round."""

from __future__ import annotations

import ipaddress
from typing import Final

_FALLBACK: Final = ipaddress.IPv4Network("10.128.0.0/9")
"""From where a node's /24 is taken when the cluster assigns none; 32,768 of them."""


class AddressesUsedUp(Exception):
    """All addresses of the node's CIDR are in use: no sandbox can be made until a pod goes."""


class PodAddresses:
    """The addresses of one CIDR. The first (network), the second (the bridge) and the last (broadcast) are nobody's."""

    def __init__(self, cidr: str) -> None:
        network = ipaddress.IPv4Network(cidr)
        self.cidr: Final = cidr
        self._first: Final = int(network.network_address) + 2
        self._count: Final = network.num_addresses - 3
        self._next = 0
        self._used: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._used)

    def take(self) -> str:
        """A free address. Raises AddressesUsedUp."""
        for _ in range(self._count):
            address = str(ipaddress.IPv4Address(self._first + self._next))
            self._next = (self._next + 1) % self._count
            if address not in self._used:
                self._used[address] = None
                return address
        raise AddressesUsedUp(f"no IP addresses available in range set: {self.cidr}")

    def release(self, address: str) -> None:
        """Give an address back; another CIDR's is none of ours and ignored."""
        self._used.pop(address, None)


def fallback_cidr(draw: int) -> str:
    """The /24 of a node that was assigned none, for a draw in [0, 32768)."""
    return f"{ipaddress.IPv4Address(int(_FALLBACK.network_address) + (draw << 8))}/24"
