"""Faults of API servers: how each shows in the log, and that nothing of it is left."""

from __future__ import annotations

import pytest
import trio

import wavetank
from engine import Answer, ApiError, Json, Request, Verb
from tests.wavetank.faults.mirror import ACTOR, Mirror, mirrored, names, put, stored
from tests.wavetank.faults.residue import WEB, check_residue
from wavetank import BadInput, Cluster, ConfigMap, UnknownTarget
from wavetank.faults.residue import residue
from wavetank.faults.server import FAULTS

SERVER = "apiserver-0"
Heard = list[tuple[Verb, str]]


def listening(cluster: Cluster) -> Heard:
    """Verb and answer of what the mirror asks from now on."""
    heard: Heard = []

    def hear(request: Request, answer: Answer | ApiError) -> None:
        heard.append((request.verb, type(answer).__name__))

    cluster.chaos.world.seam(ACTOR).on_exchange(hear)
    return heard


@pytest.mark.parametrize("fault", [kind.name for kind in FAULTS])
def test_nothing_is_left(fault: str) -> None:
    """Over seeds with overlapping faults."""
    check_residue(fault)


@pytest.mark.parametrize("fault", [kind.name for kind in FAULTS])
def test_unknown_targets_are_refused(fault: str) -> None:
    """With the names that there are."""

    async def program(cluster: Cluster, _: Mirror) -> None:
        with pytest.raises(UnknownTarget, match="there are: apiserver-0, apiserver-1"):
            await cluster.chaos.strike(fault, "apiserver-2")

    mirrored(program, api_servers=2)


@pytest.mark.parametrize(
    ("fault", "parameters", "message"),
    [
        ("server.error", {"status": 418}, "418; allowed: 409, 429, 500, 503"),
        ("server.error", {"verb": "bind"}, "allowed: any, write"),
        ("server.error", {"kind": "Pods"}, "'Pods'; allowed"),
        ("server.latency", {"delay": "1"}, "no duration"),
        ("server.crash", {"delay": "1s"}, "no parameter 'delay'"),
    ],
)
def test_bad_parameters_are_refused(fault: str, parameters: dict[str, Json], message: str) -> None:
    """With what is allowed, and without a trace."""

    async def program(cluster: Cluster, _: Mirror) -> None:
        with pytest.raises(BadInput, match=message):
            await cluster.chaos.strike(fault, SERVER, **parameters)
        assert residue(cluster.chaos.world) == []

    mirrored(program)


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, "TooManyRequests"), (500, "InternalError"), (503, "Unavailable")],
)
def test_requests_are_refused_and_nothing_is_done(status: int, error: str) -> None:
    """The creates of one process fail until the heal; other requests pass."""

    async def program(cluster: Cluster, _: Mirror) -> None:
        heard = listening(cluster)
        await cluster.chaos.strike(
            "server.error",
            SERVER,
            30,
            status=status,
            verb="create",
            kind="ConfigMap",
            process="controller/m*",
            retry_after=1,
        )
        await put(cluster, "a", "1", copy="yes")
        await trio.sleep(29)
        assert await names(cluster) == ["a"]
        assert {*heard} == {(Verb.CREATE, error)}
        await trio.sleep(30)
        assert await names(cluster) == ["a", "copy-a"]
        assert heard[-1] == (Verb.CREATE, "ConfigMap")

    mirrored(program)


def test_conflicts_are_for_writes_to_what_exists() -> None:
    """Leases cannot be renewed and status cannot be written, while objects can be made; with a chance some pass."""

    async def main(cluster: Cluster) -> tuple[int, int]:
        await cluster.settled()
        heard: Heard = []

        def hear(request: Request, answer: Answer | ApiError) -> None:
            heard.append((request.verb, type(answer).__name__))

        cluster.chaos.world.seam("kubelet/node-0").on_exchange(hear)
        await cluster.chaos.strike("server.error", SERVER, 600, status=409, chance=0.5)
        await cluster.apply(WEB)
        await cluster.settled()
        await trio.sleep(300)
        assert {verb for verb, answer in heard if answer == "Conflict"} <= {
            Verb.UPDATE,
            Verb.PATCH,
            Verb.DELETE,
        }
        refused = [answer for _, answer in heard if answer == "Conflict"]
        return len(refused), len(heard)

    refused, asked = wavetank.run(main, nodes=1, seed=1).value
    assert 10 < refused < asked - 10


@pytest.mark.parametrize("applied", [True, False])
def test_requests_time_out(applied: bool) -> None:
    """The caller gets Timeout; what it asked for is there, or never will be by that request."""

    async def program(cluster: Cluster, mirror: Mirror) -> None:
        active = await cluster.chaos.strike(
            "server.timeout", SERVER, applied=applied, kind="ConfigMap", verb="write"
        )
        await put(cluster, "a", "1", copy="yes")
        await trio.sleep(1)
        assert ("copy-a" in await names(cluster)) is applied
        await trio.sleep(120)
        assert mirror.failed == ["Timeout"]
        await active.heal()
        await trio.sleep(60)
        assert ("copy-a" in await names(cluster)) is applied

    mirrored(program)


