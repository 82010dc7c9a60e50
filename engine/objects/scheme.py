"""The scheme: which kinds there are, and what the API server must know of each.

A `Resource` describes one kind: its names, its scope, its subresources and the rules by which it is written. A `Scheme` holds
the resources of one cluster: the built-in ones (`engine.objects.kinds`) and those that users register, with an attrs
class or without one. `to_dict` and `from_dict` are the edge between objects and JSON.
"""

from __future__ import annotations

import difflib
import enum
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import attrs

from engine.objects.base import Json
from engine.objects.converters import copy_json, structure
from engine.objects.faults import FieldFault, StructureError, type_fault
from engine.objects.meta import KubeObject, ObjectMeta, TypedObject
from engine.objects.selectors import FieldSelector, SelectorError, parse_field_selector
from engine.objects.unstructured import Unstructured
from engine.objects.writers import unstructure

FieldGetter: TypeAlias = Callable[[KubeObject], str]
"""Reads the text of one field that field selectors may ask for."""


class Generation(enum.Enum):
    """Which changes raise `metadata.generation` (reference/api.md, 2.4)."""

    NONE = "not kept"
    SPEC = "a change of spec"
    SPEC_AND_ANNOTATIONS = "a change of spec or annotations"
    ALL_BUT_METADATA_AND_STATUS = "a change of anything but metadata and status"


class NameRule(enum.Enum):
    """What `metadata.name` must look like (reference/api.md, 2.2)."""

    SUBDOMAIN = "DNS-1123 subdomain"
    LABEL = "DNS-1123 label"
    LABEL_1035 = "DNS-1035 label"
    PATH_SEGMENT = "path segment"


class UnknownKind(LookupError):
    """No such kind is registered; the message is kubectl's, and names the near ones."""

    def __init__(self, api_version: str, kind: str, near: Iterable[Resource] = ()) -> None:
        self.api_version = api_version
        self.kind = kind
        self.near = tuple(near)
        message = f'no matches for kind "{kind}"'
        if api_version:
            message += f' in version "{api_version}"'
        if self.near:
            names = " or ".join(f"{r.kind} ({r.api_version})" for r in self.near)
            message += f"; did you mean {names}?"
        super().__init__(message)


def _name(obj: KubeObject) -> str:
    return obj.metadata.name


def _namespace(obj: KubeObject) -> str:
    return obj.metadata.namespace


METADATA_FIELDS: Final[Mapping[str, FieldGetter]] = MappingProxyType(
    {"metadata.name": _name, "metadata.namespace": _namespace}
)
"""The fields that every kind can be selected by."""

_NO_METADATA: Final = ObjectMeta()


