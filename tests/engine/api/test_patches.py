"""JSON patch, merge patch and apply: the pure functions as tables, the verbs through the endpoint."""

from __future__ import annotations

import copy
import json

import attrs
import pytest
from api_world import World, config_map, deployment, pod
from hypothesis import given
from hypothesis import strategies as st

from engine.api.apply import LAST_APPLIED, MergeError, three_way
from engine.api.errors import BadRequest, Conflict, Invalid, NotFound
from engine.api.jsonpatch import PatchError, PatchFormatError, apply_json_patch, merge
from engine.api.mergekeys import PLAIN, shape_of
from engine.api.request import PatchType
from engine.control.client import Client
from engine.objects.apps import Deployment
from engine.objects.base import Json
from engine.objects.core import ConfigMap
from engine.objects.pod import Pod

_DOCUMENT: Json = {"a": {"b": [1, 2, 3]}, "x/y": 1, "t~u": 2}


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([{"op": "add", "path": "/a/c", "value": 1}], {"a": {"b": [1, 2, 3], "c": 1}}),
        ([{"op": "add", "path": "/a/b/1", "value": 9}], {"a": {"b": [1, 9, 2, 3]}}),
        ([{"op": "add", "path": "/a/b/-", "value": 9}], {"a": {"b": [1, 2, 3, 9]}}),
        ([{"op": "remove", "path": "/a/b/0"}], {"a": {"b": [2, 3]}}),
        ([{"op": "replace", "path": "/a/b/2", "value": 7}], {"a": {"b": [1, 2, 7]}}),
        ([{"op": "move", "from": "/a/b", "path": "/a/c"}], {"a": {"c": [1, 2, 3]}}),
        ([{"op": "copy", "from": "/a/b/0", "path": "/a/c"}], {"a": {"b": [1, 2, 3], "c": 1}}),
        ([{"op": "replace", "path": "/x~1y", "value": 5}], {"x/y": 5}),
        ([{"op": "replace", "path": "/t~0u", "value": 5}], {"t~u": 5}),
        ([{"op": "test", "path": "/a/b/0", "value": 1}], {}),
    ],
)
def test_json_patch(operations: Json, expected: dict[str, Json]) -> None:
    """RFC 6902, with the rest of the document as it was and the input untouched."""
    before = copy.deepcopy(_DOCUMENT)
    assert isinstance(_DOCUMENT, dict)
    assert apply_json_patch(_DOCUMENT, operations) == {**_DOCUMENT, **expected}
    assert before == _DOCUMENT


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/none"},
        {"op": "replace", "path": "/none", "value": 1},
        {"op": "add", "path": "/none/below", "value": 1},
        {"op": "add", "path": "/a/b/7", "value": 1},
        {"op": "add", "path": "/a/b/01", "value": 1},
        {"op": "test", "path": "/a/b/0", "value": 2},
        {"op": "remove", "path": ""},
        {"op": "move", "from": "/a", "path": "/a/b"},
    ],
)
def test_json_patch_that_cannot_be_applied(operation: Json) -> None:
    with pytest.raises(PatchError):
        apply_json_patch(_DOCUMENT, [operation])


@pytest.mark.parametrize(
    "patch",
    [
        {"op": "add"},
        [1],
        [{"op": "fly", "path": "/a"}],
        [{"op": "add", "path": "a"}],
        [{"op": "add", "path": "/a"}],
    ],
)
def test_json_patch_that_is_none(patch: Json) -> None:
    with pytest.raises(PatchFormatError):
        apply_json_patch(_DOCUMENT, patch)


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: Json, patch: Json, expected: Json) -> None:
    """The examples of RFC 7386's appendix."""
    assert merge(target, patch) == expected


# -- the three-way merge ---------------------------------------------------------------------------

_POD = shape_of("", "Pod", custom=False)
_DEPLOYMENT = shape_of("apps", "Deployment", custom=False)


def _spec(**fields: Json) -> dict[str, Json]:
    return {"spec": dict(fields)}


