# ruff: noqa: ANN401 -- here values of any type pass
"""JSON data to objects. The only module that knows cattrs.

Theory of operation. A cattrs converter dispatches on types; the hooks are made here, once per class, from its attrs fields, when
the class is first met. `structure` reads camelCase keys, keeps unknown ones in `extra`, and reports every fault of an object at once.

What is kept in `extra` besides unknown keys: defaults that the input spells out (`hostNetwork: false`), so that a manifest
comes back as it went in. `null` counts as absent, as in Kubernetes. Numbers have one form: 1.0 is read as 1.

cattrs is imported on first use: its import takes longer than that of all the types.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypeVar, get_args, get_origin

import attrs

from engine.objects.base import ApiType, Json, MicroTime, Time, field_name_outside
from engine.objects.faults import REQUIRED, FieldFault, StructureError, show, type_fault
from engine.objects.quantity import Quantity, QuantityError

if typing.TYPE_CHECKING:
    import cattrs

T = TypeVar("T")

_StructureHook: TypeAlias = Callable[[Any, Any], Any]

_INT64: Final = range(-(2**63), 2**64)
"""The integers msgpack can carry."""


def structure(data: object, cls: type[T], path: str = "") -> T:
    """Read an object of type `cls` from JSON data. Raises StructureError, its paths below `path`."""
    try:
        result: T = _converter().get_structure_hook(cls)(data, cls)
    except StructureError as error:
        raise StructureError(error.under(path)) from None
    return result


def copy_json(value: Any, path: str = "") -> Any:
    """A copy of a JSON value in canonical form: maps sorted, whole floats as integers.

    Raises StructureError for what is no JSON: keys that are no text, other types, integers beyond 64 bits, NaN.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is dict or isinstance(value, Mapping):
        for key in value:
            if type(key) is not str:
                raise StructureError(
                    [
                        FieldFault(
                            path=path, message=f"the key {show(key)} must be a string, in quotes"
                        )
                    ]
                )
        return {key: copy_json(value[key], f"{path}[{key}]") for key in sorted(value)}
    if kind is list or kind is tuple:
        return [copy_json(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if kind is float and value.is_integer() and int(value) in _INT64:
        return int(value)
    if (kind is int and value in _INT64) or (kind is float and value - value == 0):
        return value
    raise StructureError([FieldFault(path=path, message=f"{show(value)} is no JSON value")])


# ---- reading ---------------------------------------------------------------------------------


def _fault(value: object, expected: str) -> StructureError:
    return StructureError([type_fault("", value, expected)])


def _read_str(value: Any, cls: Any) -> str:
    if type(value) is not str:
        raise _fault(value, "string")
    # Enumerations of texts come here too.
    return value if cls is str else cls(value)


def _read_int(value: Any, cls: Any) -> int:
    if type(value) is not int:
        if type(value) is float and value.is_integer():
            return _read_int(int(value), cls)
        raise _fault(value, "int")
    if value not in _INT64:
        message = f"{value} must fit into 64 bits"
        decoder = (
            f"json: cannot unmarshal number {value} into Go struct field {{field}} of type int64"
        )
        raise StructureError([FieldFault(path="", message=message, decoder=decoder)])
    return value if cls is int else cls(value)


def _read_bool(value: Any, _: Any) -> bool:
    if type(value) is not bool:
        raise _fault(value, "bool")
    return value


def _read_float(value: Any, _: Any) -> float:
    if type(value) is float or type(value) is int:
        return value
    raise _fault(value, "number")


def _read_int_or_str(value: Any, _: Any) -> int | str:
    if type(value) is int or type(value) is str:
        return value
    message = f"{show(value)} must be an integer or a string"
    raise StructureError(
        [FieldFault(path="", message=message, decoder="invalid type for IntOrString: {field}")]
    )


def _read_quantity(value: Any, _: Any) -> Quantity:
    if type(value) not in {str, int, float}:
        raise _fault(value, "quantity")
    try:
        return Quantity.parse(value)
    except QuantityError as error:
        message = f"{show(value)} is no quantity: {error}"
        raise StructureError([FieldFault(path="", message=message, decoder=str(error))]) from None


def _read_time(value: Any, cls: type[Time]) -> Time:
    if type(value) is not str:
        raise _fault(value, "string")
    try:
        return _PARSERS_OF_TIME[cls](value)
    except ValueError:
        message = f"{show(value)} is no RFC 3339 time such as 2006-01-02T15:04:05Z"
        decoder = f'parsing time {show(value)} as "2006-01-02T15:04:05Z07:00": cannot parse'
        raise StructureError([FieldFault(path="", message=message, decoder=decoder)]) from None


_PARSERS_OF_TIME: Final[Mapping[type[Time], Callable[[str], Time]]] = {
    cls: lru_cache(maxsize=4096)(cls.parse) for cls in (Time, MicroTime)
}


_READERS: Final[tuple[tuple[Any, _StructureHook], ...]] = (
    (str, _read_str),
    (int, _read_int),
    (bool, _read_bool),
    (float, _read_float),
    (Quantity, _read_quantity),
    (Time, _read_time),
    (MicroTime, _read_time),
)


def _reader_of_list(item_type: Any, converter: cattrs.Converter) -> _StructureHook:
    read = converter.get_structure_hook(item_type)

    def read_list(value: Any, _: Any) -> tuple[Any, ...]:
        if type(value) is not list and type(value) is not tuple:
            raise _fault(value, "array")
        items: list[Any] = []
        faults: list[FieldFault] = []
        for index, item in enumerate(value):
            try:
                items.append(read(item, item_type))
            except StructureError as error:
                faults += error.under(f"[{index}]")
        if faults:
            raise StructureError(faults)
        return tuple(items)

    return read_list


def _reader_of_map(item_type: Any, converter: cattrs.Converter) -> _StructureHook:
    read = converter.get_structure_hook(item_type)

    def read_map(value: Any, _: Any) -> Mapping[str, Any]:
        if type(value) is not dict and not isinstance(value, Mapping):
            raise _fault(value, "object")
        items: dict[str, Any] = {}
        faults: list[FieldFault] = []
        for key, item in value.items():
            if type(key) is not str:
                message = f"the key {show(key)} must be a string, in quotes"
                faults.append(FieldFault(path="", message=message))
                continue
            try:
                # `key:` with nothing behind it is an empty string, as Go reads it.
                items[key] = "" if item is None and item_type is str else read(item, item_type)
            except StructureError as error:
                faults += error.under(f"[{key}]")
        if faults:
            raise StructureError(faults)
        return MappingProxyType(items)

    return read_map


_Reader: TypeAlias = tuple[str, _StructureHook, Any, Any]
"""How one field is read: its name as an argument, hook, type, default."""


def _reader_of_class(cls: type, converter: cattrs.Converter) -> _StructureHook:  # noqa: C901 -- see read_object
    """The reader of an attrs class. Readers of fields are looked up on first use: types may be recursive."""
    keeps_extra = issubclass(cls, ApiType)
    struct = cls.__name__

    @cache
    def readers() -> tuple[dict[str, _Reader], list[str]]:
        found = {
            f.outside: (f.alias, converter.get_structure_hook(f.type), f.type, f.default)
            for f in field_forms(cls)
        }
        required = [key for key, reader in found.items() if reader[3] is attrs.NOTHING]
        return found, required

    def read_object(data: Any, _: Any) -> Any:  # noqa: C901 -- one loop, whole for speed
        if type(data) is not dict and not isinstance(data, Mapping):
            raise _fault(data, "object")
        by_key, required = readers()
        values: dict[str, Any] = {}
        extra: dict[str, Json] = {}
        faults: list[FieldFault] = []
        for key, value in data.items():
            reader = by_key.get(key)
            try:
                if reader is None:
                    extra[key] = copy_json(value) if keeps_extra else _refuse(by_key)
                elif value is not None:
                    name, hook, kind, default = reader
                    read = values[name] = hook(value, kind)
                    if read == default and keeps_extra:
                        extra[key] = copy_json(value)
            except StructureError as error:
                faults += error.under(str(key), struct)
            except Exception as error:  # noqa: BLE001 -- hooks of users' own types raise what they like
                faults.append(
                    FieldFault(path=key, message=f"{show(value)}: {error}", struct=struct)
                )
        for key in required:
            if data.get(key) is None:
                faults.append(FieldFault(path=key, message=REQUIRED, struct=struct))
        if faults:
            raise StructureError(faults)
        if extra:
            values["extra"] = MappingProxyType(extra)
        return cls(**values)

    return read_object


def _refuse(known: Mapping[str, _Reader]) -> Json:
    """What a class without `extra` does with a key that it does not know."""
    message = f"unknown field, known are {', '.join(sorted(known))}"
    raise StructureError([FieldFault(path="", message=message)])


# ---- types -----------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class FieldForm:
    """One modelled field of a class: how it is called here, as an argument, and outside; its type without `None`; its default
    (NOTHING if it is required).
    """

    name: str
    alias: str
    outside: str
    type: Any
    default: Any


def field_forms(cls: type) -> tuple[FieldForm, ...]:
    """The modelled fields of an attrs class, sorted by outside name."""
    attrs.resolve_types(cls)
    forms = [
        FieldForm(
            name=f.name,
            alias=f.alias or f.name,
            outside=field_name_outside(f.name),
            type=present_type(f.type),
            default=_default(f),
        )
        for f in attrs.fields(cls)
        if f.name != "extra"
    ]
    return tuple(sorted(forms, key=lambda form: form.outside))


_FACTORY: Final[Any] = attrs.Factory
"""A class, which the type stubs present as a function."""


def _default(f: attrs.Attribute[Any]) -> Any:
    """The value of a field that is absent; NOTHING if it is required or computed from the others."""
    default: Any = f.default
    if isinstance(default, _FACTORY):
        return attrs.NOTHING if default.takes_self else default.factory()
    return default


def present_type(kind: Any) -> Any:
    """The type of a value that is there: without `None`, new types as what they are made of."""
    if get_origin(kind) in {types.UnionType, typing.Union}:
        rest = [k for k in get_args(kind) if k is not type(None)]
        return present_type(rest[0]) if len(rest) == 1 else typing.Union[tuple(rest)]  # noqa: UP007 -- built from a list
    return getattr(kind, "__supertype__", kind)


def is_list(kind: Any) -> bool:
    """Whether it is tuple[X, ...]."""
    return get_origin(kind) is tuple and get_args(kind)[1:] == (...,)


def is_map(kind: Any) -> bool:
    """Whether it is Mapping[str, X]."""
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Mapping) and get_args(kind)[0] is str


def is_int_or_str(kind: Any) -> bool:
    """Whether it is int | str (IntOrString)."""
    return get_origin(kind) in {types.UnionType, typing.Union} and set(get_args(kind)) == {int, str}


def _is_json(kind: Any) -> bool:
    return kind is Any or kind is object or get_origin(kind) in {dict, list}


@cache
def _converter() -> cattrs.Converter:
    import cattrs  # noqa: PLC0415 -- see the module's docstring

    converter = cattrs.Converter(unstruct_collection_overrides={}, prefer_attrib_converters=False)
    for kind, reader in _READERS:
        converter.register_structure_hook(kind, reader)
    converter.register_structure_hook_func(is_int_or_str, _read_int_or_str)
    converter.register_structure_hook_factory(
        is_list, lambda t: _reader_of_list(present_type(get_args(t)[0]), converter)
    )
    converter.register_structure_hook_factory(
        is_map, lambda t: _reader_of_map(present_type(get_args(t)[1]), converter)
    )
    converter.register_structure_hook_factory(
        lambda t: isinstance(t, type) and attrs.has(t) and t is not Quantity,
        lambda t: _reader_of_class(t, converter),
    )
    return converter


def plain_data(value: Any) -> Any:
    """What cattrs makes of a value of a type that is not ours: an enumeration, a user's class."""
    return copy_json(_converter().unstructure(value))
