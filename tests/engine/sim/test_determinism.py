"""`run`: one seed, one interleaving; everything it changes is put back."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio._core import _run as trio_run

from engine.sim import (
    SeededScheduler,
    Simulation,
    SimulationError,
    UnsupportedTrio,
    determinism,
    run,
)


async def interleaving(simulation: Simulation) -> list[int]:
    """The order in which 300 tasks, all woken together, take three turns each."""
    turns: list[int] = []

    async def work(number: int) -> None:
        for _ in range(3):
            turns.append(number)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for number in range(300):
            nursery.start_soon(work, number)
    return turns


def test_a_seed_is_an_interleaving() -> None:
    """The same seed gives the same order in one process (fresh ones: test_repeat.py); ten seeds give ten orders."""
    orders = [run(interleaving, seed=seed) for seed in range(10)]

    assert orders == [run(interleaving, seed=seed) for seed in range(10)]
    assert len({tuple(order) for order in orders}) == 10


@given(seed=st.integers(0, 2**64))
@settings(max_examples=5, deadline=None)
def test_runs_inside_hypothesis_keep_their_seed(seed: int) -> None:
    """Hypothesis manages trio's own generator; a run neither reads it nor disturbs it."""
    assert run(interleaving, seed=seed) == run(interleaving, seed=seed)


def test_the_order_of_a_seed_is_a_constant() -> None:
    """Recorded on CPython 3.11 with trio 0.35: seeds in bug reports stay good on other versions."""
    batch = list(range(10))
    SeededScheduler(7).shuffle(batch)  # type: ignore[arg-type]  # it looks at no task

    assert batch == [2, 7, 4, 6, 8, 9, 0, 5, 1, 3]


def test_a_given_schedule_is_followed() -> None:
    """The hook sees each batch sorted by age; the last of the batch runs first."""

    class OldestLast:
        def shuffle(self, batch: list[trio.lowlevel.Task]) -> None:
            """As it comes: the youngest runs first."""

    class OldestFirst:
        def shuffle(self, batch: list[trio.lowlevel.Task]) -> None:
            batch.reverse()

    youngest_first = [*reversed(range(300))] * 3

    assert run(interleaving, seed=1, scheduler=OldestLast()) == youngest_first
    assert run(interleaving, seed=1, scheduler=OldestFirst()) == [*range(300)] * 3


def test_a_scheduler_can_end_the_run() -> None:
    """A recorded schedule that no longer fits says so, and `run` raises what it said."""

    class Refuses:
        def shuffle(self, batch: list[trio.lowlevel.Task]) -> None:
            raise SimulationError("the recording ends here")

    with pytest.raises(SimulationError, match="the recording ends here"):
        run(interleaving, seed=1, scheduler=Refuses())


def test_virtual_time_takes_no_time_and_adds_up() -> None:
    """20,000 sleeps of 0.1 s: the clock reads 2000 s exactly, though the float beneath has drifted."""

    async def main(simulation: Simulation) -> tuple[int, float]:
        for _ in range(20_000):
            await trio.sleep(0.1)
        return simulation.clock.now_ns(), trio.current_time()

    ns, drifted = run(main, seed=1)

    assert ns == 2000 * 10**9
    assert drifted != 2000.0


class Boom(Exception):
    pass


@pytest.mark.parametrize("error", [None, Boom, KeyboardInterrupt])
def test_everything_is_put_back(error: type[BaseException] | None) -> None:
    """Trio's switch and generator, the collector, the signal handler and the wake-up descriptor, whatever way the run ends."""

    def state() -> list[object]:
        wakeup = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(wakeup)
        return [
            trio_run._ALLOW_DETERMINISTIC_SCHEDULING,
            trio_run._r,
            gc.isenabled(),
            wakeup,
            signal.getsignal(signal.SIGALRM),
            signal.getitimer(signal.ITIMER_REAL),
        ]

    async def main(_: Simulation) -> list[object]:
        if error is not None:
            raise error
        return state()

    before = state()
    if error is None:
        during = run(main, seed=1)
        assert all(
            one != other for one, other in zip(before[1:], during[1:], strict=True) if one != -1
        )
    else:
        with pytest.raises(error):
            run(main, seed=1)

    assert before == state()


