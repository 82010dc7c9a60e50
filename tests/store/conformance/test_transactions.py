"""Transactions are atomic and strictly serialisable, and keep etcd's books."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from store import (
    EMPTY_REVISION,
    Compare,
    Delete,
    DeleteResult,
    DuplicateKey,
    EventType,
    FutureRevision,
    Get,
    InvalidRequest,
    KeyNotFound,
    KeyValue,
    LeaseNotFound,
    Origin,
    Put,
    PutResult,
    RangeResult,
    Store,
    Target,
    Txn,
    TxnResult,
    prefix_end,
)
from store.records import CompareOp
from tests.store.support import USER, brief, keys, pairs


async def do(store: Store, *operations: Put | Delete | Get | Txn) -> TxnResult:
    return await store.txn(Txn(success=operations), origin=USER)


async def holds(store: Store, *compares: Compare) -> bool:
    return (await store.txn(Txn(compares), origin=USER)).succeeded


async def test_an_empty_store_is_at_revision_one(store: Store) -> None:
    """The first write takes revision 2, as in etcd."""
    assert store.head == EMPTY_REVISION == 1
    assert (await store.put("a", 1, origin=USER)).revision == 2
    assert store.head == 2


async def test_one_transaction_takes_one_revision(store: Store) -> None:
    """Several keys change together, at one revision, in the order of the operations."""
    result = await do(store, Put("b", 1), Put("a", 2), Delete("absent"))

    assert (True, 2) == (result.succeeded, result.revision)
    assert [("PUT", "b", 1, 2), ("PUT", "a", 2, 2)] == brief(list(store.history()))


async def test_a_transaction_that_changes_nothing_takes_no_revision(store: Store) -> None:
    """Reading, comparing and deleting nothing leave the head where it is."""
    await store.put("a", 1, origin=USER)
    result = await do(store, Get("a"), Delete("absent"))

    assert result.revision == store.head == 2
    assert (await store.delete("absent", origin=USER)).revision == 2


async def test_the_books_of_a_key_across_deletion(store: Store) -> None:
    """Version, create and mod revision count as etcd's, and begin again after a deletion."""
    for value in ("x", "y"):
        await store.put("a", value, origin=USER)
    await store.put("b", "z", origin=USER)
    await store.delete("a", origin=USER)
    await store.put("a", "x", origin=USER)

    books = [
        (e.type, e.key, e.revision, e.previous, e.create_revision, e.version)
        for e in store.history()
    ]
    put, delete = EventType.PUT, EventType.DELETE
    assert books == [
        (put, "a", 2, 0, 2, 1),
        (put, "a", 3, 2, 2, 2),
        (put, "b", 4, 0, 4, 1),
        (delete, "a", 5, 3, 0, 0),
        (put, "a", 6, 0, 6, 1),
    ]
    assert (await store.range("a")).kvs == (
        KeyValue(key="a", value="x", create_revision=6, mod_revision=store.head, version=1),
    )


async def test_events_carry_their_origin_and_time(store: Store) -> None:
    """Who wrote, why and when stays with every event, and time does not go back."""
    origin = Origin("controller/deployment", "7", (3, "timer:resync"))
    await store.put("a", 1, origin=origin)
    await store.delete("a", origin=USER)
    first, second = store.history()

    assert (origin, USER) == (first.origin, second.origin)
    assert 0 <= first.time_ns <= second.time_ns


ABSENT_AND_PRESENT = [
    (Target.VERSION, 0, 2),
    (Target.CREATE, 0, 2),
    (Target.MOD, 0, 3),
    (Target.LEASE, 0, 0),
]


@pytest.mark.parametrize(("target", "absent", "present"), ABSENT_AND_PRESENT)
async def test_every_operator_on_every_number(
    store: Store, target: Target, absent: int, present: int
) -> None:
    """= != < > compare version, revisions and lease; an absent key has 0 everywhere."""
    await store.put("a", "x", origin=USER)
    await store.put("a", "y", origin=USER)

    for key, actual in (("a", present), ("absent", absent)):
        for operand in (actual - 1, actual, actual + 1):
            expected: dict[CompareOp, bool] = {
                "=": actual == operand,
                "!=": actual != operand,
                "<": actual < operand,
                ">": actual > operand,
            }
            for operator, verdict in expected.items():
                assert verdict is await holds(store, Compare(key, target, operator, operand))


