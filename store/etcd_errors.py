"""etcd's refusals in the words of the store. Pure.

The gateway answers a refusal with a code of gRPC and a text. The text says what is meant: one code covers many refusals. What is refused was
not done; a text that is not known here may stand for something that was (`Verdict.UNKNOWN`), unless its code says otherwise.
"""

from __future__ import annotations

import enum
from typing import Final

from store.errors import (
    Compacted,
    DuplicateKey,
    FutureRevision,
    InvalidRequest,
    KeyNotFound,
    LeaseExists,
    LeaseNotFound,
    NoSpace,
    StoreError,
)


class Verdict(enum.Enum):
    """What a refusal says about the request."""

    FINAL = "final"
    """It was not done, and never will be."""
    LATER = "later"
    """It was not done; another endpoint, or a later time, may do it."""
    LOGIN = "login"
    """It was not done: the token is not valid any more."""
    UNKNOWN = "unknown"
    """It may have been done, or may still be."""


class EtcdRefusal(StoreError):
    """etcd refused, with gRPC's code and its own text; callers meet it where the store has no error of its own, as for a wrong password."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"etcd refused: {text} (code {code})")
        self.code = code
        self.text = text


REFUSALS: Final[dict[str, type[StoreError]]] = {
    "etcdserver: mvcc: required revision has been compacted": Compacted,
    "etcdserver: mvcc: required revision is a future revision": FutureRevision,
    "etcdserver: key is not provided": InvalidRequest,
    "etcdserver: key not found": KeyNotFound,
    "etcdserver: value is provided": InvalidRequest,
    "etcdserver: lease is provided": InvalidRequest,
    "etcdserver: too many operations in txn request": InvalidRequest,
    "etcdserver: duplicate key given in txn request": DuplicateKey,
    "etcdserver: invalid sort option": InvalidRequest,
    "etcdserver: request is too large": InvalidRequest,
    "etcdserver: too large lease TTL": InvalidRequest,
    "etcdserver: requested lease not found": LeaseNotFound,
    "etcdserver: lease already exists": LeaseExists,
    "etcdserver: mvcc: database space exceeded": NoSpace,
}
"""By etcd's text (api/v3rpc/rpctypes/error.go)."""

_LOGIN: Final = ("etcdserver: invalid auth token", "etcdserver: revision of auth store is old")
_LATER: Final = ("etcdserver: too many requests", "etcdserver: no leader")
_NOT_SENT: Final = ("Error while dialing", "authentication handshake failed")
"""The gateway could not reach its own etcd, which is starting, or whose certificates are not for its own use."""
_TOO_LARGE: Final = "grpc: received message larger than max"
"""What is larger than etcd's limit by half a MiB and more is refused by gRPC already."""

_UNAVAILABLE: Final = 14
_FINAL_CODES: Final = (3, 5, 6, 7, 9, 12, 16)
"""Invalid argument, not found, exists, permission denied, failed precondition, unimplemented, unauthenticated: refused before anything was done."""


def verdict(refusal: EtcdRefusal) -> Verdict:
    """What a refusal says about the request."""
    if refusal.text in _LOGIN:
        return Verdict.LOGIN
    if kind_of(refusal) is not None or refusal.code in _FINAL_CODES:
        return Verdict.FINAL
    not_sent = refusal.code == _UNAVAILABLE and any(each in refusal.text for each in _NOT_SENT)
    return Verdict.LATER if not_sent or refusal.text in _LATER else Verdict.UNKNOWN


def kind_of(refusal: EtcdRefusal) -> type[StoreError] | None:
    """The error of the store that says the same; None when there is none."""
    if refusal.text.startswith(_TOO_LARGE):
        return InvalidRequest
    return REFUSALS.get(refusal.text)
