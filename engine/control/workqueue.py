"""The work queue: keys waiting to be reconciled, as a synchronous data structure.

A key stands in the queue at most once and is handed to one worker at a time. While it is worked on, further adds
mark it dirty, and it comes back when the worker is done. Adds may be delayed, and retries wait longer each time
(client-go's work queue; its `ItemExponentialFailureRateLimiter` and `BucketRateLimiter`). Each add says why, and
the reasons of all adds that one pass of a worker answers are handed over with the key.

The life of a key: `add` (waiting) -> `get` (processing) -> `add` again (processing and dirty) -> `done` (waiting once more)
-> `get` -> `done` (gone). Nothing here waits or reads a clock: times are integer nanoseconds given by the caller.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

import attrs

from store import Cause

K = TypeVar("K", bound=Hashable)

MAX_CAUSES: Final = 8
"""Most causes kept for one key; the newest stay."""

_NS: Final = 1_000_000_000


@attrs.frozen(kw_only=True)
class RateLimits:
    """Back-off of one key, doubled from `base_delay` to `max_delay`, and a token bucket shared by all retries.

    Seconds and tokens per second. Defaults: client-go `DefaultControllerRateLimiter`.
    """

    base_delay: float = 0.005
    max_delay: float = 1000.0
    rate: float = 10.0
    burst: int = 100


@attrs.frozen(kw_only=True)
class WorkQueueStatistics:
    """Keys by where they are, and adds and retries since the queue was made."""

    waiting: int
    processing: int
    delayed: int
    adds: int
    retries: int


@attrs.define(eq=False)
class WorkQueue(Generic[K]):
    """See the module's text. All operations are O(1), or O(log n) for delayed adds."""

    limits: RateLimits = RateLimits()
    _queue: deque[K] = attrs.field(factory=deque, init=False)
    _dirty: dict[K, tuple[Cause, ...]] = attrs.field(factory=dict, init=False)
    _processing: dict[K, None] = attrs.field(factory=dict, init=False)
    _heap: list[tuple[int, int, K]] = attrs.field(factory=list, init=False)
    _delayed: dict[K, tuple[int, tuple[Cause, ...]]] = attrs.field(factory=dict, init=False)
    _failures: dict[K, int] = attrs.field(factory=dict, init=False)
    _bucket_full_at: int = attrs.field(default=0, init=False)
    _sequence: int = attrs.field(default=0, init=False)
    _adds: int = attrs.field(default=0, init=False)
    _retries: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, key: K, causes: tuple[Cause, ...] = ()) -> bool:
        """Mark `key` as needing work; True when that makes it available to a worker."""
        known = self._dirty.get(key)
        if known is not None:
            self._dirty[key] = merge_causes(known, causes)
            return False
        self._adds += 1
        self._dirty[key] = causes[-MAX_CAUSES:]
        if key in self._processing:
            return False
        self._queue.append(key)
        return True

    def add_after(self, key: K, delay: float, now: int, causes: tuple[Cause, ...] = ()) -> bool:
        """Add `key` once `delay` seconds have passed; of several pending delays the earliest counts.

        True when the key is available at once, as it is for a delay that is not positive.
        """
        if delay <= 0:
            return self.add(key, causes)
        ready = now + round(delay * _NS)
        pending = self._delayed.get(key)
        if pending is not None:
            causes = merge_causes(pending[1], causes)
            if pending[0] <= ready:
                self._delayed[key] = (pending[0], causes)
                return False
        self._delayed[key] = (ready, causes)
        self._sequence += 1
        heapq.heappush(self._heap, (ready, self._sequence, key))
        return False

    def add_rate_limited(self, key: K, now: int, causes: tuple[Cause, ...] = ()) -> float:
        """Add `key` after its back-off; the delay in seconds."""
        delay = self._next_delay(key, now)
        self._retries += 1
        self.add_after(key, delay, now, causes)
        return delay

    def _next_delay(self, key: K, now: int) -> float:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        limits = self.limits
        backoff = limits.max_delay
        if failures < 64:
            backoff = min(limits.base_delay * float(1 << failures), limits.max_delay)
        token = round(_NS / limits.rate)
        full_at = max(self._bucket_full_at, now) + token
        self._bucket_full_at = full_at
        wait = (full_at - now - limits.burst * token) / _NS
        return max(backoff, wait)

    def forget(self, key: K) -> None:
        """Start the key's back-off over."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """How often `key` was added with back-off since the last `forget`."""
        return self._failures.get(key, 0)

    def wake(self, now: int) -> int:
        """Move the delayed keys that are due into the queue; how many became available."""
        available = 0
        heap = self._heap
        while heap and heap[0][0] <= now:
            ready, _, key = heapq.heappop(heap)
            pending = self._delayed.get(key)
            if pending is None or pending[0] != ready:
                continue  # an earlier delay took its place
            del self._delayed[key]
            available += self.add(key, pending[1])
        return available

    def next_wake(self) -> int | None:
        """When the next delayed key is due, in nanoseconds; None when none waits."""
        heap = self._heap
        while heap:
            ready, _, key = heap[0]
            pending = self._delayed.get(key)
            if pending is not None and pending[0] == ready:
                return ready
            heapq.heappop(heap)
        return None

    def get(self) -> tuple[K, tuple[Cause, ...]]:
        """Take the key that has waited longest, with the causes of its adds. Raises IndexError when none waits."""
        key = self._queue.popleft()
        causes = self._dirty.pop(key)
        self._processing[key] = None
        return key, causes

    def done(self, key: K) -> bool:
        """The worker has finished with `key`; True when it waits again because it was added meanwhile."""
        del self._processing[key]
        if key in self._dirty:
            self._queue.append(key)
            return True
        return False

    def idle(self) -> bool:
        """Nothing waits and nothing is worked on; delayed keys do not count."""
        return not self._queue and not self._processing

    def statistics(self) -> WorkQueueStatistics:
        return WorkQueueStatistics(
            waiting=len(self._queue),
            processing=len(self._processing),
            delayed=len(self._delayed),
            adds=self._adds,
            retries=self._retries,
        )

    def check(self) -> None:
        """Assert the structure's invariants."""
        waiting = list(self._queue)
        assert len(waiting) == len({*waiting}), "a key waits twice"
        for key in waiting:
            assert key in self._dirty, "a waiting key is not dirty"
            assert key not in self._processing, "a key waits while it is worked on"
        for key in self._dirty:
            assert key in self._processing or key in waiting, "a dirty key is lost"
        for key, (ready, _) in self._delayed.items():
            assert any(at == ready and held == key for at, _, held in self._heap), "a delay is lost"


def merge_causes(old: tuple[Cause, ...], new: tuple[Cause, ...]) -> tuple[Cause, ...]:
    """The causes of both, in order, without repeats, at most MAX_CAUSES of them: the newest."""
    merged = old + tuple(cause for cause in new if cause not in old)
    return merged[-MAX_CAUSES:]
