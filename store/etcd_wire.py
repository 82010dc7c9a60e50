r"""Records as the messages of etcd's JSON gateway, and back. Pure; `store.etcd` sends them.

The gateway is the protocol buffers of etcd in JSON: bytes are base64, 64-bit integers are strings, and what has its default (0, false, "")
is left out. Keys here are text in UTF-8. The bytes above all text (`ABOVE_TEXT`) are kept for the store's own keys, so
a range without an end stops there: no read, count or compare of a caller meets one.

    Put("a", "x", lease=5)      {"request_put": {"key": "YQ==", "value": "eA==", "lease": "5"}}
    Get("a", "\0", limit=2)      {"request_range": {"key": "YQ==", "range_end": "9Q==", "limit": "2"}}
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, cast

import attrs

from store.errors import InvalidRequest
from store.keys import FROM_KEY
from store.protocol import Codec
from store.records import (
    Compare,
    Delete,
    DeleteResult,
    Get,
    KeyValue,
    Op,
    OpResult,
    Put,
    PutResult,
    RangeResult,
    Revision,
    SortTarget,
    Target,
    Txn,
    TxnResult,
)

Message: TypeAlias = "dict[str, MessageValue]"
"""A message of the gateway."""

MessageValue: TypeAlias = "bool | int | float | str | list[MessageValue] | Message | None"

ABOVE_TEXT: Final = b"\xf5"
"""No UTF-8 text has a byte as great as this: every text is before it."""

_RESULTS: Final = {"=": "EQUAL", "!=": "NOT_EQUAL", "<": "LESS", ">": "GREATER"}
_OPERANDS: Final = {
    Target.VERSION: "version",
    Target.CREATE: "create_revision",
    Target.MOD: "mod_revision",
    Target.LEASE: "lease",
}

ValueOf: TypeAlias = Callable[[str, int, bytes], object]
"""The value of a key, of its modification revision and its bytes."""


# -- reading messages -------------------------------------------------------------------------------


def number(message: Message, field: str) -> int:
    """An integer of a message; 0 when it was left out."""
    return int(cast("str | int", message.get(field, 0)))


def flag(message: Message, field: str) -> bool:
    """A truth value of a message."""
    return bool(message.get(field, False))


def data(message: Message, field: str) -> bytes:
    """Bytes of a message."""
    return b64decode(cast("str", message.get(field, "")))


def part(message: Message, field: str) -> Message:
    """A message within a message; empty when it was left out."""
    return cast("Message", message.get(field, {}))


def parts(message: Message, field: str) -> list[Message]:
    """The messages of a list."""
    return cast("list[Message]", message.get(field, []))


def head_of(message: Message) -> Revision:
    """The revision that the header of an answer tells."""
    return Revision(number(part(message, "header"), "revision"))


def key_of(message: Message) -> str | None:
    """The key of a key-value; None when it is no text, and so none of a caller's."""
    try:
        return data(message, "key").decode()
    except UnicodeDecodeError:
        return None


# -- writing messages -------------------------------------------------------------------------------


def encoded(octets: bytes) -> str:
    """Bytes as the gateway takes them."""
    return b64encode(octets).decode("ascii")


def key_range(key: str, range_end: str | None, *, above_text: bool = False) -> Message:
    """The fields that name a range; `above_text` has one without an end hold the keys above all text too."""
    message: Message = {"key": encoded(key.encode())}
    if range_end == FROM_KEY and not above_text:
        message["range_end"] = encoded(ABOVE_TEXT)
    elif range_end:
        message["range_end"] = encoded(range_end.encode())
    return message