@attrs.frozen(kw_only=True)
class Resource:
    """One kind, and what the API server must know of it.

    Two resources are equal when they name the same kind under the same plural. `type` None means `Unstructured`.
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str = attrs.field(eq=False)
    namespaced: bool = attrs.field(default=True, eq=False)
    type: type[TypedObject] | None = attrs.field(default=None, eq=False)
    short_names: tuple[str, ...] = attrs.field(default=(), eq=False)
    categories: tuple[str, ...] = attrs.field(default=(), eq=False)
    custom: bool = attrs.field(default=False, eq=False)
    """Registered by a user; stored below its group."""
    status_subresource: bool = attrs.field(default=False, eq=False)
    scale_subresource: bool = attrs.field(default=False, eq=False)
    generation: Generation = attrs.field(default=Generation.NONE, eq=False)
    name_rule: NameRule = attrs.field(default=NameRule.SUBDOMAIN, eq=False)
    keeps_status_on_create: bool = attrs.field(default=False, eq=False)
    """Node and kinds without a status subresource: `status` of the created object counts."""
    unconditional_update: bool = attrs.field(default=True, eq=False)
    """An update without resourceVersion overwrites; otherwise it is Invalid."""
    create_on_update: bool = attrs.field(default=False, eq=False)
    """An update of a missing object creates it."""
    garbage_collected: bool = attrs.field(default=True, eq=False)
    """Events are not: they neither own nor are owned."""
    default_propagation: Literal["Background", "Orphan"] = attrs.field(
        default="Background", eq=False
    )
    """What a delete without propagationPolicy does with the dependants."""
    selectable_fields: Mapping[str, FieldGetter] = attrs.field(default=METADATA_FIELDS, eq=False)

    @cached_property
    def api_version(self) -> str:
        """The group and version: "apps/v1"; of the core group just "v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def group_resource(self) -> str:
        """What error messages call it: "deployments.apps"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @cached_property
    def group_kind(self) -> str:
        """What validation errors call it: "Deployment.apps"."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @cached_property
    def storage_prefix(self) -> str:
        """The key below which all objects of the kind are stored; ends in a slash."""
        if self.custom:
            return f"/registry/{self.group}/{self.plural}/"
        return f"/registry/{self.plural}/"

    def storage_key(self, namespace: str, name: str) -> str:
        """The key of one object in the store."""
        middle = f"{namespace}/" if self.namespaced else ""
        return f"{self.storage_prefix}{middle}{name}"

    def field_selector(self, text: str) -> FieldSelector:
        """Read a field selector and check that this kind has the fields. Raises SelectorError."""
        selector = parse_field_selector(text)
        for requirement in selector.requirements:
            if requirement.field in self.selectable_fields:
                continue
            if self.selectable_fields is METADATA_FIELDS:
                known = ", ".join(f'"{name}"' for name in METADATA_FIELDS)
                raise SelectorError(
                    f'"{requirement.field}" is not a known field selector: only {known}'
                )
            raise SelectorError(f"field label not supported: {requirement.field}")
        return selector

    def matches_fields(self, selector: FieldSelector, obj: KubeObject) -> bool:
        """Whether the object has the fields that a selector from `field_selector` asks for."""
        return all(
            (self.selectable_fields[r.field](obj) == r.value) is r.equal
            for r in selector.requirements
        )


KindSpec: TypeAlias = "Resource | type[KubeObject] | KubeObject | str | tuple[str, str]"
"""Names a kind: by its class, an object of it, "Pod", or ("apps/v1", "Deployment")."""


