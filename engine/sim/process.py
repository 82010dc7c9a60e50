"""Processes: restartable task trees with an identity.

Theory of operation. A process is a name, a main function and at most one running task tree. `crash()` cancels the tree, as SIGKILL
would: all the memory of the main function is gone with its frames. Python still runs the `finally` blocks on the way out, and some
code there shields itself and writes; so a dying process passes no gate any more. `Process.gate()` is the one door between a process
and its cluster: links await it on the way out and on the way in, and whoever waits for time or for a watch awaits it afterwards. A
paused process stands before its gate, which is what SIGSTOP looks like from outside: its timers run out, its requests are not sent,
answers and watch events pile up unread, and all of it goes on at once when it is resumed. A slowed process spends time at each gate.

Faults overlap, so each has a grip of its own: a `Hold` on a paused process or on one that is kept down, an `Entry` for what slows it. A
process that is kept down starts when the last hold is released, if it lived when it was taken or somebody has asked for its start since.

A failing main (an `Exception`) ends its process and nothing else; `Processes` hears of it, and the default is to fail the
simulation: no error is lost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from engine.sim.entries import Entries, Entry
from engine.sim.holds import Hold, Holds
from engine.sim.lifecycle import LIVING, Event, IllegalTransition, State, next_state
from engine.sim.progress import process_name

Main = Callable[[], Awaitable[object]]
"""What a process runs, called anew at every start; what it remembers lives in its frames and its objects, nowhere else."""

Delay = Callable[[], float]
"""How long the next pass of a gate takes, in seconds; called once for each."""


class ProcessGone(Exception):
    """A process that is dead or dying tried to act on the cluster: clean-up code that shields itself meets this."""


class ProcessFailed(Exception):
    """The main function of a process raised, and nobody supervises it; the cause is what it raised."""

    def __init__(self, name: str, failure: Exception) -> None:
        super().__init__(f"process {name!r} failed: {type(failure).__name__}: {failure}")
        self.name: Final = name
        self.failure: Final = failure


@attrs.frozen(kw_only=True)
class ProcessStatistics:
    """What `Process.statistics()` returns."""

    name: str
    state: State
    starts: int
    """How often it was started; the incarnation that runs, if one does."""
    held_by: tuple[str, ...]
    """Why it is paused, oldest first."""
    failure: Exception | None
    """What its main raised last, or what its clean-up raised in a crash."""
    kept_down_by: tuple[str, ...] = ()
    """Why it may not start, oldest first."""
    slowed_by: tuple[str, ...] = ()
    """Why its gate takes time, oldest first."""


class Process:
    """One process of the cluster; made by `Processes.start`.

    `kubelet/node-3` starts and runs its main; `await crash()` returns when the last of its tasks is gone; `restart()` calls the same main
    again, in a new task tree that knows nothing of the old one. Paused by two faults it goes on when both have let go; a crash voids
    the holds, since the process that comes back is another one. What slows it or keeps it down is around it, and outlives a crash.
    """

    def __init__(self, name: str, main: Main, owner: Processes) -> None:
        self.name: Final = name
        """Its identity, and the actor of all it writes: `kubelet/node-3`."""
        self._main: Final = main
        self._owner: Final = owner
        self._state = State.CREATED
        self.running = False
        """Whether it passes its gate at once: its state is RUNNING, and nothing slows it. Asked for each message."""
        self._starts = 0
        self._failure: Exception | None = None
        self._holds: Final = Holds(on_free=self._resumed)
        self._down: Final = Holds(on_free=self._let_go)
        self._wanted = False  # Whether it starts when nothing keeps it down any more.
        self._slowdowns: Final[Entries[Delay]] = Entries(on_change=self._look)
        self._scope = trio.CancelScope()
        self._over = trio.Event()

    def __repr__(self) -> str:
        return f"<Process {self.name} {self._state.value}>"

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self._state

    @property
    def living(self) -> bool:
        """Whether it runs or would run if it were not paused."""
        return self._state in LIVING

    @property
    def failure(self) -> Exception | None:
        """What its main raised, when it failed."""
        return self._failure

    def statistics(self) -> ProcessStatistics:
        """A reading of its state."""
        return ProcessStatistics(
            name=self.name,
            state=self._state,
            starts=self._starts,
            held_by=self._holds.reasons,
            failure=self._failure,
            kept_down_by=self._down.reasons,
            slowed_by=self._slowdowns.reasons,
        )

    def start(self) -> None:
        """Start it, again if it ended before; its tasks take their first steps when the caller next waits.

        One that is kept down starts when it is let go.

        Raises:
            IllegalTransition: it runs, or is not gone yet.
        """
        if self._down:
            self._wanted = True
            return
        self._move(Event.START)
        self._starts += 1
        self._failure = None
        self._scope = trio.CancelScope()
        self._over = trio.Event()
        self._owner.spawn(self._live, self.name)

    async def crash(self) -> None:
        """Kill it at once, and wait until the last of its tasks is gone. Clean-up that shields itself delays the return, no more.

        Raises:
            IllegalTransition: it is not alive.
        """
        self._move(Event.CRASH)
        self._holds.clear()
        self._scope.cancel()
        await self._over.wait()

    async def restart(self) -> None:
        """Start it, after a crash if it is alive, or when the crash under way is over. When two do so at once, it is started once."""
        if self.living:
            await self.crash()
        elif self._state is State.CRASHING:
            await self._over.wait()
        if not self.living:
            self.start()

    def keep_down(self, reason: str = "") -> Hold:
        """Kill it at once, if it is alive, and keep it from starting until the hold is released; `ended` waits for its end.

        When the last such hold is released it starts, if it was alive or somebody has asked for its start meanwhile.
        """
        hold = self._down.take(reason)
        if self.living:
            self._wanted = True
            self._move(Event.CRASH)
            self._holds.clear()
            self._scope.cancel()
        return hold

    def give_up(self) -> None:
        """Have it stay away when it is let go: nobody needs it any more, unless somebody asks for its start again."""
        self._wanted = False

    def _let_go(self) -> None:
        if self._wanted and self._state is not State.CRASHING:  # else at the end of the crash
            self._wanted = False
            self.start()

    def slow(self, delay: Delay, reason: str = "") -> Entry[Delay]:
        """Have each pass of its gate take time, until the entry is released; several add up."""
        return self._slowdowns.add(delay, reason)

    async def ended(self) -> None:
        """Wait until this incarnation is over: crashed, exited or failed; at once if it is."""
        await self._over.wait()

    def pause(self, reason: str = "") -> Hold:
        """Stop it before its gate until the hold is released; a process paused twice goes on after two releases.

        Raises:
            IllegalTransition: it is not alive.
        """
        self._move(Event.PAUSE)
        return self._holds.take(reason)

    def resume(self, hold: Hold | None = None) -> None:
        """Release this hold, or all of them; a hold that a crash has voided is released already.

        Raises:
            IllegalTransition: no hold is given and it is not paused.
        """
        if hold is not None:
            hold.release()
        elif not self._holds:
            raise IllegalTransition(self.name, self._state, Event.RESUME)
        else:
            self._holds.clear()

    async def gate(self) -> None:
        """Pass at once when running, wait while paused; always a checkpoint.

        Raises:
            ProcessGone: it is dead or dying.
        """
        await trio.lowlevel.checkpoint()
        await self.passed()

    async def passed(self) -> None:
        """As `gate`, but a checkpoint only while paused or slowed: for callers that are one already.

        Raises:
            ProcessGone: it is dead or dying.
        """
        if not self.running:
            await self._wait_at_gate()

    async def _wait_at_gate(self) -> None:
        if self._state in LIVING:
            for slowdown in self._slowdowns:
                with trio.move_on_after(slowdown.item()):
                    await slowdown.over.wait()
        if self._state is State.PAUSED:
            await self._holds.free()
        if self._state not in LIVING:
            raise ProcessGone(f"process {self.name!r} is {self._state.value}: it passes no gate")

    async def sleep(self, seconds: float) -> None:
        """Wait for time to pass, and then at the gate: what a paused process's timer does."""
        await trio.sleep(seconds)
        await self.passed()

    def _move(self, event: Event) -> None:
        self._state = next_state(self.name, self._state, event)
        self._look()

    def _look(self) -> None:
        self.running = self._state is State.RUNNING and not self._slowdowns

    def _resumed(self) -> None:
        if self._state is State.PAUSED:
            self._move(Event.RESUME)

    async def _live(self) -> None:
        """One incarnation, from its first step to its last."""
        process_name.set(self.name)  # inherited by every task of the tree
        outcome = (
            Event.CRASH
        )  # unless the main gets to its end: a simulation that closes kills its processes
        try:
            with self._scope:
                await self._main()
            outcome = Event.EXIT
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
            self._failure = error
            outcome = Event.FAIL
        finally:
            self._settle(outcome)

    def _settle(self, outcome: Event) -> None:
        if self._state is not State.CRASHING:
            self._move(outcome)
        if self._state is State.CRASHING:
            self._move(Event.GONE)
        self._holds.clear()
        self._over.set()
        if self._state is State.FAILED:
            assert self._failure is not None
            self._owner.failed(self, self._failure)
        elif not self._down:
            self._let_go()


