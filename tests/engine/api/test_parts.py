"""Small parts on their own: copying, memory by identity, names, translated errors, custom typed kinds."""

from __future__ import annotations

from typing import ClassVar

import attrs
import pytest
from api_world import World, config_map, pod

from engine.api.errors import ApiError, Forbidden, InternalError, Timeout, Unavailable
from engine.api.memo import IdentityMemo
from engine.api.names import Names
from engine.api.refusals import translated
from engine.api.server import ApiServer
from engine.api.shape import (
    decorated,
    keep_equal_parts,
    part_of,
    undecorated,
    with_part,
    without_part,
)
from engine.objects.base import ApiType, Json
from engine.objects.core import Service
from engine.objects.kinds import CONFIG_MAP, EVENT, POD
from engine.objects.meta import ObjectMeta, TypedObject
from engine.objects.scheme import Generation, Resource
from engine.objects.unstructured import Unstructured
from engine.settings import Settings
from engine.sim.draws import Draws
from store import NoSpace, OutcomeUnknown, StoreClosed, StoreError


@attrs.frozen(kw_only=True)
class ShipSpec(ApiType):
    crew: int = 0


@attrs.define(kw_only=True, slots=False, frozen=True)
class Ship(TypedObject):
    """A user's kind, without slots."""

    api_version: ClassVar[str] = "sea/v1"
    kind: ClassVar[str] = "Ship"

    spec: ShipSpec = ShipSpec()
    status: ShipSpec = ShipSpec()


SHIP = Resource(
    group="sea",
    version="v1",
    kind="Ship",
    plural="ships",
    singular="ship",
    type=Ship,
    custom=True,
    status_subresource=True,
    generation=Generation.ALL_BUT_METADATA_AND_STATUS,
)


@pytest.mark.parametrize(
    "obj",
    [pod(), config_map(), Ship(spec=ShipSpec(crew=3)), Unstructured(api_version="a/v1", kind="A")],
    ids=lambda obj: obj.kind,
)
def test_decorating_is_a_copy_with_a_version(obj: TypedObject) -> None:
    """Everything else is the very same, and taking the version off gives an equal object."""
    shown = decorated(obj, 12)
    assert shown == attrs.evolve(obj, metadata=attrs.evolve(obj.metadata, resource_version="12"))
    assert undecorated(shown) == obj
    assert obj.metadata.resource_version == ""
    assert part_of(shown, "spec") is part_of(obj, "spec")


def test_parts_of_any_object() -> None:
    """A part that the class does not model is read and written where such fields are kept."""
    service = Service(metadata=ObjectMeta(name="s"))
    status: dict[str, Json] = {"loadBalancer": {}}
    shown = with_part(service, "status", status)
    assert part_of(shown, "status") == status
    assert with_part(shown, "status", dict(status)) is shown
    assert without_part(shown, "status") == service
    assert without_part(service, "status") is service


def test_equal_parts_keep_their_identity() -> None:
    """A part that was rebuilt without a change costs the encoder and the comparison nothing."""
    old, new = pod(), pod()
    assert old.spec is not new.spec
    assert keep_equal_parts(new, old).spec is old.spec


def test_memory_by_identity() -> None:
    """Equal arguments are computed each, the same one once, and the oldest is forgotten."""
    calls: list[str] = []

    def count(argument: list[str]) -> int:
        calls.extend(argument)
        return len(argument)

    memo = IdentityMemo(count, limit=2)
    one, other, third = ["a"], ["a"], ["b"]
    for argument in (one, one, other, one, third, one):
        assert memo(argument) == 1
    assert len(calls) == 4


def test_names_do_not_depend_on_what_others_do() -> None:
    """The names of one owner and base are the same whatever is created in between; another epoch has other ones."""
    base = ObjectMeta(generate_name="web-")
    alone = Names(Draws(1), 0)
    first = [alone.generate(POD, "x", base) for _ in range(3)]
    mixed = Names(Draws(1), 0)
    second = []
    for _ in range(3):
        mixed.generate(POD, "y", base)
        mixed.generate(CONFIG_MAP, "x", base)
        second.append(mixed.generate(POD, "x", base))

    assert first == second
    assert Names(Draws(1), 5).generate(POD, "x", base) != first[0]
    assert Names(Draws(2), 0).generate(POD, "x", base) != first[0]
    assert len(alone.generate(POD, "x", ObjectMeta(generate_name="n" * 80)).name) == 63


def test_uids_of_given_names_count_lives() -> None:
    """A name used again gets another uid; an Event's comes from its time, as nobody counts them."""
    names = Names(Draws(1), 0)
    metadata = ObjectMeta(name="a")
    first = names.given(CONFIG_MAP, "/registry/configmaps/x/a", 5)
    assert names.given(CONFIG_MAP, "/registry/configmaps/x/a", 9) == first
    names.ended(CONFIG_MAP, "/registry/configmaps/x/a", metadata)
    assert names.given(CONFIG_MAP, "/registry/configmaps/x/a", 9).uid != first.uid
    event = names.given(EVENT, "/registry/events/x/e", 5)
    assert names.given(EVENT, "/registry/events/x/e", 6).uid != event.uid


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OutcomeUnknown("lost"), Timeout),
        (StoreClosed("closed"), Unavailable),
        (NoSpace("full"), InternalError),
        (StoreError("odd"), InternalError),
    ],
)
def test_refusals_of_the_store(error: StoreError, kind: type[ApiError]) -> None:
    """Split by who must act next: read again, wait, call the operator."""
    assert type(translated(error)) is kind


async def test_a_users_typed_kind(world: World) -> None:
    """Registered before the server starts, it is served like the built-in ones."""
    world.scheme.register(SHIP)
    client = world.client
    made = await client.create(
        Ship(
            metadata=ObjectMeta(name="s", namespace="default"),
            spec=ShipSpec(crew=1),
            status=ShipSpec(crew=9),
        )
    )
    assert (made.spec.crew, made.status.crew, made.metadata.generation) == (1, 0, 1)
    bigger = await client.patch(Ship, "s", "default", {"spec": {"crew": 2}})
    assert bigger.metadata.generation == 2
    manned = await client.update_status(attrs.evolve(bigger, status=ShipSpec(crew=2)))
    assert (manned.status.crew, manned.metadata.generation) == (2, 2)
    assert [event.key for event in world.store.history()][-1] == "/registry/sea/ships/default/s"


async def test_the_default_account_can_be_required(world: World) -> None:
    """With a service account controller in the cluster, pods wait for the account it makes."""
    server = ApiServer(
        store=world.store,
        scheme=world.scheme,
        clock=world.clock,
        draws=Draws(9),
        settings=Settings(),
        default_account_implied=False,
    )
    await world.nursery.start(server.run)
    with pytest.raises(Forbidden) as caught:
        await attrs.evolve(world.client, endpoint=server).create(pod())
    assert caught.value.message == (
        'pods "p" is forbidden: error looking up service account default/default: '
        'serviceaccount "default" not found'
    )
