"""Generated programs against the whole server, compared with a dictionary after every step."""

from __future__ import annotations

import attrs
import trio
import trio.testing
from api_world import config_map
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api.errors import AlreadyExists, ApiError, Conflict, Invalid, NotFound
from engine.api.request import WatchEventType, WatchRequest, WatchStream
from engine.api.server import open_api_server
from engine.control.client import Client
from engine.objects.base import Time
from engine.objects.codec import ObjectCodec
from engine.objects.core import ConfigMap
from engine.objects.kinds import CONFIG_MAP, default_scheme
from engine.sim.clock import Clock
from engine.sim.draws import Draws
from store import open_store


@attrs.frozen
class Step:
    """One call: `verb` on object `name` with `value`; `stale` uses the version of the object's first write."""

    verb: str
    name: str
    value: str
    stale: bool


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(
            ["create", "update", "patch", "label", "delete", "hold", "release", "pause"]
        ),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["0", "1", "2"]),
        st.booleans(),
    ),
    max_size=25,
)


@attrs.define
class Model:
    """What the server must show: each object's data, label, finalizer, and whether it is going."""

    objects: dict[str, ConfigMap] = attrs.field(factory=dict)

    def expected_error(self, step: Step, first: ConfigMap | None) -> type[ApiError] | None:
        """The error that `step` must raise, if any."""
        there = self.objects.get(step.name)
        if step.verb == "create":
            return AlreadyExists if there is not None else None
        if there is None:
            return None if step.verb == "pause" else NotFound
        if step.verb == "update" and step.stale and first is not None:
            same = first.metadata.resource_version == there.metadata.resource_version
            return None if same else Conflict
        going = there.metadata.deletion_timestamp is not None
        if step.verb == "hold" and going and not there.metadata.finalizers:
            return Invalid
        return None


async def _perform(client: Client, step: Step, first: ConfigMap | None) -> None:
    name = step.name
    if step.verb == "create":
        await client.create(config_map(name, v=step.value))
    elif step.verb == "update":
        obj = config_map(name, v=step.value)
        if step.stale and first is not None:
            obj = attrs.evolve(first, data={"v": step.value})
        else:
            found = await client.get(ConfigMap, name, "default")
            obj = attrs.evolve(found, data={"v": step.value})
        await client.update(obj)
    elif step.verb == "patch":
        await client.patch(ConfigMap, name, "default", {"data": {"v": step.value}})
    elif step.verb == "label":
        label = step.value if step.value != "0" else None
        await client.patch(ConfigMap, name, "default", {"metadata": {"labels": {"l": label}}})
    elif step.verb == "delete":
        await client.delete(ConfigMap, name, "default")
    elif step.verb == "hold":
        await client.patch(ConfigMap, name, "default", {"metadata": {"finalizers": ["a/b"]}})
    elif step.verb == "release":
        await client.patch(ConfigMap, name, "default", {"metadata": {"finalizers": None}})
    else:
        await trio.lowlevel.checkpoint()


def _follow(model: Model, step: Step) -> None:
    """Change the model as the server must have changed."""
    there = model.objects.get(step.name)
    if step.verb == "create":
        model.objects[step.name] = config_map(step.name, v=step.value)
        return
    if there is None:
        return
    metadata = there.metadata
    if step.verb in ("update", "patch"):
        there = attrs.evolve(there, data={"v": step.value})
    elif step.verb == "label":
        labels = {"l": step.value} if step.value != "0" else {}
        there = attrs.evolve(there, metadata=attrs.evolve(metadata, labels=labels))
    elif step.verb == "hold":
        there = attrs.evolve(there, metadata=attrs.evolve(metadata, finalizers=("a/b",)))
    elif step.verb == "release":
        there = attrs.evolve(there, metadata=attrs.evolve(metadata, finalizers=()))
    elif step.verb == "delete" and metadata.finalizers:
        # Any time will do: only whether it is set is compared.
        there = attrs.evolve(there, metadata=attrs.evolve(metadata, deletion_timestamp=_SOME_TIME))
    gone = there.metadata.deletion_timestamp is not None or step.verb == "delete"
    if gone and not there.metadata.finalizers:
        del model.objects[step.name]
    else:
        model.objects[step.name] = there


_SOME_TIME = Time.of(0)


def _shown(obj: ConfigMap) -> tuple[object, ...]:
    metadata = obj.metadata
    return (
        metadata.name,
        dict(obj.data),
        dict(metadata.labels),
        metadata.finalizers,
        metadata.deletion_timestamp is not None,
    )