async def test_values_are_compared_by_their_bytes(store: Store) -> None:
    """All operators work on the encoded bytes; no comparison of an absent key's value holds."""
    await store.put("a", "m", origin=USER)
    value = Target.VALUE

    assert await holds(store, Compare("a", value, "=", "m"), Compare("a", value, "<", "n"))
    assert await holds(store, Compare("a", value, "!=", "n"), Compare("a", value, ">", "b"))
    assert not await holds(store, Compare("a", value, "=", "n"))
    for operator in ("=", "!=", "<", ">"):
        assert not await holds(store, Compare("absent", value, operator, "m"))


async def test_a_compare_over_a_range_holds_for_every_key(store: Store) -> None:
    """All keys of the range must satisfy it; an empty range is an absent key."""
    await do(store, Put("k/1", "x"), Put("k/2", "x"))
    await store.put("k/2", "y", origin=USER)
    end = prefix_end("k/")

    assert await holds(store, Compare("k/", Target.VERSION, ">", 0, range_end=end))
    assert not await holds(store, Compare("k/", Target.VERSION, "=", 1, range_end=end))
    assert await holds(store, Compare("n/", Target.MOD, "=", 0, range_end=prefix_end("n/")))


async def test_the_branch_follows_the_compares(store: Store) -> None:
    """All compares must hold for the first branch; the other one runs otherwise."""
    txn = Txn(
        (Compare("a", Target.MOD, "=", 0), Compare("b", Target.MOD, "=", 0)),
        (Put("a", "created"),),
        (Get("a"),),
    )
    first = await store.txn(txn, origin=USER)
    second = await store.txn(txn, origin=USER)

    assert (True, 2) == (first.succeeded, first.revision)
    assert (False, 2) == (second.succeeded, second.revision)
    answer = second.responses[0]
    assert isinstance(answer, RangeResult)
    assert pairs(answer.kvs) == [("a", "created")]


async def test_operations_see_those_before_them(store: Store) -> None:
    """Operations run in order: a read sees the transaction's own writes, and one in the past does not."""
    await store.put("a", 1, origin=USER)
    result = await do(
        store,
        Get("a"),
        Put("a", 2),
        Get("a"),
        Get("a", revision=2),
        Put("b", 3),
        Get("\0", "\0", keys_only=True),
        Delete("c", "\0"),
    )

    reads = [each for each in result.responses if isinstance(each, RangeResult)]
    assert [pairs(each.kvs) for each in reads[:3]] == [[("a", 1)], [("a", 2)], [("a", 1)]]
    assert keys(reads[3].kvs) == ["a", "b"]
    assert [each.revision for each in reads] == [2, 3, 3, 3]


async def test_put_returns_what_was_there(store: Store) -> None:
    """prev_kv is the key before, and nothing for a new key or when not asked for."""
    first = await store.put("a", 1, origin=USER, prev_kv=True)
    second = await store.put("a", 2, origin=USER, prev_kv=True)
    third = await store.put("a", 3, origin=USER)

    assert first.prev_kv is None
    assert second.prev_kv is not None
    assert (1, 2) == (second.prev_kv.value, second.prev_kv.mod_revision)
    assert third.prev_kv is None


async def test_delete_counts_and_returns_what_was_there(store: Store) -> None:
    """A range is deleted in the order of keys, in one revision."""
    await do(store, Put("k/2", 2), Put("k/1", 1), Put("other", 3))
    result = await store.delete("k/", range_end=prefix_end("k/"), origin=USER, prev_kv=True)

    assert (2, 3) == (result.deleted, result.revision)
    assert pairs(result.prev_kvs) == [("k/1", 1), ("k/2", 2)]
    assert brief(list(store.history(3))) == [
        ("DELETE", "k/1", None, 3),
        ("DELETE", "k/2", None, 3),
    ]
    assert keys((await store.range("\0", range_end="\0")).kvs) == ["other"]


async def test_ignore_value_and_lease_keep_what_is_there(store: Store) -> None:
    """A put can keep the value or the lease of a key, which must exist."""
    lease = await store.lease_grant(60)
    await store.put("a", "x", origin=USER, lease=lease.id)
    await store.put("a", "y", origin=USER, ignore_lease=True)
    await store.put("a", origin=USER, ignore_value=True)

    kv = (await store.range("a")).kvs[0]
    assert ("y", 0, 3) == (kv.value, kv.lease, kv.version)
    assert [event.lease for event in store.history()] == [lease.id, lease.id, 0]
    with pytest.raises(KeyNotFound):
        await store.put("absent", origin=USER, ignore_value=True)
    with pytest.raises(KeyNotFound):
        await store.put("absent", 1, origin=USER, ignore_lease=True)


