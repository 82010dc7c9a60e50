"""noHotLoop: controllers that go round in circles are found, those that get on are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import attrs
import pytest
import trio

import wavetank
from engine import (
    Condition,
    ConfigMap,
    Conflict,
    Done,
    Event,
    For,
    Key,
    Lease,
    LeaseSpec,
    MicroTime,
    ObjectMeta,
    Reconciler,
    Result,
    Source,
    Time,
)
from tests.wavetank.handmade import deployment, node
from tests.wavetank.invariants.planting import Checked, checked, fault
from wavetank import Cluster


def config(value: object, generation: int = 0) -> ConfigMap:
    metadata = ObjectMeta(name="c", namespace="default", generation=generation)
    return ConfigMap(metadata=metadata, data={"value": f"{value}"})


def written(values: Sequence[object], step: float = 1.0, times: int = 12) -> Checked:
    """The values again and again, each by a controller of its own."""
    all_ = checked("noHotLoop")
    for turn in range(times):
        for number, value in enumerate(values):
            all_.log.put(config(value, turn), actor=f"controller/{number}")
            all_.log.seconds += step
    return all_


def test_two_controllers_that_undo_each_other() -> None:
    """The period and the writers are told, once."""
    all_ = written("ab", times=40)

    assert 1 == len(all_.messages)
    assert (
        "/registry/configmaps/default/c goes round in circles: 2 writes again and again"
        in (all_.messages[0])
    )
    assert all_.messages[0].endswith("by controller/0, controller/1")


@pytest.mark.parametrize("values", ["a", "abc", "abac", "abcdefgh"])
def test_other_periods(values: str) -> None:
    """From one write that changes nothing but counters to eight."""
    all_ = written(values, step=0.5, times=64)

    assert 1 == len(all_.messages)
    assert f": {len(values)} writes again and again" in all_.messages[0]


def test_a_deletion_is_a_state_too() -> None:
    """Made and removed, again and again."""
    all_ = checked("noHotLoop")
    for _ in range(30):
        all_.log.put(config("a"), actor="controller/maker")
        all_.log.remove(config("a"), actor="controller/breaker")
        all_.log.seconds += 1

    assert "controller/maker" in all_.messages[0]
    assert "controller/breaker" in all_.messages[0]


@pytest.mark.parametrize(
    ("values", "step"),
    [
        (list(range(40)), 1.0),  # it gets on
        ("ab", 20.0),  # not hot
        ("abcdefghij", 0.5),  # longer than is looked for
    ],
)
def test_what_is_no_hot_loop(values: Sequence[object], step: float) -> None:
    """Progress, slow changes, long ways."""
    times = max(1, 120 // len(values))

    assert [] == written(values, step, times).messages


def test_users_and_chaos_may_repeat_themselves() -> None:
    """What follows from their words is theirs; without them it would be a loop."""
    for outsider in ("user", "chaos", "ops"):
        all_ = checked("noHotLoop")
        for turn in range(100):
            if turn % 10 == 0:
                all_.log.put(deployment(turn, 0), actor=outsider)
            all_.log.put(config(turn % 2), actor="controller/x")
        assert [] == all_.messages


def test_heartbeats_leases_events_and_faults_are_no_loops() -> None:
    """They say the same again because that is what they are for."""
    all_ = checked("noHotLoop")
    for turn in range(200):
        made = node("n-0")
        ready = Condition(type="Ready", status="True", last_heartbeat_time=Time(turn))
        status = attrs.evolve(made.status, conditions=(ready,))
        all_.log.put(attrs.evolve(made, status=status), actor="kubelet/n-0")
        lease = LeaseSpec(holder_identity="n-0", renew_time=MicroTime(turn))
        metadata = ObjectMeta(name="n-0", namespace="kube-node-lease")
        all_.log.put(Lease(metadata=metadata, spec=lease), actor="kubelet/n-0")
        all_.log.put(
            Event(metadata=ObjectMeta(name="e", namespace="default")), actor="controller/x"
        )
        all_.log.put(fault("crashNode", "n-0"), actor="controller/x")
        all_.log.seconds += 1

    assert [] == all_.messages


def test_a_flood_on_one_object() -> None:
    """Each write says something new, so that nothing repeats; but there is no end of it, and nothing else goes on."""
    all_ = checked("noHotLoop")
    for turn in range(2500):
        all_.log.put(config(turn), actor="controller/eager")
        all_.log.seconds += 0.1

    found = (
        "/registry/configmaps/default/c was written 1000 times in 99.9s, and all else 0 times, "
        "by controller/eager"
    )
    assert [found] == all_.messages[:1]


def test_many_writes_of_a_busy_cluster_are_no_flood() -> None:
    """A status that counts what happens elsewhere."""
    all_ = checked("noHotLoop")
    for turn in range(1500):
        all_.log.put(node(f"n-{turn % 7}", cpu=f"{turn}"), actor=f"kubelet/n-{turn % 7}")
        all_.log.put(config(turn), actor="controller/counter")
        all_.log.seconds += 0.1

    assert [] == all_.messages


class Painter(Reconciler):
    """Wants every ConfigMap to be red."""

    name: ClassVar[str] = "red"
    colour: ClassVar[str] = "red"

    def sources(self) -> Sequence[Source]:
        return (For(ConfigMap),)

    async def reconcile(self, key: Key) -> Result:
        found = self.informer(ConfigMap).get(key)
        if found is not None and found.data.get("colour") != self.colour:
            await trio.sleep(2)
            try:
                await self.client.update(attrs.evolve(found, data={"colour": self.colour}))
            except Conflict:
                return Done()
        return Done()


class Other(Painter):
    name: ClassVar[str] = "blue"
    colour: ClassVar[str] = "blue"


@pytest.mark.parametrize(("painters", "found"), [((Painter(), Other()), 1), ((Painter(),), 0)])
def test_two_real_controllers_that_fight(painters: Sequence[Reconciler], found: int) -> None:
    """Each is right by itself; together they never come to rest."""

    async def main(cluster: Cluster) -> None:
        await cluster.apply_object(ConfigMap(metadata=ObjectMeta(name="c", namespace="default")))
        await trio.sleep(200)

    result = wavetank.run(main, nodes=0, reconcilers=painters, invariants=["noHotLoop"])

    assert found == len(result.violations)
    assert all("controller/blue, controller/red" in v.message for v in result.violations)
