"""Reading a log: what its header says, its events as JSON, the cluster at a revision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

import attrs

from engine import (
    DecodeError,
    Json,
    KubeObject,
    MicroTime,
    ObjectCodec,
    Resource,
    Scheme,
    StructureError,
    UnknownKind,
    decorated,
    default_scheme,
)
from store import (
    EMPTY_REVISION,
    Compacted,
    EtcdReader,
    Event,
    FutureRevision,
    InvalidRequest,
    Keep,
    KeyValue,
    LogReader,
    Origin,
    StoreError,
    is_etcd,
    put_event,
    read_etcd,
    read_etcd_header,
    read_log,
)
from wavetank.errors import BadInput
from wavetank.view import ClusterState


@attrs.frozen
class Log:
    """A log opened for reading."""

    path: Path | str
    """Where it is: a path, or the endpoints of an etcd."""
    reader: LogReader | EtcdReader
    scheme: Scheme

    @property
    def header(self) -> Mapping[str, Json]:
        return cast("Mapping[str, Json]", self.reader.header)

    def time(self, time_ns: int) -> str:
        """Cluster time as RFC 3339."""
        return str(MicroTime.of(cast("int", self.header["epochUs"]) + time_ns // 1000))

    @property
    def keep(self) -> Keep:
        """How much history was asked to be kept. Raises BadInput."""
        return as_keep(str(self.header.get(_KEEP, Keep.all())))

    @property
    def oldest(self) -> int:
        """The oldest revision that a log on disk can be asked for; 1 unless history was dropped."""
        with self._readable():
            return self.reader.oldest if isinstance(self.reader, LogReader) else EMPTY_REVISION

    def events(self, first: int = 0, last: int | None = None) -> Iterator[Event]:
        """The events from revision `first` (0: the oldest kept) to `last`, both included.

        Raises BadInput, at once for a revision that was dropped, and where the log is damaged.
        """
        with self._readable():
            return self._events(self.reader.events(first, last))

    def _events(self, events: Iterator[Event]) -> Iterator[Event]:
        with self._readable():
            yield from events

    def state(
        self, revision: int | None = None, *, resource: Resource | None = None
    ) -> ClusterState:
        """The cluster as it was at `revision`, or at the head; of one kind only, where a `resource` is given.

        Its time is not known. Raises BadInput for a revision past the head, or dropped.
        """
        with self._readable():
            found = self._key_values(revision, resource.storage_prefix if resource else "")
            head = self._head() if revision is None else revision
        state = ClusterState(self.scheme, EMPTY_REVISION)
        for kv in sorted(found, key=lambda kv: kv.mod_revision):
            state.apply(put_event(kv, Origin(""), 0))
        state.revision = head
        return state

    def _key_values(self, revision: int | None, prefix: str) -> list[KeyValue]:
        if isinstance(self.reader, LogReader):
            return list(self.reader.state(revision, prefix=prefix).values())
        return [kv for kv in self.reader.state(revision).values() if kv.key.startswith(prefix)]

    def _head(self) -> int:
        reader = self.reader
        return reader.head() if isinstance(reader, LogReader) else reader.verify().head

    def digest(self) -> str:
        """The rolling hash over all events ever written. Raises BadInput where the log is damaged."""
        with self._readable():
            return self.reader.verify().digest

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """What reading can meet, as one line for people."""
        try:
            yield
        except Compacted as error:
            raise BadInput(self._dropped(error)) from None
        except FutureRevision as error:
            raise BadInput(
                f"{self.path}: there is no revision {error.revision}; the log ends at {error.head}"
            ) from None
        except (StoreError, DecodeError, StructureError, UnknownKind) as error:
            raise BadInput(f"{self.path}: {error}") from None

    def _dropped(self, error: Compacted) -> str:
        why, cure = "compacted", "compact that etcd later"
        if isinstance(self.reader, LogReader):
            why, cure = f"dropped (--keep {self.keep})", "record it again with a longer --keep"
        return (
            f"{self.path}: revision {error.revision} was {why}; the oldest kept is {error.compacted}: "
            f"ask for {error.compacted} or later, or {cure}"
        )

    def resource(self, kind: str) -> Resource:
        """The kind of that name. Raises BadInput."""
        try:
            return self.scheme.resource_of(kind)
        except UnknownKind as error:
            raise BadInput(str(error)) from None

    def event_json(self, event: Event) -> dict[str, Json]:
        """One event as `wavetank log show -o json` prints it."""
        obj: Json = None
        if event.value is not None:
            value = decorated(cast("KubeObject", event.value), event.revision)
            obj = self.scheme.to_dict(value)
        causes: list[Json] = list(event.origin.causes)
        return {
            "revision": event.revision,
            "time_ns": event.time_ns,
            "time": self.time(event.time_ns),
            "type": event.type.name,
            "key": event.key,
            "actor": event.origin.actor,
            "reconcile": event.origin.reconcile,
            "causes": causes,
            "object": obj,
        }


_KEEP: Final = "keep"
"""Where a log's header says how much history was to be kept, unless it was all."""


