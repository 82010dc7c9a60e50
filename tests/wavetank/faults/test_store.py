"""Faults of the store: what a cluster's processes get from the API server meanwhile, and that nothing acknowledged is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import pytest
import trio

import wavetank
from engine import ApiError, Fault, Gone, InternalError, Pod, Timeout, Unavailable, acting
from store import Origin
from tests.wavetank.contract import DEPLOYMENT
from tests.wavetank.faults.residue import check_residue
from wavetank import (
    BadInput,
    Cluster,
    ConfigMap,
    Deployment,
    Node,
    ObjectMeta,
    Result,
    UnknownTarget,
)
from wavetank.chaos import Chaos
from wavetank.faults.residue import residue
from wavetank.faults.store import FAULTS
from wavetank.logs import open_log

WEB = DEPLOYMENT.format(name="web", replicas=3, version=1)
SOMEBODY = Origin(actor="somebody", causes=("a test",))
"""Neither the user nor chaos: a process of the cluster."""


def run(main: Callable[[Cluster], Awaitable[None]], log: Path | None = None) -> Result[None]:
    async def program(cluster: Cluster) -> None:
        await cluster.settled()
        await main(cluster)

    return wavetank.run(program, nodes=3, log=log)


async def create(cluster: Cluster, name: str) -> ConfigMap:
    """As a process of the cluster does. Raises ApiError."""
    with acting(SOMEBODY):
        return await cluster.client.create(
            ConfigMap(metadata=ObjectMeta(name=name, namespace="default"))
        )


async def delete(cluster: Cluster, name: str) -> None:
    """Likewise."""
    with acting(SOMEBODY):
        await cluster.client.delete(ConfigMap, name, "default")


async def nodes(cluster: Cluster) -> int:
    """Likewise: how many there are, by a list that has to be of now."""
    with acting(SOMEBODY):
        return len(await cluster.client.list(Node))


async def there(cluster: Cluster) -> set[str]:
    """The config maps."""
    await cluster.observer.caught_up(cluster.log.head)
    return {each.metadata.name for each in cluster.view.list(ConfigMap)}


def pods(cluster: Cluster) -> int:
    return len(cluster.view.pods("app=web"))


@pytest.mark.parametrize("fault", [kind.name for kind in FAULTS])
def test_nothing_is_left(fault: str) -> None:
    """Over seeds with overlapping faults, and objects that are deleted."""
    check_residue(fault)


@pytest.mark.parametrize(
    ("fault", "target", "parameters"),
    [
        ("store.slow", "node-0", {}),
        ("store.slow", "", {"delay": "fast"}),
        ("store.crash", "", {"point": "meanwhile"}),
        ("store.crash", "", {"every": 0}),
        ("store.compaction_storm", "", {"keep": -1}),
        ("store.compaction_storm", "", {"period": 0}),
        ("store.sync_failure", "", {"unsynced": "perhaps"}),
        ("store.corrupted", "", {}),
        ("store.corrupted", "Deployment/default/web", {"field": "status"}),
        ("store.corrupted", "Deployment/default/web", {"field": "path", "path": "spec..x"}),
        (
            "store.corrupted",
            "Deployment/default/web",
            {"field": "path", "path": "spec.replicas", "value": "many"},
        ),
        (
            "store.corrupted",
            "Deployment/default/web",
            {"field": "path", "path": "spec.replicas", "value": '"many"'},
        ),
    ],
)
def test_bad_input_is_refused(fault: str, target: str, parameters: dict[str, str | int]) -> None:
    """And nothing of the fault happens."""

    async def main(cluster: Cluster) -> None:
        await cluster.apply(WEB)
        with pytest.raises(BadInput):
            await cluster.chaos.strike(fault, target, None, **parameters)
        assert residue(cluster.chaos.world) == []
        await cluster.settled()

    run(main)


@pytest.mark.parametrize("fault", [kind.name for kind in FAULTS])
def test_an_etcd_is_not_ours_to_disturb(fault: str) -> None:
    """In a cluster whose state is in an etcd there is no store of the simulator's."""

    async def main(cluster: Cluster) -> None:
        elsewhere = Chaos(
            world=attrs.evolve(cluster.chaos.world, store=None), on_fault=lambda *_: None
        )
        target = "Node/node-0" if fault == "store.corrupted" else ""
        with pytest.raises(BadInput, match="in an etcd"):
            await elsewhere.strike(fault, target)

    run(main)


def test_slow_commits_take_their_time() -> None:
    """Each write takes its own, none overtakes another; healed, all that wait are carried out at once."""

    async def main(cluster: Cluster) -> None:
        active = await cluster.chaos.strike("store.slow", delay="3s")
        began = cluster.clock.now()
        await create(cluster, "first")
        assert cluster.clock.now() - began == 3
        async with trio.open_nursery() as nursery:
            for name in ("a", "b"):
                nursery.start_soon(create, cluster, name)
            await trio.sleep(1)
            began = cluster.clock.now()
            await active.heal()
        assert cluster.clock.now() == began
        assert {"first", "a", "b"} <= await there(cluster)

    run(main)


