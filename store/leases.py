"""Leases: what keys live by, and when each ends. Pure: the time comes as an argument, in nanoseconds.

A lease ends at its deadline and never before; keeping it alive moves the deadline. Ends that fall together come in the
order of deadline, then id. The keys of a lease are those whose newest PUT names it: a later put without it detaches the key,
as does a delete.

Granting, keeping alive, attaching and detaching cost O(log n) at most; an event of a key that never had a lease costs one look-up.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Final

import attrs

from store.errors import InvalidRequest, LeaseExists, LeaseNotFound
from store.history import Commit
from store.limits import Limits
from store.records import LeaseStatus

SECOND_NS: Final = 1_000_000_000


@attrs.define(eq=False)
class _Lease:
    id: int
    ttl_seconds: int
    deadline_ns: int
    keys: dict[str, None] = attrs.field(factory=dict)


@attrs.define(eq=False, repr=False)
class Leases:
    """The leases in force."""

    limits: Limits
    _leases: dict[int, _Lease] = attrs.field(factory=dict, init=False)
    _lease_of: dict[str, int] = attrs.field(factory=dict, init=False)
    _deadlines: list[tuple[int, int]] = attrs.field(factory=list, init=False)
    """A heap of (deadline, id); entries that a later keep-alive made stale are dropped when met."""
    _next_id: int = attrs.field(default=1, init=False)

    def __len__(self) -> int:
        return len(self._leases)

    def __contains__(self, lease: object) -> bool:
        return lease in self._leases

    def __repr__(self) -> str:
        return f"<Leases {len(self._leases)} in force, {len(self._lease_of)} keys>"

    def choose(self, ttl_seconds: int, lease: int) -> tuple[int, int]:
        """The id and the time that a grant would have. Raises LeaseExists, InvalidRequest; changes nothing."""
        if not 0 < ttl_seconds <= self.limits.lease_most_seconds:
            raise InvalidRequest(
                f"a lease of {ttl_seconds} s; allowed: 1 to {self.limits.lease_most_seconds}"
            )
        if lease < 0:
            raise InvalidRequest(f"lease id {lease}; allowed: 1 and up, or 0 to have one chosen")
        if lease in self._leases:
            raise LeaseExists(lease)
        return lease or self._free_id(), max(ttl_seconds, self.limits.lease_least_seconds)

    def _free_id(self) -> int:
        while self._next_id in self._leases:
            self._next_id += 1
        return self._next_id

    def grant(self, lease: int, ttl_seconds: int, now_ns: int) -> LeaseStatus:
        """Put a lease in force; `choose` has checked it."""
        assert lease not in self._leases, f"lease {lease} exists"
        granted = _Lease(lease, ttl_seconds, 0)
        self._leases[lease] = granted
        if lease == self._next_id:
            # A chosen id is not chosen twice, so that a late keep-alive cannot prolong another's lease.
            self._next_id += 1
        self._prolong(granted, now_ns)
        return self.status(lease, now_ns)

    def load(
        self, leases: Iterable[tuple[int, int]], next_lease: int, states: Commit, now_ns: int
    ) -> None:
        """Begin with what a snapshot holds; each lease runs its full time from now."""
        for lease, ttl_seconds in leases:
            self.grant(lease, ttl_seconds, now_ns)
        self._next_id = next_lease
        self.follow(states)

    def keep_alive(self, lease: int, now_ns: int) -> LeaseStatus:
        """Have a lease run its full time from now. Raises LeaseNotFound."""
        self._prolong(self._get(lease), now_ns)
        return self.status(lease, now_ns)

    def _prolong(self, lease: _Lease, now_ns: int) -> None:
        lease.deadline_ns = now_ns + lease.ttl_seconds * SECOND_NS
        heapq.heappush(self._deadlines, (lease.deadline_ns, lease.id))
        if len(self._deadlines) > 64 + 4 * len(self._leases):
            self._deadlines = sorted((each.deadline_ns, each.id) for each in self._leases.values())

    def _get(self, lease: int) -> _Lease:
        found = self._leases.get(lease)
        if found is None:
            raise LeaseNotFound(lease)
        return found

    def end(self, lease: int) -> None:
        """Take a lease out of force; its keys, if any are left, belong to none."""
        for key in self._leases.pop(lease).keys:
            del self._lease_of[key]

    def keys(self, lease: int) -> list[str]:
        """The keys of a lease, in order. Raises LeaseNotFound."""
        return sorted(self._get(lease).keys)

    def status(self, lease: int, now_ns: int) -> LeaseStatus:
        """What is left of a lease, without its keys. Raises LeaseNotFound."""
        found = self._get(lease)
        return LeaseStatus(
            id=lease,
            granted_seconds=found.ttl_seconds,
            remaining_seconds=max(0, found.deadline_ns - now_ns) // SECOND_NS,
        )

    def ids(self) -> tuple[int, ...]:
        """The ids of all leases, in order."""
        return tuple(sorted(self._leases))

    def follow(self, commit: Commit) -> None:
        """Attach and detach the keys of a commit."""
        if not self._leases:
            return
        for event in commit:
            # A key that has just been made is attached to none yet, and most have: a look into a large dictionary is spared.
            attached = self._lease_of.get(event.key, 0) if event.previous else 0
            if attached == event.lease:
                continue
            if attached:
                del self._leases[attached].keys[event.key]
                del self._lease_of[event.key]
            if event.lease in self._leases:
                self._leases[event.lease].keys[event.key] = None
                self._lease_of[event.key] = event.lease

    def next_deadline(self) -> int | None:
        """When the next lease ends; None when there is none."""
        while self._deadlines:
            deadline, lease = self._deadlines[0]
            found = self._leases.get(lease)
            if found is not None and found.deadline_ns == deadline:
                return deadline
            heapq.heappop(self._deadlines)
        return None

    def due(self, now_ns: int) -> int | None:
        """The lease that ends first, if it ends by now."""
        deadline = self.next_deadline()
        return self._deadlines[0][1] if deadline is not None and deadline <= now_ns else None

    def check(self) -> None:
        """Assert every invariant."""
        attached = {key: lease.id for lease in self._leases.values() for key in lease.keys}
        assert attached == self._lease_of, "a key is attached on one side only"
        entries = dict.fromkeys(self._deadlines)
        for lease in self._leases.values():
            assert (lease.deadline_ns, lease.id) in entries, f"lease {lease.id} would never end"
