"""A stored object changed behind everybody's back: past validation and admission, by a write that no reconciler has made.

    store.corrupted Deployment/default/web field=replicas        another number of replicas
    store.corrupted Pod/default/web-1 field=path path=metadata.labels[app] value='"db"'

What was there comes back with the heal if what the fault wrote is still there. Faults on one field lie on top of each other: when the one below
is healed first, the one above will bring back what the lower had found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final, TypeAlias, cast

import attrs

from engine import (
    Json,
    KubeObject,
    Resource,
    Scheme,
    StructureError,
    UnknownKind,
    current_origin,
)
from store import Compare, KeyValue, Put, Store, Target, Txn
from wavetank.errors import BadInput, UnknownTarget
from wavetank.faults.ledger import Overwritten
from wavetank.faults.model import (
    Blow,
    FaultType,
    Heal,
    NoEffect,
    Parameter,
    ParameterKind,
    TargetKind,
)
from wavetank.faults.world import World
from wavetank.view import kind_name

Step: TypeAlias = str | int
"""The name of a field, or a place in a list."""
Path: TypeAlias = tuple[Step, ...]

_STEP: Final = re.compile(r"\.?([^.\[\]]+)|\[([^\[\]]+)\]")
_MARK: Final = "-corrupted"
_LONGEST_LABEL: Final = 63


def path_of(text: str) -> Path:
    """A field's path, as spec.containers[0].image or metadata.labels[app.kubernetes.io/name]. Raises BadInput."""
    steps: list[Step] = []
    at = 0
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            break
        name, key = found.groups()
        steps.append(int(key) if key is not None and key.isdecimal() else cast("str", name or key))
        at = found.end()
    if not steps or at < len(text):
        raise BadInput(f"parameters.path: {text!r} is no field; allowed: such as spec.replicas")
    return tuple(steps)


MISSING: Final = object()
"""What a field is that is not there."""


def value_at(document: Json, path: Path) -> object:
    """The value of a field, or MISSING."""
    found: object = document
    for step in path:
        match found, step:
            case dict(), _ if step in found:
                found = found[step]
            case list(), int() if step < len(found):
                found = found[step]
            case _:
                return MISSING
    return found


def put_at(document: Json, path: Path, value: object) -> bool:
    """Set a field in place, or take it away when `value` is MISSING; False when there is nothing that could hold it."""
    holder = value_at(document, path[:-1])
    last = path[-1]
    if isinstance(holder, dict):
        if value is MISSING:
            holder.pop(last, None)
        else:
            holder[last] = value
        return True
    if isinstance(holder, list) and isinstance(last, int) and last < len(holder):
        if value is not MISSING:
            holder[last] = value
        return value is not MISSING
    return False


# -- what the classes of fields become -------------------------------------------------------------


def _marked(value: object) -> Json:
    return f"{value}"[: _LONGEST_LABEL - len(_MARK)] + _MARK


def _first_key(document: Json, path: Path) -> Path:
    """The first entry of a map of texts."""
    found = value_at(document, path)
    if not isinstance(found, dict) or not found:
        raise NoEffect(f"it has no {'.'.join(map(str, path))}")
    return (*path, min(found))


def _label(document: Json, _: Blow) -> tuple[Path, Json]:
    path = _first_key(document, ("metadata", "labels"))
    return path, _marked(value_at(document, path))


def _selector(document: Json, _: Blow) -> tuple[Path, Json]:
    nested: Path = ("spec", "selector", "matchLabels")
    flat = value_at(document, nested) is MISSING
    path = _first_key(document, nested[:2] if flat else nested)
    return path, _marked(value_at(document, path))


def _replicas(document: Json, blow: Blow) -> tuple[Path, Json]:
    path: Path = ("spec", "replicas")
    found = value_at(document, path)
    if not isinstance(found, int):
        raise NoEffect("it has no spec.replicas")
    others = [number for number in range(2 * found + 2) if number != found]
    return path, blow.world.draws.choice(f"{blow.id}/replicas", 0, others)


def _owner(document: Json, blow: Blow) -> tuple[Path, Json]:
    path: Path = ("metadata", "ownerReferences", 0, "uid")
    if value_at(document, path) is MISSING:
        raise NoEffect("nobody owns it")
    return path, blow.world.draws.uid(blow.id, "owner")


def _node_name(document: Json, blow: Blow) -> tuple[Path, Json]:
    path: Path = ("spec", "nodeName")
    found = value_at(document, path)
    if found is MISSING:
        raise NoEffect("it is on no node")
    others = [name for name in blow.world.nodes if name != found]
    if not others:
        return path, _marked(found)
    return path, blow.world.draws.choice(f"{blow.id}/node", 0, others)


def _given(document: Json, blow: Blow) -> tuple[Path, Json]:
    del document
    try:
        value = json.loads(blow.text("value"))
    except ValueError:
        raise BadInput(
            f'parameters.value: {blow.text("value")!r}; allowed: JSON, such as 5 or "db"'
        ) from None
    return path_of(blow.text("path")), cast("Json", value)


_FIELDS: Final[dict[str, Callable[[Json, Blow], tuple[Path, Json]]]] = {
    "label": _label,
    "selector": _selector,
    "replicas": _replicas,
    "ownerReference": _owner,
    "nodeName": _node_name,
    "path": _given,
}