def test_without_space_nothing_is_added() -> None:
    """500 as from a full etcd for what needs room; reads and deletes go on, and so do the user's own writes."""

    async def main(cluster: Cluster) -> None:
        await create(cluster, "old")
        active = await cluster.chaos.strike("store.no_space")
        with pytest.raises(InternalError, match="mvcc: database space exceeded"):
            await create(cluster, "new")
        await delete(cluster, "old")
        assert await nodes(cluster) == 3
        await cluster.apply(WEB)
        await trio.sleep(30)
        assert pods(cluster) == 0
        await active.heal()
        await cluster.settled()
        assert pods(cluster) == 3
        await create(cluster, "new")
        assert {"old", "new"} & await there(cluster) == {"new"}

    assert run(main).passed


def test_read_only_refuses_deletes_too() -> None:
    """Reads go on."""

    async def main(cluster: Cluster) -> None:
        await create(cluster, "old")
        active = await cluster.chaos.strike("store.read_only")
        with pytest.raises(InternalError, match="read-only"):
            await create(cluster, "new")
        with pytest.raises(InternalError, match="read-only"):
            await delete(cluster, "old")
        assert await nodes(cluster) == 3
        await active.heal()
        await delete(cluster, "old")

    run(main)


@pytest.mark.parametrize(
    ("unsynced", "error", "kept"), [("lost", Unavailable, False), ("kept", Timeout, True)]
)
def test_a_failed_sync_fails_the_store(unsynced: str, error: type[ApiError], kept: bool) -> None:
    """Reads go on until a write fails; then nothing is answered. Opened again, it has what was acknowledged, and maybe one write more."""

    async def main(cluster: Cluster) -> None:
        await create(cluster, "acknowledged")
        active = await cluster.chaos.strike("store.sync_failure", unsynced=unsynced)
        with pytest.raises(error):
            await create(cluster, "unsynced")
        with pytest.raises(Unavailable):
            await create(cluster, "later")
        with pytest.raises(Unavailable):
            await nodes(cluster)
        head = cluster.log.head
        await trio.sleep(60)
        assert cluster.log.head == head
        await active.heal()
        assert await nodes(cluster) == 3
        await trio.sleep(1)
        assert await there(cluster) & {"acknowledged", "unsynced", "later"} == {
            "acknowledged",
            *(["unsynced"] if kept else []),
        }
        await cluster.settled()

    assert run(main).passed


@pytest.mark.parametrize(("point", "committed"), [("before", False), ("after", True)])
def test_a_crash_at_a_write(point: str, committed: bool) -> None:
    """Its writer gets 504 and cannot know; everything is down for a while, twice; the third write is answered."""

    async def main(cluster: Cluster) -> None:
        for controller in list(cluster.processes):
            if controller.name != "apiserver-0":
                await controller.crash()  # no writes but ours
        await cluster.chaos.strike("store.crash", point=point, times=2, down=20)
        for name in ("first", "second"):
            with pytest.raises(Timeout, match="store has crashed"):
                await create(cluster, name)
            await trio.sleep(19)
            assert not cluster.server.running
            await trio.sleep(2)
            assert cluster.server.running
        await create(cluster, "third")
        written = {"first", "second"} if committed else set()
        assert await there(cluster) & {"first", "second", "third"} == {*written, "third"}

    run(main)


def test_a_cluster_lives_through_crashes_of_its_store() -> None:
    """All is done in the end, by reconcilers whose watches and writes were lost."""

    async def main(cluster: Cluster) -> None:
        began = cluster.processes["apiserver-0"].statistics().starts
        active = await cluster.chaos.strike("store.crash", times=5, every=3)
        await cluster.apply(WEB)
        await trio.sleep(120)
        await active.heal()
        await cluster.settled()
        assert pods(cluster) == 3
        assert cluster.processes["apiserver-0"].statistics().starts == began + 5

    assert run(main).passed


def test_a_healed_crash_is_over_at_once() -> None:
    """Healed while all is down, all is up."""

    async def main(cluster: Cluster) -> None:
        active = await cluster.chaos.strike("store.crash", down=3600)
        with pytest.raises(Timeout):
            await create(cluster, "first")
        await trio.sleep(1)
        assert not cluster.server.running
        await active.heal()
        await create(cluster, "second")
        assert "second" in await there(cluster)

    run(main)


