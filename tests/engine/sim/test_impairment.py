"""What faults do to a link: delays, losses, overtaking and clogs, each an entry of its own."""

from __future__ import annotations

import pytest
import trio

from engine import Direction, Draws, DurationRange, Impairment, Link, Simulation, run_simulation


def seconds(text: str) -> DurationRange:
    return DurationRange.parse(text)


async def send(link: Link, number: int, arrived: list[tuple[int, float]]) -> None:
    await link.to_server()
    arrived.append((number, round(trio.current_time(), 6)))


def test_impairments_add_up_and_each_ends_for_itself() -> None:
    """2 s and 3 s are 5 s; with the first released the other is left."""

    async def main(simulation: Simulation) -> None:
        link, arrived = Link("web", draws=simulation.draws), list[tuple[int, float]]()
        two = link.impair(Impairment(delay=seconds("2s")), "two")
        three = link.impair(Impairment(delay=seconds("3s")), "three")
        assert not link.clear
        assert link.statistics().impairments == ("two", "three")
        await send(link, 1, arrived)
        two.release()
        await send(link, 2, arrived)
        three.release()
        assert link.clear
        await send(link, 3, arrived)

        assert arrived == [(1, 5.0), (2, 8.0), (3, 8.0)]

    run_simulation(main, seed=0)


def test_an_impairment_that_ends_ends_for_messages_on_their_way() -> None:
    """Nothing of it is left: what waited for an hour goes on at the release."""

    async def main(simulation: Simulation) -> None:
        link, arrived = Link("web", draws=simulation.draws), list[tuple[int, float]]()
        entry = link.impair(Impairment(delay=seconds("1h")), "slow")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, link, 1, arrived)
            await trio.sleep(5)
            entry.release()

        assert arrived == [(1, 5.0)]

    run_simulation(main, seed=0)


def test_an_impairment_is_of_one_direction_or_both() -> None:
    """Answers pass at once while requests wait."""

    async def main(simulation: Simulation) -> None:
        link = Link("web", draws=simulation.draws)
        link.impair(Impairment(delay=seconds("2s"), direction=Direction.TO_SERVER), "there")
        await link.to_client()
        assert trio.current_time() == 0
        await link.to_server()
        assert trio.current_time() == 2

    run_simulation(main, seed=0)


def test_lost_messages_are_sent_again_after_growing_waits() -> None:
    """0.2 s, 0.4 s, 0.8 s, ...: each message takes the sum of some of them."""

    async def main(simulation: Simulation) -> None:
        link, arrived = Link("web", draws=simulation.draws), list[tuple[int, float]]()
        link.impair(Impairment(loss=0.7), "loss")
        before = 0.0
        took = []
        for number in range(20):
            await send(link, number, arrived)
            took.append(round(arrived[-1][1] - before, 6))
            before = arrived[-1][1]

        assert {*took} <= {round(0.2 * (2**losses - 1), 6) for losses in range(30)}
        assert len({*took}) > 3

    run_simulation(main, seed=0)
    with pytest.raises(ValueError, match="loss is 1, allowed is 0 to under 1"):
        Impairment(loss=1)


def test_with_reordering_later_messages_overtake() -> None:
    """Ten sent a millisecond apart arrive in another order, none is missing, and the same seed gives the same order."""

    def order(seed: int) -> list[int]:
        arrived = list[tuple[int, float]]()

        async def main(simulation: Simulation) -> None:
            link = Link("web", draws=Draws(seed))
            link.impair(Impairment(reorder=0.5, reorder_delay=seconds("1ms..100ms")), "net")
            async with trio.open_nursery() as nursery:
                for number in range(10):
                    nursery.start_soon(send, link, number, arrived)
                    await trio.sleep(0.001)

        run_simulation(main, seed=seed)
        return [number for number, _ in arrived]

    assert sorted(order(1)) == list(range(10))
    assert order(1) != list(range(10))
    assert order(1) == order(1)


def test_a_clogged_link_lets_go_in_order() -> None:
    """Messages sent while it was clogged arrive at the heal, as they were sent; both holds have to be released."""

    async def main(simulation: Simulation) -> None:
        link, arrived = Link("web", draws=simulation.draws), list[tuple[int, float]]()
        one, two = link.clog(reason="one"), link.clog(reason="two")
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(send, link, number, arrived)
                await trio.sleep(1)
            link.heal(one)
            await trio.sleep(1)
            assert arrived == []
            assert link.statistics().clogs == ("two", "two")
            link.heal(two)
            await trio.sleep(1)

        assert [number for number, _ in arrived] == list(range(10))
        assert {at for _, at in arrived} == {11.0}
        assert link.clear

    run_simulation(main, seed=0)


def test_a_partition_after_a_clog_still_holds() -> None:
    """What left the clog meets the cut."""

    async def main(simulation: Simulation) -> None:
        link, arrived = Link("web", draws=simulation.draws), list[tuple[int, float]]()
        clogged = link.clog()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, link, 1, arrived)
            await trio.sleep(1)
            cut = link.partition()
            link.heal(clogged)
            await trio.sleep(1)
            assert arrived == []
            link.heal(cut)

        assert arrived == [(1, 2.0)]

    run_simulation(main, seed=0)