def test_a_request_that_hangs_ends_with_the_fault() -> None:
    """What was applied is answered, what was not is refused; nobody waits any longer."""

    async def program(cluster: Cluster, _: Mirror) -> None:
        for name, applied, answer in (("a", True, "ConfigMap"), ("b", False, "Timeout")):
            heard = listening(cluster)
            active = await cluster.chaos.strike(
                "server.timeout", SERVER, applied=applied, kind="ConfigMap", verb="write"
            )
            await put(cluster, name, "1", copy="yes")
            await trio.sleep(5)
            assert heard == []
            await active.heal()
            await trio.sleep(0.1)
            assert heard == [(Verb.CREATE, answer)]

    mirrored(program)


def test_requests_take_longer() -> None:
    """Ten seconds each, and none after the heal."""

    async def program(cluster: Cluster, _: Mirror) -> None:
        active = await cluster.chaos.strike("server.latency", SERVER, delay="10s")
        await put(cluster, "a", "1", copy="yes")
        await trio.sleep(9.9)
        assert await names(cluster) == ["a"]
        await trio.sleep(0.2)
        assert await names(cluster) == ["a", "copy-a"]
        await put(cluster, "b", "1", copy="yes")
        await trio.sleep(1)
        await active.heal()
        await trio.sleep(0.1)
        assert "copy-b" in await names(cluster)

    mirrored(program)


def test_while_the_only_server_is_down_nobody_but_the_user_gets_through() -> None:
    """Processes are refused and their watches end; what the user and chaos do is done all the same."""

    async def program(cluster: Cluster, mirror: Mirror) -> None:
        await trio.sleep(5)
        active = await cluster.chaos.strike("server.crash", SERVER)
        mirror.told.clear()
        began = cluster.log.head
        await put(cluster, "a", "1", copy="yes")
        await cluster.chaos.strike("link.delay", ACTOR, 1)
        await trio.sleep(30)
        actors = {event.origin.actor for event in cluster.log.store.history(began + 1)}
        assert actors == {"user", "chaos"}
        assert mirror.told == []
        assert await names(cluster) == ["a"]
        assert residue(cluster.chaos.world) == [
            "apiserver-0: kept down by server.crash strike-1",
            "apiserver-0: down",
        ]
        await active.heal()
        await trio.sleep(60)
        assert await names(cluster) == ["a", "copy-a"]
        assert mirror.shown() == await stored(cluster)
        assert residue(cluster.chaos.world) == []
        await cluster.settled()

    mirrored(program)


def test_a_restarted_server_serves_the_same_cluster() -> None:
    """Every watch is opened anew, nothing is lost, names are not given twice."""

    async def program(cluster: Cluster, mirror: Mirror) -> None:
        await put(cluster, "a", "1", copy="yes")
        await trio.sleep(5)
        active = await cluster.chaos.strike("server.restart", SERVER)
        assert active.healed
        await put(cluster, "b", "1", copy="yes")
        await cluster.apply(WEB)
        await cluster.settled()
        await trio.sleep(60)
        assert mirror.told.count("added b 1") == 1
        assert mirror.shown() == await stored(cluster)
        uids = [
            each.metadata.uid for each in cluster.view.list("Pod") + cluster.view.list("ReplicaSet")
        ]
        assert len({*uids}) == len(uids)

    mirrored(program)


def test_with_several_servers_the_processes_change_over() -> None:
    """Each process has a server; when that is down or paused the next one takes over, and nothing stops."""

    async def main(cluster: Cluster) -> None:
        await cluster.settled()
        routes = cluster.chaos.world.routes
        at_first = {name: route.server.name for name, route in routes.items()}
        assert [*at_first.values()] == [f"apiserver-{n % 3}" for n in range(len(at_first))]
        crash = await cluster.chaos.strike("server.crash", "apiserver-0")
        pause = await cluster.chaos.strike("process.pause", "apiserver-2")
        await cluster.apply(WEB)
        await cluster.settled()
        await trio.sleep(120)
        assert all(node.ready for node in cluster.view.nodes())
        assert {route.server.name for route in routes.values()} == {"apiserver-1"}
        await crash.heal()
        await pause.heal()
        await trio.sleep(60)
        assert {route.server.name for route in routes.values()} == {"apiserver-1"}
        assert residue(cluster.chaos.world) == []

    assert wavetank.run(main, nodes=3, seed=1, api_servers=3).passed


def test_several_servers_give_every_object_a_uid_of_its_own() -> None:
    """Objects made, deleted and made again through different servers at one moment; equal seeds give equal logs."""

    async def main(cluster: Cluster) -> list[str]:
        await cluster.apply(WEB)
        await cluster.settled()
        for server in ("apiserver-0", "apiserver-1") * 3:
            await put(cluster, "again", "1")
            await cluster.chaos.strike("server.restart", server)
            await cluster.client.delete(ConfigMap, "again", "default")
        return [
            event.value.metadata.uid
            for event in cluster.log.store.history()
            if event.created and event.key.startswith("/registry/")
        ]

    first, again = (wavetank.run(main, nodes=2, seed=3, api_servers=2) for _ in range(2))

    assert len({*first.value}) == len(first.value)
    assert first.digest == again.digest


def test_a_cluster_has_a_server() -> None:
    """None is a mistake."""

    async def main(_: Cluster) -> None:
        """Nothing to do."""

    with pytest.raises(BadInput, match="api_servers is 0"):
        wavetank.run(main, api_servers=0)
