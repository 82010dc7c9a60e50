"""The pace of a controller: how often it may come back to one key, when nothing else holds it up.

In a real cluster every round of a loop takes time: requests cross a network, and the clients of kube-controller-manager send 20 of them a second (--kube-api-qps). Here
they take none, so controllers that undo each other's work (a stale view of an owner, a kubelet that refuses what the scheduler sends it)
would do so for ever at one virtual instant, and the timer that ends it never fires. Each key therefore has a bucket: 500 reconciles at once, 20 a
second for ever. What works towards a goal never meets it; what goes in circles meets it and lets time pass.
"""

from __future__ import annotations

from typing import Final

import attrs

from engine.objects.key import Key

RATE: Final = 20
"""Reconciles of one key in a second (kube-controller-manager --kube-api-qps, 20)."""
BURST: Final = 500
"""Of one key at once; the real burst of 30 requests would also slow the start of a large Deployment, which takes no time here on purpose."""

_INTERVAL_NS: Final = 1_000_000_000 // RATE
_SWEEP: Final = 10_000


@attrs.define(eq=False)
class Pace:
    """A bucket for each key, as the time at which it will be full again (GCRA)."""

    _full_ns: dict[Key, int] = attrs.field(factory=dict, init=False)

    def wait(self, key: Key, now_ns: int) -> float:
        """Seconds until `key` may be reconciled; 0 for now, and then this is counted as one reconcile."""
        full = max(self._full_ns.get(key, 0), now_ns) + _INTERVAL_NS
        excess = full - now_ns - BURST * _INTERVAL_NS
        if excess > 0:
            return excess / 1e9
        if len(self._full_ns) >= _SWEEP:
            self._full_ns = {each: at for each, at in self._full_ns.items() if at > now_ns}
        self._full_ns[key] = full
        return 0.0
