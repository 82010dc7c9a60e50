"""Turnstiles and entries: what is held goes on in order, and what is released is gone."""

from __future__ import annotations

import trio

from engine import Simulation, run_simulation
from engine.sim.entries import Entries
from engine.sim.turnstile import Turnstile


async def pass_through(turnstile: Turnstile, number: int, through: list[int]) -> None:
    await turnstile.passed()
    through.append(number)


def test_those_who_stood_before_it_pass_in_the_order_in_which_they_came() -> None:
    """Ten come one after the other; whatever the seed, they pass in that order."""
    for seed in range(20):

        async def main(simulation: Simulation) -> None:
            del simulation
            turnstile, through = Turnstile(lambda: None), list[int]()
            hold = turnstile.close("fault")
            async with trio.open_nursery() as nursery:
                for number in range(10):
                    nursery.start_soon(pass_through, turnstile, number, through)
                    await trio.sleep(1)
                assert through == []
                assert turnstile.reasons == ("fault",)
                hold.release()
                assert turnstile.closed  # until the last has passed

            assert through == list(range(10))
            assert not turnstile.closed

        run_simulation(main, seed=seed)


def test_who_gives_up_is_left_out_and_who_comes_later_goes_behind() -> None:
    """A cancelled one does not keep the others; one that comes while they pass does not overtake them."""

    async def main(simulation: Simulation) -> None:
        del simulation
        turnstile, through = Turnstile(lambda: None), list[int]()
        hold = turnstile.close()
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(1):
                await turnstile.passed()
            for number in range(5):
                nursery.start_soon(pass_through, turnstile, number, through)
                await trio.sleep(1)
            hold.release()
            nursery.start_soon(pass_through, turnstile, 5, through)

        assert through == [0, 1, 2, 3, 4, 5]

    run_simulation(main, seed=0)


def test_closed_again_while_they_pass_it_keeps_their_order() -> None:
    """The one whose turn it is waits, and the others behind it."""

    async def main(simulation: Simulation) -> None:
        del simulation
        opened = list[str]()
        turnstile, through = Turnstile(lambda: opened.append("open")), list[int]()
        first = turnstile.close()
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(pass_through, turnstile, number, through)
                await trio.sleep(1)
            first.release()
            second = turnstile.close()
            await trio.sleep(1)
            assert through == []
            assert opened == []
            second.release()

        assert through == [0, 1, 2, 3]
        assert opened == ["open"]

    run_simulation(main, seed=0)


def test_entries_are_in_force_until_each_is_released() -> None:
    """Two of the same thing are two entries; releasing one twice releases one."""
    changes = list[int]()
    entries: Entries[str] = Entries(lambda: changes.append(1))
    one, two = entries.add("delay", "a"), entries.add("delay", "b")
    one.release()
    one.release()

    assert entries.reasons == ("b",)
    assert [entry.item for entry in entries] == ["delay"]
    assert (one.over.is_set(), two.over.is_set()) == (True, False)
    assert len(changes) == 3
    two.release()
    assert not entries
