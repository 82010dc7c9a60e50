"""Faults of what a process is told: how each shows, and that the view is the log's again after the heal."""

from __future__ import annotations

import pytest
import trio

from engine import Verb
from tests.wavetank.faults.mirror import ACTOR, Mirror, mirrored, names, put, stored
from tests.wavetank.faults.residue import check_residue
from wavetank import BadInput, Cluster, ConfigMap, UnknownTarget
from wavetank.faults.residue import residue
from wavetank.faults.watch import FAULTS


async def drop(cluster: Cluster, name: str) -> None:
    await cluster.client.delete(ConfigMap, name, "default")


async def is_the_log(cluster: Cluster, mirror: Mirror) -> bool:
    """Whether what the process sees is what the log has, and no fault is left."""
    await trio.sleep(5)
    return mirror.shown() == await stored(cluster) and residue(cluster.chaos.world) == []


@pytest.mark.parametrize("fault", [kind.name for kind in FAULTS])
def test_nothing_is_left(fault: str) -> None:
    """Over seeds with restarted targets and overlapping faults."""
    check_residue(fault)


@pytest.mark.parametrize("fault", [kind.name for kind in FAULTS])
def test_unknown_targets_and_kinds_are_refused(fault: str) -> None:
    """With the names that there are."""

    async def program(cluster: Cluster, _: Mirror) -> None:
        with pytest.raises(UnknownTarget, match=r"there are: .*controller/mirror"):
            await cluster.chaos.strike(fault, "controller/mirrors")
        with pytest.raises(BadInput, match=r"'Pods'; allowed: .*Pod"):
            await cluster.chaos.strike(fault, ACTOR, kind="Pods")

    mirrored(program)


def test_a_broken_watch_is_opened_anew() -> None:
    """It sees each change once."""

    async def program(cluster: Cluster, mirror: Mirror) -> None:
        mirror.told.clear()
        await put(cluster, "a", "1")
        await trio.sleep(5)
        await cluster.chaos.strike("watch.broken", ACTOR)
        await trio.sleep(5)
        opened = cluster.server.statistics().watches_opened
        active = await cluster.chaos.strike("watch.broken", ACTOR, kind="ConfigMap")
        await put(cluster, "a", "2")
        assert active.healed
        assert await is_the_log(cluster, mirror)
        assert mirror.told == ["added a 1", "updated a 2"]
        assert cluster.server.statistics().watches_opened == opened + 1

    mirrored(program)


@pytest.mark.parametrize("fault", ["watch.stalled", "watch.pinned"])
def test_a_silent_watch_tells_everything_at_the_heal(fault: str) -> None:
    """Not one change for a minute, then all of them, one by one; writes are right meanwhile."""

    async def program(cluster: Cluster, mirror: Mirror) -> None:
        await put(cluster, "a", "1")
        await trio.sleep(1)
        mirror.told.clear()
        active = await cluster.chaos.strike(fault, ACTOR)
        await put(cluster, "a", "2")
        await put(cluster, "a", "3")
        await put(cluster, "b", "1")
        await drop(cluster, "a")
        await trio.sleep(60)
        assert mirror.told == []
        await active.heal()
        assert await is_the_log(cluster, mirror)
        assert mirror.told == ["updated a 2", "updated a 3", "added b 1", "deleted a 3"]

    mirrored(program)


def test_a_stall_is_of_one_kind() -> None:
    """Other watches of the process go on."""

    async def program(cluster: Cluster, mirror: Mirror) -> None:
        mirror.told.clear()
        await cluster.chaos.strike("watch.stalled", ACTOR, 30, kind="Pod")
        await put(cluster, "a", "1")
        await trio.sleep(1)
        assert mirror.told == ["added a 1"]

    mirrored(program)


def test_delayed_changes_come_later() -> None:
    """After the delay, and after the heal at once."""

    async def program(cluster: Cluster, mirror: Mirror) -> None:
        mirror.told.clear()
        active = await cluster.chaos.strike("watch.delayed", ACTOR, delay="10s")
        await put(cluster, "a", "1")
        await trio.sleep(9.9)
        assert mirror.told == []
        await trio.sleep(0.2)
        assert mirror.told == ["added a 1"]
        await put(cluster, "a", "2")
        await trio.sleep(1)
        await active.heal()
        assert await is_the_log(cluster, mirror)
        assert mirror.told == ["added a 1", "updated a 2"]

    mirrored(program)


