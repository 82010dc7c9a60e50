"""Faults of the network: how each shows in the log, and that nothing of it is left."""

from __future__ import annotations

import pytest
import trio

import wavetank
from engine import Answer, ApiError, Draws, Json, Request, Timeout
from tests.wavetank.faults.mirror import (
    ACTOR,
    Mirror,
    mirrored,
    names,
    put,
    stored,
)
from tests.wavetank.faults.residue import WEB, check_residue
from wavetank import BadInput, Cluster, Pod, UnknownTarget
from wavetank.faults.link import FAULTS
from wavetank.faults.residue import residue

ONE_LINK = [kind.name for kind in FAULTS if kind.name not in ("link.ring", "link.bridge")]
MANY = ["link.ring", "link.bridge"]


async def elapsed_until_copy(cluster: Cluster) -> float:
    """Seconds from the change of `a` until its copy is in the log."""
    began = cluster.clock.now()
    await put(cluster, "a", "1", copy="yes")
    await cluster.until(
        lambda view: any(each.metadata.name == "copy-a" for each in view.list("ConfigMap")), "5m"
    )
    return cluster.clock.now() - began


@pytest.mark.parametrize("fault", ONE_LINK)
def test_nothing_is_left(fault: str) -> None:
    """Over seeds with restarted targets and overlapping faults."""
    check_residue(fault)


@pytest.mark.parametrize("fault", ONE_LINK)
def test_unknown_targets_are_refused(fault: str) -> None:
    """With the names that there are; an API server has no link."""

    async def program(cluster: Cluster, _: Mirror) -> None:
        for target in ("node-0", "apiserver-0"):
            with pytest.raises(UnknownTarget, match=r"there are: .*kubelet/node-0"):
                await cluster.chaos.strike(fault, target)

    mirrored(program)


@pytest.mark.parametrize(
    ("fault", "parameters", "message"),
    [
        ("link.partition", {"direction": "up"}, "allowed: to-server, to-client, both"),
        ("link.partition", {"direction": "to-server", "server": "apiserver-0"}, "only both ways"),
        ("link.loss", {"chance": 1}, "under 1"),
        ("link.delay", {"delay": "fast"}, "no duration"),
        ("link.duplicate", {"kind": "Pods"}, "'Pods'; allowed"),
        ("link.answer_lost", {"verb": "get"}, "allowed: write, create"),
    ],
)
def test_bad_parameters_are_refused(fault: str, parameters: dict[str, Json], message: str) -> None:
    """With what is allowed, and without a trace."""

    async def program(cluster: Cluster, _: Mirror) -> None:
        with pytest.raises(BadInput, match=message):
            await cluster.chaos.strike(fault, ACTOR, **parameters)
        assert residue(cluster.chaos.world) == []

    mirrored(program)


@pytest.mark.parametrize("direction", ["both", "to-server", "to-client"])
@pytest.mark.parametrize("fault", ["link.partition", "link.clog"])
def test_nothing_passes_until_the_heal(fault: str, direction: str) -> None:
    """The process hears of the change when it is healed; with its requests cut, it hears and cannot act."""

    async def program(cluster: Cluster, mirror: Mirror) -> None:
        mirror.told.clear()
        await cluster.chaos.strike(fault, ACTOR, 30, direction=direction)
        took = await elapsed_until_copy(cluster)
        assert 30 <= took < 45
        heard = mirror.told[0]
        assert heard == "added a 1"

    mirrored(program)


def test_a_partition_from_the_only_server_holds_requests() -> None:
    """With one server there is no other to go to."""

    async def program(cluster: Cluster, _: Mirror) -> None:
        await cluster.chaos.strike("link.partition", ACTOR, 30, server="apiserver-0")
        assert residue(cluster.chaos.world) == [
            f"route {ACTOR}: cut off from apiserver-0: link.partition strike-1"
        ]
        assert 30 <= await elapsed_until_copy(cluster) < 45
        assert residue(cluster.chaos.world) == []
        with pytest.raises(UnknownTarget, match="no API server is called 'apiserver-1'"):
            await cluster.chaos.strike("link.partition", ACTOR, server="apiserver-1")

    mirrored(program)


def test_messages_take_longer() -> None:
    """The news, the request and its answer: ten seconds each."""

    async def program(cluster: Cluster, mirror: Mirror) -> None:
        await cluster.chaos.strike("link.delay", ACTOR, 60, delay="10s")
        assert await elapsed_until_copy(cluster) == pytest.approx(20)
        assert mirror.failed == []

    mirrored(program)


def test_lost_messages_are_sent_again() -> None:
    """Half of them lost, it takes 0.2 s, 0.6 s, 1.4 s or more, and never fails."""

    async def program(cluster: Cluster, mirror: Mirror) -> None:
        await cluster.chaos.strike("link.loss", ACTOR, 300, chance=0.6)
        took = await elapsed_until_copy(cluster)
        assert round(took / 0.2, 6) in range(1, 1500)
        assert mirror.failed == []

    mirrored(program)


def test_reordered_requests_overtake() -> None:
    """Pods that one controller makes at one moment come into the log over seconds; all of them come."""

    async def main(cluster: Cluster) -> list[float]:
        await cluster.chaos.strike("link.reorder", "controller/replicaset", 30, delay="1s..9s")
        await cluster.apply(WEB.replace("replicas: 3", "replicas: 9"))
        await cluster.settled()
        return [
            event.time_ns / 1e9
            for event in cluster.log.store.history()
            if event.created and isinstance(event.value, Pod)
        ]

    created = wavetank.run(main, nodes=3, seed=1).value

    assert len(created) == 9
    assert len({*created}) > 3