@pytest.mark.parametrize(
    ("last", "now", "live", "expected"),
    [
        pytest.param({"a": 1}, {"a": 2}, {"a": 1, "b": 3}, {"a": 2, "b": 3}, id="set, others stay"),
        pytest.param(
            {"a": 1, "b": 2},
            {"a": 1},
            {"a": 1, "b": 2, "c": 3},
            {"a": 1, "c": 3},
            id="dropped is removed",
        ),
        pytest.param(
            {}, {"a": 1}, {"b": 2}, {"a": 1, "b": 2}, id="never applied before: nothing removed"
        ),
        pytest.param({"a": 1}, {"a": 1}, {"a": 5}, {"a": 1}, id="drift is put right"),
        pytest.param({"a": 1}, {"a": None}, {"a": 1}, {}, id="null removes"),
        pytest.param(
            {}, {"m": {"x": None, "y": 1}}, {}, {"m": {"y": 1}}, id="null in a new map is nothing"
        ),
        pytest.param(
            {"m": {"x": 1, "y": 2}},
            {"m": {"x": 1}},
            {"m": {"x": 1, "y": 2, "z": 3}},
            {"m": {"x": 1, "z": 3}},
            id="maps merge",
        ),
        pytest.param(
            {"l": [1, 2]}, {"l": [3]}, {"l": [1, 2, 4]}, {"l": [3]}, id="plain lists are replaced"
        ),
    ],
)
def test_three_way_of_maps(
    last: dict[str, Json], now: dict[str, Json], live: dict[str, Json], expected: Json
) -> None:
    assert three_way(last, now, live, PLAIN) == expected


def test_three_way_merges_containers_by_name() -> None:
    """Named ones are merged, dropped ones go, injected ones stay where they were."""
    last = _spec(containers=[{"name": "a", "image": "1", "tty": True}, {"name": "old"}])
    now = _spec(containers=[{"name": "new", "image": "2"}, {"name": "a", "image": "2"}])
    live = _spec(
        containers=[
            {"name": "a", "image": "1", "tty": True, "imagePullPolicy": "Always"},
            {"name": "injected", "image": "s"},
            {"name": "old"},
        ]
    )
    assert three_way(last, now, live, _POD) == _spec(
        containers=[
            {"name": "new", "image": "2"},
            {"name": "a", "image": "2", "imagePullPolicy": "Always"},
            {"name": "injected", "image": "s"},
        ]
    )


def test_three_way_keeps_port_numbers_and_texts_apart() -> None:
    now = _spec(containers=[{"name": "a", "ports": [{"containerPort": 80, "name": "web"}]}])
    live = _spec(
        containers=[
            {
                "name": "a",
                "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 81}],
            }
        ]
    )
    assert three_way({}, now, live, _POD) == _spec(
        containers=[
            {
                "name": "a",
                "ports": [
                    {"containerPort": 80, "protocol": "TCP", "name": "web"},
                    {"containerPort": 81},
                ],
            }
        ]
    )


def test_three_way_of_a_union_keeps_only_what_is_named() -> None:
    """A strategy changed to Recreate loses the rollingUpdate that the server had filled in; unchanged, it keeps it."""
    live = _spec(strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}})
    recreate = _spec(strategy={"type": "Recreate"})
    same = _spec(strategy={"type": "RollingUpdate"})
    assert three_way({}, recreate, live, _DEPLOYMENT) == recreate
    assert three_way(same, same, live, _DEPLOYMENT) == live


def test_three_way_of_finalizers_is_a_set() -> None:
    last: dict[str, Json] = {"metadata": {"finalizers": ["a/1", "a/2"]}}
    now: dict[str, Json] = {"metadata": {"finalizers": ["a/2", "a/3"]}}
    live: dict[str, Json] = {"metadata": {"finalizers": ["a/1", "a/2", "b/x"]}}
    assert three_way(last, now, live, _POD) == {"metadata": {"finalizers": ["a/2", "b/x", "a/3"]}}


def test_three_way_needs_the_merge_key() -> None:
    with pytest.raises(MergeError, match="does not contain declared merge key: name"):
        three_way({}, _spec(containers=[{"image": "x"}]), _spec(containers=[]), _POD)