@attrs.define
class Mirror:
    """What a watcher knows: the fold of its events. Each event's place in its object's life is checked."""

    objects: dict[str, ConfigMap] = attrs.field(factory=dict)

    async def follow(self, stream: WatchStream) -> None:
        while True:
            for event in await stream.receive():
                assert isinstance(event.object, ConfigMap)
                name = event.object.metadata.name
                known = name in self.objects
                assert known is (event.type is not WatchEventType.ADDED), event
                if event.type is WatchEventType.DELETED:
                    del self.objects[name]
                else:
                    self.objects[name] = event.object


async def _run(steps: list[Step]) -> None:
    scheme = default_scheme()
    clock = Clock.virtual()
    async with (
        open_store(codec=ObjectCodec(scheme), clock=clock.now_ns) as store,
        open_api_server(store=store, scheme=scheme, clock=clock, draws=Draws(7)) as server,
    ):
        client = Client(endpoint=server, scheme=scheme)
        model = Model()
        whole, some = Mirror(), Mirror()
        first: dict[str, ConfigMap] = {}
        moments: dict[int, tuple[ConfigMap, ...]] = {}
        async with (
            server.watch(WatchRequest(resource=CONFIG_MAP)) as everything,
            server.watch(WatchRequest(resource=CONFIG_MAP, label_selector="l=1")) as labelled,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(whole.follow, everything)
            nursery.start_soon(some.follow, labelled)
            for step in steps:
                await _check_step(client, model, step, first)
                listed = await client.list_page(ConfigMap)
                moments[int(listed.resource_version)] = listed.items  # type: ignore[assignment]
                assert [_shown(obj) for obj in listed.items] == [  # type: ignore[arg-type]
                    _shown(model.objects[name]) for name in sorted(model.objects)
                ]
                server.check()
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        newest = {obj.metadata.name: obj for obj in await client.list(ConfigMap)}
        assert whole.objects == newest
        selected = {n: o for n, o in newest.items() if o.metadata.labels.get("l") == "1"}
        assert some.objects == selected
        for revision, items in moments.items():
            past = await client.list(ConfigMap, resource_version=str(revision), exact=True)
            assert tuple(past) == items


async def _check_step(
    client: Client, model: Model, step: Step, first: dict[str, ConfigMap]
) -> None:
    found: ConfigMap | None = None
    if step.name in model.objects:
        found = await client.get(ConfigMap, step.name, "default")
        first.setdefault(step.name, found)
        there = model.objects[step.name]
        versioned = attrs.evolve(there.metadata, resource_version=found.metadata.resource_version)
        model.objects[step.name] = attrs.evolve(there, metadata=versioned)
    else:
        first.pop(step.name, None)
    expected = model.expected_error(step, first.get(step.name))
    try:
        await _perform(client, step, first.get(step.name))
    except ApiError as error:
        assert type(error) is expected, f"{step}: {error!r}"  # noqa: PT017 -- or none at all
    else:
        assert expected is None, step
        _follow(model, step)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_programs(steps: list[Step]) -> None:
    """After each step a list shows what the model says; watchers that only listened know the same; and every moment that a list showed is
    shown again by an exact list of its version.
    """
    trio.run(_run, steps)


@settings(max_examples=25, deadline=None)
@given(programs=st.lists(STEPS, min_size=2, max_size=4))
def test_concurrent_programs(programs: list[list[Step]]) -> None:
    """Several clients at once: whatever wins, watchers and lists end up agreeing, and no error is unexpected in kind."""
    trio.run(_run_together, programs)


async def _run_together(programs: list[list[Step]]) -> None:
    scheme = default_scheme()
    clock = Clock.virtual()

    async def play(client: Client, steps: list[Step]) -> None:
        for step in steps:
            try:
                await _perform(client, step, None)
            except (AlreadyExists, NotFound, Conflict, Invalid):
                continue

    async with (
        open_store(codec=ObjectCodec(scheme), clock=clock.now_ns) as store,
        open_api_server(store=store, scheme=scheme, clock=clock, draws=Draws(7)) as server,
    ):
        client = Client(endpoint=server, scheme=scheme)
        mirror = Mirror()
        async with (
            server.watch(WatchRequest(resource=CONFIG_MAP)) as stream,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(mirror.follow, stream)
            async with trio.open_nursery() as players:
                for steps in programs:
                    players.start_soon(play, client, steps)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        newest = {obj.metadata.name: obj for obj in await client.list(ConfigMap)}
        assert mirror.objects == newest
        server.check()
