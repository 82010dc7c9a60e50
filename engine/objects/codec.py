"""Objects as canonical bytes: what the log stores and the digest hashes.

The bytes are msgpack of the object's JSON data, apiVersion and kind included: maps sorted by key at every level, defaults left out,
whole numbers as integers, each in its shortest form. Equal data give equal bytes, in every process and Python version.
(Two `Quantity` of equal amount but different source, 1Gi and 1024Mi, are equal objects and different data.)

Theory of operation. Encoding is on the path of every event, and most events leave most of an object untouched: a status
update shares metadata and spec with the revision before, by identity. So the packed bytes of such shared parts are kept
in a bounded table by identity, with a strong reference that keeps the identity from being reused. The table can only save
work: what it returns is what packing again would return, since objects are immutable
(tests/engine/objects/test_codec.py compares every path with a plain encoder).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Final, TypeAlias

import attrs
import msgpack

from engine.objects.base import EMPTY_EXTRA, ApiType
from engine.objects.converters import FieldForm, copy_json, field_forms
from engine.objects.core import Event, LeaseSpec
from engine.objects.meta import KubeObject, TypedObject
from engine.objects.pod import Container, PodSpec
from engine.objects.scheme import Scheme
from engine.objects.unstructured import Unstructured
from engine.objects.writers import unstructure_hook, writer_of, writes_nothing

_Pack: TypeAlias = Callable[..., bytes]

_SHARED_FIELDS: Final = frozenset({"metadata", "spec"})
"""The fields that revisions of an object share. (A Lease's spec is new in each, as every status is.)"""

_WRITTEN_ONCE: Final = frozenset({Event})
"""Kinds of which no part is met again: remembering their parts would only push out those of the others."""

_PARTS_KEPT: Final = 32768
"""How many packed parts are kept: 3 for each pod, of about 1 KB together."""


class DecodeError(ValueError):
    """The bytes are no object of the scheme."""


@attrs.define(eq=False)
class ObjectCodec:
    """Packs and unpacks the objects of a scheme (a `store.Codec`).

    `parts_kept` bounds the table of shared parts; 0 does without it.
    """

    scheme: Scheme
    parts_kept: int = _PARTS_KEPT
    _parts: dict[int, tuple[object, bytes]] = attrs.field(factory=dict, init=False, repr=False)
    _packers: dict[type, _Pack] = attrs.field(factory=dict, init=False, repr=False)

    def encode(self, value: object) -> bytes:
        """The canonical bytes of an object. Raises TypeError for anything else."""
        packer = self._packers.get(type(value))
        if packer is None:
            packer = self._packers[type(value)] = self._packer_of(type(value))
        return packer(value)

    def decode(self, data: bytes) -> KubeObject:
        """The object of the bytes. Raises DecodeError, UnknownKind, StructureError."""
        try:
            decoded = msgpack.unpackb(data, raw=False, unicode_errors="surrogatepass")
        except (ValueError, msgpack.UnpackException) as error:
            raise DecodeError(f"not msgpack: {error}") from error
        if not isinstance(decoded, dict):
            raise DecodeError(f"a {type(decoded).__name__}, not a map")
        return self.scheme.from_dict(decoded)

    def _packer_of(self, cls: type) -> _Pack:
        if issubclass(cls, Unstructured):
            return lambda value: _pack(copy_json(self.scheme.to_dict(value)))
        if not issubclass(cls, TypedObject):
            raise TypeError(f"{cls.__name__} is no object of the API")
        if cls in _WRITTEN_ONCE:
            return _plain_packer(unstructure_hook(cls))
        head = {"apiVersion": cls.api_version, "kind": cls.kind}
        return self._packer_by_fields(cls, head)

    def _packer_by_fields(self, cls: type[ApiType], head: Mapping[str, str]) -> _Pack:
        """A packer that joins the packed fields, so that those of shared parts can be looked up."""
        fields = [
            (form.outside, form.name, form.default, self._emitter(form))
            for form in field_forms(cls)
        ]
        for key, text in head.items():
            fields.append((key, "extra", _NOTHING, _constant(_pack(key) + _pack(text))))
        fields.sort(key=lambda field: field[0])
        values_of = attrgetter("extra", *(name for _, name, _, _ in fields))
        steps = [(default, emit) for _, _, default, emit in fields]
        pack_plain = _plain_packer(unstructure_hook(cls))

        def pack_by_fields(obj: object) -> bytes:
            extra, *values = values_of(obj)
            if extra is not EMPTY_EXTRA:
                return pack_plain(obj)
            parts = [
                part
                for value, (default, emit) in zip(values, steps, strict=True)
                if value is not default and (part := emit(value))
            ]
            return _map_header(len(parts)) + b"".join(parts)

        return pack_by_fields

    def _emitter(self, form: FieldForm) -> _Pack:
        """Packs key and value of one field that has not its very default; nothing where it equals that."""
        key, default = _pack(form.outside), form.default
        pack_value = self._value_packer(form)
        if writes_nothing(default):

            def emit_object(value: object) -> bytes:
                packed = pack_value(value)
                return b"" if packed == _EMPTY_MAP else key + packed

            return emit_object

        def emit(value: object) -> bytes:
            return b"" if value == default else key + pack_value(value)

        return emit

    def _value_packer(self, form: FieldForm) -> _Pack:
        kind = form.type
        if form.name in _SHARED_FIELDS and attrs.has(kind) and kind is not LeaseSpec:
            return self._shared_packer(kind)
        if kind == tuple[Container, ...]:
            pack_item = self._shared_packer(Container)

            def pack_items(items: Sequence[object]) -> bytes:
                return _array_header(len(items)) + b"".join(map(pack_item, items))

            return pack_items
        return _plain_packer(writer_of(kind))

    def _shared_packer(self, cls: type) -> _Pack:
        """A packer that remembers what it packed last, by identity."""
        if cls is PodSpec:
            pack = self._packer_by_fields(cls, {})
        else:
            pack = _plain_packer(unstructure_hook(cls))
        parts, limit = self._parts, self.parts_kept

        def pack_shared(part: object) -> bytes:
            identity = id(part)
            kept = parts.get(identity)
            if kept is not None:
                # The table holds the part, and so nothing else can have its identity.
                return kept[1]
            packed = pack(part)
            if len(parts) >= limit:
                parts.clear()  # What is still in use comes back at its next event.
            if limit:
                parts[identity] = (part, packed)
            return packed

        return pack_shared


_pack: Final[_Pack] = msgpack.Packer(use_bin_type=True, unicode_errors="surrogatepass").pack
_map_header: Final[Callable[[int], bytes]] = msgpack.Packer().pack_map_header
_array_header: Final[Callable[[int], bytes]] = msgpack.Packer().pack_array_header
_EMPTY_MAP: Final = b"\x80"
_NOTHING: Final = object()
"""The default of what has none."""


def _plain_packer(write: Callable[..., object] | None) -> _Pack:
    if write is None:
        return _pack
    return lambda value: _pack(write(value))


def _constant(packed: bytes) -> _Pack:
    return lambda _: packed
