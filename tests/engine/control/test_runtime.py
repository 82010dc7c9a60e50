"""The controller runtime: each outcome, faults of a reconciler, restarts at any await, causes, declarations."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

import attrs
import pytest
import trio
from control_world import World, config_map, in_world, key, running, runtime_of

from engine import (
    Client,
    ConfigMap,
    Conflict,
    ControllerRuntime,
    Done,
    Event,
    For,
    Key,
    Link,
    LinkedEndpoint,
    NotFound,
    ObjectMeta,
    Owns,
    Pod,
    Reconciler,
    ReplicaSet,
    Requeue,
    RequeueAfter,
    Result,
    RuntimeStatistics,
    Source,
    Uid,
    Watches,
    controller_ref,
    current_origin,
)
from store import Origin

Outcome = Result | Exception


class Copier(Reconciler):
    """Notes each pass over the config maps `c-...` and ends it as told."""

    name: ClassVar[str] = "copier"

    def __init__(self, *outcomes: Outcome) -> None:
        self.passes: list[tuple[float, str, tuple[object, ...]]] = []
        self.outcomes = list(outcomes)

    def sources(self) -> Sequence[Source]:
        return [For(ConfigMap), Watches(Pod)]

    async def reconcile(self, key: Key) -> Result:
        if not key.name.startswith("c-"):
            return Done()
        self.passes.append((self.clock.now(), key.name, current_origin().causes))
        outcome: Outcome = self.outcomes.pop(0) if self.outcomes else Done()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@attrs.frozen
class Observed:
    copier: Copier
    statistics: RuntimeStatistics
    events: list[Event]
    failures: list[tuple[str, Key, str]]


def run_copier(*outcomes: Outcome, seconds: float = 60) -> Observed:
    """One ConfigMap `c-1`, made at 1 s, reconciled with these outcomes for a while."""
    found: list[Observed] = []

    async def main(world: World) -> None:
        failures: list[tuple[str, Key, str]] = []
        template = Copier(*outcomes)
        runtime = runtime_of(
            world,
            template,
            on_failure=lambda name, key, error: failures.append((name, key, str(error))),
        )
        async with running(runtime.run):
            await trio.sleep(1)
            await world.client.create(config_map("c-1"))
            await trio.sleep(seconds)
            events = await world.client.list(Event, "default")
            found.append(Observed(template, runtime.statistics(), events, failures))

    in_world(main)
    return found[0]


def test_each_outcome_has_its_arm() -> None:
    """RequeueAfter looks again after that time, Requeue after back-off, Done not at all; each is counted."""
    seen = run_copier(RequeueAfter(5), Requeue(), Requeue(), Done())

    assert [1, 6, 6.005, 6.015] == [round(at, 4) for at, _, _ in seen.copier.passes]
    assert (1, 2) == (seen.statistics.requeued_after, seen.statistics.requeued)


def test_only_a_finite_time_can_be_waited() -> None:
    """A RequeueAfter that no clock reaches is refused where it is made."""
    for seconds in (-1, math.inf, math.nan):
        with pytest.raises(ValueError, match="allowed are seconds from 0"):
            RequeueAfter(seconds)


def test_a_reconciler_that_raises_is_tried_again_and_said_so() -> None:
    """Back-off, an Event on the object with the error, the listener told, and the controller goes on."""
    seen = run_copier(RuntimeError("no such luck"), RuntimeError("again"))

    told = [event.message for event in seen.events if event.reason == "ReconcileError"]
    assert 3 == len(seen.copier.passes)
    assert ["copier: RuntimeError: no such luck", "copier: RuntimeError: again"] == sorted(
        told, key=len, reverse=True
    )
    assert [
        ("copier", key("c-1"), "no such luck"),
        ("copier", key("c-1"), "again"),
    ] == seen.failures
    assert (2, "default/c-1: RuntimeError: again") == (
        seen.statistics.failed,
        seen.statistics.last_failure,
    )


def test_a_refusal_of_the_server_is_tried_again_in_silence() -> None:
    """An API error is no fault of the reconciler, and neither is a group of them from calls made side by side."""
    seen = run_copier(Conflict("changed"), ExceptionGroup("", [Conflict("a"), NotFound("b")]))

    assert (3, 2, 0) == (len(seen.copier.passes), seen.statistics.refused, seen.statistics.failed)
    assert [] == seen.failures


def test_a_group_with_a_fault_in_it_is_a_fault() -> None:
    """One exception of another kind among API errors is reported."""
    seen = run_copier(ExceptionGroup("", [Conflict("a"), ZeroDivisionError()]))

    assert (0, 1) == (seen.statistics.refused, seen.statistics.failed)


def test_what_is_no_result_is_a_fault() -> None:
    """A reconciler that returns something else is told what is allowed, and its key is not lost."""
    seen = run_copier(True)  # type: ignore[arg-type]

    assert 2 == len(seen.copier.passes)
    assert "reconcile returned True; allowed: Done" in seen.statistics.last_failure


def test_a_success_starts_the_back_off_over() -> None:
    """5, 10, 20 ms; after a Done the next failure waits 5 ms again."""

    async def main(world: World) -> None:
        template = Copier(*[Requeue()] * 3, Done(), Requeue())
        async with running(runtime_of(world, template).run):
            await trio.sleep(1)
            made = await world.client.create(config_map("c-1"))
            await trio.sleep(1)
            await world.client.update(attrs.evolve(made, data={"x": "1"}))
            await trio.sleep(1)

            assert [1.0, 1.005, 1.015, 1.035, 2.0, 2.005] == [
                round(at, 4) for at, _, _ in template.passes
            ]

    in_world(main)


def test_a_reconcile_knows_what_caused_it() -> None:
    """The first is caused by the revision that created the object; one after a delay by the timer as well."""
    seen = run_copier(RequeueAfter(5), RequeueAfter(5))

    first, second, third = (causes for _, _, causes in seen.copier.passes)
    assert all(isinstance(cause, int) for cause in first)
    assert (*first, "timer:controller/copier") == second
    assert second == third


def test_a_change_of_a_dependant_wakes_its_owner() -> None:
    """Owns: the controlling owner before the change and the one after it, of the kind in any version; no other."""

    class OwnerOf(Copier):
        def sources(self) -> Sequence[Source]:
            return [Owns(ConfigMap), For(ReplicaSet)]

        async def reconcile(self, key: Key) -> Result:
            self.passes.append((0, str(key), ()))
            return None

    def owned_by(obj: ConfigMap, name: str, api_version: str = "apps/v1") -> ConfigMap:
        owner = ReplicaSet(
            metadata=ObjectMeta(name=name, namespace="default", uid=Uid(f"u-{name}"))
        )
        reference = attrs.evolve(controller_ref(owner), api_version=api_version)
        metadata = attrs.evolve(obj.metadata, owner_references=(reference,))
        return attrs.evolve(obj, metadata=metadata)

    async def main(world: World) -> None:
        template = OwnerOf()
        async with running(runtime_of(world, template).run):
            await trio.sleep(1)
            made = await world.client.create(owned_by(config_map("owned"), "one"))
            await trio.sleep(1)
            assert ["default/one"] == [name for _, name, _ in template.passes]
            await world.client.update(owned_by(made, "two", "apps/v1beta1"))
            await trio.sleep(1)
            assert ["default/one", "default/two"] == [name for _, name, _ in template.passes][1:]
            await world.client.create(owned_by(config_map("other"), "three", "mine/v1"))
            await trio.sleep(1)
            assert 3 == len(template.passes)

    in_world(main)


class TwoWrites(Reconciler):
    """Makes `<name>-1` and then `<name>-2` for each config map `c-...`: something to be cut off in between."""

    name: ClassVar[str] = "two-writes"
    workers: ClassVar[int] = 2

    def sources(self) -> Sequence[Source]:
        return [For(ConfigMap)]

    async def setup(self) -> None:
        self.memory: dict[Key, int] = {}

    async def reconcile(self, key: Key) -> Result:
        self.memory[key] = self.memory.get(key, 0) + 1
        if not key.name.startswith("c-"):
            return Done()
        for copy in (1, 2):
            wanted = Key(key.namespace, f"{key.name[2:]}-{copy}")
            if self.informer(ConfigMap).get(wanted) is None:
                await self.client.create(config_map(wanted.name))
        return Done()


@pytest.mark.parametrize("rounds", range(1, 60, 2))
def test_a_crash_at_any_await_loses_no_key(rounds: int) -> None:
    """Cut off after any number of scheduling rounds, and started again with empty memory, it finishes what it had begun; and a
    dying process is no failing reconciler.
    """

    async def main(world: World) -> None:
        failures: list[object] = []
        runtime: ControllerRuntime

        async def live() -> None:
            await runtime.run()

        process = world.simulation.processes.start("controller/two-writes", live)
        link = Link("two-writes", draws=world.draws, process=process)
        runtime = runtime_of(
            world,
            TwoWrites(),
            client=Client(
                endpoint=LinkedEndpoint(world.server, link, process), scheme=world.client.scheme
            ),
            gate=process.gate,
            on_failure=lambda *failure: failures.append(failure),
        )
        for name in ("c-a", "c-b", "c-c"):
            await world.client.create(config_map(name))
        for _ in range(rounds):
            await trio.lowlevel.checkpoint()
        await process.restart()
        await trio.sleep(60)

        found = await world.client.list(ConfigMap, "default")
        copies = [obj.metadata.name for obj in found if obj.metadata.name[0] in "abc"]
        assert ["a-1", "a-2", "b-1", "b-2", "c-1", "c-2"] == [
            name for name in copies if not name.startswith("c-a") and name not in ("c-b", "c-c")
        ]
        reconciler = runtime.reconciler
        assert isinstance(reconciler, TwoWrites)
        assert key("c-a") in reconciler.memory
        assert [] == failures
        await process.crash()

    in_world(main, seed=rounds)


@pytest.mark.parametrize("writers", [0, 2])
def test_clean_up_of_a_dying_process_is_no_fault_of_the_reconciler(writers: int) -> None:
    """A reconcile that shields itself and writes, alone or in a nursery, meets ProcessGone; nobody is told of a failure."""

    class Stubborn(Reconciler):
        name: ClassVar[str] = "stubborn"

        def sources(self) -> Sequence[Source]:
            return [For(ConfigMap)]

        async def reconcile(self, key: Key) -> Result:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    async with trio.open_nursery() as nursery:
                        for number in range(writers):
                            nursery.start_soon(self.client.create, config_map(f"last-{number}"))
                    await self.client.create(config_map("last-words"))
            return Done()

    async def main(world: World) -> None:
        failures: list[object] = []
        runtime: ControllerRuntime

        async def live() -> None:
            await runtime.run()

        process = world.simulation.processes.start("controller/stubborn", live)
        link = Link("stubborn", draws=world.draws, process=process)
        runtime = runtime_of(
            world,
            Stubborn(),
            client=Client(
                endpoint=LinkedEndpoint(world.server, link, process), scheme=world.client.scheme
            ),
            on_failure=lambda *failure: failures.append(failure),
        )
        await world.client.create(config_map("a"))
        await trio.sleep(1)
        await process.crash()
        with pytest.raises(NotFound):
            await world.client.get(ConfigMap, "last-words", "default")
        assert [] == failures

    in_world(main)


def test_a_paused_process_reconciles_nothing_and_then_goes_on() -> None:
    """Timers run out during a pause; what they brought is reconciled when it is over, once."""

    async def main(world: World) -> None:
        process = world.simulation.processes.start("copier", trio.sleep_forever)
        template = Copier(RequeueAfter(5))
        runtime = runtime_of(world, template, gate=process.gate)
        async with running(runtime.run):
            await trio.sleep(1)
            await world.client.create(config_map("c-1"))
            await trio.sleep(1)
            hold = process.pause()
            await trio.sleep(50)
            assert 1 == len(template.passes)
            process.resume(hold)
            await trio.sleep(50)
            assert [1, 52] == [round(at) for at, _, _ in template.passes]

    in_world(main)


class Looper(Reconciler):
    """A loop that raises every other time."""

    name: ClassVar[str] = "looper"

    def __init__(self) -> None:
        self.turns: list[tuple[float, Origin]] = []
        self.faults: list[Exception] = [RuntimeError("oh"), Conflict("no")]

    def loops(self) -> Sequence[Callable[[], Awaitable[None]]]:
        return [self.look]

    async def look(self) -> None:
        while True:
            await self.sleep(10)
            self.turns.append((self.clock.now(), current_origin()))
            if self.faults:
                raise self.faults.pop(0)


def test_a_loop_that_raises_begins_again_after_a_second() -> None:
    """Reported if it is a fault, in silence if the server refused; the process lives on. Its timer is the cause of each turn."""

    async def main(world: World) -> None:
        failures: list[tuple[str, str]] = []
        template = Looper()
        runtime = runtime_of(
            world,
            template,
            on_failure=lambda _, key, error: failures.append((key.name, str(error))),
        )
        async with running(runtime.run):
            await trio.sleep(50)

            assert [10, 21, 32, 42] == [round(at) for at, _ in template.turns]
            assert [("look", "oh")] == failures
            for _, origin in template.turns:
                assert ("controller/looper", ("timer:controller/looper",)) == (
                    origin.actor,
                    origin.causes,
                )

    in_world(main)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ([For(Pod), For(ConfigMap)], "For twice"),
        ([Owns(Pod)], "Owns without For"),
        ([For(Pod), Watches(Pod, field_selector="spec.nodeName=a")], "different selectors"),
        ([Pod], "allowed: For, Owns, Watches"),
    ],
)
def test_declarations_that_mean_nothing_are_refused(declared: list[Source], message: str) -> None:
    """Said at the start, with what is wrong, instead of a reconciler that never wakes or sees half a kind."""

    class Wrong(Copier):
        def sources(self) -> Sequence[Source]:
            return declared

    async def main(world: World) -> None:
        with pytest.raises((ValueError, TypeError), match=message):
            await runtime_of(world, Wrong()).run()

    in_world(main)


def test_a_kind_that_nobody_declared_is_refused() -> None:
    """An informer asked for in the middle of a reconcile would be empty: LookupError, with the remedy."""

    class Late(Copier):
        async def reconcile(self, key: Key) -> Result:
            self.informer(ReplicaSet)
            return Done()

    async def main(world: World) -> None:
        runtime = runtime_of(world, Late())
        async with running(runtime.run):
            await trio.sleep(1)
            await world.client.create(config_map("c-1"))
            await trio.sleep(1)

            assert "declare the kind in sources()" in runtime.statistics().last_failure

    in_world(main)
