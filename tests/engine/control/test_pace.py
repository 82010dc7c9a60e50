"""The pace of a controller: a loop that takes no time lets time pass all the same, and honest work is not slowed."""

from __future__ import annotations

import trio

import wavetank
from engine.control.pace import BURST, RATE, Pace
from engine.objects.key import Key
from wavetank import ConfigMap, Done, For, ObjectMeta, Reconciler

_KEY = Key("default", "web")


def test_a_burst_passes_at_once_and_then_the_rate_holds() -> None:
    pace, now = Pace(), 0
    for _ in range(BURST):
        assert pace.wait(_KEY, now) == 0
    for _ in range(100):
        wait = pace.wait(_KEY, now)
        assert wait == 1 / RATE
        now += round(wait * 1e9)
        assert pace.wait(_KEY, now) == 0
    assert pace.wait(Key("default", "other"), now) == 0
    later = now + round(BURST / RATE * 1e9)
    assert [pace.wait(_KEY, later) for _ in range(BURST)] == [0] * BURST


def test_a_refused_reconcile_counts_for_nothing() -> None:
    pace = Pace()
    for _ in range(BURST):
        pace.wait(_KEY, 0)
    assert len({pace.wait(_KEY, 0) for _ in range(1000)}) == 1


class Restless(Reconciler):
    """Writes an object whenever it changes: without a pace that is one virtual instant without end."""

    name = "restless"

    def sources(self) -> list[For[ConfigMap]]:
        return [For(ConfigMap)]

    async def reconcile(self, key: Key) -> Done:
        found = self.informer(ConfigMap).get(key)
        if found is not None and key.name == "count":
            count = str(int(found.data["n"]) + 1)
            await self.client.patch(ConfigMap, key.name, key.namespace, {"data": {"n": count}})
        return Done()


def test_a_loop_that_takes_no_time_lets_time_pass() -> None:
    async def main(cluster: wavetank.Cluster) -> int:
        await cluster.client.create(
            ConfigMap(metadata=ObjectMeta(name="count", namespace="default"), data={"n": "0"})
        )
        await trio.sleep(60)
        return int(cluster.view.the(ConfigMap, "count").data["n"])

    reconcilers = [*wavetank.default_reconcilers(), Restless()]
    result = wavetank.run(main, nodes=1, seed=1, reconcilers=reconcilers, invariants=())
    assert result.value is not None
    assert BURST + 59 * RATE <= result.value <= BURST + 61 * RATE