@attrs.frozen
class Wire:
    """Translates with a codec."""

    codec: Codec
    above_text: bool = False
    """Whether a range without an end holds the keys above all text too: for tests, and for etcd's own clients."""

    # -- requests ------------------------------------------------------------------------------

    def txn(self, txn: Txn) -> Message:
        """The message of a transaction. Raises InvalidRequest."""
        return {
            "compare": [self.compare(compare) for compare in txn.compares],
            "success": [self.operation(operation) for operation in txn.success],
            "failure": [self.operation(operation) for operation in txn.failure],
        }

    def compare(self, compare: Compare) -> Message:
        """The message of a compare. Raises InvalidRequest for what is no number, or no operator."""
        if compare.op not in _RESULTS:
            raise InvalidRequest(f"compare operator {compare.op!r}; allowed: = != < >")
        message = key_range(compare.key, compare.range_end, above_text=self.above_text)
        message["target"] = compare.target.value
        message["result"] = _RESULTS[compare.op]
        if compare.target is Target.VALUE:
            message["value"] = encoded(self.codec.encode(compare.operand))
        elif isinstance(compare.operand, int):
            message[_OPERANDS[compare.target]] = str(compare.operand)
        else:
            raise InvalidRequest(
                f"compare with {compare.operand!r}; a version, revision or lease is a number"
            )
        return message

    def operation(self, operation: Op) -> Message:
        """The message of an operation within a transaction. Raises InvalidRequest."""
        match operation:
            case Put():
                return {"request_put": self.put(operation)}
            case Delete():
                return {"request_delete_range": self.delete(operation)}
            case Get():
                return {"request_range": self.range(operation)}
            case Txn():
                return {"request_txn": self.txn(operation)}

    def put(self, put: Put) -> Message:
        """The message of a put."""
        message: Message = {"key": encoded(put.key.encode())}
        if not put.ignore_value or put.value is not None:
            message["value"] = encoded(self.codec.encode(put.value))
        if put.lease:
            message["lease"] = str(put.lease)
        for name in ("prev_kv", "ignore_value", "ignore_lease"):
            if getattr(put, name):
                message[name] = True
        return message

    def delete(self, delete: Delete) -> Message:
        """The message of a delete."""
        message = key_range(delete.key, delete.range_end, above_text=self.above_text)
        if delete.prev_kv:
            message["prev_kv"] = True
        return message

    def range(self, get: Get) -> Message:
        """The message of a range read."""
        message = key_range(get.key, get.range_end, above_text=self.above_text)
        for name in (
            "revision",
            "limit",
            "min_mod_revision",
            "max_mod_revision",
            "min_create_revision",
            "max_create_revision",
        ):
            if getattr(get, name):
                message[name] = str(getattr(get, name))
        for name in ("keys_only", "count_only"):
            if getattr(get, name):
                message[name] = True
        if get.sort_by is not SortTarget.KEY or get.descending:
            message["sort_target"] = get.sort_by.value
            message["sort_order"] = "DESCEND" if get.descending else "ASCEND"
        return message

    # -- answers -------------------------------------------------------------------------------

    def value(self, key: str, revision: int, octets: bytes) -> object:  # noqa: ARG002 - a ValueOf
        """The value of its bytes."""
        return self.codec.decode(octets)

    def key_value(
        self, message: Message, value_of: ValueOf | None = None, *, keys_only: bool = False
    ) -> KeyValue | None:
        """A key-value; None when its key is no text."""
        key = key_of(message)
        if key is None:
            return None
        revision = number(message, "mod_revision")
        value = None
        if not keys_only:
            value = (value_of or self.value)(key, revision, data(message, "value"))
        return KeyValue(
            key=key,
            value=value,
            create_revision=number(message, "create_revision"),
            mod_revision=Revision(revision),
            version=number(message, "version"),
            lease=number(message, "lease"),
        )

    def _key_values(
        self, messages: list[Message], value_of: ValueOf | None, *, keys_only: bool = False
    ) -> tuple[KeyValue, ...]:
        found = (self.key_value(each, value_of, keys_only=keys_only) for each in messages)
        return tuple(each for each in found if each is not None)

    def range_result(
        self, get: Get, message: Message, value_of: ValueOf | None = None
    ) -> RangeResult:
        """The answer to a Get."""
        return RangeResult(
            kvs=self._key_values(parts(message, "kvs"), value_of, keys_only=get.keys_only),
            count=number(message, "count"),
            more=flag(message, "more"),
            revision=head_of(message),
        )

    def put_result(self, message: Message, value_of: ValueOf | None = None) -> PutResult:
        """The answer to a Put."""
        previous = part(message, "prev_kv")
        return PutResult(
            prev_kv=self.key_value(previous, value_of) if previous else None,
            revision=head_of(message),
        )

    def delete_result(self, message: Message, value_of: ValueOf | None = None) -> DeleteResult:
        """The answer to a Delete."""
        return DeleteResult(
            deleted=number(message, "deleted"),
            prev_kvs=self._key_values(parts(message, "prev_kvs"), value_of),
            revision=head_of(message),
        )

    def txn_result(self, txn: Txn, message: Message, value_of: ValueOf | None = None) -> TxnResult:
        """The answer to a Txn; answers to operations that `txn` does not have are left out.

        etcd leaves the revision of a nested transaction open (its header is empty); here it is that of the operation before, as it is in the embedded store.
        """
        responses, _ = self._responses(txn, message, head_before(message), value_of)
        return TxnResult(
            succeeded=flag(message, "succeeded"), revision=head_of(message), responses=responses
        )

    def _responses(
        self, txn: Txn, message: Message, head: Revision, value_of: ValueOf | None
    ) -> tuple[tuple[OpResult, ...], Revision]:
        """The answers to the operations of the branch that ran, and the revision after them."""
        branch = txn.success if flag(message, "succeeded") else txn.failure
        results: list[OpResult] = []
        for operation, response in zip(branch, parts(message, "responses"), strict=False):
            result = self._response(operation, response, head, value_of)
            head = result.revision
            results.append(result)
        return tuple(results), head

    def _response(
        self, operation: Op, response: Message, head: Revision, value_of: ValueOf | None
    ) -> OpResult:
        match operation:
            case Put():
                return self.put_result(part(response, "response_put"), value_of)
            case Delete():
                return self.delete_result(part(response, "response_delete_range"), value_of)
            case Get():
                return self.range_result(operation, part(response, "response_range"), value_of)
            case Txn():
                nested = part(response, "response_txn")
                results, head = self._responses(operation, nested, head, value_of)
                return TxnResult(
                    succeeded=flag(nested, "succeeded"), revision=head, responses=results
                )


def head_before(message: Message) -> Revision:
    """The revision before a transaction: one less than after it if it changed anything."""
    after = head_of(message)
    return Revision(after - 1) if _changed(parts(message, "responses")) else after


def _changed(responses: Sequence[Message]) -> bool:
    return any(
        "response_put" in each
        or number(part(each, "response_delete_range"), "deleted") > 0
        or _changed(parts(part(each, "response_txn"), "responses"))
        for each in responses
    )
