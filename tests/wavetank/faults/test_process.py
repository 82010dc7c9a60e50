"""Faults of processes: what each does to what the process writes, and that exactly one process of the name is left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio

import wavetank
from engine import Fault, State
from store import Event
from tests.wavetank.contract import DEPLOYMENT
from tests.wavetank.faults.residue import SEEDS, check_residue
from wavetank import BadInput, Cluster, Deployment, Pod, Result, Settings, UnknownTarget, View
from wavetank.faults.process import FAULTS
from wavetank.faults.residue import residue

WEB = DEPLOYMENT.format(name="web", replicas=3, version=1)
REPLICASET = "controller/replicaset"
TWO = Settings(control_plane_replicas=2)
HUNTED = [kind.name for kind in FAULTS if kind.hunted]
ELECTED = ["process.two_leaders", "process.old_leader"]


def run(
    main: Callable[[Cluster], Awaitable[None]], settings: Settings | None = None
) -> Result[None]:
    return wavetank.run(main, nodes=3, settings=settings)


def written_by(cluster: Cluster, actor: str, after: int = 0) -> list[Event]:
    """What a process has written since a revision."""
    history = cluster.log.store.history(after + 1)
    return [event for event in history if event.origin.actor == actor]


def pods(cluster: Cluster) -> int:
    return len(cluster.view.pods("app=web"))


def all_there(app: str, view: View) -> bool:
    return len(view.pods(f"app={app}")) == 3


def starts(cluster: Cluster, name: str) -> int:
    return cluster.processes[name].statistics().starts


@pytest.mark.parametrize("fault", HUNTED)
def test_nothing_is_left(fault: str) -> None:
    """Over seeds with crashed and restarted targets, and overlapping faults."""
    check_residue(fault)


@pytest.mark.parametrize("fault", [kind.name for kind in FAULTS])
def test_unknown_targets_are_refused(fault: str) -> None:
    """With the names that there are."""

    async def main(cluster: Cluster) -> None:
        await trio.sleep(20)
        with pytest.raises(UnknownTarget, match=r"'controller/nobody'; there are: .*kube-sched"):
            await cluster.chaos.strike(fault, "controller/nobody")
        assert residue(cluster.chaos.world) == []

    run(main, TWO)


@pytest.mark.parametrize(
    ("fault", "parameters"),
    [
        ("process.crash_at_write", {"write": 0}),
        ("process.crash_at_write", {"point": "during"}),
        ("process.crash_at_write", {"down": -1}),
        ("process.slow", {"delay": "5s..1s"}),
        ("process.pause", {"delay": "5s"}),
    ],
)
def test_bad_parameters_are_refused(fault: str, parameters: dict[str, str | int]) -> None:
    """And nothing of the fault happens."""

    async def main(cluster: Cluster) -> None:
        with pytest.raises(BadInput):
            await cluster.chaos.strike(fault, REPLICASET, None, **parameters)
        assert residue(cluster.chaos.world) == []

    run(main)


@pytest.mark.parametrize("fault", ELECTED)
def test_it_takes_an_election(fault: str) -> None:
    """With one replica nobody is elected, and the error says what it takes."""

    async def main(cluster: Cluster) -> None:
        with pytest.raises(BadInput, match="control_plane_replicas of 2 or more"):
            await cluster.chaos.strike(fault, "controller/scheduler")

    run(main)


def test_a_crashed_process_is_away_for_its_time() -> None:
    """Nothing is written meanwhile; it starts once, and does what was left."""

    async def main(cluster: Cluster) -> None:
        began = starts(cluster, REPLICASET)
        await cluster.chaos.strike("process.crash", REPLICASET, 60)
        await cluster.apply(WEB)
        await trio.sleep(59)
        assert written_by(cluster, REPLICASET) == []
        await cluster.settled()
        assert pods(cluster) == 3
        assert starts(cluster, REPLICASET) == began + 1

    assert run(main).passed


def test_overlapping_crashes_hold_until_the_last() -> None:
    """The process that two faults keep down starts when both are healed."""

    async def main(cluster: Cluster) -> None:
        process = cluster.processes[REPLICASET]
        first = await cluster.chaos.strike("process.crash", REPLICASET)
        second = await cluster.chaos.strike("process.crash", REPLICASET)
        await first.heal()
        await trio.sleep(10)
        assert not process.living
        await second.heal()
        assert process.living

    run(main)


def test_a_crashed_kubelet_stays_away_though_its_machine_is_rebooted() -> None:
    """And starts at the heal; what the experiment itself crashed stays down."""

    async def main(cluster: Cluster) -> None:
        kubelet = cluster.processes["kubelet/node-0"]
        crash = await cluster.chaos.strike("process.crash", kubelet.name)
        await cluster.chaos.restart("node-0")
        assert not kubelet.living
        await crash.heal()
        assert kubelet.living
        await cluster.chaos.crash("node-0")
        beside = await cluster.chaos.strike("process.crash", kubelet.name, 5)
        await trio.sleep(10)
        assert beside.healed
        assert not kubelet.living

    run(main)


@pytest.mark.parametrize("fault", ["process.pause", "process.restart"])
def test_what_is_down_cannot_be_paused_or_restarted(fault: str) -> None:
    """It has no effect, and the record says so."""

    async def main(cluster: Cluster) -> None:
        crash = await cluster.chaos.strike("process.crash", REPLICASET)
        blow = await cluster.chaos.strike(fault, REPLICASET)
        assert blow.healed
        await crash.heal()
        assert cluster.processes[REPLICASET].state is State.RUNNING
        record = next(each for each in cluster.view.list(Fault) if each.spec.kind == fault)
        assert "the process is down" in record.spec.options["effect"]

    run(main)


@pytest.mark.parametrize(("point", "written"), [("before", 1), ("after", 2)])
def test_a_process_dies_at_its_second_write(point: str, written: int) -> None:
    """The second write is there or not, the next one comes a restart later, and in the end there are three pods and no more."""

    async def main(cluster: Cluster) -> None:
        began = starts(cluster, REPLICASET)
        active = await cluster.chaos.strike(
            "process.crash_at_write", REPLICASET, write=2, point=point, down=20, kind="Pod"
        )
        await cluster.apply(WEB)
        await trio.sleep(19)
        assert not cluster.processes[REPLICASET].living
        # Several are under way at once: at most those that had been sent before it died are there.
        assert pods(cluster) >= written - 1
        before = len(written_by(cluster, REPLICASET))
        await trio.sleep(0.9)
        assert len(written_by(cluster, REPLICASET)) == before
        await cluster.settled()
        assert pods(cluster) == 3
        assert starts(cluster, REPLICASET) == began + 1
        await active.heal()
        assert residue(cluster.chaos.world) == []

    assert run(main).passed


def test_a_healed_crash_at_a_write_waits_for_none() -> None:
    """Healed while it is away, the process starts at once; healed before, it never dies."""

    async def main(cluster: Cluster) -> None:
        process = cluster.processes[REPLICASET]
        began = starts(cluster, REPLICASET)
        active = await cluster.chaos.strike("process.crash_at_write", REPLICASET, down=600)
        await cluster.apply(WEB)
        await trio.sleep(5)
        assert not process.living
        await active.heal()
        assert process.living
        unmet = await cluster.chaos.strike("process.crash_at_write", REPLICASET, write=1000)
        await unmet.heal()
        await cluster.settled()
        assert starts(cluster, REPLICASET) == began + 1

    run(main)


def test_a_lost_answer_leaves_the_process_alive() -> None:
    """Its write is applied, it waits for its time-out, and no pod is made twice."""

    async def main(cluster: Cluster) -> None:
        began = starts(cluster, REPLICASET)
        await cluster.chaos.strike(
            "process.crash_at_write", REPLICASET, point="answer_lost", kind="Pod"
        )
        await cluster.apply(WEB)
        await cluster.settled()
        assert starts(cluster, REPLICASET) == began
        assert pods(cluster) == 3

    assert run(main).passed


def test_a_paused_process_goes_on_with_what_it_remembers() -> None:
    """No write while it lasts, and no new start."""

    async def main(cluster: Cluster) -> None:
        began = starts(cluster, REPLICASET)
        await cluster.chaos.strike("process.pause", REPLICASET, 60)
        await cluster.apply(WEB)
        await trio.sleep(59)
        assert written_by(cluster, REPLICASET) == []
        await cluster.settled()
        assert (pods(cluster), starts(cluster, REPLICASET)) == (3, began)

    assert run(main).passed


def test_a_slow_process_takes_its_time() -> None:
    """The same work takes longer, by the time of each step; healed, whoever is held up goes on at once."""

    async def main(cluster: Cluster) -> None:
        took = {}
        for name, slow in (("quick", False), ("slow", True)):
            active = (
                await cluster.chaos.strike("process.slow", REPLICASET, delay="2s") if slow else None
            )
            began = cluster.clock.now()
            await cluster.apply(DEPLOYMENT.format(name=name, replicas=3, version=1))
            await cluster.until(partial(all_there, name))
            took[name] = cluster.clock.now() - began
            if active is not None:
                await active.heal()
        assert took["slow"] >= took["quick"] + 4  # the gate of a reconcile, and a request's way out
        stuck = await cluster.chaos.strike("process.slow", REPLICASET, delay="10h")
        await cluster.client.scale(Deployment, "slow", "default", 4)
        await trio.sleep(60)
        assert len(cluster.view.pods("app=slow")) == 3
        await stuck.heal()
        await cluster.until(lambda view: len(view.pods("app=slow")) == 4, 5)

    run(main)


def test_an_api_server_is_slowed_by_a_fault_of_its_own() -> None:
    """The error names it; the other faults strike an API server like any process."""

    async def main(cluster: Cluster) -> None:
        with pytest.raises(UnknownTarget, match=r"server\.latency"):
            await cluster.chaos.strike("process.slow", "apiserver-0")
        await cluster.chaos.strike("process.crash", "apiserver-0", 5)
        assert not cluster.server.running
        await cluster.apply(WEB)
        await cluster.settled()
        assert pods(cluster) == 3

    assert run(main).passed


def test_a_restarted_process_has_forgotten() -> None:
    """It starts anew once, twice when it is struck twice, and takes no time."""

    async def main(cluster: Cluster) -> None:
        began, now = starts(cluster, REPLICASET), cluster.clock.now()
        await cluster.chaos.strike("process.restart", REPLICASET)
        await cluster.chaos.strike("process.restart", REPLICASET)
        assert starts(cluster, REPLICASET) == began + 2
        assert cluster.clock.now() == now
        await cluster.apply(WEB)
        await cluster.settled()
        assert pods(cluster) == 3

    assert run(main).passed


# -- where replicas are elected --------------------------------------------------------------------


async def leader_and_standby(cluster: Cluster) -> tuple[str, str]:
    """Of the controller manager."""
    electors = cluster.control_plane.electors
    managers = [name for name in electors if name.startswith("kube-controller-manager")]
    await cluster.until(lambda _: any(electors[name].leading for name in managers))
    managers.sort(key=lambda name: not electors[name].leading)
    return managers[0], managers[1]


def test_two_lead_at_once() -> None:
    """The standby takes a lease that is held: both lead until the former cannot renew, and the invariant sees it."""

    async def main(cluster: Cluster) -> None:
        electors = cluster.control_plane.electors
        leader, standby = await leader_and_standby(cluster)
        unmoved = await cluster.chaos.strike("process.two_leaders", leader)
        assert unmoved.healed
        active = await cluster.chaos.strike("process.two_leaders", standby)
        await trio.sleep(6)
        assert (electors[leader].leading, electors[standby].leading) == (True, True)
        await trio.sleep(10)
        assert (electors[leader].leading, electors[standby].leading) == (False, True)
        await active.heal()
        assert residue(cluster.chaos.world) == []

    assert {violation.name for violation in run(main, TWO).violations} == {"oneLeader"}


def test_a_paused_replica_stops_with_all_that_it_runs() -> None:
    """A manager that leads is one program with its controllers: paused it writes nothing, and another leads meanwhile."""

    async def main(cluster: Cluster) -> None:
        leader, standby = await leader_and_standby(cluster)
        await cluster.apply(WEB)
        await cluster.settled()
        await cluster.chaos.strike("process.pause", leader, seconds=60)
        await cluster.client.scale(Deployment, "web", "default", 5)
        struck = cluster.log.head
        await cluster.until(lambda view: len(view.pods("app=web")) == 5, "50s")
        assert cluster.control_plane.electors[standby].leading
        assert written_by(cluster, f"{REPLICASET}@{leader}", struck) == []
        await cluster.settled()
        await cluster.chaos.heal_all()
        await trio.sleep(60)
        assert residue(cluster.chaos.world) == []

    run(main, TWO)


def test_an_old_leader_writes_when_it_wakes() -> None:
    """Asleep until another leads, it goes on with the pods it was about to make, though it leads no longer."""

    async def main(cluster: Cluster) -> None:
        electors = cluster.control_plane.electors
        leader, standby = await leader_and_standby(cluster)
        idle = await cluster.chaos.strike("process.old_leader", standby)
        assert idle.healed
        await cluster.apply(WEB)
        await cluster.until(lambda view: view.deployment("web"))
        active = await cluster.chaos.strike("process.old_leader", leader)
        await cluster.client.scale(Deployment, "web", "default", 8)
        struck = cluster.log.head
        await cluster.until(lambda _: electors[standby].leading)
        assert written_by(cluster, f"{REPLICASET}@{leader}", struck) == []
        await trio.sleep(5)
        late = written_by(cluster, f"{REPLICASET}@{leader}", struck)
        assert any(isinstance(event.value, Pod) for event in late)
        assert not electors[leader].leading
        assert residue(cluster.chaos.world) == []
        await active.heal()
        await cluster.settled()
        assert pods(cluster) == 8

    run(main, TWO)


def test_a_healed_old_leader_wakes_at_once() -> None:
    """Before anybody else leads: then it leads on."""

    async def main(cluster: Cluster) -> None:
        leader, standby = await leader_and_standby(cluster)
        began = starts(cluster, f"{REPLICASET}@{leader}")
        await cluster.chaos.strike("process.old_leader", leader, 5)
        await trio.sleep(60)
        electors = cluster.control_plane.electors
        assert (electors[leader].leading, electors[standby].leading) == (True, False)
        assert starts(cluster, f"{REPLICASET}@{leader}") == began
        assert residue(cluster.chaos.world) == []

    run(main, TWO)


@pytest.mark.parametrize("fault", ["process.crash", "process.restart", "process.crash_at_write"])
def test_a_reconciler_whose_replica_has_stopped_leading_stays_away(fault: str) -> None:
    """A heal starts no reconciler of a replica that leads no longer: its successor has one of its own."""

    async def main(cluster: Cluster) -> None:
        leader, standby = await leader_and_standby(cluster)
        struck = await cluster.chaos.strike(fault, f"{REPLICASET}@{leader}")
        await cluster.chaos.strike("process.two_leaders", standby, 20)
        await trio.sleep(30)
        await struck.heal()
        assert not cluster.processes[f"{REPLICASET}@{leader}"].living
        assert cluster.processes[f"{REPLICASET}@{standby}"].living
        await cluster.apply(WEB)
        await cluster.settled()
        assert pods(cluster) == 3

    run(main, TWO)


@pytest.mark.parametrize("fault", ELECTED)
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_left_of_faults_of_the_election(fault: str, seed: int) -> None:
    """Over crashed, restarted and paused candidates, and the same fault twice; in the end exactly one replica leads each lease."""

    async def main(cluster: Cluster) -> None:
        draws, chaos = cluster.draws, cluster.chaos
        leader, standby = await leader_and_standby(cluster)
        target = leader if fault == "process.old_leader" else standby
        for number in range(4):
            others = ("process.crash", "process.restart", "process.pause", fault)
            await chaos.strike(fault, target)
            await chaos.strike(draws.choice("other", number, others), target)
            await trio.sleep(draws.uniform("for", number, 0, 30))
            if draws.chance("heal", number, 0.5):
                await chaos.heal_all()
        await chaos.heal_all()
        assert residue(cluster.chaos.world) == []
        await cluster.apply(WEB)
        await cluster.settled()
        await trio.sleep(30)
        electors = cluster.control_plane.electors
        leading = [electors[name].name for name in electors if electors[name].leading]
        assert sorted(leading) == ["kube-controller-manager", "kube-scheduler"]
        replicasets = [each for each in cluster.processes if each.name.startswith(REPLICASET)]
        assert sum(each.living for each in replicasets) == 1

    wavetank.run(main, nodes=2, settings=TWO, seed=seed)
