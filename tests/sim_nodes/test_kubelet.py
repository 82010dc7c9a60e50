"""The kubelet against a real API server, in virtual time."""

from __future__ import annotations

from itertools import pairwise

import attrs
import trio
from node_play import FIXED, behaviour
from node_world import World, play_world

from engine import (
    Container,
    Direction,
    Lease,
    Node,
    Pod,
    Quantity,
    ResourceRequirements,
    condition_of,
)


def ready(pod: Pod) -> str:
    found = condition_of(pod.status.conditions, "Ready")
    return found.status if found is not None else ""


async def mark_not_ready(world: World) -> None:
    """What the node controller does to the pods of a node that is silent."""
    pod = await world.get("stays")
    conditions = tuple(
        attrs.evolve(c, status="False") if c.type == "Ready" else c for c in pod.status.conditions
    )
    status = attrs.evolve(pod.status, conditions=conditions)
    await world.client.update_status(attrs.evolve(pod, status=status))
    assert ready(await world.get("stays")) == "False"


def test_a_node_registers_and_stays_alive() -> None:
    """The Node and its Lease appear; then 6 lease renewals a minute, and one status report at the first tick 5 minutes after the
    last one (2.2.6).
    """

    async def body(world: World) -> None:
        node = await world.client.get(Node, "n-0")
        lease = await world.client.get(Lease, "n-0", "kube-node-lease")
        assert condition_of(node.status.conditions, "Ready").status == "True"
        assert lease.spec.holder_identity == "n-0"
        assert lease.spec.lease_duration_seconds == 40
        assert lease.metadata.owner_references[0].uid == node.metadata.uid

        await trio.sleep(1200)
        renewed = world.writes("/registry/leases/", since_ns=60 * 10**9)
        times = [at for at, _ in renewed]
        assert {round(b - a, 6) for a, b in pairwise(times)} == {10.0}
        reported = world.writes("/registry/nodes/", actor="kubelet/n-0", since_ns=10**9)
        assert [at for at, _ in reported] == [310.0, 610.0, 910.0]

    play_world(body)


def test_a_pod_becomes_ready() -> None:
    """Pending, Running and Ready in the API; Events in the order of 6.11; at most two status writes; no needless ones."""

    async def body(world: World) -> None:
        pod = await world.pod()
        await trio.sleep(10)
        seen = await world.get()
        assert (seen.status.phase, ready(seen)) == ("Running", "True")
        assert await world.reasons("web") == ["Pulling", "Pulled", "Created", "Started"]
        before = world.writes("/registry/pods/")
        assert len(before) == 3
        assert pod.metadata.generation == seen.metadata.generation
        await trio.sleep(3600)
        assert world.writes("/registry/pods/") == before

    play_world(body)


def test_writes_name_their_causes() -> None:
    """Each status write is by the kubelet's actor and names the revision that led to it, and of a timer also that timer."""

    async def body(world: World) -> None:
        await world.pod()
        await trio.sleep(10)
        created, *written = [
            e for e in world.store.history() if e.key == "/registry/pods/default/web"
        ]
        assert [e.origin.actor for e in written] == ["kubelet/n-0", "kubelet/n-0"]
        assert written[0].origin.causes == (created.revision,)
        assert written[1].origin.causes == (written[0].revision, "timer:pod")
        assert all(e.origin.reconcile.startswith("kubelet/n-0#") for e in written)

    play_world(body)


def test_a_deleted_pod_is_stopped_and_removed() -> None:
    """Killing, the last status, then the object goes within seconds; its containers and address are free."""

    async def body(world: World) -> None:
        await world.pod()
        await trio.sleep(10)
        await world.client.delete(Pod, "web", "default")
        await trio.sleep(5)
        assert await world.client.list(Pod) == []
        assert (await world.reasons("web"))[-1] == "Killing"
        runtime = world.nodes[0].runtime
        assert runtime.pods == {}
        assert len(runtime.addresses) == 0
        writes = world.writes("/registry/pods/")
        assert writes[-1][1] == "DELETE"
        assert world.nodes[0].kubelet.statistics().pods == 0

    play_world(body)


def test_a_pod_deleted_by_force_is_stopped_too() -> None:
    async def body(world: World) -> None:
        await world.pod()
        await trio.sleep(10)
        await world.client.delete(Pod, "web", "default", grace_period_seconds=0)
        await trio.sleep(5)
        assert world.nodes[0].runtime.pods == {}
        await world.pod()
        await trio.sleep(10)
        assert ready(await world.get()) == "True"

    play_world(body)


def test_pods_that_do_not_fit_are_rejected() -> None:
    """The second of two pods of 3 CPU is Failed with OutOfcpu; once the first is gone a third one fits."""

    async def body(world: World) -> None:
        wanted = ResourceRequirements(requests={"cpu": Quantity.parse("3")})
        big = [Container(name="app", image="app:v1", resources=wanted)]
        await world.pod("one", containers=big)
        await world.pod("two", containers=big)
        await trio.sleep(10)
        two = await world.get("two")
        assert (two.status.phase, two.status.reason) == ("Failed", "OutOfcpu")
        assert two.status.message == (
            "Pod was rejected: Node didn't have enough resource: cpu, "
            "requested: 3000, used: 3000, capacity: 4000"
        )
        assert await world.reasons("two") == ["OutOfcpu"]
        await world.client.delete(Pod, "one", "default")
        await trio.sleep(10)
        await world.pod("three", containers=big)
        await trio.sleep(10)
        assert ready(await world.get("three")) == "True"

    play_world(body)