@attrs.define(eq=False)
class Scheme:
    """The kinds of one cluster, in the order of their registration.

    >>> from engine.objects.kinds import default_scheme
    >>> scheme = default_scheme()
    >>> scheme.resource_of("Deployment").group_resource
    'deployments.apps'
    """

    _by_kind: dict[tuple[str, str], Resource] = attrs.field(factory=dict, init=False)
    _by_type: dict[type, Resource] = attrs.field(factory=dict, init=False)
    _by_plural: dict[tuple[str, str], Resource] = attrs.field(factory=dict, init=False)
    _by_name: dict[str, Resource] = attrs.field(factory=dict, init=False)
    _wire_types: dict[tuple[str, str], type[TypedObject]] = attrs.field(factory=dict, init=False)

    @property
    def resources(self) -> tuple[Resource, ...]:
        """All of them, in the order of registration."""
        return tuple(self._by_kind.values())

    def register(self, resource: Resource) -> Resource:
        """Add a kind. Raises ValueError when its kind or plural is taken, or the class does not fit."""
        if (resource.api_version, resource.kind) in self._by_kind:
            raise ValueError(f"{resource.api_version} {resource.kind} is already registered")
        if (resource.api_version, resource.plural) in self._by_plural:
            raise ValueError(f"{resource.api_version} {resource.plural} is already registered")
        if resource.type is not None:
            said = (resource.type.api_version, resource.type.kind)
            if said != (resource.api_version, resource.kind):
                raise ValueError(
                    f"{resource.type.__name__} says it is {said[0]} {said[1]}, "
                    f"not {resource.api_version} {resource.kind}"
                )
            self._by_type[resource.type] = resource
        self._by_kind[resource.api_version, resource.kind] = resource
        self._by_plural[resource.api_version, resource.plural] = resource
        for name in (resource.kind, resource.plural, resource.singular, *resource.short_names):
            # Where two kinds share a name, the first one has it, as kubectl prefers the older.
            self._by_name.setdefault(name.lower(), resource)
        return resource

    def register_wire_type(self, cls: type[TypedObject]) -> None:
        """Add a kind that is only ever sent, never stored (Binding, Scale)."""
        self._wire_types[cls.api_version, cls.kind] = cls

    def resource_of(self, spec: KindSpec) -> Resource:
        """The resource of a kind, however it is named. Raises UnknownKind.

        A text may be the kind, plural, singular or short name, in any case: "Pod", "pods", "po".
        """
        by_type = self._by_type.get(type(spec))  # nearly always an object of a registered class
        if by_type is not None:
            return by_type
        if isinstance(spec, Resource):
            return spec
        if isinstance(spec, str):
            found = self._by_name.get(spec.lower())
            if found is None:
                raise UnknownKind("", spec, self._near("", spec))
            return found
        if isinstance(spec, type):
            by_type = self._by_type.get(spec)
            if by_type is None:
                raise UnknownKind(getattr(spec, "api_version", ""), spec.__name__)
            return by_type
        if not isinstance(spec, tuple):
            spec = (spec.api_version, spec.kind)
        resource = self._by_kind.get(spec)
        if resource is None:
            raise UnknownKind(*spec, self._near(*spec))
        return resource

    def resource_of_plural(self, api_version: str, plural: str) -> Resource | None:
        """The resource that a URL path names."""
        return self._by_plural.get((api_version, plural))

    def _near(self, api_version: str, kind: str) -> list[Resource]:
        """Kinds that may have been meant: the same kind of another version first, then those spelled alike."""
        same = [r for r in self.resources if r.kind == kind and r.api_version != api_version]
        if same:
            return same
        by_kind = {r.kind.lower(): r for r in self.resources}
        near = difflib.get_close_matches(kind.lower(), list(by_kind), n=2, cutoff=0.75)
        return [by_kind[name] for name in near]

    def to_dict(self, obj: KubeObject) -> dict[str, Json]:
        """The object as JSON: apiVersion and kind first, defaults left out, nothing shared with the object."""
        if isinstance(obj, Unstructured):
            body = {key: copy_json(value) for key, value in obj.body.items()}
            body = (
                {"metadata": unstructure(obj.metadata), **body}
                if obj.metadata != _NO_METADATA
                else body
            )
        else:
            body = unstructure(obj)
        return {"apiVersion": obj.api_version, "kind": obj.kind, **body}

    def from_dict(self, data: Mapping[str, Json]) -> KubeObject:
        """The object that the JSON describes; nothing is shared with it.

        Raises UnknownKind, or StructureError with all faults at once.
        """
        api_version, kind = _type_meta(data)
        cls = self._wire_types.get((api_version, kind))
        if cls is None:
            cls = self.resource_of((api_version, kind)).type
        body = {key: value for key, value in data.items() if key not in {"apiVersion", "kind"}}
        try:
            if cls is not None:
                return structure(body, cls)
            metadata = structure(body.pop("metadata", None) or {}, ObjectMeta, "metadata")
            return Unstructured(
                api_version=api_version,
                kind=kind,
                metadata=metadata,
                body=MappingProxyType({key: copy_json(value, key) for key, value in body.items()}),
            )
        except StructureError as error:
            raise error.of_kind(api_version, kind) from None


def _type_meta(data: Mapping[str, Json]) -> tuple[str, str]:
    """The apiVersion and kind of a JSON object. Raises StructureError."""
    found: list[str] = []
    faults: list[FieldFault] = []
    for key in ("apiVersion", "kind"):
        value = data.get(key)
        if isinstance(value, str) and value:
            found.append(value)
        elif value is None or value == "":
            faults.append(FieldFault(path=key, message="Required value"))
        else:
            faults.append(type_fault(key, value, "string"))
    if faults:
        raise StructureError(faults)
    return found[0], found[1]