def test_a_write_arrives_twice() -> None:
    """A create under a given name is refused the second time; pods with generated names come twice, and are taken back."""

    async def main(cluster: Cluster) -> tuple[int, int]:
        await cluster.chaos.strike(
            "link.duplicate", "controller/replicaset", 30, verb="create", kind="Pod", delay="1s"
        )
        await cluster.apply(WEB)
        await cluster.settled()
        created = [
            event
            for event in cluster.log.store.history()
            if event.created and isinstance(event.value, Pod)
        ]
        await trio.sleep(60)
        return len(created), len(cluster.view.pods())

    assert wavetank.run(main, nodes=3, seed=1).value == (6, 3)


@pytest.mark.parametrize(("count", "lost"), [(1, 1), (2, 2), (0, 3)])
def test_answers_are_lost(count: int, lost: int) -> None:
    """The write is there, the caller gets Timeout after its time-out; so many, or all."""

    async def program(cluster: Cluster, mirror: Mirror) -> None:
        active = await cluster.chaos.strike("link.answer_lost", ACTOR, count=count)
        answers = list[str]()

        def hear(_: Request, answer: Answer | ApiError) -> None:
            answers.append(type(answer).__name__)

        cluster.chaos.world.seam(ACTOR).on_exchange(hear)
        for name in ("a", "b", "c"):
            await put(cluster, name, "1", copy="yes")
            await trio.sleep(120)
            assert f"copy-{name}" in await names(cluster)
        assert answers == [Timeout.__name__] * lost + ["ConfigMap"] * (3 - lost)
        await active.heal()
        await put(cluster, "d", "1", copy="yes")
        await trio.sleep(1)
        assert answers[-1] == "ConfigMap"
        assert mirror.shown() == await stored(cluster)

    mirrored(program)


def test_partitions_among_servers_need_several() -> None:
    """With one server they are a mistake."""

    async def program(cluster: Cluster, _: Mirror) -> None:
        for fault in MANY:
            with pytest.raises(BadInput, match="two or more"):
                await cluster.chaos.strike(fault)
        assert residue(cluster.chaos.world) == []

    mirrored(program)


def test_in_a_ring_each_process_sees_all_servers_but_one() -> None:
    """And all work goes on."""

    async def main(cluster: Cluster) -> None:
        routes, servers = cluster.chaos.world.routes, tuple(cluster.servers.handles.values())
        await cluster.settled()
        active = await cluster.chaos.strike("link.ring", processes="kubelet/*")
        seen = {
            name: [server.name for server in servers if route.reaches(server)]
            for name, route in routes.items()
            if name.startswith("kubelet/")
        }
        assert seen == {
            "kubelet/node-0": ["apiserver-1", "apiserver-2"],
            "kubelet/node-1": ["apiserver-0", "apiserver-2"],
            "kubelet/node-2": ["apiserver-0", "apiserver-1"],
        }
        assert all(routes[name].server.name in seen[name] for name in seen)
        with pytest.raises(UnknownTarget, match="no process matches 'x'"):
            await cluster.chaos.strike("link.ring", processes="x")
        await cluster.apply(WEB)
        await cluster.settled()
        await active.heal()
        assert residue(cluster.chaos.world) == []

    assert wavetank.run(main, nodes=3, seed=1, api_servers=3).passed


def test_a_bridge_reaches_both_halves() -> None:
    """All others reach one half of the servers; work goes on, as there is one store."""

    async def main(cluster: Cluster) -> None:
        servers = tuple(cluster.servers.handles.values())
        await cluster.settled()
        active = await cluster.chaos.strike("link.bridge", bridge="kubelet/node-1")
        seen = {
            name: tuple(server.name for server in servers if route.reaches(server))
            for name, route in cluster.chaos.world.routes.items()
        }
        assert seen.pop("kubelet/node-1") == ("apiserver-0", "apiserver-1")
        assert {*seen.values()} == {("apiserver-0",), ("apiserver-1",)}
        with pytest.raises(UnknownTarget, match="no process is called 'x'"):
            await cluster.chaos.strike("link.bridge", bridge="x")
        await cluster.apply(WEB)
        await cluster.settled()
        await active.heal()
        assert residue(cluster.chaos.world) == []

    assert wavetank.run(main, nodes=3, seed=1, api_servers=2).passed


@pytest.mark.parametrize("fault", MANY)
def test_partitions_among_servers_leave_nothing(fault: str) -> None:
    """Overlapping with each other and with servers that crash."""
    for seed in range(5):

        async def main(cluster: Cluster, seed: int = seed) -> None:
            draws = Draws(seed)
            await cluster.apply(WEB)
            async with trio.open_nursery() as nursery:

                async def strike(kind: str, target: str, number: int) -> None:
                    await trio.sleep(draws.uniform("at", number, 0, 40))
                    await cluster.chaos.strike(kind, target, draws.uniform("for", number, 0, 60))

                for number, each in enumerate((fault, fault, *MANY)):
                    nursery.start_soon(strike, each, "", number)
                nursery.start_soon(strike, "server.crash", f"apiserver-{seed % 3}", 7)
                nursery.start_soon(strike, "process.pause", f"apiserver-{(seed + 1) % 3}", 8)
            await trio.sleep(10)
            await cluster.chaos.heal_all()
            assert residue(cluster.chaos.world) == []
            await cluster.settled("30m")

        wavetank.run(main, nodes=2, seed=seed, api_servers=3)
