"""Properties of the whole: what a live list showed is what the log folds to, and a replay is the same run."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import ClassVar, Final

import attrs
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wavetank
from engine import Json, KubeObject, Resource, Unstructured
from tests.wavetank.contract import DEPLOYMENT, write_small
from wavetank import (
    AlreadyExists,
    ApiType,
    Cluster,
    ConfigMap,
    Conflict,
    Deployment,
    Node,
    NotFound,
    ObjectMeta,
    Pod,
    TypedObject,
    custom_resource,
)
from wavetank.experiment.load import load_experiment
from wavetank.experiment.run import run_experiment
from wavetank.logs import open_log
from wavetank.replaying import replay


@attrs.frozen(kw_only=True)
class GadgetSpec(ApiType):
    size: int = 0


@attrs.frozen(kw_only=True)
class Gadget(TypedObject):
    api_version: ClassVar[str] = "example.org/v1"
    kind: ClassVar[str] = "Gadget"

    spec: GadgetSpec = GadgetSpec()


GADGET: Final = custom_resource(Gadget, plural="gadgets", status_subresource=True)
SERVICE: Final = custom_resource(
    "Service", plural="services", group="serving.example.org", version="v1", namespaced=False
)
"""Named like one of Kubernetes' own, and without a class."""


CALLS = st.tuples(
    st.sampled_from(["create", "create", "update", "patch", "delete", "list"]),
    st.integers(0, 3),
    st.integers(0, 2),
    st.integers(0, 9),
)


def build(kind: int, name: str, value: int) -> KubeObject:
    metadata = ObjectMeta(name=name, namespace="default", labels={"v": str(value)})
    match kind:
        case 0:
            return ConfigMap(metadata=metadata, data={"value": str(value)})
        case 1:
            spec = wavetank.PodSpec(containers=(wavetank.Container(name="c", image=f"i:{value}"),))
            return Pod(metadata=metadata, spec=spec)
        case 2:
            return Gadget(metadata=metadata, spec=GadgetSpec(size=value))
        case _:
            body: dict[str, Json] = {"spec": {"deep": [{"value": value}]}}
            metadata = attrs.evolve(metadata, namespace="")
            return Unstructured(
                api_version="serving.example.org/v1", kind="Service", metadata=metadata, body=body
            )


RESOURCES: Final[tuple[type[KubeObject] | Resource, ...]] = (ConfigMap, Pod, GADGET, SERVICE)

Seen = tuple[str, int, list[dict[str, Json]]]
"""A kind's storage prefix, the revision of a live list of it, and what the list showed."""


async def look(cluster: Cluster, kind: type[KubeObject] | Resource | str) -> Seen:
    resource = cluster.scheme.resource_of(kind)
    page = await cluster.client.list_page(resource)
    items = [cluster.scheme.to_dict(item) for item in page.items]
    return resource.storage_prefix, int(page.resource_version), items


async def act(cluster: Cluster, call: tuple[str, int, int, int]) -> None:
    """One call; what the API server refuses is part of the game."""
    verb, kind, number, value = call
    client, name = cluster.client, f"o{number}"
    resource = RESOURCES[kind]
    namespace = "" if kind == 3 else "default"
    try:
        match verb:
            case "create":
                await client.create(build(kind, name, value))
            case "update":
                found: KubeObject = await client.get(resource, name, namespace)
                labels = {**found.metadata.labels, "updated": str(value)}
                metadata = attrs.evolve(found.metadata, labels=labels)
                await client.update(attrs.evolve(found, metadata=metadata))  # type: ignore[misc]
            case "patch":
                patch: dict[str, Json] = {"metadata": {"annotations": {"p": str(value)}}}
                await client.patch(resource, name, namespace, patch)
            case "delete":
                await client.delete(resource, name, namespace)
    except (AlreadyExists, NotFound, Conflict):
        pass


def check_log(path: Path, seen: list[Seen]) -> None:
    """Every list is what the log says of its revision."""
    log = open_log(path)
    for prefix, revision, items in seen:
        folded = [
            log.scheme.to_dict(obj)
            for key, obj in log.state(revision).objects()
            if key.startswith(prefix)
        ]
        assert items == folded, (prefix, revision)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(calls=st.lists(CALLS, max_size=40), seed=st.integers(0, 1000))
def test_the_log_folds_to_what_a_list_showed(
    calls: list[tuple[str, int, int, int]], seed: int
) -> None:
    """Random programs of API calls, custom kinds with and without a class among them; read back without the classes."""
    seen: list[Seen] = []

    async def main(cluster: Cluster) -> None:
        await cluster.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        )
        for call in calls:
            if call[0] == "list":
                seen.append(await look(cluster, RESOURCES[call[1]]))
            else:
                await act(cluster, call)
        seen.extend([await look(cluster, kind) for kind in RESOURCES])

    scheme = wavetank.default_scheme()
    scheme.register(GADGET)
    scheme.register(SERVICE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.wtl"
        wavetank.run(main, nodes=0, reconcilers=[], scheme=scheme, seed=seed, log=path)
        check_log(path, seen)


def test_the_log_of_a_busy_cluster_folds_to_what_lists_showed(tmp_path: Path) -> None:
    """While reconcilers and kubelets write: a rolling update, a crash, and lists at odd moments."""
    seen: list[Seen] = []
    path = tmp_path / "run.wtl"

    async def main(cluster: Cluster) -> None:
        await cluster.apply(DEPLOYMENT.format(name="web", replicas=4, version=1))
        for turn in range(40):
            await trio.sleep(0.37)
            kind = (Pod, Node, Deployment, "ReplicaSet", "Lease", "Event")[turn % 6]
            seen.append(await look(cluster, kind))
            if turn == 15:
                await cluster.apply(DEPLOYMENT.format(name="web", replicas=6, version=2))
            if turn == 25:
                await cluster.chaos.crash("node-0")

    wavetank.run(main, seed=4, log=path)
    check_log(path, seen)
    revisions = [revision for _, revision, _ in seen]

    assert all(one <= other for one, other in itertools.pairwise(revisions))
    assert len(set(revisions)) > 20


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_every_replay_is_the_same_run(seed: int) -> None:
    """Whatever the seed: the re-execution gives the digest of the run, event by event."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.wtl"
        experiment = load_experiment(write_small(Path(folder)), seed=seed)
        result = run_experiment(experiment, log=path)
        again = replay(path)

    assert again.divergence is None
    assert (result.digest, result.events) == (again.digest, again.events)
