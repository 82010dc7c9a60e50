"""Runs an experiment: build, apply, settle, check, do the method, check again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import trio

from engine import (
    ApiError,
    Deployment,
    Json,
    KubeObject,
    Node,
    NotFound,
    Scheme,
    Simulation,
    load_manifests_text,
)
from store import Durability, Keep
from wavetank.cluster import Cluster
from wavetank.errors import BadInput, NotReached, UnknownTarget
from wavetank.experiment.checks import Checks
from wavetank.experiment.model import (
    Action,
    ApplyManifest,
    CordonNode,
    CrashNode,
    DeleteObjects,
    Experiment,
    NodeTarget,
    PartitionNode,
    PauseKubelet,
    RestartNode,
    RestartReconciler,
    ScaleDeployment,
    Step,
)
from wavetank.measures import Measures
from wavetank.result import CheckResult, Result
from wavetank.running import run_cluster, versions
from wavetank.timeline import Line


def experiment_header(experiment: Experiment) -> dict[str, Json]:
    """All that it takes to run the experiment again."""
    files: dict[str, Json] = dict(experiment.files.texts)
    return {
        "experiment": {"name": experiment.name, "file": experiment.text_name, "files": files},
        "seed": experiment.seed,
        "versions": versions(),
    }


def run_experiment(  # noqa: PLR0913 - the options of a run
    experiment: Experiment,
    *,
    log: Path | str | None = None,
    tell: Callable[[Line], None] | None = None,
    durability: Durability = Durability.BUFFERED,
    store: str = "",
    keep: Keep | str = "all",
) -> Result[None]:
    """Run the experiment in virtual time; with its `store` in an etcd in real time. `keep` is that of `wavetank.run`.

    Raises BadInput for what only shows when it runs.
    """
    steady_state = Checks(experiment.steady_state, experiment.files)

    def build(simulation: Simulation | None) -> Cluster:
        return Cluster(
            nodes=experiment.nodes,
            settings=experiment.settings,
            images=experiment.images,
            log_path=log,
            store=store,
            durability=durability,
            keep=keep,
            header=experiment_header(experiment),
            seed=experiment.seed,
            simulation=simulation,
        )

    async def body(cluster: Cluster, measures: Measures, checks: list[CheckResult]) -> None:
        await _Conductor(experiment, cluster, steady_state, measures, checks).conduct()

    return run_cluster(
        build,
        body,
        seed=experiment.seed,
        invariants=experiment.invariants,
        tell=tell,
        real_time=bool(store),
    )


@attrs.define(eq=False)
class _Conductor:
    experiment: Experiment
    cluster: Cluster
    checks: Checks
    measures: Measures
    results: list[CheckResult]
    _started: float = attrs.field(default=0.0, init=False)
    _busiest: str = attrs.field(default="", init=False)

    async def conduct(self) -> None:
        experiment, cluster = self.experiment, self.cluster
        for name in experiment.manifests:
            await self._apply(name)
        try:
            await cluster.settled(experiment.settle_timeout)
        except NotReached as error:
            self._began()
            self.results.append(
                CheckResult(name="settled", at=0.0, passed=False, message=str(error))
            )
            return
        self._began()
        if not self._check(0.0):
            return  # the hypothesis does not hold: nothing would be learnt from the method
        for step in experiment.method:
            await self._sleep_until(step.at)
            await self._perform(step)
        await self._sleep_until(experiment.until)
        await cluster.observer.caught_up(cluster.log.head)
        self._check(experiment.until)

    def _began(self) -> None:
        self._started = self.cluster.clock.now()
        self.measures.begin(self.cluster.view, self._started)

    async def _sleep_until(self, at: float) -> None:
        delay = self._started + at - self.cluster.clock.now()
        await trio.sleep(max(delay, 0.0))

    def _check(self, at: float) -> bool:
        results = self.checks.evaluate(self.cluster.view, at)
        self.results.extend(results)
        return all(result.passed for result in results)

    async def _apply(self, name: str) -> None:
        files = self.experiment.files
        shown = files.shown(name)
        scheme = self.cluster.scheme
        for loaded in load_manifests_text(files.texts[name], shown, scheme):
            try:
                await self.cluster.apply_object(loaded.object)
            except ApiError as error:
                raise BadInput(f"{shown}:{loaded.line}: {error}") from None

    async def _perform(self, step: Step) -> None:
        try:
            await self._act(step.action)
        except (ApiError, UnknownTarget) as error:
            raise BadInput(f"{step.where}: {error}") from None

    def _node(self, target: NodeTarget) -> str:
        if target.name:
            return target.name
        if not self._busiest:
            self._busiest = self.cluster.busiest_node()
        return self._busiest

    async def _act(self, action: Action) -> None:
        cluster, chaos = self.cluster, self.cluster.chaos
        match action:
            case CrashNode(node=node):
                await chaos.crash(self._node(node))
            case RestartNode(node=node, containers=containers):
                await chaos.restart(self._node(node), containers=containers)
            case PartitionNode(node=node, seconds=seconds):
                await chaos.partition(self._node(node), seconds)
            case PauseKubelet(node=node, seconds=seconds):
                await chaos.pause_kubelet(self._node(node), seconds)
            case ScaleDeployment(name=name, namespace=namespace, replicas=replicas):
                await cluster.client.scale(Deployment, name, namespace, replicas)
            case ApplyManifest(file=file):
                await self._apply(file)
            case DeleteObjects():
                await delete_objects(cluster, action)
            case CordonNode(node=name, unschedulable=unschedulable):
                await cluster.client.patch(
                    Node, name, "", {"spec": {"unschedulable": unschedulable or None}}
                )
            case RestartReconciler(name=name):
                await chaos.restart_reconciler(name)


async def delete_objects(cluster: Cluster, action: DeleteObjects) -> None:
    """Delete what the action names; what is gone already is no error."""
    scheme: Scheme = cluster.scheme
    resource = scheme.resource_of(action.kind)
    namespace = action.namespace if resource.namespaced else ""
    if action.name:
        await cluster.client.delete(resource, action.name, namespace)
        return
    found: list[KubeObject] = await cluster.client.list(
        resource, namespace, label_selector=action.selector
    )
    for obj in found:
        try:
            await cluster.client.delete(obj)
        except NotFound:
            continue
