"""Transactions: what may stand in one, whether its compares hold, and its operations on the history. Pure.

A transaction is checked, decided and run in three steps, as etcd does it: `validate` looks at the request alone, `decide` evaluates every compare, nested
ones too, against the state before the whole, and `run` applies the operations of the branches taken. `run` may raise half-way; the
caller then aborts the open revision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from store.drafts import maker
from store.errors import DuplicateKey, InvalidRequest, KeyNotFound, LeaseNotFound
from store.history import Encode, History, key_value
from store.keys import KeyRange
from store.leases import Leases
from store.limits import Limits
from store.records import (
    Compare,
    Delete,
    DeleteResult,
    Event,
    Get,
    Op,
    OpResult,
    Origin,
    Put,
    PutResult,
    RangeResult,
    Target,
    Txn,
    TxnResult,
)

_MOD: Final = Target.MOD
_put_result: Final = maker(PutResult)
_txn_result: Final = maker(TxnResult)


def validate(txn: Txn, limits: Limits) -> None:
    """Raises InvalidRequest for what no state could make right, and of that DuplicateKey last, as etcd does."""
    _validate(txn, limits.transaction_operations)
    for branch in (txn.success, txn.failure):
        if len(branch) > 1 or (branch and isinstance(branch[0], Txn)):
            # One plain operation cannot collide with itself: most branches are spared the search.
            _changed(branch)


def _validate(txn: Txn, most: int) -> None:
    """`most` is how many compares or operations a list may have."""
    success, failure = txn.success, txn.failure
    longest = max(len(txn.compares), len(success), len(failure))
    if longest > most:
        raise InvalidRequest(
            f"{longest} compares or operations in one transaction; at most {most} are allowed here"
        )
    for compare in txn.compares:
        _validate_key(compare)
    for operation in (*success, *failure) if failure else success:
        if isinstance(operation, Txn):
            # As in etcd (checkTxnRequest): a nested one may have what those around it leave.
            _validate(operation, most - longest)
        else:
            _validate_operation(operation)


def _validate_key(named: Get | Put | Delete | Compare) -> None:
    if not named.key:
        raise InvalidRequest(f"{type(named).__name__} with an empty key")
    if not named.key.isascii():
        _validate_text(named.key)


def _validate_operation(operation: Get | Put | Delete) -> None:
    key = operation.key
    if not key or not key.isascii():
        _validate_key(operation)
    if isinstance(operation, Put):
        if operation.ignore_value and operation.value is not None:
            raise InvalidRequest(f"put of {operation.key!r}: a value, and ignore_value as well")
        if operation.ignore_lease and operation.lease:
            raise InvalidRequest(f"put of {operation.key!r}: a lease, and ignore_lease as well")


def _validate_text(key: str) -> None:
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"key {key!r} is no text: {error.reason}") from error


def _changed(operations: Sequence[Op]) -> tuple[dict[str, None], list[KeyRange]]:
    """The keys put and the ranges deleted by a branch. Raises DuplicateKey when they meet.

    Ranges deleted may overlap: the second finds nothing. The two branches of one transaction may change the same key, for only
    one of them runs.
    """
    puts: dict[str, None] = {}
    deletes: list[KeyRange] = []
    for operation in operations:
        if isinstance(operation, Put):
            _refuse_put(operation.key, puts, deletes)
            puts[operation.key] = None
            continue
        if isinstance(operation, Delete):
            new_puts, new_deletes = {}, [KeyRange.of(operation.key, operation.range_end)]
        elif isinstance(operation, Txn):
            then_puts, then_deletes = _changed(operation.success)
            else_puts, else_deletes = _changed(operation.failure)
            new_puts, new_deletes = then_puts | else_puts, then_deletes + else_deletes
        else:
            continue
        for key in new_puts:
            _refuse_put(key, puts, deletes)
        for deleted in new_deletes:
            for key in puts:
                if key in deleted:
                    raise DuplicateKey(key)
        puts |= new_puts
        deletes += new_deletes
    return puts, deletes


def _refuse_put(key: str, puts: dict[str, None], deletes: list[KeyRange]) -> None:
    """Raises DuplicateKey for a key that is changed already."""
    if key in puts or (deletes and any(key in deleted for deleted in deletes)):
        raise DuplicateKey(key)


@attrs.define(eq=False)
class Execution:
    """Runs transactions on a history, one at a time; `origin` and `time_ns` are those of the present one."""

    history: History
    leases: Leases
    read: Callable[[Get], RangeResult]
    encode: Encode
    origin: Origin = attrs.field(default=Origin(""), init=False)
    time_ns: int = attrs.field(default=0, init=False)

    def execute(self, txn: Txn, origin: Origin, time_ns: int) -> TxnResult:
        """Decide and run. May raise half-way, with writes in the open revision."""
        self.origin, self.time_ns = origin, time_ns
        if len(txn.compares) == 1 == len(txn.success):
            swapped = self._swap(txn.compares[0], txn.success[0])
            if swapped is not None:
                return swapped
        verdicts: list[bool] = []
        self._decide(txn, verdicts)
        verdicts.reverse()
        return self._run(txn, verdicts)

    def _swap(self, compare: Compare, operation: Op) -> TxnResult | None:
        """What nearly every transaction of an API server is: a put, if the key was changed last at a revision. None: look at it as at any other.

        The steps below come to the same, in three times as many calls (tests/store/test_core_machine.py).
        """
        if (
            type(operation) is not Put
            or operation.prev_kv
            or operation.ignore_value
            or operation.ignore_lease
            or (operation.lease and operation.lease not in self.leases)
            or compare.target is not _MOD
            or compare.op != "="
            or compare.range_end is not None
            or type(compare.operand) is not int
        ):
            return None
        newest = self.history.newest(compare.key)
        if compare.operand != (0 if newest is None else newest.revision):
            return None
        event = self.history.put(
            operation.key, operation.value, operation.lease, self.origin, self.time_ns
        )
        return _txn_result(True, event.revision, (_put_result(None, event.revision),))

    def _decide(self, txn: Txn, verdicts: list[bool]) -> None:
        """Append the verdicts of this and the nested transactions that will run, in the order in which they will.

        Raises KeyNotFound, LeaseNotFound for a put that cannot be done: before anything is read or written, as in etcd.
        """
        holds = True
        for compare in txn.compares:
            if not self.holds(compare):
                holds = False
                break
        verdicts.append(holds)
        for operation in txn.success if holds else txn.failure:
            if isinstance(operation, Txn):
                self._decide(operation, verdicts)
            elif isinstance(operation, Put) and (
                operation.lease or operation.ignore_value or operation.ignore_lease
            ):
                self._check_put(operation)

    def _check_put(self, put: Put) -> None:
        if (put.ignore_value or put.ignore_lease) and self.history.newest(put.key) is None:
            raise KeyNotFound(put.key)
        if put.lease and put.lease not in self.leases:
            raise LeaseNotFound(put.lease)

    def holds(self, compare: Compare) -> bool:
        """Whether a condition is met by every key of its range."""
        if compare.range_end is None:
            return self._holds(compare, self.history.newest(compare.key))
        events = self.history.newest_within(KeyRange.of(compare.key, compare.range_end))
        if not events:
            return self._holds(compare, None)
        return all(self._holds(compare, event) for event in events)

    def _holds(self, compare: Compare, event: Event | None) -> bool:
        if event is None:
            # As in etcd: there is no value to compare with, whatever the operator.
            return compare.target is not Target.VALUE and _stands(0, compare.op, compare.operand)
        return self._event_holds(compare, event)

    def _newest(self, key: str, range_end: str | None) -> list[Event]:
        if range_end is None:
            event = self.history.newest(key)
            return [] if event is None else [event]
        return self.history.newest_within(KeyRange.of(key, range_end))

    def _event_holds(self, compare: Compare, event: Event) -> bool:
        match compare.target:
            case Target.MOD:
                actual: int = event.revision
            case Target.CREATE:
                actual = event.create_revision
            case Target.VERSION:
                actual = event.version
            case Target.LEASE:
                actual = event.lease
            case Target.VALUE:
                return _stands_bytes(
                    self.encode(event.value), compare.op, self.encode(compare.operand)
                )
        return _stands(actual, compare.op, compare.operand)

    def _run(self, txn: Txn, verdicts: list[bool]) -> TxnResult:
        succeeded = verdicts.pop()
        responses: list[OpResult] = []
        for operation in txn.success if succeeded else txn.failure:
            if isinstance(operation, Put):
                responses.append(self._put(operation))
            else:
                responses.append(self._operate(operation, verdicts))
        return _txn_result(succeeded, self.history.current, tuple(responses))

    def _operate(self, operation: Delete | Get | Txn, verdicts: list[bool]) -> OpResult:
        if isinstance(operation, Delete):
            return self._delete(operation)
        if isinstance(operation, Get):
            return self.read(operation)
        return self._run(operation, verdicts)

    def _put(self, put: Put) -> PutResult:
        value, lease = put.value, put.lease
        if put.ignore_value or put.ignore_lease:
            present = self.history.newest(put.key)
            assert present is not None, f"{put.key!r} was there, and nothing else may change it"
            value = present.value if put.ignore_value else value
            lease = present.lease if put.ignore_lease else lease
        before = self.history.newest(put.key) if put.prev_kv else None
        event = self.history.put(put.key, value, lease, self.origin, self.time_ns)
        return _put_result(None if before is None else key_value(before), event.revision)

    def _delete(self, delete: Delete) -> DeleteResult:
        gone = self._newest(delete.key, delete.range_end)
        self.history.delete(gone, self.origin, self.time_ns)
        return DeleteResult(
            deleted=len(gone),
            prev_kvs=tuple(map(key_value, gone)) if delete.prev_kv else (),
            revision=self.history.current,
        )


def _stands(actual: int, op: str, operand: object) -> bool:
    if not isinstance(operand, int):
        raise InvalidRequest(f"compare with {operand!r}; a version, revision or lease is a number")
    match op:
        case "=":
            return actual == operand
        case "!=":
            return actual != operand
        case "<":
            return actual < operand
        case ">":
            return actual > operand
    raise InvalidRequest(f"compare operator {op!r}; allowed: = != < >")


def _stands_bytes(actual: bytes, op: str, operand: bytes) -> bool:
    return _stands((actual > operand) - (actual < operand), op, 0)