async def test_nested_transactions_look_at_the_state_before_the_whole(store: Store) -> None:
    """A nested compare does not see what the outer transaction has written."""
    absent = Compare("a", Target.MOD, "=", 0)
    inner = Txn((absent,), (Put("b", "was absent"), Get("a")), (Put("b", "was there"),))
    result = await store.txn(Txn(success=(Put("a", 1), inner, Get("b"))), origin=USER)

    nested = result.responses[1]
    assert isinstance(nested, TxnResult)
    assert nested.succeeded
    seen = nested.responses[1]
    assert isinstance(seen, RangeResult)
    assert pairs(seen.kvs) == [("a", 1)], "but a nested read does"
    assert brief(list(store.history())) == [("PUT", "a", 1, 2), ("PUT", "b", "was absent", 2)]


async def test_several_nested_transactions_take_their_own_branches(store: Store) -> None:
    """Verdicts do not get mixed up between siblings and levels."""
    yes, no = Compare("a", Target.MOD, "=", 0), Compare("a", Target.MOD, "!=", 0)
    inner = Txn((no,), (Put("1", "yes"),), (Put("1", "no"), Txn((yes,), (Put("2", "yes"),))))
    result = await do(store, inner, Txn((yes,), (Put("3", "yes"),)), Txn((no,), (), (Put("4", 4),)))

    assert [each.succeeded for each in result.responses if isinstance(each, TxnResult)] == [
        False,
        True,
        False,
    ]
    assert pairs((await store.range("\0", range_end="\0")).kvs) == [
        ("1", "no"),
        ("2", "yes"),
        ("3", "yes"),
        ("4", 4),
    ]


DUPLICATES = [
    (Put("a", 1), Put("a", 2)),
    (Put("a", 1), Delete("a")),
    (Delete("\0", "\0"), Put("a", 1)),
    (Txn(success=(Put("a", 1),)), Put("a", 2)),
    (Delete("a"), Txn(failure=(Put("a", 1),))),
    (Txn(success=(Put("a", 1),)), Txn(success=(Delete("a", "b"),))),
]


@pytest.mark.parametrize("operations", DUPLICATES)
async def test_a_key_is_changed_at_most_once(
    store: Store, operations: tuple[Put | Delete | Txn, ...]
) -> None:
    """Anything else is refused before it does anything."""
    await store.put("a", 0, origin=USER)
    with pytest.raises(DuplicateKey) as caught:
        await do(store, *operations)

    assert caught.value.key == "a"
    assert store.head == 2


async def test_overlapping_deletes_and_exclusive_branches_are_allowed(store: Store) -> None:
    """A second delete finds nothing; of two branches only one runs."""
    await store.put("a", 0, origin=USER)
    branches = Txn((Compare("b", Target.MOD, "=", 0),), (Put("b", 1),), (Put("b", 2),))
    result = await do(store, Delete("a"), Delete("\0", "b"), branches)

    counts = [each.deleted for each in result.responses if isinstance(each, DeleteResult)]
    assert counts == [1, 0]
    assert pairs((await store.range("b")).kvs) == [("b", 1)]


REFUSED = [
    Put("", 1),
    Get(""),
    Delete(""),
    Put("a", 1, ignore_value=True),
    Put("a", 1, lease=5, ignore_lease=True),
    Put("\ud800", 1),
    Txn(success=tuple(Put(f"{n}", n) for n in range(129))),
]


@pytest.mark.parametrize("operation", REFUSED)
async def test_what_makes_no_sense_is_refused(store: Store, operation: Put) -> None:
    """Empty keys, contradictions, too many operations: refused, and nothing happens."""
    with pytest.raises(InvalidRequest):
        await do(store, Put("z", 1), operation)

    assert store.head == EMPTY_REVISION


async def test_a_compare_needs_a_key(store: Store) -> None:
    """Nested, and in a branch that would not run, too."""
    nameless = Compare("", Target.MOD, "=", 0)
    for txn in (Txn((nameless,)), Txn(failure=(Txn((nameless,)),))):
        with pytest.raises(InvalidRequest):
            await store.txn(txn, origin=USER)


@pytest.mark.parametrize(("outer", "inner", "allowed"), [(64, 64, True), (64, 65, False)])
async def test_nested_operations_count_towards_the_limit(
    store: Store, outer: int, inner: int, *, allowed: bool
) -> None:
    """What a transaction may hold is what those around it leave: 128 less their longest lists, as in etcd."""
    nested = Txn(success=tuple(Get(f"i{n}") for n in range(inner)))
    operations = (*(Get(f"o{n}") for n in range(outer - 1)), nested)
    if allowed:
        await do(store, *operations)
    else:
        with pytest.raises(InvalidRequest):
            await do(store, *operations)


