"""Links: what they delay arrives, what they cut waits, and overlapping cuts heal without a trace."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.sim import (
    Direction,
    DurationRange,
    Link,
    LinkQuality,
    ProcessGone,
    Simulation,
    run,
)


class Server:
    """Applies what reaches it, and answers."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.applied: list[str] = []

    async def request(self, text: str) -> str:
        await self.link.to_server()
        self.applied.append(text)
        await self.link.to_client()
        return f"{text} done"


def test_a_perfect_link_takes_no_time_and_no_timer() -> None:
    """It is a checkpoint all the same, in both directions."""

    async def main(simulation: Simulation) -> None:
        link = Link("web", draws=simulation.draws)
        for carry in (link.to_server, link.to_client):
            with trio.testing.assert_checkpoints():
                await carry()
        assert trio.current_time() == 0.0
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == float("inf")

    run(main, seed=1)


def test_a_delay_is_drawn_for_each_message_and_belongs_to_the_seed() -> None:
    """In whole microseconds within the range; the same for a seed, others for another, and others for another link."""

    async def main(simulation: Simulation) -> list[list[int]]:
        quality = LinkQuality(delay=DurationRange.parse("1ms..5ms"))
        taken: list[list[int]] = []
        for name in ("a", "b"):
            link = Link(name, draws=simulation.draws, quality=quality)
            times = []
            for _ in range(5):
                start = simulation.clock.now_us()
                await link.to_server()
                times.append(simulation.clock.now_us() - start)
            taken.append(times)
        return taken

    first = run(main, seed=1)

    assert first == run(main, seed=1)
    assert first != run(main, seed=2)
    assert first[0] != first[1]
    assert all(1000 <= time <= 5000 for times in first for time in times)


def test_a_lost_message_is_sent_again() -> None:
    """Nothing is dropped; losses cost the time of their retransmissions: 0.2 s, then 0.4 s more, and so on."""

    async def main(simulation: Simulation) -> list[float]:
        link = Link("web", draws=simulation.draws, quality=LinkQuality(loss=0.5))
        times = []
        for _ in range(200):
            start = simulation.clock.now()
            await link.to_server()
            times.append(round(simulation.clock.now() - start, 6))
        return times

    times = run(main, seed=1)

    assert {0.0, 0.2, 0.6, 1.4} <= set(times)
    assert 60 < times.count(0.0) < 140


def test_the_answer_of_an_applied_request_can_be_lost() -> None:
    """Cut on the way back: the server has applied it, and the caller's own time-out is all it ever learns."""

    async def main(simulation: Simulation) -> None:
        link = Link("web", draws=simulation.draws)
        server = Server(link)
        link.partition(Direction.TO_CLIENT)
        with trio.move_on_after(30) as scope:
            await server.request("write")
        assert scope.cancelled_caught
        assert server.applied == ["write"]

    run(main, seed=1)


def test_a_request_cut_on_its_way_there_is_not_applied_until_healed() -> None:
    """Also when the cut begins while it is under way."""

    async def main(simulation: Simulation) -> None:
        quality = LinkQuality(delay=DurationRange.fixed(1.0))
        link = Link("web", draws=simulation.draws, quality=quality)
        server = Server(link)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.request, "write")
            await trio.sleep(0.5)
            holds = link.partition(Direction.TO_SERVER)
            await trio.sleep(60)
            assert not server.applied
            link.heal(holds)
        assert server.applied == ["write"]
        assert simulation.clock.now() == 62.5  # healed at 60.5, then a second each way

    run(main, seed=1)


def test_a_request_of_a_process_that_crashes_in_flight_may_have_been_applied() -> None:
    """Crashed before it arrives, it is not applied; crashed while the answer travels, it is. Both happen to one link."""

    async def main(simulation: Simulation) -> list[str]:
        quality = LinkQuality(delay=DurationRange.fixed(1.0))

        async def client() -> None:
            await server.request(f"write at {trio.current_time():g}")

        async def start() -> None:
            await started.wait()
            await client()

        started = trio.Event()
        process = simulation.processes.start("web", start)
        server = Server(Link("web", draws=simulation.draws, process=process, quality=quality))
        started.set()
        await trio.sleep(0.5)
        await process.crash()
        await trio.sleep(9.5)
        process.start()
        await trio.sleep(1.5)
        await process.crash()
        await trio.sleep(10)
        return server.applied

    assert run(main, seed=1) == ["write at 10"]