def test_addresses_come_from_the_node() -> None:
    """From its podCIDR once it has one; of the host for pods in its network."""

    async def body(world: World) -> None:
        node = await world.client.get(Node, "n-0")
        spec = attrs.evolve(node.spec, pod_cidr="10.244.7.0/24")
        await world.client.update(attrs.evolve(node, spec=spec))
        await trio.sleep(1)
        await world.pod("one")
        await world.pod("two", host_network=True)
        await trio.sleep(20)
        one, two = await world.get("one"), await world.get("two")
        assert one.status.pod_ip == "10.244.7.2"
        assert two.status.pod_ip == two.status.host_ip == one.status.host_ip

    play_world(body)


def test_a_crashed_node_falls_silent_and_comes_back() -> None:
    """No write while it is down; after a reboot its containers have restarted, its boot id is another, and pods deleted meanwhile are
    removed at once (10.5).
    """

    async def body(world: World) -> None:
        await world.pod("stays")
        await world.pod("goes")
        await trio.sleep(30)
        node = world.nodes[0]
        boot = (await world.client.get(Node, "n-0")).status.node_info.boot_id
        await node.crash()
        assert node.runtime.running(world.clock.now_ns()) == []
        crashed = world.clock.now_ns()
        await world.client.delete(Pod, "goes", "default")
        await trio.sleep(300)
        assert world.writes("/registry/", actor="kubelet/n-0", since_ns=crashed) == []
        assert (await world.get("goes")).metadata.deletion_timestamp is not None

        await node.restart()
        await trio.sleep(10)
        assert [pod.metadata.name for pod in await world.client.list(Pod)] == ["stays"]
        pod = await world.get("stays")
        assert ready(pod) == "True"
        status = pod.status.container_statuses[0]
        assert status.restart_count == 1
        assert status.last_state.terminated.exit_code == 255
        assert "SandboxChanged" in await world.reasons("stays")
        assert (await world.client.get(Node, "n-0")).status.node_info.boot_id != boot
        assert "Rebooted" in await world.reasons("n-0")
        node.runtime.check()

    play_world(body)


def test_a_node_that_kept_its_containers() -> None:
    """`restart("kept")`: nothing restarts, and pods that vanished from the API meanwhile are stopped as orphans."""

    async def body(world: World) -> None:
        await world.pod("stays")
        await world.pod("vanishes")
        await trio.sleep(30)
        node = world.nodes[0]
        await node.crash()
        await world.client.delete(Pod, "vanishes", "default", grace_period_seconds=0)
        await trio.sleep(100)
        before = await world.get("stays")
        await node.restart("kept")
        await trio.sleep(15)
        assert (await world.get("stays")).status == before.status
        assert len(node.runtime.pods) == 1
        assert len(node.runtime.running(world.clock.now_ns())) == 1

        # The new kubelet, which had nothing to write so far, puts right what others overwrite as the old one did.
        await mark_not_ready(world)
        await trio.sleep(10)
        assert ready(await world.get("stays")) == "True"

    play_world(body)


def test_what_others_overwrite_is_put_right() -> None:
    """2.3.7: a pod that the node controller marked not ready is ready again within a batch of 10 s."""

    async def body(world: World) -> None:
        await world.pod("stays")
        await trio.sleep(30)
        await mark_not_ready(world)
        await trio.sleep(10)
        assert ready(await world.get("stays")) == "True"

    play_world(body)


def test_a_partition_delays_and_loses_nothing() -> None:
    """Cut off, the kubelet runs its pods on; healed, it renews its lease and brings what has changed."""

    async def body(world: World) -> None:
        await world.pod()
        await trio.sleep(30)
        node = world.nodes[0]
        cut = world.clock.now_ns()
        holds = node.link.partition(Direction.BOTH)
        await trio.sleep(60)
        record = node.runtime.running(world.clock.now_ns())[0]
        node.runtime.kill(record, world.clock.now_ns(), 1, "Error")
        node.kubelet.poke((await world.get()).metadata.uid)
        await trio.sleep(60)
        assert world.writes("/registry/leases/", since_ns=cut + 10**9) == []
        node.link.heal(holds)
        await trio.sleep(30)
        assert world.writes("/registry/leases/", since_ns=cut + 120 * 10**9) != []
        pod = await world.get()
        assert pod.status.container_statuses[0].restart_count == 1
        assert ready(pod) == "True"

    play_world(body)


