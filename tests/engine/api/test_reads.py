"""Get and list: versions, selectors, pages."""

from __future__ import annotations

import pytest
import trio
from api_world import World, config_map, pod
from trio.testing import MockClock

from engine.api.errors import BadRequest, Gone, MethodNotAllowed, NotFound, Timeout
from engine.api.reads import decode_token, encode_token
from engine.api.request import Request, Verb
from engine.control.client import Client
from engine.objects.core import ConfigMap, Namespace, PriorityClass
from engine.objects.meta import ObjectMeta
from engine.objects.pod import Pod


async def test_a_new_cluster_has_its_first_objects(client: Client) -> None:
    """Four namespaces and two priority classes; starting a server again adds nothing."""
    names = [namespace.metadata.name for namespace in await client.list(Namespace)]
    assert names == ["default", "kube-node-lease", "kube-public", "kube-system"]
    values = {one.metadata.name: one.value for one in await client.list(PriorityClass)}
    assert values == {
        "system-cluster-critical": 2_000_000_000,
        "system-node-critical": 2_000_001_000,
    }


async def test_reads_see_every_write_before_them(client: Client) -> None:
    """A get and a list without a version are never behind, though the cache may be."""
    await client.create(config_map(x="1"))
    assert (await client.get(ConfigMap, "cm", "default")).data == {"x": "1"}
    await client.update(config_map(x="2"))
    (listed,) = await client.list(ConfigMap)
    assert listed.data == {"x": "2"}


async def test_list_order_and_namespaces(client: Client) -> None:
    """Key order: by namespace, then by name; a namespace's list is its own."""
    await client.create(Namespace(metadata=ObjectMeta(name="default-2")))
    for name, namespace in (("b", "default"), ("a", "default"), ("a", "default-2")):
        await client.create(config_map(name, namespace))
    everywhere = [(c.metadata.namespace, c.metadata.name) for c in await client.list(ConfigMap)]
    assert everywhere == [("default-2", "a"), ("default", "a"), ("default", "b")]
    assert [c.metadata.name for c in await client.list(ConfigMap, "default")] == ["a", "b"]
    assert await client.list(ConfigMap, "nowhere") == []


async def test_list_with_selectors(client: Client) -> None:
    """A list shows what its label and field selectors match and nothing else."""
    for name in ("a", "b", "c"):
        await client.create(pod(name))
    await client.patch(Pod, "b", "default", {"metadata": {"labels": {"x": "y"}}})
    await client.bind(await client.get(Pod, "c", "default"), "n1")

    assert [p.metadata.name for p in await client.list(Pod, label_selector="x=y")] == ["b"]
    assert [p.metadata.name for p in await client.list(Pod, field_selector="spec.nodeName=n1")] == [
        "c"
    ]
    assert await client.list(Pod, label_selector="x", field_selector="spec.nodeName=n1") == []
    with pytest.raises(BadRequest, match=r"field label not supported: spec\.foo"):
        await client.list(Pod, field_selector="spec.foo=1")


async def test_versions_of_a_list(client: Client, autojump_clock: MockClock) -> None:
    """Zero is what the cache has, N at least N, exactly N the past; a version that does not come is a Timeout."""
    first = await client.create(config_map(x="1"))
    version = first.metadata.resource_version
    second = await client.update(config_map(x="2"))
    newest = second.metadata.resource_version

    (at_least,) = await client.list(ConfigMap, resource_version=newest)
    assert at_least.data == {"x": "2"}
    (past,) = await client.list(ConfigMap, resource_version=version, exact=True)
    assert past == first
    assert len(await client.list(ConfigMap, resource_version="0")) == 1
    assert (await client.list_page(ConfigMap)).resource_version == newest
    assert (await client.get(ConfigMap, "cm", "default", resource_version=newest)) == second

    start = trio.current_time()
    with pytest.raises(
        Timeout, match="Timeout: Too large resource version: 999, current: "
    ) as caught:
        await client.list(ConfigMap, resource_version="999")
    assert trio.current_time() - start == pytest.approx(3)
    assert [cause.reason for cause in caught.value.causes] == ["ResourceVersionTooLarge"]
    with pytest.raises(BadRequest):
        await client.list(ConfigMap, resource_version="x")
    with pytest.raises(BadRequest):
        await client.list(ConfigMap, resource_version="0", exact=True)


