"""Does to a running cluster what an experiment says: its manifests, its method and its faults, each at its time."""

from __future__ import annotations

import attrs
import trio

from engine import ApiError, Deployment, KubeObject, Node, NotFound, load_manifests_text
from wavetank.cluster import Cluster
from wavetank.errors import BadInput, UnknownTarget
from wavetank.experiment.assembly import Assembly
from wavetank.experiment.model import (
    Action,
    ApplyManifest,
    CordonNode,
    CrashNode,
    DeleteObjects,
    NodeTarget,
    PartitionNode,
    PauseKubelet,
    RestartNode,
    RestartReconciler,
    ScaleDeployment,
    Step,
)
from wavetank.faults.plan import Plan
from wavetank.faults.runner import PlanRunner
from wavetank.faults.striker import persistently
from wavetank.measures import Measures
from wavetank.result import CheckResult


@attrs.define(eq=False)
class Conductor:
    """One run of an experiment."""

    assembly: Assembly
    cluster: Cluster
    measures: Measures
    started: float = attrs.field(default=0.0, init=False)
    """When the cluster had settled, in seconds of its time."""
    _busiest: str = attrs.field(default="", init=False)

    async def set_up(self) -> None:
        """Apply the manifests and wait until all is settled. Raises NotReached, BadInput."""
        experiment = self.assembly.experiment
        try:
            for name in experiment.manifests:
                await self._apply(name)
            await self.cluster.settled(experiment.settle_timeout)
        finally:
            self.started = self.cluster.clock.now()
            self.measures.begin(self.cluster.view, self.started)

    async def disturb(self, plan: Plan, until: float) -> PlanRunner:
        """Do the method and strike the plan's faults, up to a time counted from the settled start; then no fault strikes any more."""
        cluster = self.cluster
        runner = PlanRunner(
            plan=plan, chaos=cluster.chaos, observer=cluster.observer, clock=cluster.clock
        )
        if plan:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(runner.run, name="chaos plan")
                await self._do_method(until)
                await runner.stop()
        else:  # a task more would be another interleaving, and another digest
            await self._do_method(until)
        await cluster.observer.caught_up(cluster.log.head)
        return runner

    async def _do_method(self, until: float) -> None:
        for step in self.assembly.experiment.method:
            await self.sleep_until(step.at)
            await self._perform(step)
        await self.sleep_until(until)

    async def sleep_until(self, at: float) -> None:
        """Until a time counted from the settled start."""
        delay = self.started + at - self.cluster.clock.now()
        await trio.sleep(max(delay, 0.0))

    def check(self, at: float) -> list[CheckResult]:
        """The steady state now."""
        return self.assembly.checks.evaluate(self.cluster.view, at)

    async def _apply(self, name: str) -> None:
        files = self.assembly.experiment.files
        shown = files.shown(name)
        for loaded in load_manifests_text(files.texts[name], shown, self.cluster.scheme):
            try:
                await self.cluster.apply_object(loaded.object)
            except ApiError as error:
                raise BadInput(f"{shown}:{loaded.line}: {error}") from None

    async def _perform(self, step: Step) -> None:
        try:
            await persistently(lambda: self._act(step.action))
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
    resource = cluster.scheme.resource_of(action.kind)
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
