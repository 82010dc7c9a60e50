"""The kubelet's back-off per key: doubled by every failure, forgotten after a long quiet time (client-go util/flowcontrol.Backoff)."""

from __future__ import annotations

import attrs


@attrs.define
class _Entry:
    delay_ns: int
    updated_ns: int


@attrs.define(eq=False)
class Backoff:
    """Delays per key, in nanoseconds.

    A container that crashes at once: its first restart asks `holds`, which knows nothing, and calls `next`: 10 s. After the second
    crash `holds` says until when 10 s from that crash last; the restart then calls `next` again: 20 s, 40 s, ... 300 s. When it ran for
    twice the longest delay before it crashed, it counts as healed and begins at 10 s again.
    """

    base_ns: int
    max_ns: int
    _entries: dict[str, _Entry] = attrs.field(factory=dict, init=False)

    def delay(self, key: str) -> int:
        """The delay in force, 0 for an unknown key."""
        entry = self._entries.get(key)
        return entry.delay_ns if entry is not None else 0

    def next(self, key: str, event_ns: int, now: int) -> None:
        """Lengthen the delay, for a failure at `event_ns` that is being tried again `now`."""
        entry = self._entries.get(key)
        if entry is None or self._healed(entry, event_ns):
            self._entries[key] = _Entry(self.base_ns, now)
        else:
            entry.delay_ns = min(entry.delay_ns * 2, self.max_ns)
            entry.updated_ns = now

    def holds_until(self, key: str, event_ns: int) -> int:
        """Until when, counted from the failure at `event_ns`; 0 when nothing holds."""
        entry = self._entries.get(key)
        if entry is None or self._healed(entry, event_ns):
            return 0
        return event_ns + entry.delay_ns

    def holds_until_since_update(self, key: str, now: int) -> int:
        """The same, counted from the last call of `next`, as image pulls do."""
        entry = self._entries.get(key)
        if entry is None or self._healed(entry, now):
            return 0
        return entry.updated_ns + entry.delay_ns

    def forget(self, prefix: str) -> None:
        """Drop the keys that start with `prefix`: their pod is gone."""
        for key in [key for key in self._entries if key.startswith(prefix)]:
            del self._entries[key]

    def _healed(self, entry: _Entry, event_ns: int) -> bool:
        return event_ns - entry.updated_ns > 2 * self.max_ns
