"""The runner of plans: each fault strikes when it is due, in the plan's order, and what cannot strike is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio

import wavetank
from engine import Fault
from tests.wavetank.contract import DEPLOYMENT
from wavetank import BadInput, Cluster, Deployment
from wavetank.faults.catalogue import check_plan
from wavetank.faults.plan import After, At, Plan, PlannedFault, Trigger
from wavetank.faults.runner import PlanRunner

WEB = DEPLOYMENT.format(name="web", replicas=3, version=1)


def fault(name: str, at: Trigger, kind: str = "process.restart", **options: str) -> PlannedFault:
    """By default one that takes no time, and strikes a process that every cluster has."""
    return PlannedFault(
        id=name, type=kind, at=at, target=options.get("target", "controller/replicaset")
    )


def run(*faults: PlannedFault, main: Callable[[PlanRunner, Cluster], Awaitable[None]]) -> None:
    """With a runner of a plan of these."""

    async def program(cluster: Cluster) -> None:
        await cluster.settled()
        runner = PlanRunner(
            plan=Plan(faults),
            chaos=cluster.chaos,
            observer=cluster.observer,
            clock=cluster.clock,
        )
        await main(runner, cluster)

    wavetank.run(program, nodes=2)


async def struck(cluster: Cluster, since: float) -> list[tuple[str, float]]:
    """The faults by id, and how long after `since` each struck, in the order of the log."""
    await cluster.observer.caught_up(cluster.log.head)
    found = [
        (event.value.spec.options["id"], event.time_ns / 1e9 - since)
        for event in cluster.log.store.history()
        if isinstance(event.value, Fault) and event.created
    ]
    return [(name, round(seconds, 6)) for name, seconds in found]


def test_each_strikes_at_its_time_from_the_start_of_the_plan() -> None:
    """In the order of their times, and those of one moment in the order of the plan; then the run is over."""

    async def main(runner: PlanRunner, cluster: Cluster) -> None:
        began = cluster.clock.now()
        await runner.run()
        assert cluster.clock.now() == began + 20
        expected = [("b", 5.0), ("d", 5.0), ("e", 5.0), ("c", 12.5), ("a", 20.0)]
        assert await struck(cluster, began) == expected
        assert [each.id for each in runner.struck] == [name for name, _ in expected]
        assert runner.missed == []

    run(
        fault("a", At(seconds=20)),
        fault("b", At(seconds=5)),
        fault("c", At(seconds=12.5)),
        fault("d", At(seconds=5)),
        fault("e", At(seconds=5)),
        main=main,
    )


def test_what_waits_for_something_strikes_after_it() -> None:
    """Counted from the start of the plan, by kind, change, namespace and name; those of one moment in the order of the plan."""

    async def main(runner: PlanRunner, cluster: Cluster) -> None:
        await cluster.apply(DEPLOYMENT.format(name="before", replicas=1, version=1))
        await cluster.settled()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runner.run)
            await trio.sleep(10)
            began = cluster.clock.now()
            await cluster.apply(WEB)
            await cluster.settled()
            await trio.sleep(60)
            at = dict(await struck(cluster, began))
            await cluster.client.delete(Deployment, "web", "default")
            await trio.sleep(60)
            deleted = cluster.clock.now() - 60 - began
        assert (at["second"], at["later"]) == (0, 30)
        assert at["created"] == at["also-created"] == 0
        in_order = [name for name, _ in await struck(cluster, began)]
        assert in_order.index("created") < in_order.index("also-created")
        assert 0 < at["updated"]
        assert "deleted" not in at
        assert dict(await struck(cluster, began))["deleted"] == pytest.approx(deleted)
        assert runner.missed == []

    created = After(kind="Deployment", name="web", namespace="default")
    run(
        fault("deleted", After(kind="Deployment", change="deleted")),
        fault("created", created),
        fault("second", After(kind="Pod", occurrence=2)),
        fault("later", After(kind="Pod", occurrence=3, seconds=30)),
        fault("updated", After(kind="Pod", change="updated", occurrence=7)),
        fault("also-created", created),
        main=main,
    )


def test_a_target_that_is_not_there_is_missed() -> None:
    """With the reason; what comes later strikes all the same."""

    async def main(runner: PlanRunner, cluster: Cluster) -> None:
        del cluster
        await runner.run()
        assert [each.fault.id for each in runner.missed] == ["a"]
        assert "'controller/nobody'" in runner.missed[0].reason
        assert [each.id for each in runner.struck] == ["b"]

    run(
        fault("a", At(seconds=1), target="controller/nobody"),
        fault("b", At(seconds=2)),
        main=main,
    )


def test_after_stop_nothing_strikes() -> None:
    """And what was not due is missed."""

    async def main(runner: PlanRunner, cluster: Cluster) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runner.run)
            await trio.sleep(30)
            await runner.stop()
        assert [each.id for each in runner.struck] == ["a"]
        assert [each.fault.id for each in runner.missed] == ["b", "c"]
        head = cluster.log.head
        await cluster.apply(WEB)
        await trio.sleep(60)
        later = cluster.log.store.history(head + 1)
        assert [event for event in later if isinstance(event.value, Fault)] == []

    run(
        fault("a", At(seconds=20)),
        fault("b", At(seconds=40)),
        fault("c", After(kind="Deployment")),
        main=main,
    )


def test_a_strike_that_takes_time_holds_up_none() -> None:
    """The next strikes when it is due."""

    async def main(runner: PlanRunner, cluster: Cluster) -> None:
        strike = cluster.chaos.strike_planned

        async def long(planned: PlannedFault) -> object:
            if planned.id == "long":
                await trio.sleep(100)
            return await strike(planned)

        patient = attrs.evolve(runner, chaos=_Chaos(long))  # type: ignore[arg-type]  # all that a runner asks of it
        began = cluster.clock.now()
        await patient.run()
        assert await struck(cluster, began) == [("short", 10.0), ("long", 105.0)]

    run(fault("long", At(seconds=5)), fault("short", At(seconds=10)), main=main)


@attrs.frozen
class _Chaos:
    """A chaos whose strikes take time."""

    strike_planned: Callable[[PlannedFault], Awaitable[object]]


def test_bad_input_is_raised_as_it_is() -> None:
    """Not in a group: what only a running cluster can refuse is told like what could be refused before."""

    async def main(runner: PlanRunner, cluster: Cluster) -> None:
        del cluster
        with pytest.raises(BadInput, match="control_plane_replicas"):
            await runner.run()

    run(fault("a", At(seconds=1), kind="process.two_leaders"), main=main)


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ({"type": "process.explode"}, r"plan\[1\].type: unknown fault 'process.explode'"),
        ({"target": ""}, r"plan\[1\].target: process.restart: ''"),
        ({"seconds": 5.0}, r"plan\[1\].seconds: process.restart takes no time"),
        ({"parameters": {"x": 1}}, r"plan\[1\].parameters: process.restart has no parameter 'x'"),
    ],
)
def test_a_plan_is_checked_before_the_run(spoilt: dict[str, object], message: str) -> None:
    """Types, targets, durations and parameters."""
    good = fault("a", At(seconds=1))
    check_plan(Plan((good,)), "plan")

    with pytest.raises(BadInput, match=message):
        check_plan(Plan((good, attrs.evolve(good, id="b", **spoilt))), "plan")  # type: ignore[arg-type]  # spoilt fields
