"""Where we differ from etcd on purpose (docs/store.md): what etcd does there, so that a newer etcd that does otherwise is noticed."""

from __future__ import annotations

import pytest

from store.errors import KeyNotFound, LeaseNotFound
from store.etcd_wire import encoded, head_of, key_range
from store.records import Delete, EventType, Get, Put, SortTarget, Txn
from tests.store.etcd.judge import PATIENCE_SECONDS, Judge, Refused


def test_a_delete_without_an_end_is_not_seen_by_the_search_for_duplicates(judge: Judge) -> None:
    """Etcd deletes from "a" on and puts "b" in one transaction; we refuse that, as a key changes at most once."""
    delete, put = judge.wire.delete(Delete("a", "\0")), judge.wire.put(Put("b", "x"))
    answer = judge.call(
        "/v3/kv/txn", {"success": [{"request_delete_range": delete}, {"request_put": put}]}
    )

    assert answer["succeeded"]


def test_a_nested_put_before_a_nested_delete_is_not_seen_either(judge: Judge) -> None:
    """The other way round it is."""
    put, delete = Txn(success=(Put("a", "x"),)), Txn(success=(Delete("a"),))
    judge.txn(Txn(success=(put, delete)))
    with pytest.raises(Refused):
        judge.txn(Txn(success=(delete, put)))


def test_a_put_alone_is_told_of_the_lease_first(judge: Judge) -> None:
    """In a transaction of the key first: and every write of ours is a transaction."""
    put = Put("absent", ignore_value=True, lease=99)
    with pytest.raises(Refused) as alone:
        judge.call("/v3/kv/put", judge.wire.put(put))
    with pytest.raises(Refused) as within:
        judge.txn(Txn(success=(put,)))

    assert (LeaseNotFound, KeyNotFound) == (alone.value.kind, within.value.kind)


def test_a_watch_of_no_key_is_cancelled_at_once(judge: Judge) -> None:
    """Ours is open, and silent, as a read of no key is empty."""
    watch = judge.watch(key_range("b", "a"))
    watch.close()

    assert watch.refused == "mvcc: watcher range is empty"


@pytest.mark.parametrize("ttl_seconds", [0, -5])
def test_a_lease_of_no_time_is_granted(judge: Judge, ttl_seconds: int) -> None:
    """For the shortest time there is; we refuse it, for nobody can have meant that."""
    assert judge.grant(ttl_seconds, 0).granted_seconds == 2


def test_a_lease_of_a_negative_id_is_granted(judge: Judge) -> None:
    """We refuse it."""
    assert judge.grant(60, -7).id == -7


def test_equals_are_not_kept_in_order(judge: Judge) -> None:
    """With more than six keys etcd sorts without keeping equals in the order of keys; ours are."""
    names = [f"k{n}" for n in range(9)]
    for name in [*names, "k6"]:
        judge.txn(Txn(success=(Put(name, "x"),)))
    get = Get("k", "l", sort_by=SortTarget.VERSION, descending=True)
    answer = judge.wire.range_result(get, judge.call("/v3/kv/range", judge.wire.range(get)))
    found = [kv.key for kv in answer.kvs]

    assert sorted(found) == names
    assert found[0] == "k6"
    assert found[1:] != [name for name in names if name != "k6"]


def test_a_nested_transaction_tells_no_revision(judge: Judge) -> None:
    """Its header is empty; ours tells the revision after it."""
    answer = judge.call("/v3/kv/txn", {"success": [{"request_txn": {"success": []}}]})

    assert answer["responses"] == [{"response_txn": {"header": {}, "succeeded": True}}]


@pytest.mark.parametrize("alone", [True, False])
def test_a_negative_revision_means_two_things(judge: Judge, *, alone: bool) -> None:
    """Alone the head, in a transaction what is compacted; with us it is the head."""
    judge.compact(judge.head(), physical=False)
    request = {"key": encoded(b"a"), "revision": "-1"}
    if alone:
        assert head_of(judge.call("/v3/kv/range", {**request})) > 0
    else:
        with pytest.raises(Refused):
            judge.call("/v3/kv/txn", {"success": [{"request_range": {**request}}]})


def test_a_deletion_at_the_compacted_revision_is_lost(judge: Judge) -> None:
    """A watch that begins there is not told of it (etcd's issue 19179); ours is."""
    judge.txn(Txn(success=(Put("a", "x"),)))
    deleted = judge.txn(Txn(success=(Delete("a"),))).revision
    judge.txn(Txn(success=(Put("b", "x"),)))
    judge.compact(deleted, physical=True)
    request = key_range("\0", "\0", above_text=True)
    watch = judge.watch({**request, "start_revision": str(deleted)})
    events = watch.receive(PATIENCE_SECONDS) or []
    watch.close()

    assert [(EventType.PUT, "b")] == [(event.type, event.key) for event in events]
