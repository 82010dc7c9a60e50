"""Faults of kubelets: heartbeats, the way to the API server, what they see and say, pulls, and the process itself."""

from __future__ import annotations

from typing import Final

import trio

from engine import NO_TIME, DurationRange
from sim_nodes import Effect, NodeHandle, PullTrouble
from wavetank.faults.background import Background
from wavetank.faults.model import (
    Blow,
    FaultType,
    Heal,
    NoEffect,
    Parameter,
    ParameterKind,
    TargetKind,
    releasing,
)
from wavetank.faults.workload import on_node, running
from wavetank.faults.world import World

_KILLED: Final = 137


async def heartbeats_lost(blow: Blow) -> Heal:
    """Neither lease nor status is renewed."""
    return _releasing(blow.world.node(blow.target).disturbances.silent.add(None, blow.id))


async def heartbeats_late(blow: Blow) -> Heal:
    """Each is sent a drawn time late."""
    node = blow.world.node(blow.target)
    return _releasing(node.disturbances.late.add(blow.span("delay"), blow.id))


async def heartbeats_flap(blow: Blow) -> Heal:
    """Lost for a time, sent for a time, and so on."""
    node, draws = blow.world.node(blow.target), blow.world.draws
    lost, sent = blow.span("lost"), blow.span("sent")

    async def flap() -> None:
        for turn in range(1 << 62):
            silence = node.disturbances.silent.add(None, blow.id)
            try:
                await trio.sleep(draws.duration(f"{blow.id}/lost", turn, lost))
            finally:
                silence.release()
            await trio.sleep(draws.duration(f"{blow.id}/sent", turn, sent))

    return Background.start(blow.world.nursery, flap, f"{blow.id} heartbeats").stop


async def cut_off(blow: Blow) -> Heal:
    """A partition; its pods go on, and it does what it had been told."""
    link = blow.world.node(blow.target).link
    holds = link.partition(reason=blow.id)

    return releasing(*holds)


async def status_lies(blow: Blow) -> Heal:
    """The kubelet sees nothing of one pod any more, whose containers may die at this very moment."""
    world = blow.world
    pod, node = on_node(blow)
    uid, now = pod.metadata.uid, world.clock.now_ns()
    effect = node.disturbances.disturb(uid).blind.add(None, blow.id)
    if blow.flag("kill"):
        for record in running(blow, pod, node):
            node.runtime.kill(record, now, _KILLED, "Error")

    async def heal() -> None:
        node.disturbances.relieve(uid, effect)
        node.kubelet.poke(uid)

    return heal


async def stuck_termination(blow: Blow) -> Heal:
    """Containers run on, whatever the kubelet wants."""
    node = blow.world.node(blow.target)
    effect = node.disturbances.stuck.add(None, blow.id)

    async def heal() -> None:
        effect.release()
        node.kubelet.look_again()

    return heal


async def pull_slow(blow: Blow) -> Heal:
    """Those that begin while it lasts."""
    trouble = PullTrouble(blow.text("image"), blow.span("extra"))
    return _pulling(blow, trouble)


async def pull_failing(blow: Blow) -> Heal:
    """Those that begin while it lasts."""
    return _pulling(blow, PullTrouble(blow.text("image"), NO_TIME, blow.text("error")))


def _pulling(blow: Blow, trouble: PullTrouble) -> Heal:
    node = blow.world.node(blow.target)
    effect = node.disturbances.pulls.add(trouble, blow.id)

    async def heal() -> None:
        effect.release()
        node.runtime.puller.relieve(effect, blow.world.clock.now_ns())
        node.kubelet.look_again()

    return heal


async def pause(blow: Blow) -> Heal:
    """As by SIGSTOP; the containers run on."""
    hold = _living(blow).process.pause(blow.id)

    return releasing(hold)


async def restart(blow: Blow) -> None:
    """Killed and started with empty memory; the containers run on."""
    await _living(blow).restart_kubelet()


def _living(blow: Blow) -> NodeHandle:
    node = blow.world.node(blow.target)
    if not node.process.living:
        raise NoEffect("the kubelet is down")
    return node


def _releasing(effect: Effect[None] | Effect[DurationRange]) -> Heal:
    return releasing(effect)


def residue(world: World) -> list[str]:
    """What disturbs kubelets, their runtimes and the pods there; who holds their processes and cuts their links, those families tell."""
    return [
        f"node {node.name}: {line}"
        for node in world.nodes.values()
        for line in node.disturbances.in_force()
    ]


_IMAGE: Final = Parameter(
    kind=ParameterKind.TEXT, about="a shell pattern on the image as pods name it", default="*"
)


def _span(about: str, default: str, *hunted: str) -> Parameter:
    return Parameter(kind=ParameterKind.RANGE, about=about, default=default, hunted=hunted)


FAULTS: Final = (
    FaultType(
        name="kubelet.heartbeats_lost",
        about="Lease and node status are not renewed, while all else works.",
        target=TargetKind.NODE,
        strike=heartbeats_lost,
    ),
    FaultType(
        name="kubelet.heartbeats_late",
        about="Each renewal of lease and node status comes a drawn time late.",
        target=TargetKind.NODE,
        strike=heartbeats_late,
        parameters={
            "delay": _span("of each", "5s..30s", "1s..10s", "20s..60s"),
        },
    ),
    FaultType(
        name="kubelet.heartbeats_flap",
        about="Lease and node status are not renewed for a time, then renewed for a time, and so on.",
        target=TargetKind.NODE,
        strike=heartbeats_flap,
        parameters={
            "lost": _span("how long not", "50s..90s", "50s..90s", "5s..60s"),
            "sent": _span("how long then", "15s..30s", "15s..30s", "5s..60s"),
        },
    ),
    FaultType(
        name="kubelet.cut_off",
        about="The kubelet does not reach the API server; its pods run on, and beside their replacements once they are evicted.",
        target=TargetKind.NODE,
        strike=cut_off,
    ),
    FaultType(
        name="kubelet.status_lies",
        about="The kubelet says of a pod what it said last, though its containers are dead.",
        target=TargetKind.POD,
        strike=status_lies,
        parameters={
            "kill": Parameter(
                kind=ParameterKind.FLAG,
                about="whether its containers die as it begins",
                default=True,
                hunted=(True, False),
            )
        },
    ),
    FaultType(
        name="kubelet.stuck_termination",
        about="The node's runtime hangs when it is told to stop a pod: no pod there comes to its end.",
        target=TargetKind.NODE,
        strike=stuck_termination,
    ),
    FaultType(
        name="kubelet.pull_slow",
        about="Image pulls on the node take a drawn time longer.",
        target=TargetKind.NODE,
        strike=pull_slow,
        parameters={"extra": _span("on top", "10s..60s", "10s..60s", "2m..5m"), "image": _IMAGE},
    ),
    FaultType(
        name="kubelet.pull_failing",
        about="Image pulls on the node fail: ErrImagePull, then ImagePullBackOff.",
        target=TargetKind.NODE,
        strike=pull_failing,
        parameters={
            "error": Parameter(
                kind=ParameterKind.TEXT,
                about="what the registry says",
                default="rpc error: code = Unavailable desc = failed to pull and unpack image: connection refused",
            ),
            "image": _IMAGE,
        },
    ),
    FaultType(
        name="kubelet.pause",
        about="The kubelet is stopped as by SIGSTOP; its containers run on.",
        target=TargetKind.NODE,
        strike=pause,
    ),
    FaultType(
        name="kubelet.restart",
        about="The kubelet is killed and started with empty memory; its containers run on.",
        target=TargetKind.NODE,
        strike=restart,
        lasting=False,
    ),
)