@pytest.mark.parametrize(
    ("across", "told"),
    [
        (False, ["deleted a 1", "added a 4"]),
        (True, ["updated a 4"]),
    ],
)
def test_states_between_are_skipped(across: bool, told: list[str]) -> None:
    """Of an object the last state is told; what came and went was never there."""

    async def program(cluster: Cluster, mirror: Mirror) -> None:
        await put(cluster, "a", "1")
        await trio.sleep(1)
        mirror.told.clear()
        await cluster.chaos.strike(
            "watch.skipped", ACTOR, 60, window="10s", across_recreation=across
        )
        for x in ("2", "3"):
            await put(cluster, "a", x)
            await trio.sleep(1)
        await put(cluster, "short", "1")
        await trio.sleep(1)
        await drop(cluster, "short")
        await drop(cluster, "a")
        await put(cluster, "a", "4")
        await trio.sleep(60)
        assert mirror.told == [line.replace("deleted a 1", "deleted a 3") for line in told]
        assert await is_the_log(cluster, mirror)

    mirrored(program)


def test_gone_makes_the_process_list_again() -> None:
    """Each watch is refused twice; it lists, and sees what happened meanwhile."""

    async def program(cluster: Cluster, mirror: Mirror) -> None:
        mirror.told.clear()
        await trio.sleep(5)
        asked = list[Verb]()
        cluster.chaos.world.seam(ACTOR).on_exchange(lambda request, _: asked.append(request.verb))
        active = await cluster.chaos.strike("watch.gone", ACTOR, times=2)
        await put(cluster, "a", "1")
        await put(cluster, "a", "2")
        await trio.sleep(30)
        assert mirror.told == ["added a 2"]  # what was between two lists is not told
        assert asked == [Verb.LIST, Verb.LIST]
        await active.heal()
        assert await is_the_log(cluster, mirror)

    mirrored(program)


def test_a_pinned_process_that_restarts_lists_the_past() -> None:
    """Its lists show the revision of the strike; what it reads as the newest, and what it writes, is right."""

    async def program(cluster: Cluster, mirror: Mirror) -> None:
        await put(cluster, "a", "1")
        await trio.sleep(1)
        active = await cluster.chaos.strike("watch.pinned", ACTOR)
        pinned = await stored(cluster)
        await put(cluster, "a", "2", copy="yes")
        await put(cluster, "b", "1")
        await cluster.chaos.strike("process.restart", ACTOR)
        await trio.sleep(30)
        assert mirror.shown() == pinned
        await active.heal()
        assert await is_the_log(cluster, mirror)
        assert "copy-a" in await names(cluster)

    mirrored(program)


@pytest.mark.parametrize("how", ["revision", "back_revisions", "back"])
def test_a_rewound_process_acts_on_the_past(how: str) -> None:
    """The copy was deleted together with its original; sent back, the process makes it again."""

    async def program(cluster: Cluster, mirror: Mirror) -> None:
        await put(cluster, "a", "1", copy="yes")
        await trio.sleep(10)
        past, shown = cluster.log.head, await stored(cluster)
        await trio.sleep(10)
        await drop(cluster, "a")
        await drop(cluster, "copy-a")
        await trio.sleep(10)
        assert "copy-a" not in await names(cluster)
        back = {
            "revision": past,
            "back_revisions": cluster.log.head + 1 - past,  # and the record of the fault itself
            "back": 15,
        }
        active = await cluster.chaos.strike("watch.rewound", ACTOR, **{how: back[how]})
        await trio.sleep(5)
        if how != "back":
            assert mirror.shown() == shown
        assert {"a", "copy-a"} <= {name for name, _ in mirror.shown()}
        assert "copy-a" in await names(cluster)
        assert "a" not in await names(cluster)
        await active.heal()
        assert await is_the_log(cluster, mirror)

    mirrored(program)


def test_a_process_that_runs_on_is_not_sent_back() -> None:
    """Without a restart it hears nothing new, as its watch asks for what the replica has not got."""

    async def program(cluster: Cluster, mirror: Mirror) -> None:
        await put(cluster, "a", "1")
        await trio.sleep(20)
        mirror.told.clear()
        active = await cluster.chaos.strike("watch.rewound", ACTOR, back="10s", restart=False)
        await put(cluster, "a", "2")
        await trio.sleep(60)
        assert mirror.told == []
        assert [name for name, _ in mirror.shown()] == ["a"]
        await active.heal()
        assert await is_the_log(cluster, mirror)
        assert mirror.told == ["updated a 2"]

    mirrored(program)


def test_a_past_that_is_not_kept_is_refused() -> None:
    """A revision of the future, and two answers to one question."""

    async def program(cluster: Cluster, _: Mirror) -> None:
        with pytest.raises(BadInput, match="revision: 100000; there are: 1 to"):
            await cluster.chaos.strike("watch.rewound", ACTOR, revision=100_000)
        with pytest.raises(BadInput, match="name two revisions"):
            await cluster.chaos.strike("watch.rewound", ACTOR, revision=5, back_revisions=5)
        assert residue(cluster.chaos.world) == []

    mirrored(program)