async def test_pages_show_one_moment(client: Client) -> None:
    """Writes between the pages do not show; selectors count matching objects only."""
    for number in range(7):
        await client.create(config_map(f"c{number}"))
        await client.create(pod(f"p{number}"))
    names, token, versions = [], "", []
    while True:
        page = await client.list_page(ConfigMap, limit=3, continue_token=token)
        names += [obj.metadata.name for obj in page.items]
        versions.append(page.resource_version)
        if not (token := page.continue_token):
            break
        await client.delete(ConfigMap, names[-1], "default")
        await client.create(config_map(f"c{len(names)}x"))
    assert names == [f"c{number}" for number in range(7)]
    assert len(dict.fromkeys(versions)) == 1

    await client.patch(Pod, "p5", "default", {"metadata": {"labels": {"a": "b"}}})
    page = await client.list_page(Pod, limit=1, label_selector="a")
    assert [obj.metadata.name for obj in page.items] == ["p5"]
    assert page.continue_token == ""


async def test_bad_and_outdated_tokens(client: Client, world: World) -> None:
    with pytest.raises(BadRequest, match="continue key is not valid"):
        await client.list_page(ConfigMap, continue_token="!!!")  # noqa: S106 -- no password
    token = encode_token(3, "/registry/pods/default/a")
    assert decode_token(token) == (3, "/registry/pods/default/a")
    with pytest.raises(BadRequest):
        await client.list_page(ConfigMap, continue_token=token)
    own = encode_token(world.store.head, "/registry/configmaps/default/a")
    with pytest.raises(
        BadRequest, match="specifying resource version is not allowed when using continue"
    ):
        await client.list_page(ConfigMap, continue_token=own, resource_version="5")


async def test_a_compacted_version_is_gone(client: Client, world: World) -> None:
    """Pages and exact lists below the compaction answer 410 with their own wording."""
    for number in range(4):
        await client.create(config_map(f"c{number}"))
    page = await client.list_page(ConfigMap, limit=2)
    old = page.resource_version
    await client.create(config_map("later"))
    await world.store.compact(world.store.head)
    with pytest.raises(Gone, match="The provided continue parameter is too old"):
        await client.list_page(ConfigMap, limit=2, continue_token=page.continue_token)
    with pytest.raises(Gone, match=r"^The resourceVersion for the provided list is too old\.$"):
        await client.list(ConfigMap, resource_version=old, exact=True)


async def test_unknown_verbs_and_names(world: World) -> None:
    pods = world.scheme.resource_of(Pod)
    with pytest.raises(MethodNotAllowed):
        await world.server.request(Request(verb=Verb.DELETE, resource=pods, subresource="status"))
    with pytest.raises(NotFound, match=r'^pods "x" not found$'):
        await world.client.get(Pod, "x", "default")
    statistics = world.server.statistics()
    assert (statistics.requests["get"], statistics.refused) == (1, 2)
    assert repr(world.server).startswith("<ApiServer running, store at revision ")


async def test_a_list_by_name_finds_that_object_alone(client: Client) -> None:
    """metadata.name=NAME is one look-up, with the answer a search would give: other selectors count, an unknown name is an empty list."""
    for name in ("a", "b"):
        await client.create(ConfigMap(metadata=ObjectMeta(name=name, namespace="default")))

    async def names(fields: str, namespace: str = "default", labels: str = "") -> list[str]:
        found = await client.list(
            ConfigMap, namespace, field_selector=fields, label_selector=labels
        )
        return [each.metadata.name for each in found]

    assert ["b"] == await names("metadata.name=b")
    assert ["b"] == await names("metadata.name=b", namespace="")
    assert [] == await names("metadata.name=c")
    assert [] == await names("metadata.name=b", labels="app=web")
    assert [] == await names("metadata.name=a,metadata.name=b")
    assert ["a"] == [name for name in await names("metadata.name!=b") if name in ("a", "b")]