def as_keep(keep: Keep | str) -> Keep:
    """A policy, or its text. Raises BadInput."""
    if isinstance(keep, Keep):
        return keep
    try:
        return Keep.parse(keep)
    except InvalidRequest as error:
        raise BadInput(str(error)) from None


def keep_header(keep: Keep) -> dict[str, Json]:
    """What a log's header says of the policy: a run is repeated with the same."""
    return {} if keep == Keep.all() else {_KEEP: str(keep)}


_KINDS: Final = "kinds"
"""Where a log's header lists the kinds that users have registered."""


def kinds_header(scheme: Scheme) -> dict[str, Json]:
    """What a log's header says of the kinds that are not Kubernetes' own: without it the log could not be read elsewhere."""
    own = default_scheme()
    listed: list[Json] = [
        {
            "group": resource.group,
            "version": resource.version,
            "kind": resource.kind,
            "plural": resource.plural,
            "singular": resource.singular,
            "shortNames": list(resource.short_names),
            "namespaced": resource.namespaced,
            "custom": resource.custom,
        }
        for resource in scheme.resources
        if resource not in own.resources
    ]
    return {_KINDS: listed} if listed else {}


def _scheme_of(header: Mapping[str, object]) -> Scheme:
    """Kubernetes' kinds and those that the header lists, which are read without their classes."""
    scheme = default_scheme()
    for each in cast("list[dict[str, Json]]", header.get(_KINDS, [])):
        scheme.register(
            Resource(
                group=str(each["group"]),
                version=str(each["version"]),
                kind=str(each["kind"]),
                plural=str(each["plural"]),
                singular=str(each["singular"]),
                short_names=tuple(cast("list[str]", each["shortNames"])),
                namespaced=bool(each["namespaced"]),
                custom=bool(each["custom"]),
            )
        )
    return scheme


def open_log(path: Path | str) -> Log:
    """Open a log for reading: a path, or the address of an etcd. Raises BadInput for what is no log, or one that cannot be read."""
    if is_etcd(path):
        return _open_etcd_log(str(path))
    path = Path(path)
    if not path.exists():
        raise BadInput(f"{path}: no such log")
    try:
        header = read_log(path, ObjectCodec(default_scheme())).header
        scheme = _scheme_of(header)
        return Log(path, read_log(path, ObjectCodec(scheme)), scheme)
    except StoreError as error:
        raise BadInput(f"{path}: {error}") from None


def _open_etcd_log(address: str) -> Log:
    try:
        header = read_etcd_header(address)
        scheme = _scheme_of(header)
        reader = read_etcd(address, ObjectCodec(scheme))
    except StoreError as error:
        raise BadInput(f"{error}") from None
    if "epochUs" not in header:
        raise BadInput(
            f"{', '.join(reader.address.endpoints)}: this etcd holds no cluster of wavetank"
        )
    return Log(", ".join(reader.address.endpoints), reader, scheme)