async def test_which_of_several_errors_is_told(store: Store) -> None:
    """First what no state could make right, then keys changed twice, then puts that cannot be done, then reads; each in order."""
    await store.put("a", 1, origin=USER)
    future, keyless = Get("a", revision=99), Put("b", ignore_value=True)
    leaseless, twice = Put("c", 1, lease=99), Txn(success=(Put("d", 1), Put("d", 2)))
    for operations, error in (
        ((future, keyless, leaseless, twice, Put("", 1)), InvalidRequest),
        ((future, keyless, leaseless, twice), DuplicateKey),
        ((future, keyless, leaseless), KeyNotFound),
        ((future, leaseless, keyless), LeaseNotFound),
        ((future, Txn(success=(leaseless,))), LeaseNotFound),
        ((future, Put("b", ignore_value=True, lease=99)), KeyNotFound),
        ((future, Put("b", 1)), FutureRevision),
    ):
        with pytest.raises(error) as caught:
            await do(store, *operations)
        assert type(caught.value) is error

    assert store.head == 2


async def test_an_empty_range_end_is_none(store: Store) -> None:
    """As in etcd, where what is left out is empty."""
    await do(store, Put("a", 1), Put("ab", 1))
    answer = await store.range("a", range_end="", revision=2)

    assert keys(answer.kvs) == ["a"]
    assert await holds(store, Compare("a", Target.VERSION, "=", 1, range_end=""))
    assert (await store.delete("a", range_end="", origin=USER)).deleted == 1


async def test_a_transaction_that_fails_half_way_did_nothing(store: Store) -> None:
    """An operation that cannot be done undoes those before it: put, delete and re-creation alike."""
    await do(store, Put("kept", 1), Put("gone", 1))
    await store.delete("gone", origin=USER)
    before = list(store.history())
    with pytest.raises(LeaseNotFound):
        await do(store, Put("new", 1), Put("gone", 2), Delete("kept"), Put("z", 1, lease=99))

    assert before == list(store.history())
    assert pairs((await store.range("\0", range_end="\0")).kvs) == [("kept", 1)]
    assert pairs((await store.range("\0", range_end="\0", revision=2)).kvs) == [
        ("gone", 1),
        ("kept", 1),
    ]
    assert (await store.put("new", 2, origin=USER)).revision == 4
    assert (await store.range("new")).kvs[0].version == 1


async def test_one_of_many_racing_creators_wins(store: Store) -> None:
    """No compare and its write are ever interleaved with another's."""
    winners: list[int] = []

    async def create(n: int) -> None:
        txn = Txn((Compare("lock", Target.CREATE, "=", 0),), (Put("lock", n),))
        if (await store.txn(txn, origin=USER)).succeeded:
            winners.append(n)

    async with trio.open_nursery() as nursery:
        for n in range(20):
            nursery.start_soon(create, n)

    assert [(await store.range("lock")).kvs[0].value] == winners
    assert store.head == 2


async def test_answers_order_as_the_writes_did(store: Store) -> None:
    """A write that was answered before another began has the smaller revision; none shares one."""
    revisions: list[int] = []

    async def write(key: str) -> None:
        last = 0
        for n in range(10):
            revision = (await store.put(key, n, origin=USER)).revision
            assert revision > last
            last = revision
            revisions.append(revision)

    async with trio.open_nursery() as nursery:
        for key in "abc":
            nursery.start_soon(write, key)

    assert sorted(revisions) == list(range(2, 32))


async def test_cancelled_before_it_began_means_nothing_happened(store: Store) -> None:
    """A write under a cancelled scope raises and leaves no trace."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.put("a", 1, origin=USER)

    assert scope.cancelled_caught
    assert store.head == EMPTY_REVISION


async def test_every_method_is_a_checkpoint(store: Store) -> None:
    """Each lets others act, and can be cancelled."""
    lease = await store.lease_grant(60)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.put("a", 1, origin=USER),
        lambda: store.range("a"),
        lambda: store.delete("a", origin=USER),
        lambda: store.compact(2),
        lambda: store.lease_grant(60),
        lambda: store.lease_keep_alive(lease.id),
        lambda: store.lease_time_to_live(lease.id),
        store.leases,
        lambda: store.lease_revoke(lease.id, origin=USER),
    ]
    for call in calls:
        with trio.testing.assert_checkpoints():
            await call()


async def test_values_are_shared_not_copied(store: Store) -> None:
    """What an embedded store keeps in memory is the very object that was put."""
    value = {"deep": [1, 2]}
    result = await store.put("a", value, origin=USER)

    assert isinstance(result, PutResult)
    assert (await store.range("a")).kvs[0].value is value