FailureHandler = Callable[[Process, Exception], None]
"""Called in the step in which a process fails, when it is FAILED already; may start tasks of its own to restart it."""


def _fail(process: Process, failure: Exception) -> None:
    raise ProcessFailed(process.name, failure) from failure


class Processes:
    """All processes of a simulation, by name, in the order of their first start; opened by `open_processes`."""

    def __init__(self, nursery: trio.Nursery, on_failure: FailureHandler = _fail) -> None:
        self._nursery: Final = nursery
        self._processes: Final[dict[str, Process]] = {}
        self.on_failure = on_failure
        """What a failed process leads to; raising there, as the default does with `ProcessFailed`, ends the simulation."""

    def __repr__(self) -> str:
        living = sum(process.living for process in self._processes.values())
        return f"<Processes {living} of {len(self._processes)} living>"

    def __iter__(self) -> Iterator[Process]:
        return iter(tuple(self._processes.values()))

    def __len__(self) -> int:
        return len(self._processes)

    def __contains__(self, name: str) -> bool:
        return name in self._processes

    def __getitem__(self, name: str) -> Process:
        """The process of this name.

        Raises:
            KeyError: there is none.
        """
        try:
            return self._processes[name]
        except KeyError:
            known = ", ".join(self._processes) or "none"
            raise KeyError(f"no process is called {name!r}; there are: {known}") from None

    def start(self, name: str, main: Main) -> Process:
        """A new process, started.

        Raises:
            ValueError: the name is taken; a process that ended is started again by its own `start` or `restart`.
        """
        if name in self._processes:
            raise ValueError(f"a process {name!r} is there already: {self._processes[name]!r}")
        process = Process(name, main, self)
        self._processes[name] = process
        process.start()
        return process

    async def remove(self, name: str) -> None:
        """Crash it if it lives, and forget it: its machine is taken away. Always a checkpoint."""
        process = self[name]
        process.give_up()
        await trio.lowlevel.checkpoint()
        if process.living:
            await process.crash()
        elif process.state is State.CRASHING:
            await process.ended()
        self._processes.pop(name, None)

    async def aclose(self) -> None:
        """Crash the living, last started first: each ends before what it was started on top of."""
        await trio.lowlevel.checkpoint()
        for process in self:
            process.give_up()
        for process in reversed(tuple(self._processes.values())):
            if process.living:
                await process.crash()

    def statistics(self) -> tuple[ProcessStatistics, ...]:
        """A reading of each, in the order of their first start."""
        return tuple(process.statistics() for process in self._processes.values())

    def spawn(self, task: Callable[[], Awaitable[None]], name: str) -> None:
        """For `Process`: a task in the supervisor's nursery."""
        self._nursery.start_soon(task, name=name)

    def failed(self, process: Process, failure: Exception) -> None:
        """For `Process`: its main raised."""
        self.on_failure(process, failure)


@asynccontextmanager
async def open_processes() -> AsyncIterator[Processes]:
    """The supervisor, for as long as the block runs; at its end all processes are killed, in the reverse of their order of start.

    Raises:
        ProcessFailed: a process failed, and `on_failure` was left as it is; the block is cancelled.
    """
    try:
        async with trio.open_nursery() as nursery:
            processes = Processes(nursery)
            yield processes
            await processes.aclose()
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # The nursery's wrapping says nothing when one thing went wrong: the caller wants to catch that.
        leaf: BaseException = group
        while isinstance(leaf, BaseExceptionGroup) and len(leaf.exceptions) == 1:
            leaf = leaf.exceptions[0]
        raise leaf from leaf.__cause__
