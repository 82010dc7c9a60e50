"""What faults do to a machine, part by part: each is taken back exactly, in any order."""

from __future__ import annotations

from itertools import pairwise

import attrs
import trio
from hypothesis import given
from hypothesis import strategies as st
from node_play import FIXED, Play, behaviour, make_host, make_pod, make_runtime

from engine import NO_TIME, Container, Draws, DurationRange, HTTPGetAction, Probe
from engine.sim import EPOCH_US, Clock, Simulation, run
from sim_nodes import Images, Pressure, PressureKind, PullTrouble
from sim_nodes.calendar import Calendar
from sim_nodes.effects import Effects, delayed
from sim_nodes.pressure import PressureWatch
from sim_nodes.pulls import Puller
from sim_nodes.units import NS

# -- effects ---------------------------------------------------------------------------------------


def test_effects_are_in_force_until_released() -> None:
    effects: Effects[float] = Effects()
    assert not effects
    one, two = effects.add(2.0, "one"), effects.add(3.0, "two")
    assert [2.0, 3.0] == [effect.value for effect in effects]

    one.release()
    one.release()

    assert [two] == list(effects)
    assert (False, True) == (one.active, two.active)


def test_a_delay_ends_with_its_effect() -> None:
    """Whoever waits because of a fault goes on when it is healed, and waits for the others still."""

    async def main(simulation: Simulation) -> list[float]:
        delays: Effects[DurationRange] = Effects()
        long, _ = delays.add(FIXED(100), "long"), delays.add(FIXED(5), "short")
        times = []

        async def wait() -> None:
            await delayed(delays, simulation.draws, "test")
            times.append(simulation.clock.now())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(10)
            long.release()
        await wait()
        return times

    assert [15.0, 20.0] == run(main, seed=1)


# -- clocks ----------------------------------------------------------------------------------------


def test_a_calendar_remembers_what_it_showed() -> None:
    """Errors add up while they last, and what was written under them stays explained by them."""
    calendar = Calendar()
    jump = calendar.err(offset_us=60_000_000, drift_ppm=0, reason="a", now=10 * NS)
    drift = calendar.err(offset_us=0, drift_ppm=100_000, reason="b", now=20 * NS)
    assert [0, 60_000_000, 61_000_000] == [calendar.error_us(s * NS) for s in (9, 19, 30)]

    jump.end(40 * NS)
    jump.end(90 * NS)

    assert [60_000_000, 2_000_000] == [calendar.error_us(s * NS) for s in (19, 40)]
    assert [drift] == calendar.active
    drift.end(50 * NS)
    assert 0 == calendar.error_us(60 * NS)
    assert 7 * NS == calendar.ns_of(7_000_000)


@given(
    offset=st.integers(-(10**10), 10**10),
    drift=st.integers(-500_000, 500_000),
    since=st.integers(0, 10**6),
    later=st.integers(0, 10**6),
)
def test_when_a_wrong_clock_shows_a_time(offset: int, drift: int, since: int, later: int) -> None:
    """`ns_of` is the inverse of what the clock shows, to the rounding of microseconds."""
    calendar = Calendar()
    calendar.err(offset_us=offset, drift_ppm=drift, reason="x", now=since * NS)
    time_ns = (since + later) * NS
    shown = time_ns // 1000 + calendar.error_us(time_ns)

    assert abs(calendar.ns_of(shown) - time_ns) <= 5_000


async def test_a_clock_that_errs_shares_all_but_the_calendar() -> None:
    clock = Clock.wall()
    wrong = clock.erring(lambda _: 1_000_000)
    before = clock.unix_us()

    shown = wrong.unix_us()

    assert before + 1_000_000 <= shown <= clock.unix_us() + 1_000_000
    assert wrong.now_ns() <= clock.now_ns()
    assert EPOCH_US < wrong.epoch_us == clock.epoch_us


# -- pulls -----------------------------------------------------------------------------------------


def make_puller(lanes: int | None = 1) -> Puller:
    return Puller(
        node="n", images=Images((behaviour(pull=FIXED(2)),), Draws(1)), max_parallel=lanes
    )


