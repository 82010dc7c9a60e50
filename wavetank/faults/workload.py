"""Faults of containers and workloads: what programs do wrong, and what users do to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

import attrs
import trio

from engine import (
    ApiError,
    Deployment,
    DurationRange,
    Json,
    KubeObject,
    ObjectMeta,
    Pod,
    ReplicaSet,
    ReplicationController,
    Time,
)
from sim_nodes import ContainerRecord, Effect, NodeHandle, PodDisturbances
from wavetank.errors import BadInput
from wavetank.faults.background import Background
from wavetank.faults.model import (
    Blow,
    FaultType,
    Heal,
    NoEffect,
    Parameter,
    ParameterKind,
    TargetKind,
    unknown,
)
from wavetank.faults.overrides import Field, insist
from wavetank.faults.world import World

_KILLED: Final = 137
"""128 + 9: SIGKILL."""
_RESTARTED_AT: Final = "kubectl.kubernetes.io/restartedAt"
_REVISION: Final = "deployment.kubernetes.io/revision"


def on_node(blow: Blow) -> tuple[Pod, NodeHandle]:
    """The pod, and the machine it is on. Raises UnknownTarget, NoEffect."""
    pod = blow.world.pod(blow.target)
    node = blow.world.nodes.get(pod.spec.node_name)
    if node is None:
        raise NoEffect("the pod is on no node")
    return pod, node


def running(blow: Blow, pod: Pod, node: NodeHandle) -> list[ContainerRecord]:
    """Its containers that run."""
    now = blow.world.clock.now_ns()
    records = node.runtime.running_of(pod.metadata.uid, now)
    return [record for record in records if record.running(node.runtime.time(now))]


# -- containers ------------------------------------------------------------------------------------


async def kill(blow: Blow) -> None:
    """SIGKILL, from outside."""
    _end(blow, "Error")


async def oom(blow: Blow) -> None:
    """The kernel kills what took too much memory."""
    _end(blow, "OOMKilled")


def _end(blow: Blow, reason: str) -> None:
    pod, node = on_node(blow)
    name = blow.text("container")
    names = dict.fromkeys(each.name for each in (*pod.spec.init_containers, *pod.spec.containers))
    if name and name not in names:
        raise unknown("container", name, names)
    records = [each for each in running(blow, pod, node) if name in {"", each.name}]
    if not records:
        raise NoEffect("it does not run")
    for record in records:
        node.runtime.kill(record, blow.world.clock.now_ns(), _KILLED, reason)
    node.kubelet.poke(pod.metadata.uid)


async def crash_loop(blow: Blow) -> Heal:
    """Its containers, and those that are started in their place."""
    span = blow.span("after")
    return _disturb(blow, lambda pod: pod.crashing.add(span, blow.id))


async def hang(blow: Blow) -> Heal:
    """Its containers, and those that are started in their place."""
    return _disturb(blow, lambda pod: pod.hanging.add(None, blow.id))


_PodEffect = Effect[None] | Effect[DurationRange]


def _disturb(blow: Blow, add: Callable[[PodDisturbances], _PodEffect]) -> Heal:
    pod, node = on_node(blow)
    uid, world = pod.metadata.uid, blow.world
    effect = add(node.disturbances.disturb(uid))

    def tell() -> None:
        node.runtime.disturb(uid, world.clock.now_ns())
        node.kubelet.poke(uid)

    tell()

    async def heal() -> None:
        node.disturbances.relieve(uid, effect)
        tell()

    return heal


async def readiness_flap(blow: Blow) -> Heal:
    """Not ready for a time, ready for a time, and so on."""
    world = blow.world
    pod, _ = on_node(blow)
    if not any(container.readiness_probe for container in pod.spec.containers):
        raise NoEffect("the pod has no readiness probe")
    unready, ready = blow.span("unready"), blow.span("ready")

    async def flap() -> None:
        for turn in range(1 << 62):
            heal = _disturb(blow, lambda each: each.unready.add(None, blow.id))
            try:
                await trio.sleep(world.draws.duration(f"{blow.id}/unready", turn, unready))
            finally:
                with trio.CancelScope(shield=True):
                    await heal()
            await trio.sleep(world.draws.duration(f"{blow.id}/ready", turn, ready))

    return Background.start(world.nursery, flap, f"{blow.id} readiness").stop


# -- workloads -------------------------------------------------------------------------------------

_Scaled = Deployment | ReplicaSet | ReplicationController


async def surge(blow: Blow) -> Heal:
    """More replicas, through the API; scaled back if nobody else has scaled it meanwhile."""
    world, obj = blow.world, blow.world.object(blow.target)
    factor, replicas = blow.number("factor"), blow.count("replicas")
    if factor < 0:
        raise BadInput(f"parameters.factor: {factor:g}; allowed: a number, 0 or more")
    if not isinstance(obj, _Scaled):
        raise NoEffect(f"a {obj.kind} has no replicas")

    def read(each: KubeObject) -> Json:
        count = cast("_Scaled", each).spec.replicas
        return 1 if count is None else count

    def write(each: KubeObject, count: Json) -> KubeObject:
        scaled = cast("Deployment", each)
        spec = attrs.evolve(scaled.spec, replicas=cast("int", count))
        return attrs.evolve(scaled, spec=spec)

    def change(count: Json) -> Json:
        return replicas or round(cast("int", count) * factor)

    metadata = obj.metadata
    field = Field(
        kind=type(obj),
        namespace=metadata.namespace,
        name=metadata.name,
        what="replicas",
        read=read,
        write=write,
    )
    return await world.overrides.change(world.client, field, change, blow.id, world.nursery)


async def rollout(blow: Blow) -> None:
    """As `kubectl rollout restart`."""
    world, obj = blow.world, blow.world.object(blow.target)
    if not isinstance(obj, Deployment):
        raise NoEffect(f"a {obj.kind} has no rollout")
    metadata = obj.metadata
    annotations: dict[str, Json] = {_RESTARTED_AT: str(Time.of(world.clock.unix_us()))}
    patch: Json = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    try:
        await world.client.patch(Deployment, metadata.name, metadata.namespace, patch)
    except ApiError as error:
        raise NoEffect(f"the API server refuses it: {error}") from error


async def recreate(blow: Blow) -> None:
    """Deleted without grace and made again at once; what it owned is collected or stopped meanwhile."""
    world, obj = blow.world, blow.world.object(blow.target)
    if obj.metadata.finalizers or obj.kind == "Namespace":
        raise NoEffect("it does not go at once: it has finalizers")
    grace = 0 if isinstance(obj, Pod) else None
    try:
        await world.client.delete(obj, grace_period_seconds=grace)
    except ApiError as error:
        raise NoEffect(f"it cannot be deleted: {error}") from error
    fresh = _fresh(obj)

    async def create() -> None:
        await world.client.create(fresh)

    await insist(create, world.nursery)


def _fresh(obj: KubeObject) -> KubeObject:
    """The object as its user wrote it."""
    old = obj.metadata
    annotations = {key: value for key, value in old.annotations.items() if key != _REVISION}
    metadata = ObjectMeta(
        name=old.name,
        namespace=old.namespace,
        labels=old.labels,
        annotations=annotations,
        owner_references=old.owner_references,
    )
    made = attrs.evolve(cast("Pod", obj), metadata=metadata)
    if isinstance(made, Pod):
        made = attrs.evolve(made, spec=attrs.evolve(made.spec, node_name=""))
    return made


def residue(world: World) -> list[str]:
    """What of containers that run is not as it would be by itself; what waits for new ones is the kubelets' residue."""
    lines = []
    for node in world.nodes.values():
        for pod in node.runtime.pods.values():
            for records in pod.containers.values():
                record = records[-1]
                what = [f"crashes by {effect.reason}" for effect in record.dooms]
                if record.own_hangs_ns is not None:
                    what.append("hangs")
                if record.unready_ns <= world.clock.now_ns():
                    what.append("is unready")
                alive = not record.exited(world.clock.now_ns())
                lines += [
                    f"{pod.namespace}/{pod.name}: {record.name} {each}" for each in what if alive
                ]
    return lines


