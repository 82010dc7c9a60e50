"""Every bound of the store, by name, in one frozen value."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Limits:
    """The bounds of one store. `attrs.evolve(Limits(), ...)` makes others; tests make them small."""

    transaction_operations: int = 128
    """Operations (and compares) of one transaction at most: etcd --max-txn-ops."""
    watch_buffer_events: int = 16_384
    """Events a watcher may be behind before it is moved to catch-up from history."""
    catch_up_revisions: int = 1_000
    """Revisions read for a catching-up watcher in one step: etcd's watchBatchMaxRevs."""
    window_revisions: int = 100_000
    """Revisions that a store with a log keeps in memory at least; older ones are read from the log. A store
    without one keeps all that is not compacted."""
    segment_bytes: int = 16 * 1024 * 1024
    """A segment is closed when it has grown to this. etcd's are four times as long; shorter ones have less to replay after a snapshot."""
    snapshot_bytes: int = 8 * 1024 * 1024
    """A snapshot is written with a new segment when the log has grown by this since the last one, and by twice that one's size."""
    snapshot_first_bytes: int = 64 * 1024
    """So much of a snapshot is written at once: all of a small state. The rest is written with the records that follow."""
    write_buffer_bytes: int = 1024 * 1024
    """What durability `none` gathers before it writes."""
    frame_bytes: int = 256 * 1024 * 1024
    """The largest record of a log; a longer one is damage, not data."""
    progress_interval_seconds: float = 600.0
    """How often a quiet watch that asked for it is told the revision: etcd's watch progress notify interval."""
    lease_least_seconds: int = 2
    """A shorter lease is granted for this long: etcd's minimum with its default election time-out."""
    lease_most_seconds: int = 9_000_000_000
    """A longer lease is refused: etcd's MaxLeaseTTL."""