def test_a_slow_pull_is_relieved_with_those_behind_it() -> None:
    puller = make_puller()
    slow = puller.disturbances.pulls.add(PullTrouble("a*", FIXED(60)), "slow")
    first, second = puller.pull("a:1", 0), puller.pull("b:1", 0)
    assert [62 * NS, 64 * NS] == [first.ends_ns, second.ends_ns]

    slow.release()
    puller.relieve(slow, 10 * NS)

    assert [10 * NS, 12 * NS] == [first.ends_ns, second.ends_ns]
    assert puller.present("a:1", 10 * NS)
    assert 14 * NS == puller.pull("c:1", 11 * NS).ends_ns


def test_failing_pulls_fail_until_released() -> None:
    """Those that match; what the image itself does comes first."""
    puller = make_puller(None)
    failing = puller.disturbances.pulls.add(PullTrouble("*", NO_TIME, "no route"), "f")
    assert "no route" == puller.pull("a:1", 0).error == puller.last_error("a:1")
    failing.release()
    assert "" == puller.pull("a:1", 0).error == puller.last_error("a:1")


@given(
    asked=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20)), max_size=8),
    when=st.integers(0, 100),
    lanes=st.sampled_from([1, 2]),
)
def test_relieved_pulls_never_share_a_lane(
    asked: list[tuple[str, int]], when: int, lanes: int
) -> None:
    """And none ends later than it would have."""
    puller = make_puller(lanes)
    slow = puller.disturbances.pulls.add(PullTrouble("a", FIXED(30)), "slow")
    now, pulls = 0, []
    for image, wait in asked:
        now += wait * NS
        pulls.append(puller.pull(image, now))
    before = [pull.ends_ns for pull in pulls]
    now = max(now, when * NS)

    slow.release()
    puller.relieve(slow, now)

    for pull, ended in zip(pulls, before, strict=True):
        assert pull.ends_ns <= ended
        assert pull.ends_ns == ended or pull.ends_ns >= now
    for lane in range(lanes):
        mine = [pull for pull in pulls if pull.lane == lane]
        for earlier, later in pairwise(mine):
            assert earlier.ends_ns <= later.begins_ns


# -- containers ------------------------------------------------------------------------------------


def test_a_container_that_stood_still_lives_as_much_longer() -> None:
    runtime = make_runtime(behaviour(runs=FIXED(100), ready_after=FIXED(20)))
    pod = make_pod()
    runtime.create_sandbox(pod, 0)
    record = runtime.start(pod, pod.spec.containers[0], 0, 0)
    moments = (record.started_ns, record.answers_ns, record.ends_ns)

    one, two = runtime.freeze("a", 10 * NS), runtime.freeze("b", 20 * NS)
    assert not runtime.thaw(30 * NS, one)
    assert [record] == runtime.running(500 * NS)
    assert runtime.thaw(510 * NS, two)

    late = 500 * NS
    assert (moments[0], moments[1] + late, moments[2] + late) == (
        record.started_ns,
        record.answers_ns,
        record.ends_ns,
    )
    assert not runtime.thaw(600 * NS, two)


def test_power_off_ends_standing_still() -> None:
    runtime = make_runtime()
    runtime.freeze("a", 0)
    runtime.power_off(NS)
    assert not runtime.frozen
    assert runtime.down


def test_dooms_overlap() -> None:
    """Of two crash loops the earlier counts; without both it lives as it would."""
    runtime = make_runtime(behaviour(runs=FIXED(100)))
    pod = make_pod()
    uid = str(pod.metadata.uid)
    runtime.create_sandbox(pod, 0)
    record = runtime.start(pod, pod.spec.containers[0], 0, 0)
    natural = record.ends_ns
    disturbed = runtime.disturbances.disturb(uid)
    one, two = disturbed.crashing.add(FIXED(30), "a"), disturbed.crashing.add(FIXED(20), "b")
    runtime.disturb(uid, 10 * NS)
    assert (30 * NS, 1, "Error") == (record.ends_ns, record.exit_code, record.reason)

    runtime.disturbances.relieve(uid, two)
    runtime.disturb(uid, 15 * NS)
    assert 40 * NS == record.ends_ns
    runtime.disturbances.relieve(uid, one)
    runtime.disturb(uid, 15 * NS)

    assert (natural, 0, "Completed") == (record.ends_ns, record.exit_code, record.reason)
    assert {} == runtime.disturbances.pods
    assert [] == runtime.disturbances.in_force()