# -- the store -------------------------------------------------------------------------------------


@attrs.frozen
class _Objects:
    """Objects as the store has them."""

    store: Store
    scheme: Scheme

    async def get(self, key: str) -> KeyValue | None:
        """The newest state."""
        kvs = (await self.store.range(key)).kvs
        return kvs[0] if kvs else None

    def document(self, kv: KeyValue) -> dict[str, Json]:
        """As JSON, shared with nobody."""
        return self.scheme.to_dict(cast("KubeObject", kv.value))

    async def replace(self, kv: KeyValue, document: dict[str, Json]) -> bool:
        """Write it unless somebody has written since `kv` was read. Raises StructureError."""
        result = await self.store.txn(
            Txn(
                compares=(Compare(kv.key, Target.MOD, "=", kv.mod_revision),),
                success=(Put(kv.key, self.scheme.from_dict(document), lease=kv.lease),),
            ),
            origin=current_origin(),
        )
        return result.succeeded


def _place_of(target: str, scheme: Scheme) -> tuple[Resource, str]:
    """The kind of KIND/NAMESPACE/NAME, and its key in the store. Raises UnknownTarget."""
    kind, _, rest = target.partition("/")
    namespace, _, name = rest.rpartition("/")
    try:
        resource = scheme.resource_of(kind)
    except UnknownKind as error:
        raise UnknownTarget(str(error)) from None
    if not name or resource.namespaced is not bool(namespace):
        how = "KIND/NAMESPACE/NAME" if resource.namespaced else "KIND/NAME"
        raise UnknownTarget(f"{target!r}: a {kind} is named as {how}")
    return resource, resource.storage_key(namespace, name)


async def corrupt(blow: Blow) -> Heal:
    """Write over a field, and put back what was there."""
    world = blow.world
    if world.store is None:
        raise BadInput("the state is in an etcd: only the simulator's own store has faults")
    objects = _Objects(world.store.inner, world.client.scheme)
    resource, key = _place_of(blow.target, world.client.scheme)
    async with world.ledger.lock:
        entry = await _write_over(blow, objects, resource, key)

    async def heal() -> None:
        async with world.ledger.lock:
            await _put_back(world, objects, entry)

    return heal


async def _write_over(blow: Blow, objects: _Objects, resource: Resource, key: str) -> Overwritten:
    """Raises UnknownTarget, NoEffect, BadInput."""
    while True:
        kv = await objects.get(key)
        if kv is None:
            raise UnknownTarget(f"there is no {blow.target}")
        document = objects.document(kv)
        path, value = _FIELDS[blow.text("field")](document, blow)
        found = value_at(document, path)
        if not put_at(document, path, value):
            raise NoEffect(f"it has nothing that could hold {blow.text('path')}")
        try:
            written = await objects.replace(kv, document)
        except StructureError as error:
            raise BadInput(f"parameters.value: {error}") from None
        if written:
            entry = Overwritten(
                kind=kind_name(resource),
                key=key,
                uid=cast("KubeObject", kv.value).metadata.uid,
                path=path,
                found=found,
                wrote=value,
            )
            blow.world.ledger.entries.append(entry)
            return entry


async def _put_back(world: World, objects: _Objects, entry: Overwritten) -> None:
    entry.active = False
    above = world.ledger.above(entry)
    if above is not None:
        above.found = entry.found
        return
    while True:
        kv = await objects.get(entry.key)
        if kv is None or cast("KubeObject", kv.value).metadata.uid != entry.uid:
            return
        document = objects.document(kv)
        if value_at(document, entry.path) != entry.wrote:
            return
        put_at(document, entry.path, entry.found)
        if await objects.replace(kv, document):
            return


def residue(world: World) -> list[str]:
    """Fields that are still what a fault wrote, healed or not."""
    found = []
    for entry in world.ledger.entries:
        obj = next(
            (
                each
                for each in world.view().state.raw(entry.kind).values()
                if each.metadata.uid == entry.uid
            ),
            None,
        )
        if obj is None:
            continue
        value = value_at(world.client.scheme.to_dict(obj), entry.path)
        if value == entry.wrote and value != world.ledger.original(entry):
            field = ".".join(map(str, entry.path))
            found.append(f"{entry.key}: {field} is {entry.wrote!r} by a fault")
    return found


FAULTS: Final = (
    FaultType(
        name="store.corrupted",
        about="A field of a stored object is changed behind everybody's back; healed, it is what it was if nobody has changed it since.",
        target=TargetKind.OBJECT,
        strike=corrupt,
        hunted=False,
        parameters={
            "field": Parameter(
                kind=ParameterKind.CHOICE,
                about="which: the first label, the first of what the selector matches, the number of replicas, the owner's uid, "
                "the node, or the one at `path`",
                default="label",
                choices=tuple(_FIELDS),
                hunted=tuple(name for name in _FIELDS if name != "path"),
            ),
            "path": Parameter(
                kind=ParameterKind.TEXT,
                about="the field, as spec.containers[0].image or metadata.labels[app]",
                default="",
            ),
            "value": Parameter(
                kind=ParameterKind.TEXT, about="what is written at `path`, as JSON", default="null"
            ),
        },
    ),
)
