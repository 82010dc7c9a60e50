"""Leader election: the claim by itself, and replicas against a real API server, cut off, killed and paused."""

from __future__ import annotations

import attrs
import pytest
import trio
from control_world import World, in_world, running

from engine import (
    Client,
    Event,
    EventRecorder,
    LeaderElector,
    Lease,
    LeaseSpec,
    Link,
    LinkedEndpoint,
    MicroTime,
    Process,
    Settings,
    Verb,
    claim,
)
from engine.control.election import Observed, check_timings

SECOND = 1_000_000_000
HELD = LeaseSpec(holder_identity="one", lease_duration_seconds=15, lease_transitions=4)


def test_nobody_takes_a_lease_that_is_held() -> None:
    """For its duration from when its last change was seen, on one's own clock; then with one transition more."""
    observed = Observed(HELD, 100 * SECOND)

    assert claim(observed, "two", 15, 115 * SECOND - 1, 7) is None
    taken = claim(observed, "two", 15, 115 * SECOND, 7)
    assert taken is not None
    assert ("two", 5, 7, 7) == (
        taken.holder_identity,
        taken.lease_transitions,
        taken.acquire_time,
        taken.renew_time,
    )


def test_the_holders_own_duration_counts() -> None:
    """A lease released with one second left is free after a second, whatever the candidate's own setting."""
    observed = Observed(attrs.evolve(HELD, lease_duration_seconds=1), 0)

    assert claim(observed, "two", 15, SECOND - 1, 7) is None
    assert claim(observed, "two", 15, SECOND, 7) is not None


def test_its_own_lease_is_renewed() -> None:
    """Acquire time and transitions stay, the renew time moves; even when it has run out."""
    renewed = claim(
        Observed(attrs.evolve(HELD, acquire_time=MicroTime.of(3)), 0), "one", 15, 900 * SECOND, 7
    )

    assert renewed is not None
    assert (4, 3, 7) == (renewed.lease_transitions, renewed.acquire_time, renewed.renew_time)


def test_a_released_lease_is_free_and_a_missing_one_begins_at_zero() -> None:
    """No holder: taken at once, as a transition; no record: the first holder is none."""
    released = claim(Observed(attrs.evolve(HELD, holder_identity=""), 0), "two", 15, 1, 7)
    created = claim(None, "two", 15, 1, 7)

    assert released is not None
    assert created is not None
    assert (5, 0) == (released.lease_transitions, created.lease_transitions)


@pytest.mark.parametrize(
    "settings",
    [Settings(leader_lease_duration=10.0), Settings(leader_retry_period=9.0)],
)
def test_timings_that_allow_two_leaders_are_refused(settings: Settings) -> None:
    """Duration > renew deadline > 1.2 x retry period, as client-go demands."""
    with pytest.raises(ValueError, match="must be longer than"):
        check_timings(settings)


class Replica:
    """One candidate: a process with its own link, and the times at which it led."""

    def __init__(self, world: World, identity: str, settings: Settings | None = None) -> None:
        self.began: list[float] = []
        self.ended: list[float] = []
        self.world = world
        self.identity = identity
        self.settings = settings or Settings()
        self.process: Process = world.simulation.processes.start(identity, self.main)
        self.link = Link(identity, draws=world.draws, process=self.process)
        self.make()

    def make(self) -> LeaderElector:
        world = self.world
        client = Client(
            endpoint=LinkedEndpoint(world.door, self.link, self.process),
            scheme=world.client.scheme,
            timeout_seconds=60,
        )
        clock = world.simulation.clock
        self.recorder = EventRecorder(
            client=client, clock=clock, draws=world.draws, component="test", host=self.identity
        )
        self.elector = LeaderElector(
            client=client,
            clock=clock,
            draws=world.draws,
            settings=self.settings,
            recorder=self.recorder,
            name="test-lease",
            identity=self.identity,
            gate=self.process.passed,
        )
        return self.elector

    async def main(self) -> None:
        elector = self.make()
        async with running(self.recorder.run):
            while True:
                await elector.run(self.lead)

    async def lead(self) -> None:
        self.began.append(trio.current_time())
        try:
            await trio.sleep_forever()
        finally:
            self.ended.append(trio.current_time())


def test_a_follower_takes_over_when_the_leaders_lease_has_run_out() -> None:
    """The leader is killed: the other works 15 to 19.4 s after the last renewal it saw, and no sooner."""

    async def main(world: World) -> None:
        one = Replica(world, "one")
        await trio.sleep(3)
        two = Replica(world, "two")
        await trio.sleep(60)
        assert (1, 0) == (len(one.began), len(two.began))
        killed = trio.current_time()
        await one.process.crash()
        await trio.sleep(60)
        lease: Lease = await world.client.get(Lease, "test-lease", "kube-system")

        assert 13 <= two.began[0] - killed <= 15 + 4.4 + 4.4
        assert ("two", 1) == (lease.spec.holder_identity, lease.spec.lease_transitions)
        told = [event.message for event in await world.client.list(Event, "kube-system")]
        assert ["one became leader", "two became leader"] == sorted(told)

    in_world(main)