def test_a_stop_counts_beside_a_doom() -> None:
    """A container that was told to stop ends by that when its crash loop is healed."""
    runtime = make_runtime(behaviour(stop=FIXED(8)))
    pod = make_pod()
    uid = str(pod.metadata.uid)
    runtime.create_sandbox(pod, 0)
    record = runtime.start(pod, pod.spec.containers[0], 0, 0)
    loop = runtime.disturbances.disturb(uid).crashing.add(FIXED(5), "a")
    runtime.disturb(uid, 10 * NS)
    runtime.stop(uid, record, 11 * NS, 30 * NS, 0)
    assert 15 * NS == record.ends_ns

    runtime.disturbances.relieve(uid, loop)
    runtime.disturb(uid, 12 * NS)

    assert (19 * NS, 143) == (record.ends_ns, record.exit_code)


def test_an_unready_container_fails_its_readiness_probe_alone() -> None:
    """With the text of a server that answers 503."""
    runtime = make_runtime(behaviour())
    get = Probe(http_get=HTTPGetAction(port=80), period_seconds=5)
    pod = make_pod(Container(name="app", image="app:v1", readiness_probe=get, liveness_probe=get))
    play = Play(make_host(runtime=runtime), pod)
    play.to(20)
    assert play.container.ready
    effect = runtime.disturbances.disturb(play.life.uid).unready.add(None, "a")
    runtime.disturb(play.life.uid, play.now)
    play.life.poke(play.now)
    play.to(60)
    assert not play.container.ready
    assert {"Readiness probe failed: HTTP probe failed with statuscode: 503"} == {
        message for message in play.messages if "probe failed" in message
    }
    runtime.disturbances.relieve(play.life.uid, effect)
    runtime.disturb(play.life.uid, play.now)
    play.life.poke(play.now)
    play.to(80)
    assert play.container.ready
    assert play.container.restart_count == 0


# -- pressure --------------------------------------------------------------------------------------


def test_pressure_evicts_one_pod_a_look_and_outlasts_the_shortage() -> None:
    """BestEffort first, critical ones never; the condition stays 5 minutes after it was last seen."""
    runtime = make_runtime()
    watch = PressureWatch(runtime.disturbances)
    assert not watch
    shortage = runtime.disturbances.pressure.add(Pressure(PressureKind.MEMORY, 2), "a")
    pods = [make_pod(name="a"), make_pod(name="b"), make_pod(name="c", priority=2_000_001_000)]

    first, again = watch.look(pods, 0)
    between, _ = watch.look(pods, 5 * NS)
    second, _ = watch.look(pods[1:], 10 * NS)
    third, _ = watch.look(pods[2:], 20 * NS)

    assert first is not None
    assert second is not None
    assert ("uid-a", "uid-b", 10 * NS) == (first.uid, second.uid, again)
    assert (between, third) == (None, None)
    refusal = watch.refuses(pods[0])
    assert refusal is not None
    assert ("Evicted", "The node had condition: [MemoryPressure]. ") == attrs.astuple(refusal)
    assert watch.refuses(pods[2]) is None
    shortage.release()
    _, over = watch.look(pods, 25 * NS)
    assert 320 * NS == over
    assert watch.under(PressureKind.MEMORY)
    watch.look(pods, over)
    assert not watch
    assert watch.refuses(pods[0]) is None


def test_a_container_that_ended_unseen_is_not_probed_for_ever() -> None:
    """Probes that were due while nobody looked are over with it: the life wakes for nothing past, and restarts it."""
    runtime = make_runtime(behaviour())
    get = Probe(http_get=HTTPGetAction(port=80), period_seconds=5)
    play = Play(
        make_host(runtime=runtime),
        make_pod(Container(name="app", image="app:v1", liveness_probe=get)),
    )
    play.to(20)
    record = play.life.newest("app")
    assert record is not None
    runtime.hang(record, play.now)
    play.now += 60 * NS
    runtime.kill(record, play.now, 137, "Error")
    play.now += 10 * NS
    play.life.poke(play.now)
    play.to(play.now / NS + 60)
    assert play.container.restart_count == 1
    assert play.container.ready