def test_a_compaction_storm_takes_the_past_away(tmp_path: Path) -> None:
    """Watches from before and pages of an older list meet 410, the cluster works on, and its log holds together."""

    async def main(cluster: Cluster) -> None:
        client = cluster.client
        page = await client.list_page(Node, limit=1)
        revision = cluster.log.head
        await cluster.chaos.strike("store.compaction_storm", seconds=120, keep=5, period=1)
        await cluster.apply(WEB)
        await cluster.settled()
        with pytest.raises(Gone):
            await client.list_page(Node, limit=1, continue_token=page.continue_token)
        with pytest.raises(Gone):
            async with client.watch(Node, resource_version=str(revision)) as stream:
                await stream.receive()
        assert cluster.log.store.compacted > revision
        assert pods(cluster) == 3
        await trio.sleep(121)
        compacted = cluster.log.store.compacted
        await trio.sleep(60)
        assert cluster.log.store.compacted == compacted

    result = run(main, tmp_path / "run.wtl")

    assert result.passed
    assert open_log(tmp_path / "run.wtl").reader.verify().digest == result.digest


# -- corrupted objects -----------------------------------------------------------------------------


async def settled_web(cluster: Cluster) -> None:
    await cluster.apply(WEB)
    await cluster.settled()


def test_corrupted_replicas_come_back() -> None:
    """The cluster follows the wrong number; the heal writes the right one, and both writes are chaos' own."""

    async def main(cluster: Cluster) -> None:
        await settled_web(cluster)
        active = await cluster.chaos.strike(
            "store.corrupted", "Deployment/default/web", field="replicas"
        )
        await cluster.settled()
        assert pods(cluster) != 3
        corrupt = [
            e for e in cluster.log.store.history() if e.key.endswith("deployments/default/web")
        ]
        assert "chaos" in {event.origin.actor for event in corrupt}
        await active.heal()
        await cluster.settled()
        assert pods(cluster) == 3
        assert residue(cluster.chaos.world) == []

    run(main)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_corruptions_of_one_field_come_off_in_any_order(order: tuple[int, int]) -> None:
    """In the end there is what was there."""

    async def main(cluster: Cluster) -> None:
        await settled_web(cluster)
        pod = cluster.view.pods("app=web")[0].metadata.name
        labels = dict(cluster.view.the(Pod, pod).metadata.labels)
        active = [
            await cluster.chaos.strike(
                "store.corrupted",
                f"Pod/default/{pod}",
                field="path",
                path="metadata.labels[tier.example.org]",
                value=f'"{value}"',
            )
            for value in ("x", "y")
        ]
        for index in order:
            await active[index].heal()
            await trio.sleep(1)
        assert dict(cluster.view.the(Pod, pod).metadata.labels) == labels
        assert residue(cluster.chaos.world) == []

    run(main)


def test_what_was_changed_since_is_left_alone() -> None:
    """And so is another object of the same name."""

    async def main(cluster: Cluster) -> None:
        await settled_web(cluster)
        active = await cluster.chaos.strike(
            "store.corrupted",
            "Deployment/default/web",
            field="path",
            path="spec.replicas",
            value="1",
        )
        await cluster.client.scale(Deployment, "web", "default", 5)
        await active.heal()
        await cluster.settled()
        assert pods(cluster) == 5

    run(main)


@pytest.mark.parametrize("field", ["label", "ownerReference", "nodeName"])
def test_a_corrupted_pod(field: str) -> None:
    """That field changes, past all validation, and no other."""

    async def main(cluster: Cluster) -> None:
        await settled_web(cluster)
        before = cluster.view.pods("app=web")[0]
        name, head = before.metadata.name, cluster.log.head
        await cluster.chaos.strike("store.corrupted", f"Pod/default/{name}", field=field)
        after = next(
            event.value
            for event in cluster.log.store.history(head + 1)
            if event.key.endswith(f"/{name}") and event.origin.actor == "chaos"
        )
        assert isinstance(after, Pod)
        changed = {
            "label": after.metadata.labels != before.metadata.labels,
            "ownerReference": after.metadata.owner_references != before.metadata.owner_references,
            "nodeName": after.spec.node_name != before.spec.node_name,
        }
        assert [each for each, is_so in changed.items() if is_so] == [field]

    wavetank.run(main, nodes=3, invariants=())


def test_what_has_no_such_field_is_left_alone() -> None:
    """And the record says so."""

    async def main(cluster: Cluster) -> None:
        untouched = await cluster.chaos.strike("store.corrupted", "Node/node-0", field="replicas")
        assert untouched.healed
        await cluster.observer.caught_up(cluster.log.head)
        record = next(e for e in cluster.view.list(Fault) if e.spec.target == "Node/node-0")
        assert "no spec.replicas" in record.spec.options["effect"]

    run(main)


@pytest.mark.parametrize(
    "target", ["Deployment/default/none", "Deployment/web", "Node/default/node-0", "Nothing/x"]
)
def test_unknown_objects_are_refused(target: str) -> None:
    """By kind, by name and by how they are named."""

    async def main(cluster: Cluster) -> None:
        with pytest.raises(UnknownTarget):
            await cluster.chaos.strike("store.corrupted", target)

    run(main)