@pytest.mark.parametrize("seed", range(5))
def test_a_leader_that_is_cut_off_stops_before_another_begins(seed: int) -> None:
    """It stops 12 s after its last renewal at the latest; the next begins when the lease has run out: never two at once."""

    async def main(world: World) -> None:
        one = Replica(world, "one")
        await trio.sleep(3)
        two = Replica(world, "two")
        await trio.sleep(30 + seed / 3)
        one.link.partition()
        cut = trio.current_time()
        await trio.sleep(60)
        assert one.ended[0] - cut <= 12
        assert 1 == len(two.began)
        assert two.began[0] > one.ended[0]
        one.link.heal()
        await trio.sleep(60)
        assert 1 == len(one.began)
        told = [event.message for event in await world.client.list(Event, "kube-system")]
        assert "one stopped leading" in told

    in_world(main, seed=seed)


def test_a_leader_renews_with_one_request() -> None:
    """Every 2 s one update and no read, as long as nobody else writes the lease (client-go's fast path)."""

    async def main(world: World) -> None:
        Replica(world, "one")
        await trio.sleep(10)
        before = len(world.door.requests)
        await trio.sleep(20)
        verbs = [request.verb for _, request in world.door.requests[before:]]

        assert [Verb.UPDATE] * 10 == verbs

    in_world(main)


def test_a_leader_whose_lease_somebody_else_wrote_reads_it_and_goes_on() -> None:
    """A conflict on the fast way: it looks, finds itself still the holder, and renews."""

    async def main(world: World) -> None:
        one = Replica(world, "one")
        await trio.sleep(10)
        await world.client.patch(
            Lease, "test-lease", "kube-system", {"metadata": {"labels": {"seen": "yes"}}}
        )
        await trio.sleep(30)
        lease: Lease = await world.client.get(Lease, "test-lease", "kube-system")

        assert (1, []) == (len(one.began), one.ended)
        assert ("one", "yes") == (lease.spec.holder_identity, lease.metadata.labels["seen"])

    in_world(main)


def test_a_lease_that_is_deleted_is_made_again() -> None:
    """The leader finds its lease gone, creates it, and goes on leading."""

    async def main(world: World) -> None:
        one = Replica(world, "one")
        await trio.sleep(10)
        await world.client.delete(Lease, "test-lease", "kube-system")
        await trio.sleep(10)
        lease: Lease = await world.client.get(Lease, "test-lease", "kube-system")

        assert (1, [], "one") == (len(one.began), one.ended, lease.spec.holder_identity)

    in_world(main)


def test_work_that_ends_gives_leadership_back() -> None:
    """`run` returns when the work does, and renews no more."""

    async def main(world: World) -> None:
        replica = Replica(world, "one")
        await replica.process.crash()
        replica = Replica(world, "two")
        await replica.process.crash()
        lone = LeaderElector(
            client=world.client,
            clock=world.simulation.clock,
            draws=world.draws,
            settings=Settings(),
            recorder=replica.recorder,
            name="other-lease",
            identity="three",
        )
        led = False

        async def work() -> None:
            nonlocal led
            led = lone.leading
            await trio.sleep(5)

        await lone.run(work)

        assert led
        assert not lone.leading

    in_world(main)


def test_election_has_causes() -> None:
    """A claim is written because of the timer; what the leader does, because of the write that made it one."""

    async def main(world: World) -> None:
        Replica(world, "one")
        await trio.sleep(10)
        lease, told = (
            [event for event in world.store.history() if part in event.key]
            for part in ("/leases/kube-system/test-lease", "/events/kube-system/")
        )

        assert all(event.origin.causes == ("timer:election/test-lease",) for event in lease)
        messages = [event.value.message for event in told if isinstance(event.value, Event)]
        assert ["one became leader"] == messages
        assert [(lease[0].revision,)] == [event.origin.causes for event in told]

    in_world(main)


def test_a_replica_that_is_made_to_seize_the_lease_leads_beside_its_holder() -> None:
    """Until the former leader finds that it cannot renew; released, it takes nothing any more."""

    async def main(world: World) -> None:
        one = Replica(world, "one")
        await trio.sleep(3)
        two = Replica(world, "two")
        await trio.sleep(30)
        hold = two.elector.seizing.take("a test")
        await trio.sleep(6)
        assert (one.elector.leading, two.elector.leading) == (True, True)
        await trio.sleep(10)
        assert (one.elector.leading, two.elector.leading) == (False, True)
        hold.release()
        one.elector.seizing.take("a test").release()
        await trio.sleep(60)
        assert (1, 1) == (len(one.began), len(two.began))

    in_world(main)


def test_a_paused_leader_concludes_nothing() -> None:
    """It goes on leading, as far as it knows, however long it sleeps; awake it stops at once."""

    async def main(world: World) -> None:
        one = Replica(world, "one")
        await trio.sleep(3)
        two = Replica(world, "two")
        await trio.sleep(30)
        hold = one.process.pause()
        await trio.sleep(300)
        assert (one.elector.leading, one.ended) == (True, [])
        assert two.elector.leading
        hold.release()
        await trio.sleep(1)
        assert (one.elector.leading, len(one.ended)) == (False, 1)

    in_world(main)
