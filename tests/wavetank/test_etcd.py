"""A cluster whose store is a real etcd: in real time, which passes while it settles, but no claim depends on how much."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import trio

from tests.store.etcd.process import EtcdPool, EtcdProcess, free_port, guarded
from tests.wavetank.conftest import Call
from wavetank import ApiError, BadInput, Cluster, ConfigMap, Deployment, ObjectMeta, Pod
from wavetank.logs import open_log

EXAMPLE = str(Path("examples") / "node-failure.yaml")
CHILD = Path(__file__).with_name("etcd_child.py")
ROOT = Path(__file__).parents[2]

SHOP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: shop, image: "shop:1"}]}
"""

EXPERIMENT = """
apiVersion: wavetank/v1
kind: Experiment
metadata: {name: short}
spec:
  seed: 1
  cluster:
    nodes:
      - {prefix: node, count: 2, zone: zone-a, capacity: {cpu: "4", memory: 8Gi, pods: "110"}}
  manifests: [shop.yaml]
  images:
    - {match: "*", pull: 10ms..20ms, start: 10ms..20ms, readyAfter: 10ms..20ms, memory: 64Mi}
  steadyState:
    - deploymentAvailable: {name: shop}
  method:
    - {at: 100ms, scale: {deployment: shop, replicas: 1}}
  until: 1s
"""


@pytest.fixture
def etcd(etcd_pool: EtcdPool) -> Iterator[EtcdProcess]:
    with etcd_pool.one() as one:
        yield one


def config_map(name: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data={"n": name})


def has(cluster: Cluster, name: str) -> bool:
    maps = cluster.view.state.raw("ConfigMap")
    return any(obj.metadata.name == name for obj in maps.values())


async def test_two_processes_see_each_others_writes(etcd: EtcdProcess) -> None:
    """Each through its own API server, over one etcd."""
    async with Cluster(store=etcd.store_url, nodes=1) as cluster, trio.open_nursery() as nursery:
        await cluster.client.create(config_map("from-parent"))
        command = [sys.executable, str(CHILD), etcd.store_url]
        options = {"cwd": ROOT, "env": {"PYTHONPATH": str(ROOT)}}
        nursery.start_soon(partial(trio.run_process, command, **options))
        await cluster.until(lambda _: has(cluster, "from-child"), timeout="60s")
        seen = await cluster.client.get(ConfigMap, "from-child", "default")

    assert {"from": "child"} == seen.data


async def test_a_cluster_outlives_its_etcd(etcd: EtcdProcess) -> None:
    """While etcd is away the API server says so; afterwards every watch goes on and nothing is missing."""
    async with Cluster(store=etcd.store_url, nodes=2) as cluster:
        await cluster.client.create(config_map("before"))
        etcd.kill()
        with pytest.raises(ApiError):
            await cluster.client.create(config_map("meanwhile"))
        etcd.start()
        await cluster.apply(SHOP)
        await cluster.until(lambda view: view.deployment("shop").available, timeout="60s")
        pods = await cluster.client.list(Pod, "default")
        await cluster.observer.caught_up(cluster.log.head)
        state = cluster.view.state.raw("Pod")

        assert 2 == len(pods) == len(state)
        assert has(cluster, "before")


async def test_nothing_is_lost_when_etcd_is_away_for_five_seconds(etcd: EtcdProcess) -> None:
    """Two clusters share it, both keep working at it meanwhile, and both see the same whole history afterwards."""
    async with (
        Cluster(store=etcd.store_url, nodes=2) as one,
        Cluster(store=etcd.store_url, nodes=0, reconcilers=()) as other,
    ):
        await one.apply(SHOP)
        await one.until(lambda view: view.deployment("shop").available, timeout="60s")
        written: list[str] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_writing, other, written)
            await more(written)
            etcd.kill()
            await trio.sleep(5)
            etcd.start()
            await more(written)
            nursery.cancel_scope.cancel()
        await one.client.scale(Deployment, "shop", "default", replicas=3)
        await one.until(
            lambda view: view.deployment("shop").object.status.ready_replicas == 3, timeout="60s"
        )
        await one.client.create(config_map("last"))
        for cluster in (one, other):
            await cluster.until(lambda _, cluster=cluster: has(cluster, "last"), timeout="60s")
            assert [name for name in written if not has(cluster, name)] == []
        histories = [list(cluster.log.store.history()) for cluster in (one, other)]
        shared = min(len(history) for history in histories)

        assert histories[0][:shared] == histories[1][:shared]
        assert not one.failures


async def keep_writing(cluster: Cluster, written: list[str]) -> None:
    """Create one object after the other, and note what was acknowledged."""
    for number in count():
        with suppress(ApiError):
            await cluster.client.create(config_map(f"n{number}"))
            written.append(f"n{number}")
        await trio.sleep(0.01)