def test_a_paused_process_sends_and_reads_nothing() -> None:
    """Paused before sending, the request does not leave; paused in flight, the server applies it and the answer waits unread."""

    async def main(simulation: Simulation) -> list[tuple[str, float]]:
        quality = LinkQuality(delay=DurationRange.fixed(1.0))
        seen: list[tuple[str, float]] = []

        async def client() -> None:
            while True:
                await trio.sleep(10)
                seen.append((await server.request("w"), trio.current_time()))

        process = simulation.processes.start("web", client)
        link = Link("web", draws=simulation.draws, process=process, quality=quality)
        server = Server(link)
        await trio.sleep(5)
        before_sending = process.pause()
        await trio.sleep(15)
        assert server.applied == []
        before_sending.release()  # at 20; the request leaves, arrives at 21
        await trio.sleep(1.5)
        in_flight = process.pause()
        await trio.sleep(28.5)
        assert server.applied == ["w"]
        assert seen == []
        in_flight.release()
        await trio.sleep(1)
        return seen

    assert run(main, seed=1) == [("w done", 50.0)]


def test_a_dead_process_cannot_send() -> None:
    async def main(simulation: Simulation) -> None:
        process = simulation.processes.start("web", trio.sleep_forever)
        link = Link("web", draws=simulation.draws, process=process)
        await trio.sleep(1)
        await process.crash()
        with pytest.raises(ProcessGone, match="'web' is crashed"):
            await link.to_server()

    run(main, seed=1)


DIRECTIONS = st.sampled_from(Direction)


@given(steps=st.lists(st.one_of(DIRECTIONS, st.integers(0, 5))), seed=st.integers(0, 100))
@settings(max_examples=100, deadline=None)
def test_overlapping_partitions_compose_and_leave_no_residue(
    steps: list[Direction | int], seed: int
) -> None:
    """A direction is cut as long as one partition of it is not healed, however they overlap and however often each is healed;
    when all are, messages pass at once.
    """

    async def main(simulation: Simulation) -> None:
        link = Link("web", draws=simulation.draws)
        made, healed = [], []
        for step in steps:
            if isinstance(step, Direction):
                made.append((step, link.partition(step, f"fault {len(made)}")))
            elif made:
                index = step % len(made)
                link.heal(made[index][1])
                healed.append(index)
            unhealed = [made[i][0] for i in range(len(made)) if i not in healed]
            for way in (Direction.TO_SERVER, Direction.TO_CLIENT):
                assert link.partitioned(way) == (way in unhealed or Direction.BOTH in unhealed)
        for _, holds in made:
            link.heal(holds)
        assert link.statistics().partitions == ()
        await Server(link).request("write")
        assert trio.current_time() == 0.0

    run(main, seed=seed)


def test_heal_without_holds_heals_everything() -> None:
    async def main(simulation: Simulation) -> None:
        link = Link("web", draws=simulation.draws)
        link.partition(reason="zone")
        link.partition(Direction.TO_CLIENT, "cable")
        assert link.statistics().partitions == ("zone", "zone", "cable")
        assert repr(link) == "<Link web cut to-server to-client>"
        link.heal()
        assert not link.partitioned()
        assert repr(link) == "<Link web open>"

    run(main, seed=1)


@pytest.mark.parametrize("loss", [-0.1, 1.0])
def test_a_link_that_loses_everything_is_refused(loss: float) -> None:
    """A message would be sent again for ever: that is what partitions are for."""
    with pytest.raises(ValueError, match="allowed is 0 to under 1"):
        LinkQuality(loss=loss)