def _span(about: str, default: str, *hunted: str) -> Parameter:
    return Parameter(kind=ParameterKind.RANGE, about=about, default=default, hunted=hunted)


_CONTAINER: Final = Parameter(
    kind=ParameterKind.TEXT, about="which one; empty: all of the pod", default=""
)

FAULTS: Final = (
    FaultType(
        name="workload.kill",
        about="A pod's containers are killed: exit code 137, restarted by the pod's policy.",
        target=TargetKind.POD,
        strike=kill,
        lasting=False,
        parameters={"container": _CONTAINER},
    ),
    FaultType(
        name="workload.oom",
        about="A pod's containers are OOMKilled.",
        target=TargetKind.POD,
        strike=oom,
        lasting=False,
        parameters={"container": _CONTAINER},
    ),
    FaultType(
        name="workload.crash_loop",
        about="A pod's containers end with an error a drawn time after each start: CrashLoopBackOff.",
        target=TargetKind.POD,
        strike=crash_loop,
        parameters={"after": _span("from the start", "1s..10s", "1s..10s", "10s..60s")},
    ),
    FaultType(
        name="workload.hang",
        about="A pod's containers answer no probe; without a probe nothing notices.",
        target=TargetKind.POD,
        strike=hang,
    ),
    FaultType(
        name="workload.readiness_flap",
        about="A pod's readiness probes fail for a time, succeed for a time, and so on.",
        target=TargetKind.POD,
        strike=readiness_flap,
        parameters={
            "unready": _span("how long they fail", "10s..30s", "10s..30s", "1s..5s"),
            "ready": _span("how long then not", "10s..30s", "10s..30s", "1s..5s"),
        },
    ),
    FaultType(
        name="workload.surge",
        about="A workload is scaled by a factor, or to a number; healed it is scaled back, unless somebody else has scaled it.",
        target=TargetKind.OBJECT,
        strike=surge,
        parameters={
            "factor": Parameter(
                kind=ParameterKind.NUMBER, about="of replicas", default=2, hunted=(0, 2, 3)
            ),
            "replicas": Parameter(
                kind=ParameterKind.COUNT, about="to how many; 0: by the factor", default=0
            ),
        },
    ),
    FaultType(
        name="workload.rollout",
        about="A Deployment is restarted as by kubectl rollout restart.",
        target=TargetKind.OBJECT,
        strike=rollout,
        lasting=False,
    ),
    FaultType(
        name="workload.recreate",
        about="An object is deleted and made again at once under its name, with another uid.",
        target=TargetKind.OBJECT,
        strike=recreate,
        lasting=False,
    ),
)
