"""The versioned log: revisions, transactions, watches, leases, compaction and durability.

Knows nothing of Kubernetes: keys are strings, values opaque. `open_store` opens a store in memory or with a log on disk, `open_etcd` one in an etcd, `read_log` reads a log;
`Store` is the protocol that every backend speaks.
"""

from store.disturbed import (
    Access,
    CrashPoint,
    Disturbance,
    DisturbedStore,
    Down,
    NoRoom,
    ReadOnly,
    SlowCommits,
)
from store.drafts import draft_of, maker
from store.embedded import EmbeddedStore
from store.errors import (
    Compacted,
    DuplicateKey,
    FutureRevision,
    InvalidRequest,
    KeyNotFound,
    LeaseExists,
    LeaseNotFound,
    LogBusy,
    LogCorrupt,
    LogError,
    LogExists,
    LogMissing,
    NoSpace,
    OutcomeUnknown,
    StoreClosed,
    StoreError,
    StoreFailed,
    StoreUnavailable,
    UnsupportedVersion,
)
from store.etcd_address import EtcdAddress, EtcdTiming, is_etcd
from store.etcd_errors import EtcdRefusal
from store.etcd_opening import open_etcd
from store.etcd_reader import EtcdReader, read_etcd, read_etcd_header
from store.files import AppendFile, FileLayer
from store.frames import Torn
from store.history import put_event
from store.keys import ALL_KEYS, FROM_KEY, prefix_end
from store.limits import Limits
from store.opening import open_store
from store.protocol import Codec, Store, StoreStatistics, Watch, WatchStatistics
from store.reader import LogReader, Verified, read_log
from store.records import (
    EMPTY_REVISION,
    Cause,
    Compare,
    CompareOp,
    Delete,
    DeleteResult,
    Durability,
    Event,
    EventType,
    Get,
    KeyValue,
    LeaseStatus,
    Op,
    OpResult,
    Origin,
    Put,
    PutResult,
    RangeResult,
    Revision,
    SortTarget,
    Target,
    Txn,
    TxnResult,
    WatchBatch,
)
from store.removal import remove_log
from store.retention import Keep
from store.wakeup import Wakeup
from store.watch import EmbeddedWatch

__all__ = [
    "ALL_KEYS",
    "EMPTY_REVISION",
    "FROM_KEY",
    "Access",
    "AppendFile",
    "Cause",
    "Codec",
    "Compacted",
    "Compare",
    "CompareOp",
    "CrashPoint",
    "Delete",
    "DeleteResult",
    "Disturbance",
    "DisturbedStore",
    "Down",
    "DuplicateKey",
    "Durability",
    "EmbeddedStore",
    "EmbeddedWatch",
    "EtcdAddress",
    "EtcdReader",
    "EtcdRefusal",
    "EtcdTiming",
    "Event",
    "EventType",
    "FileLayer",
    "FutureRevision",
    "Get",
    "InvalidRequest",
    "Keep",
    "KeyNotFound",
    "KeyValue",
    "LeaseExists",
    "LeaseNotFound",
    "LeaseStatus",
    "Limits",
    "LogBusy",
    "LogCorrupt",
    "LogError",
    "LogExists",
    "LogMissing",
    "LogReader",
    "NoRoom",
    "NoSpace",
    "Op",
    "OpResult",
    "Origin",
    "OutcomeUnknown",
    "Put",
    "PutResult",
    "RangeResult",
    "ReadOnly",
    "Revision",
    "SlowCommits",
    "SortTarget",
    "Store",
    "StoreClosed",
    "StoreError",
    "StoreFailed",
    "StoreStatistics",
    "StoreUnavailable",
    "Target",
    "Torn",
    "Txn",
    "TxnResult",
    "UnsupportedVersion",
    "Verified",
    "Wakeup",
    "Watch",
    "WatchBatch",
    "WatchStatistics",
    "draft_of",
    "is_etcd",
    "maker",
    "open_etcd",
    "open_store",
    "prefix_end",
    "put_event",
    "read_etcd",
    "read_etcd_header",
    "read_log",
    "remove_log",
]
