"""Get and list: from the watch cache when it is as new as asked, else from the store.

A page of a limited list carries a token with the revision of the first page and the key to go on from; later pages read the store at that
revision, so that all pages show one moment.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, cast

import attrs
import trio

from engine.api.errors import BadRequest, Gone
from engine.api.feed import Feed, revision_of, selectors_of
from engine.api.refusals import not_found, too_large
from engine.api.request import ObjectList, Request
from engine.api.storage import Storage, Stored
from engine.api.watchcache import KindCache, matching
from engine.objects.meta import KubeObject
from engine.objects.selectors import FieldSelector
from store import Compacted, FutureRevision, KeyValue, prefix_end

_TOKEN_VERSION: Final = "meta.k8s.io/v1"  # noqa: S105 -- of the token's format
_PAGE: Final = 500
"""Keys read from the store at once when a page is gathered."""

TOO_OLD_LIST: Final = "The resourceVersion for the provided list is too old."
TOO_OLD_TOKEN: Final = (
    "The provided continue parameter is too old to display a consistent list result. "  # noqa: S105 -- a message
    "You must start a new list without the continue parameter."
)


def encode_token(revision: int, start: str) -> str:
    """The token of a page that begins at key `start`."""
    data = {"v": _TOKEN_VERSION, "rv": revision, "start": start}
    text = json.dumps(data, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_token(token: str) -> tuple[int, str]:
    """Revision and first key of the page. Raises BadRequest."""
    try:
        data = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        version, revision, start = data["v"], data["rv"], data["start"]
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise BadRequest(f"continue key is not valid: {error}") from error
    if version != _TOKEN_VERSION or not isinstance(revision, int) or not isinstance(start, str):
        raise BadRequest("continue key is not valid: incorrect encoded version")
    return revision, start


@attrs.frozen(kw_only=True)
class Reader:
    """The reading verbs. Every method is a checkpoint and raises ApiError."""

    storage: Storage
    feed: Feed

    async def get(self, request: Request) -> KubeObject:
        """One object. Raises NotFound, Timeout (a revision that does not come)."""
        resource = request.resource
        key = resource.storage_key(request.namespace, request.name)
        wanted = revision_of(request.resource_version)
        await trio.lowlevel.checkpoint()
        if wanted:
            await self.feed.reach(wanted)
        if not request.resource_version and not self.feed.current:
            stored = await self.storage.read(key)
            if stored is None:
                raise not_found(resource, request.name)
            return stored.object
        entry = self.feed.cache.kind(resource).get(key)
        if entry is None:
            raise not_found(resource, request.name)
        return entry.object

    async def list(self, request: Request) -> ObjectList:
        """All matching objects in key order. Raises BadRequest, Gone, Timeout."""
        resource = request.resource
        labels, fields = selectors_of(resource, request.label_selector, request.field_selector)
        prefix = resource.storage_prefix
        if request.namespace and resource.namespaced:
            prefix += request.namespace + "/"
        await trio.lowlevel.checkpoint()
        if request.continue_token:
            return await self._next_page(request, prefix)
        wanted = revision_of(request.resource_version)
        if request.exact:
            if not wanted:
                raise BadRequest(
                    'resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for '
                    f'resourceVersion "{request.resource_version}"'
                )
            return await self._at(request, prefix, prefix, wanted, TOO_OLD_LIST)
        if wanted or not request.resource_version:
            cache = await self.feed.reach(wanted or self.storage.store.head)
        else:
            cache = self.feed.cache
        candidates = _candidates(cache.kind(resource), request, prefix, fields)
        found = matching(candidates, resource, labels, fields)
        return _page(found, request.limit, cache.revision)

    async def _next_page(self, request: Request, prefix: str) -> ObjectList:
        if request.resource_version not in ("", "0"):
            raise BadRequest("specifying resource version is not allowed when using continue")
        revision, start = decode_token(request.continue_token)
        if not start.startswith(prefix):
            raise BadRequest("continue key is not valid: it belongs to another list")
        return await self._at(request, prefix, start, revision, TOO_OLD_TOKEN)

    async def _at(
        self, request: Request, prefix: str, start: str, revision: int, too_old: str
    ) -> ObjectList:
        """The list as it was at `revision`, from key `start` on."""
        if revision > self.storage.store.head:
            await self.feed.reach(revision)
        resource = request.resource
        labels, fields = selectors_of(resource, request.label_selector, request.field_selector)
        gathered: list[tuple[str, Stored]] = []
        more = True
        while more and (not request.limit or len(gathered) <= request.limit):
            try:
                page = await self.storage.store.range(
                    start,
                    range_end=prefix_end(prefix),
                    revision=revision,
                    limit=_PAGE if request.limit else 0,
                )
            except Compacted as error:
                raise Gone(too_old) from error
            except FutureRevision as error:
                raise too_large(revision, self.storage.store.head) from error
            gathered.extend(matching(_entries(page.kvs), resource, labels, fields))
            more = page.more and bool(page.kvs)
            if more:
                start = page.kvs[-1].key + "\0"
        return _page(iter(gathered), request.limit, revision)


def _candidates(
    kind: KindCache, request: Request, prefix: str, fields: FieldSelector
) -> Iterable[tuple[str, Stored]]:
    """The objects that a list may find: of all below `prefix`, or, when its name is asked for, that one alone.

    (Every kubelet lists its own Node: 5,000 looks through 5,000 nodes otherwise.)
    """
    resource = request.resource
    names = [r.value for r in fields.requirements if r.equal and r.field == "metadata.name"]
    if not names or (resource.namespaced and not request.namespace):
        return kind.entries(prefix)
    key = resource.storage_key(request.namespace, names[0])
    entry = kind.get(key)
    return () if entry is None else ((key, entry),)


def _entries(kvs: Iterable[KeyValue]) -> Iterator[tuple[str, Stored]]:
    for kv in kvs:
        yield kv.key, Stored(cast("KubeObject", kv.value), kv.mod_revision)


def _page(found: Iterator[tuple[str, Stored]], limit: int, revision: int) -> ObjectList:
    """The first `limit` objects (0: all), with a token for the rest."""
    if limit <= 0:
        items = tuple([entry.object for _, entry in found])
        return ObjectList(items=items, resource_version=str(revision))
    page = list(islice(found, limit + 1))
    token = encode_token(revision, page[limit][0]) if len(page) > limit else ""
    return ObjectList(
        items=tuple([entry.object for _, entry in page[:limit]]),
        resource_version=str(revision),
        continue_token=token,
    )
