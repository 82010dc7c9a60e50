"""Faults of machines: power, standing still, slowness, clocks, and what runs out."""

from __future__ import annotations

from typing import Final

from sim_nodes import NodeHandle, Pressure, PressureKind
from wavetank.errors import BadInput
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
from wavetank.faults.world import World


async def crash(blow: Blow) -> Heal:
    """Power off; healed by power on, as after a reboot that loses the containers."""
    node = blow.world.node(blow.target)
    if node.down:
        raise NoEffect("the node is down")
    return await _power_off([node])


async def zone_outage(blow: Blow) -> Heal:
    """All at once; healed by power on for those that it took it from."""
    nodes = [node for node in blow.world.in_zone(blow.target) if not node.down]
    if not nodes:
        raise NoEffect("all nodes of the zone are down")
    return await _power_off(nodes)


async def _power_off(nodes: list[NodeHandle]) -> Heal:
    downs: list[tuple[NodeHandle, int]] = []
    for node in nodes:
        if not node.down:  # another fault may have been quicker while those before it went down
            downs.append((node, node.runtime.downs + 1))
            await node.crash()

    async def heal() -> None:
        for node, down in downs:
            # Somebody else may have started it, and it may have crashed again since: that is another fault's.
            if node.down and node.runtime.downs == down and not node.retired:
                await node.restart("lost")

    return heal


async def reboot(blow: Blow) -> None:
    """Off and on again at once."""
    node = blow.world.node(blow.target)
    if node.down:
        raise NoEffect("the node is down")
    await node.restart("kept" if blow.text("containers") == "kept" else "lost")


async def poweroff(blow: Blow) -> None:
    """Off, and no heal of another fault brings it back."""
    node = blow.world.node(blow.target)
    if node.retired:
        raise NoEffect("the node is off for good")
    node.retired = True
    await node.crash()


async def pause(blow: Blow) -> Heal:
    """Kubelet and containers stand still."""
    node = blow.world.node(blow.target)
    if node.down or not node.process.living:
        raise NoEffect("the node is down")
    held = node.pause(blow.id)

    return releasing(held)


async def slow(blow: Blow) -> Heal:
    """The kubelet takes its time, and the runtime too."""
    node, factor = blow.world.node(blow.target), blow.number("factor")
    if factor < 1:
        raise BadInput(f"parameters.factor: {factor:g}; allowed: a number, 1 or more")
    waits = node.disturbances.slow.add(blow.span("delay"), blow.id)
    slowdown = node.disturbances.slowdown.add(factor, blow.id)

    async def heal() -> None:
        waits.release()
        slowdown.release()
        node.runtime.puller.relieve(slowdown, blow.world.clock.now_ns())
        node.kubelet.look_again()

    return heal


async def clock(blow: Blow) -> Heal:
    """The calendar jumps, and drifts on from there; healed it jumps back."""
    node, world = blow.world.node(blow.target), blow.world
    drift = blow.number("drift")
    if abs(drift) > 0.5:
        raise BadInput(f"parameters.drift: {drift:g}; allowed: a number from -0.5 to 0.5")
    error = node.disturbances.calendar.err(
        offset_us=round(blow.number("offset") * 1e6),
        drift_ppm=round(drift * 1e6),
        reason=blow.id,
        now=world.clock.now_ns(),
    )
    node.kubelet.look_again()

    async def heal() -> None:
        error.end(world.clock.now_ns())
        node.kubelet.look_again()

    return heal


async def pressure(blow: Blow) -> Heal:
    """The kubelet sees a shortage; its condition stays 5 minutes longer, as Kubernetes has it."""
    node = blow.world.node(blow.target)
    kind = PressureKind[blow.text("kind").upper()]
    shortage = node.disturbances.pressure.add(Pressure(kind, blow.count("evictions")), blow.id)
    node.kubelet.look_again()

    async def heal() -> None:
        shortage.release()
        node.kubelet.look_again()

    return heal


def residue(world: World) -> list[str]:
    """What is wrong with the machines; what disturbs their kubelets is the kubelets' residue."""
    lines = []
    for node in world.nodes.values():
        if node.down and not node.retired:
            lines.append(f"node {node.name}: down")
        lines += [
            f"node {node.name}: stands still by {each.reason}" for each in node.runtime.frozen
        ]
    return lines


FAULTS: Final = (
    FaultType(
        name="node.crash",
        about="The node loses its power: kubelet and containers are gone at once, and nobody says so.",
        target=TargetKind.NODE,
        strike=crash,
    ),
    FaultType(
        name="node.reboot",
        about="The node goes down and comes back at once.",
        target=TargetKind.NODE,
        strike=reboot,
        lasting=False,
        parameters={
            "containers": Parameter(
                kind=ParameterKind.CHOICE,
                about="what becomes of its containers",
                default="lost",
                choices=("lost", "kept"),
                hunted=("lost", "kept"),
            )
        },
    ),
    FaultType(
        name="node.poweroff",
        about="The node loses its power for good: no heal brings it back.",
        target=TargetKind.NODE,
        strike=poweroff,
        lasting=False,
        hunted=False,
    ),
    FaultType(
        name="node.pause",
        about="The whole machine stands still, as a virtual one that is suspended; when it goes on, time has passed.",
        target=TargetKind.NODE,
        strike=pause,
    ),
    FaultType(
        name="node.slow",
        about="The kubelet takes a drawn time before each thing it does; pulls and starts take several times as long.",
        target=TargetKind.NODE,
        strike=slow,
        parameters={
            "delay": Parameter(
                kind=ParameterKind.RANGE,
                about="before each thing the kubelet does",
                default="0s..500ms",
                hunted=("0s..500ms", "1s..5s"),
            ),
            "factor": Parameter(
                kind=ParameterKind.NUMBER,
                about="how many times as long pulls and starts take, 1 or more",
                default=4,
                hunted=(1, 4, 20),
            ),
        },
    ),
    FaultType(
        name="node.clock",
        about="The node's clock is wrong: the times the kubelet writes are off by an offset, and drift.",
        target=TargetKind.NODE,
        strike=clock,
        parameters={
            "offset": Parameter(
                kind=ParameterKind.NUMBER,
                about="seconds by which it jumps ahead; back when negative",
                default=300,
                hunted=(-3600, -60, 60, 3600),
            ),
            "drift": Parameter(
                kind=ParameterKind.NUMBER,
                about="seconds it gains in each second, -0.5 to 0.5",
                default=0,
                hunted=(0, 0.1, -0.1),
            ),
        },
    ),
    FaultType(
        name="node.pressure",
        about="The node runs out of something: its condition and taint say so, pods are refused, and some evicted one by one.",
        target=TargetKind.NODE,
        strike=pressure,
        parameters={
            "kind": Parameter(
                kind=ParameterKind.CHOICE,
                about="of what",
                default="disk",
                choices=("disk", "memory", "pid"),
                hunted=("disk", "memory", "pid"),
            ),
            "evictions": Parameter(
                kind=ParameterKind.COUNT,
                about="how many pods the kubelet evicts at the most, one every 10 s",
                default=1,
                hunted=(0, 1, 3),
            ),
        },
    ),
    FaultType(
        name="node.zone_outage",
        about="All nodes of a zone lose their power at once; healed, those come back that it took.",
        target=TargetKind.ZONE,
        strike=zone_outage,
    ),
)