_JSON = st.recursive(
    st.booleans() | st.integers(0, 3) | st.sampled_from(["", "x"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)
_MAPS = st.dictionaries(st.sampled_from("abc"), _JSON, max_size=3)


@given(last=_MAPS, now=_MAPS, live=_MAPS)
def test_three_way_is_idempotent(
    last: dict[str, Json], now: dict[str, Json], live: dict[str, Json]
) -> None:
    """Applied again, with the manifest as last applied, nothing changes; and all the manifest says holds."""
    result = three_way(last, now, live, PLAIN)
    assert three_way(now, now, result, PLAIN) == result
    assert merge(result, now) == result


# -- through the endpoint --------------------------------------------------------------------------


async def test_merge_and_json_patch_of_objects(client: Client) -> None:
    await client.create(deployment())
    merged = await client.patch(Deployment, "web", "default", {"spec": {"replicas": 7}})
    assert (merged.spec.replicas, merged.metadata.generation) == (7, 2)
    operations: Json = [{"op": "replace", "path": "/spec/replicas", "value": 8}]
    patched = await client.patch(
        Deployment, "web", "default", operations, patch_type=PatchType.JSON
    )
    assert patched.spec.replicas == 8


async def test_patch_of_the_status(client: Client) -> None:
    await client.create(pod())
    patch: Json = {"spec": {"nodeName": "x"}, "status": {"phase": "Running"}}
    patched = await client.patch(Pod, "p", "default", patch, subresource="status")
    assert (patched.spec.node_name, patched.status.phase) == ("", "Running")


async def test_patch_refusals(client: Client) -> None:
    """Each with its own error: missing object, stale version, another name, another life, no object, failed test, bad type."""
    with pytest.raises(NotFound):
        await client.patch(ConfigMap, "cm", "default", {})
    made = await client.create(config_map())
    await client.update(attrs.evolve(made, data={"a": "b"}))
    with pytest.raises(Conflict, match="the object has been modified"):
        await client.patch(
            ConfigMap,
            "cm",
            "default",
            {"metadata": {"resourceVersion": made.metadata.resource_version}},
        )
    with pytest.raises(BadRequest, match=r"the name of the object \(x\) does not match"):
        await client.patch(ConfigMap, "cm", "default", {"metadata": {"name": "x"}})
    with pytest.raises(Conflict, match="Precondition failed: UID"):
        await client.patch(ConfigMap, "cm", "default", {"metadata": {"uid": "x"}})
    with pytest.raises(BadRequest):
        await client.patch(ConfigMap, "cm", "default", [])
    failed: Json = [{"op": "test", "path": "/kind", "value": "Pod"}]
    with pytest.raises(
        Invalid, match="the server rejected our request due to an error in our request"
    ):
        await client.patch(ConfigMap, "cm", "default", failed, patch_type=PatchType.JSON)
    with pytest.raises(BadRequest, match="cannot be handled as a ConfigMap"):
        await client.patch(ConfigMap, "cm", "default", {"data": 7})


async def test_a_patch_that_changes_nothing_is_not_committed(world: World) -> None:
    await world.client.create(deployment())
    head = world.store.head
    await world.client.patch(Deployment, "web", "default", {"spec": {"replicas": 2}})
    await world.client.patch(Deployment, "web", "default", {"metadata": {"labels": None}})
    assert world.store.head == head


async def test_apply_creates_then_merges(client: Client, world: World) -> None:
    """The annotation holds the manifest; what others changed stays, what the manifest drops goes; the same again writes nothing."""
    created = await client.apply(deployment(paused=True))
    text = created.metadata.annotations[LAST_APPLIED]
    assert text.endswith("\n")
    assert json.loads(text)["spec"]["paused"] is True
    await client.patch(Deployment, "web", "default", {"metadata": {"labels": {"by": "other"}}})

    applied = await client.apply(deployment(replicas=None))
    assert isinstance(applied, Deployment)
    assert applied.metadata.labels == {"by": "other"}
    assert applied.spec.paused is False
    assert applied.spec.replicas == 1
    assert applied.spec.revision_history_limit == 10

    head = world.store.head
    await client.apply(deployment(replicas=None))
    assert world.store.head == head


async def test_apply_leaves_to_others_what_it_never_named(client: Client) -> None:
    """Replicas scaled by hand stay when the manifest does not mention them."""
    await client.apply(deployment(replicas=None))
    await client.scale(Deployment, "web", "default", 9)
    applied = await client.apply(deployment(replicas=None))
    assert isinstance(applied, Deployment)
    assert applied.spec.replicas == 9


async def test_apply_of_what_was_read_back(client: Client) -> None:
    """Server fields and the status of a manifest are no wishes: no conflict, no change."""
    created = await client.apply(deployment())
    await client.scale(Deployment, "web", "default", 3)
    applied = await client.apply(created)
    assert isinstance(applied, Deployment)
    assert applied.spec.replicas == 2


async def test_apply_of_a_custom_kind_replaces_lists(world: World) -> None:
    every: list[list[Json]] = [[1, 2], [3]]
    for sizes in every:
        manifest = world.scheme.from_dict(
            {
                "apiVersion": "example.com/v1",
                "kind": "Widget",
                "metadata": {"name": "w", "namespace": "default"},
                "spec": {"sizes": sizes},
            }
        )
        applied = await world.client.apply(manifest)
    assert applied.body["spec"] == {"sizes": [3]}  # type: ignore[attr-defined]