def test_what_a_run_leaves_behind_is_collected_after_it() -> None:
    """Not during it, when its finalizers could reach events; and not never."""
    finalized: list[str] = []

    class Leftover:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            finalized.append("gone")

    async def main(_: Simulation) -> int:
        for _ in range(10_000):
            Leftover()
        return len(finalized)

    assert run(main, seed=1) == 0
    assert len(finalized) == 10_000


def test_what_outlives_its_run_is_collected_when_there_is_much_of_it() -> None:
    """A look at all objects takes a second in a large process: it is not taken after each run, and not never."""
    finalized: list[int] = []

    class Leftover:
        def __init__(self, number: int) -> None:
            self.itself = self
            self.number = number

        def __del__(self) -> None:
            finalized.append(self.number)

    collector = determinism._Collector()
    alive: list[list[Leftover]] = []
    batch = 20_000
    most = 2 * max(100_000, len(gc.get_objects()) // 4) // batch + 20
    gc.disable()
    try:
        for number in range(most):
            collector.before_run()
            alive.append([Leftover(number) for _ in range(batch)])
            collector.after_run()
            del alive[:-2]  # garbage of the oldest generation by now
            if number == 4:
                assert not finalized, "only a look at all objects finds it, and there was none yet"
    finally:
        gc.enable()
    assert len(finalized) > batch, "and then there was"


def test_errors_of_main_come_out_as_they_are() -> None:
    """Not wrapped in a group when one thing went wrong, however many nurseries it passed; two stay a group."""

    async def raises(_: Simulation) -> None:
        raise Boom("plainly")

    async def two(_: Simulation) -> None:
        raise ExceptionGroup("both", [Boom(), Boom()])

    with pytest.raises(Boom, match="plainly"):
        run(raises, seed=1)
    with pytest.raises(ExceptionGroup, match="both"):
        run(two, seed=1)


def test_signals_do_not_disturb_the_schedule() -> None:
    """A signal wakes a task of trio's own if it can, and the batches shift: under `run` it cannot."""

    async def disturbed(simulation: Simulation) -> list[int]:
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.raise_signal(signal.SIGUSR1)
        return await interleaving(simulation)

    before = signal.getsignal(signal.SIGUSR1)
    try:
        assert run(disturbed, seed=1) == run(interleaving, seed=1)
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("_ALLOW_DETERMINISTIC_SCHEDULING", None, "_ALLOW_DETERMINISTIC_SCHEDULING is not there"),
        ("_r", object(), "_r is not a random.Random"),
    ],
)
def test_a_trio_with_other_names_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object, complaint: str
) -> None:
    """Loudly, before anything runs."""
    monkeypatch.setattr(trio_run, name, value)
    determinism.self_test.cache_clear()

    with pytest.raises(UnsupportedTrio, match=complaint):
        run(interleaving, seed=1)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda probe: setattr(probe, "main", _nothing_at_once), "not called with all"),
        (lambda probe: setattr(probe, "shuffle", _records_only(probe)), "not run in the order"),
    ],
)
def test_a_trio_that_behaves_otherwise_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[determinism._Probe], None],
    complaint: str,
) -> None:
    """The self-test looks at what trio does with the names, not only at the names."""

    class Spoiled(determinism._Probe):
        def __init__(self) -> None:
            super().__init__()
            spoil(self)

    monkeypatch.setattr(determinism, "_Probe", Spoiled)
    determinism.self_test.cache_clear()

    with pytest.raises(UnsupportedTrio, match=complaint):
        run(interleaving, seed=1)


async def _nothing_at_once() -> tuple[list[str], float]:
    return [], 3600.0


def _records_only(probe: determinism._Probe) -> Callable[[list[trio.lowlevel.Task]], None]:
    def shuffle(batch: list[trio.lowlevel.Task]) -> None:
        if len(batch) == 64:
            probe.largest = [task.name for task in batch]
            batch.insert(0, batch.pop())

    return shuffle
