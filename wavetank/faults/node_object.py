"""What an administrator does to Node objects: taints, drains, deletion."""

from __future__ import annotations

from typing import Final

import attrs

from engine import (
    ApiError,
    Conflict,
    Json,
    KubeObject,
    Node,
    NotFound,
    Pod,
    Taint,
    nodes,
)
from wavetank.errors import BadInput
from wavetank.faults.model import (
    Blow,
    FaultType,
    Heal,
    NoEffect,
    Parameter,
    ParameterKind,
    TargetKind,
)
from wavetank.faults.overrides import Field, insist
from wavetank.faults.world import World

_MIRROR: Final = "kubernetes.io/config.mirror"


async def taint(blow: Blow) -> Heal:
    """Put on through the API; taken off if it is still there."""
    blow.world.node(blow.target)
    key, effect = blow.text("key"), blow.text("effect")
    if not key:
        raise BadInput("parameters.key: ''; allowed: the key of a taint")

    def read(obj: KubeObject) -> Json:
        assert isinstance(obj, Node)
        return nodes.has_taint(obj, key, effect)

    def write(obj: KubeObject, present: Json) -> KubeObject:
        assert isinstance(obj, Node)
        taints = nodes.without_taint(obj.spec.taints, key, effect)
        if present:
            taints = (*taints, Taint(key=key, effect=effect))
        return attrs.evolve(obj, spec=attrs.evolve(obj.spec, taints=taints))

    field = Field(kind=Node, name=blow.target, what=f"taint {key}:{effect}", read=read, write=write)
    return await _changed(blow, field)


async def drain(blow: Blow) -> Heal:
    """As `kubectl drain`: cordon, then delete the pods, but those of DaemonSets and of nobody; healed by uncordoning."""
    blow.world.node(blow.target)

    def read(obj: KubeObject) -> Json:
        assert isinstance(obj, Node)
        return obj.spec.unschedulable

    def write(obj: KubeObject, unschedulable: Json) -> KubeObject:
        assert isinstance(obj, Node)
        return attrs.evolve(obj, spec=attrs.evolve(obj.spec, unschedulable=bool(unschedulable)))

    heal = await _changed(
        blow, Field(kind=Node, name=blow.target, what="cordon", read=read, write=write)
    )
    for pod in blow.world.view().pods(node=blow.target):
        if _drained(pod, force=blow.flag("force")):
            try:
                await blow.world.client.delete(pod)
            except (NotFound, Conflict):
                continue  # it went by itself
            except ApiError:
                break  # kubectl gives up, and leaves the node cordoned
    return heal


def _drained(pod: Pod, *, force: bool) -> bool:
    metadata = pod.metadata
    if metadata.deletion_timestamp is not None or _MIRROR in metadata.annotations:
        return False
    owner = metadata.controller
    return force if owner is None else owner.kind != "DaemonSet"


async def _changed(blow: Blow, field: Field) -> Heal:
    """Make the field true."""
    world = blow.world
    return await world.overrides.change(world.client, field, lambda _: True, blow.id, world.nursery)


async def delete(blow: Blow) -> Heal:
    """The Node goes from the API; a kubelet registers once in its life (2.9.1), so the heal is a restart of it."""
    node, client = blow.world.node(blow.target), blow.world.client
    try:
        await client.delete(Node, node.name)
    except NotFound:
        raise NoEffect("there is no such Node object") from None
    except ApiError as error:
        raise NoEffect(f"the API server refuses it: {error}") from error

    async def register() -> None:
        try:
            await client.get(Node, node.name)
        except NotFound:
            if node.process.living:  # else it registers when it is started
                await node.restart_kubelet()

    async def heal() -> None:
        await insist(register, blow.world.nursery)

    return heal


def residue(world: World) -> list[str]:
    """What is written and not taken back, in Nodes and workloads alike."""
    return world.overrides.in_force()


FAULTS: Final = (
    FaultType(
        name="node.taint",
        about="The node gets a taint; healed it is taken off again.",
        target=TargetKind.NODE,
        strike=taint,
        parameters={
            "key": Parameter(
                kind=ParameterKind.TEXT, about="of the taint", default="wavetank/taint"
            ),
            "effect": Parameter(
                kind=ParameterKind.CHOICE,
                about="of the taint",
                default="NoSchedule",
                choices=("NoSchedule", "PreferNoSchedule", "NoExecute"),
                hunted=("NoSchedule", "PreferNoSchedule", "NoExecute"),
            ),
        },
    ),
    FaultType(
        name="node.drain",
        about="The node is cordoned and its pods are deleted, as by kubectl drain; healed it is uncordoned.",
        target=TargetKind.NODE,
        strike=drain,
        parameters={
            "force": Parameter(
                kind=ParameterKind.FLAG,
                about="delete pods too that no controller will replace",
                default=False,
            )
        },
    ),
    FaultType(
        name="node.delete",
        about="The Node object is deleted while its kubelet runs; healed the kubelet is restarted, and registers again.",
        target=TargetKind.NODE,
        strike=delete,
    ),
)
