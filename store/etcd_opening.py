"""Opening a store in an etcd. httpx, which only this backend needs, is imported when one is opened."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, cast

import trio

from store.core import Core
from store.embedded import ClockNs
from store.errors import InvalidRequest
from store.etcd_address import EtcdAddress, EtcdTiming
from store.etcd_mirror import Mirror
from store.etcd_origin import HEADER_KEY
from store.etcd_wire import Message, Wire, data, encoded, part, parts
from store.journal import MemoryJournal
from store.leases import SECOND_NS
from store.limits import Limits
from store.protocol import Codec

if TYPE_CHECKING:
    from store.etcd import EtcdStore
    from store.etcd_gateway import Gateway

EPOCH_FIELD: Final = "epochUs"
"""Of the header: Unix microseconds at which cluster time is 0."""


@asynccontextmanager
async def open_etcd(  # noqa: PLR0913 - each is a choice of the caller's
    address: EtcdAddress | str,
    *,
    codec: Codec,
    clock: ClockNs | None = None,
    epoch_us: int = 0,
    header: Mapping[str, object] | None = None,
    limits: Limits | None = None,
    timing: EtcdTiming | None = None,
) -> AsyncIterator[EtcdStore]:
    """Open the store in an etcd, whose keys are all its own; any number of processes may have it open.

    `clock` is that of `open_store`; `epoch_us` says at which Unix microseconds it is 0, so that the times of several processes can be compared. They
    are given as since the `epochUs` of the header, which is JSON and that of whoever opened first; writing it takes a revision without events.

    Raises StoreUnavailable, InvalidRequest. On leaving, all watches end with StoreClosed.
    """
    try:
        from store.etcd import EtcdStore  # noqa: PLC0415 - see the module's text
        from store.etcd_gateway import open_gateway  # noqa: PLC0415 - httpx is an extra
    except ImportError as error:
        raise InvalidRequest("a store in etcd needs httpx: pip install 'wavetank[etcd]'") from error
    if isinstance(address, str):
        address = EtcdAddress.parse(address)
    clock = clock or _trio_clock()
    core = Core(MemoryJournal(codec), codec, limits or Limits())
    wire = Wire(codec)
    async with open_gateway(address, timing or EtcdTiming()) as gateway:
        found = await _header(gateway, header)
        mirror = Mirror(core, wire, epoch_ns=cast("int", found.get(EPOCH_FIELD, 0)) * 1000)
        store = EtcdStore(core, clock, gateway, wire, mirror, epoch_us * 1000, found)
        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:
            await nursery.start(store.follower.follow, name="etcd follower")
            nursery.start_soon(store.keep_time, name="etcd store's clock")
            try:
                store.check_open()
                yield store
            except BaseException as error:  # noqa: BLE001 - raised again below: the nursery would wrap it in a group
                failure = error
            nursery.cancel_scope.cancel()
    store.close()
    if failure is not None:
        raise failure


async def etcd_header(address: EtcdAddress | str) -> Mapping[str, object]:
    """The header alone, without a store. Raises StoreUnavailable, InvalidRequest, EtcdRefusal."""
    from store.etcd_gateway import open_gateway  # noqa: PLC0415 - see the module's text

    found = EtcdAddress.parse(address) if isinstance(address, str) else address
    async with open_gateway(found, EtcdTiming()) as gateway:
        return await _header(gateway, None)


async def _header(gateway: Gateway, header: Mapping[str, object] | None) -> dict[str, object]:
    """Write the header if there is none, and read what there is. Raises StoreUnavailable."""
    key = encoded(HEADER_KEY)
    read: Message = {"request_range": {"key": key}}
    message: Message = {"success": [read]}
    if header is not None:
        text = json.dumps(header, sort_keys=True, separators=(",", ":"))
        absent: Message = {
            "key": key,
            "target": "CREATE",
            "result": "EQUAL",
            "create_revision": "0",
        }
        put: Message = {"request_put": {"key": key, "value": encoded(text.encode())}}
        message = {"compare": [absent], "success": [put, read], "failure": [read]}
    # Doing it twice is doing it once: so it may be repeated when its answer is lost.
    answer = await gateway.call("/v3/kv/txn", message, changes=False)
    kvs = parts(part(parts(answer, "responses")[-1], "response_range"), "kvs")
    return cast("dict[str, object]", json.loads(data(kvs[0], "value"))) if kvs else {}


def _trio_clock() -> ClockNs:
    start = trio.current_time()
    return lambda: round((trio.current_time() - start) * SECOND_NS)
