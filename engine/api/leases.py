"""How Events go away: each is written with a lease of the store, which is shared by those written about the same time."""

from __future__ import annotations

from typing import Final

import attrs

from engine.objects.kinds import EVENT
from engine.objects.scheme import Resource
from engine.sim.clock import Clock
from store import Store

REUSE_SECONDS: Final = 60
"""How long a lease takes new keys (`DefaultLeaseReuseDurationSeconds` of k8s.io/apiserver's etcd3 lease manager)."""
MAX_KEYS: Final = 1000
"""Keys of one lease at the most (`DefaultLeaseManagerConfig.MaxObjectCount`)."""
_NS: Final = 1_000_000_000


@attrs.define(eq=False)
class EventLeases:
    """Gives each write of an Event a lease of `ttl_seconds`; other kinds live until they are deleted."""

    store: Store
    clock: Clock
    ttl_seconds: float
    _lease: int = attrs.field(default=0, init=False)
    _keys: int = attrs.field(default=0, init=False)
    _until_ns: int = attrs.field(default=0, init=False)

    async def lease_for(self, resource: Resource) -> int:
        """The lease for an object of that kind, 0 for none."""
        if resource is not EVENT or self.ttl_seconds <= 0:
            return 0
        if self._keys >= MAX_KEYS or self.clock.now_ns() >= self._until_ns:
            # Longer by the time it is reused, so that the last Event of it lives its whole time.
            granted = await self.store.lease_grant(round(self.ttl_seconds) + REUSE_SECONDS)
            self._lease, self._keys = granted.id, 0
            self._until_ns = self.clock.now_ns() + REUSE_SECONDS * _NS
        self._keys += 1
        return self._lease