def test_a_paused_kubelet_stands_still_and_goes_on() -> None:
    async def body(world: World) -> None:
        await trio.sleep(30)
        node = world.nodes[0]
        hold = node.process.pause("test")
        paused = world.clock.now_ns()
        await world.pod()
        await trio.sleep(60)
        assert world.writes("/registry/", actor="kubelet/n-0", since_ns=paused) == []
        node.process.resume(hold)
        await trio.sleep(10)
        assert ready(await world.get()) == "True"

    play_world(body)


def test_failing_containers_back_off_in_the_api() -> None:
    """A crash loop shows in the API as Kubernetes shows it."""

    async def body(world: World) -> None:
        await world.pod()
        await trio.sleep(120)
        pod = await world.get()
        status = pod.status.container_statuses[0]
        assert pod.status.phase == "Running"
        assert ready(pod) == "False"
        assert status.restart_count >= 3
        assert "BackOff" in await world.reasons("web")

    play_world(body, behaviour(runs=FIXED(1), exit_code=1))


def test_runs_repeat() -> None:
    """The same seed gives the same log, another seed another interleaving."""

    async def body(world: World) -> list[tuple[int, str, str]]:
        for number in range(6):
            await world.pod(f"p{number}", node=f"n-{number % 3}")
        await trio.sleep(20)
        await world.nodes[1].crash()
        await world.client.delete(Pod, "p0", "default")
        await trio.sleep(60)
        await world.nodes[1].restart()
        await trio.sleep(60)
        return [(e.time_ns, e.key, e.origin.reconcile) for e in world.store.history()]

    one = play_world(body, count=3)
    assert one == play_world(body, count=3)
    assert one != play_world(body, count=3, seed=2)


def test_finished_jobs_stay() -> None:
    """A pod that succeeded stays in the API, and its node has its resources back."""

    async def body(world: World) -> None:
        await world.pod(restart_policy="Never")
        await trio.sleep(60)
        assert (await world.get()).status.phase == "Succeeded"
        assert world.nodes[0].kubelet.idle
        await world.client.delete(Pod, "web", "default")
        await trio.sleep(5)
        assert world.nodes[0].runtime.pods == {}

    play_world(body, behaviour(runs=FIXED(10)))


def test_a_node_object_made_by_hand_is_taken_over() -> None:
    """2.1.1: a Node that exists is kept, with its labels, and reports as ours from then on."""

    async def body(world: World) -> None:
        await world.nodes[0].crash()
        node = await world.client.get(Node, "n-0")
        labels = {**node.metadata.labels, "mine": "yes", "kubernetes.io/os": "plan9"}
        metadata = attrs.evolve(node.metadata, labels=labels)
        await world.client.update(attrs.evolve(node, metadata=metadata))
        await world.nodes[0].restart()
        await trio.sleep(5)
        taken = await world.client.get(Node, "n-0")
        assert taken.metadata.uid == node.metadata.uid
        assert taken.metadata.labels["mine"] == "yes"
        assert taken.metadata.labels["kubernetes.io/os"] == "linux"

    play_world(body)


def test_another_pod_of_the_same_name() -> None:
    """A pod made again under its name while the old one is still being stopped runs beside it, and gets its own status."""

    async def body(world: World) -> None:
        await world.pod()
        await trio.sleep(10)
        await world.client.delete(Pod, "web", "default", grace_period_seconds=0)
        again = await world.pod()
        await trio.sleep(15)
        seen = await world.get()
        assert seen.metadata.uid == again.metadata.uid
        assert ready(seen) == "True"
        assert list(world.nodes[0].runtime.pods) == [again.metadata.uid]

    play_world(body, behaviour(stop=FIXED(600)))


def test_a_lease_touched_by_others_is_renewed_all_the_same() -> None:
    """A conflict is read and tried again at once (2.2.2); a lease that was deleted is made again."""

    async def body(world: World) -> None:
        await trio.sleep(30)
        lease = await world.client.get(Lease, "n-0", "kube-node-lease")
        annotated = attrs.evolve(lease.metadata, annotations={"touched": "yes"})
        await world.client.update(attrs.evolve(lease, metadata=annotated))
        await trio.sleep(10)
        renewed = await world.client.get(Lease, "n-0", "kube-node-lease")
        assert renewed.spec.renew_time > lease.spec.renew_time
        assert renewed.metadata.annotations == {"touched": "yes"}
        await world.client.delete(Lease, "n-0", "kube-node-lease")
        await trio.sleep(11)
        again = await world.client.get(Lease, "n-0", "kube-node-lease")
        assert again.metadata.uid != lease.metadata.uid

    play_world(body)


def test_a_status_that_meets_a_conflict_is_written_all_the_same() -> None:
    """Others may change a pod at any time: no status is lost, and their changes stay."""

    async def body(world: World) -> None:
        await world.pod()
        for number in range(60):
            pod = await world.get()
            labels = {"touched": str(number)}
            metadata = attrs.evolve(pod.metadata, labels=labels, resource_version="")
            await world.client.update(attrs.evolve(pod, metadata=metadata))
            await trio.sleep(0.1)
        pod = await world.get()
        assert ready(pod) == "True"
        assert pod.metadata.labels == {"touched": "59"}

    play_world(body)
