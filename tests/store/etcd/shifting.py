"""Records with their revisions moved: an etcd that has lived before is compared with a store that is new."""

from __future__ import annotations

from typing import TypeVar

import attrs

from store.records import (
    Compare,
    Delete,
    Get,
    KeyValue,
    Op,
    OpResult,
    Put,
    PutResult,
    RangeResult,
    Revision,
    Target,
    Txn,
    TxnResult,
)

R = TypeVar("R", bound=OpResult)


def moved(revision: int, by: int) -> int:
    """A revision moved; 0 and less mean the head, or nothing, and stay."""
    return revision + by if revision > 0 else revision


def moved_op(operation: Op, by: int) -> Op:
    """An operation with each revision it names moved."""
    match operation:
        case Get():
            return attrs.evolve(
                operation,
                revision=moved(operation.revision, by),
                min_mod_revision=moved(operation.min_mod_revision, by),
                max_mod_revision=moved(operation.max_mod_revision, by),
                min_create_revision=moved(operation.min_create_revision, by),
                max_create_revision=moved(operation.max_create_revision, by),
            )
        case Txn():
            return moved_txn(operation, by)
        case Put() | Delete():
            return operation


def moved_txn(txn: Txn, by: int) -> Txn:
    """A transaction with each revision it names moved."""
    return Txn(
        tuple(_moved_compare(compare, by) for compare in txn.compares),
        tuple(moved_op(operation, by) for operation in txn.success),
        tuple(moved_op(operation, by) for operation in txn.failure),
    )


def _moved_compare(compare: Compare, by: int) -> Compare:
    if compare.target in (Target.CREATE, Target.MOD) and isinstance(compare.operand, int):
        return attrs.evolve(compare, operand=moved(compare.operand, by))
    return compare


def moved_kv(kv: KeyValue | None, by: int) -> KeyValue | None:
    """A key-value with its revisions moved."""
    if kv is None:
        return None
    return attrs.evolve(
        kv,
        create_revision=kv.create_revision + by,
        mod_revision=Revision(kv.mod_revision + by),
    )


def _moved_kvs(kvs: tuple[KeyValue, ...], by: int) -> tuple[KeyValue, ...]:
    return tuple(each for kv in kvs if (each := moved_kv(kv, by)) is not None)


def moved_result(result: R, by: int) -> R:
    """An answer with each revision it names moved."""
    revision = Revision(result.revision + by)
    if isinstance(result, TxnResult):
        responses = tuple(moved_result(each, by) for each in result.responses)
        return attrs.evolve(result, revision=revision, responses=responses)
    if isinstance(result, RangeResult):
        return attrs.evolve(result, revision=revision, kvs=_moved_kvs(result.kvs, by))
    if isinstance(result, PutResult):
        return attrs.evolve(result, revision=revision, prev_kv=moved_kv(result.prev_kv, by))
    return attrs.evolve(result, revision=revision, prev_kvs=_moved_kvs(result.prev_kvs, by))
