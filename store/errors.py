"""Everything the store refuses, split by who must act next.

`InvalidRequest` and its kin: the caller's request can never succeed. `Compacted` and `FutureRevision`: the caller must
choose another revision. `NoSpace`: the operator must make room, then the caller may try again, and so for `StoreUnavailable`. `OutcomeUnknown`: the
caller must look before trying again. `StoreFailed` and `StoreClosed`: this store will answer nothing more. `LogError` and its kin: the
log on disk needs a decision of its owner.
"""

from __future__ import annotations


class StoreError(Exception):
    """The root of all errors of the store."""


class InvalidRequest(StoreError):
    """The request breaks a rule of the protocol; the message names the rule."""


class DuplicateKey(InvalidRequest):
    """A transaction would change `key` more than once."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"key {key!r} is changed more than once in one transaction; use one operation"
        )
        self.key = key


class KeyNotFound(InvalidRequest):
    """A put that keeps the present value or lease met no key to keep it from."""

    def __init__(self, key: str) -> None:
        super().__init__(f"key {key!r} does not exist, so its value or lease cannot be kept")
        self.key = key


class Compacted(StoreError):
    """History at `revision` is gone: what is below `compacted` can no longer be read or watched."""

    def __init__(self, revision: int, compacted: int) -> None:
        super().__init__(
            f"revision {revision} is compacted; the oldest that can be read is {compacted}"
        )
        self.revision = revision
        self.compacted = compacted


class FutureRevision(StoreError):
    """`revision` has not happened; the newest is `head`."""

    def __init__(self, revision: int, head: int) -> None:
        super().__init__(f"revision {revision} has not happened yet; the newest is {head}")
        self.revision = revision
        self.head = head


class LeaseNotFound(StoreError):
    """No such lease: never granted, revoked, or expired."""

    def __init__(self, lease: int) -> None:
        super().__init__(f"lease {lease} does not exist; it was never granted, or ended")
        self.lease = lease


class LeaseExists(StoreError):
    """A lease of this id is in force already."""

    def __init__(self, lease: int) -> None:
        super().__init__(f"lease {lease} exists; give another id, or 0 to have one chosen")
        self.lease = lease


class NoSpace(StoreError):
    """The disk is full: nothing of this write happened, and reads go on. It may be tried again once there is room."""


class OutcomeUnknown(StoreError):
    """The answer of a remote backend was lost: the write may have happened or not. Read before trying again."""


class StoreUnavailable(StoreError):
    """No endpoint of a remote backend could be reached: nothing of this happened. It may be tried again."""


class StoreFailed(StoreError):
    """The store can no longer keep its promise of durability, and answers nothing more.

    A failed fsync leaves unknown what is on the disk, and trying it again would report a success that is none
    (determinism-and-chaos.md 4.3): open the log again, which recovers what is really there.
    """


class StoreClosed(StoreError):
    """The store has been closed."""


class LogError(StoreError):
    """The root of the errors about a log on disk."""


class LogExists(LogError):
    """There is something at the path of a new log, and a log is never overwritten."""


class LogBusy(LogError):
    """Another process is writing this log."""


class LogMissing(LogError):
    """There is no log at the path."""


class LogCorrupt(LogError):
    """The log is damaged at `offset` of `segment`; `what` says how. Nothing after it can be trusted."""

    def __init__(self, segment: str, offset: int, what: str) -> None:
        super().__init__(f"{segment} at offset {offset}: {what}")
        self.segment = segment
        self.offset = offset
        self.what = what


class UnsupportedVersion(LogError):
    """The log was written by a version of the format that this one cannot read."""

    def __init__(self, segment: str, found: str, supported: str) -> None:
        super().__init__(
            f"{segment}: written in {found}, and this version reads {supported}; use the version that wrote it"
        )
        self.segment = segment
        self.found = found
        self.supported = supported