async def more(written: list[str]) -> None:
    enough = len(written) + 20
    with trio.fail_after(60):
        while len(written) < enough:  # noqa: ASYNC110 - the writer tells nobody
            await trio.sleep(0.02)


async def test_the_log_of_an_etcd_that_was_compacted_begins_there(etcd: EtcdProcess) -> None:
    """What is older is refused by name, and not made up from what is left of it."""
    async with Cluster(store=etcd.store_url, nodes=1) as cluster:
        await cluster.client.create(config_map("before"))
        await cluster.log.store.compact(cluster.log.head)
        compacted = cluster.log.store.compacted
        await cluster.client.create(config_map("after"))
    log = await trio.to_thread.run_sync(open_log, etcd.store_url)

    assert {"before", "after"} <= {
        obj.metadata.name for obj in log.state().raw("ConfigMap").values()
    }
    with pytest.raises(BadInput, match=f"revision 2 was compacted; the oldest kept is {compacted}"):
        log.state(2)
    with pytest.raises(BadInput, match="was compacted"):
        log.events(1, 2)


@pytest.mark.parametrize(
    ("command", "code"),
    [(("log", "show"), 2), (("log", "state"), 2), (("log", "verify"), 1), (("run", EXAMPLE), 2)],
    ids=["show", "state", "verify", "run"],
)
@pytest.mark.parametrize("wrong", ["nobody listens", "wrong password", "no address"])
def test_what_is_wrong_is_one_line(
    guarded_etcd: EtcdProcess, command: tuple[str, ...], code: int, wrong: str
) -> None:
    """On stderr, without a traceback and without the password; and the exit code says so to a shell."""
    port = guarded_etcd.client_port
    url = {
        "nobody listens": f"etcd://root:se-cret@127.0.0.1:{free_port()}",
        "wrong password": f"etcd://root:se-cret@127.0.0.1:{port}",
        "no address": "etcd://root:se-cret@127.0.0.1:many",
    }[wrong]
    where = ("--store", url) if command[0] == "run" else (url,)
    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", "from wavetank.cli import main; main()", *command, *where],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (code, "", 1) == (ended.returncode, ended.stdout, ended.stderr.count("\n"))
    assert "se-cret" not in ended.stderr


@pytest.fixture(scope="module")
def guarded_etcd(etcd_pool: EtcdPool) -> Iterator[EtcdProcess]:
    """One that lets in nobody but root, with another password."""
    with etcd_pool.one() as one:
        guarded(one)
        yield one


async def test_an_etcd_that_cannot_be_reached_is_bad_input(tmp_path: Path) -> None:
    """So is what does not go with one."""
    for wrong in (
        Cluster(store="etcd://"),
        Cluster(store="etcd://127.0.0.1:1", log_path=tmp_path / "a.wtl"),
    ):
        with pytest.raises(BadInput):
            async with wrong:
                pass


def test_an_experiment_runs_on_etcd_and_its_log_is_read_from_there(
    etcd: EtcdProcess, tmp_path: Path, wavetank_command: Call
) -> None:
    """run, log show, log state, log diff and log verify, with an address in place of a path."""
    (tmp_path / "shop.yaml").write_text(SHOP)
    (tmp_path / "short.yaml").write_text(EXPERIMENT)
    ran = wavetank_command("run", tmp_path / "short.yaml", "--store", etcd.store_url, "--json")
    result = json.loads(ran.out)
    shown = wavetank_command("log", "show", etcd.store_url, "--kind", "Deployment", "-o", "json")
    events = [json.loads(line) for line in shown.out.splitlines()]
    state = wavetank_command("log", "state", etcd.store_url, "--kind", "Deployment", "-o", "json")
    (deployment,) = json.loads(state.out)["items"]
    verified = wavetank_command("log", "verify", etcd.store_url)
    diff = wavetank_command("log", "diff", etcd.store_url, "3", str(result["head"]))

    assert (0, True) == (ran.code, result["passed"])
    assert 1 == deployment["spec"]["replicas"]
    assert {"user", "controller/deployment"} <= {event["actor"] for event in events}
    assert all(event["causes"] for event in events)
    assert f"head={result['head']} digest={result['digest']}" in verified.out
    assert "+  name: shop" in diff.out


def test_a_log_and_a_store_do_not_go_together(tmp_path: Path, wavetank_command: Call) -> None:
    """Nor is an etcd without a cluster a log."""
    outcome = wavetank_command(
        "run",
        ROOT / "examples" / "node-failure.yaml",
        "--store",
        "etcd://h",
        "--log",
        tmp_path / "a",
    )

    assert 2 == outcome.code
    assert "--store" in outcome.err


def test_an_etcd_without_a_cluster_is_no_log(etcd: EtcdProcess) -> None:
    """It says so."""
    with pytest.raises(BadInput, match="holds no cluster"):
        open_log(etcd.store_url)
