"""The zero-residue check, for any fault of the catalogue: after its heal nothing of it is left, whatever happened meanwhile.

    def test_nothing_is_left(kind: str) -> None:
        check_residue("node.crash")                      # SEEDS seeds: 2, or as many as WAVETANK_SEEDS says
        check_residue("process.pause", targets=("controller/replicaset",))

Each seed is one small cluster in which the fault strikes a drawn target with drawn parameters and duration, while drawn things happen: the target crashes,
is restarted or deleted, the same fault strikes it again, another one strikes beside it, everything is healed while strikes are still under way. Then all is
healed; `residue` has to be empty, every record healed, and the cluster has to settle and to have no residue then either.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import attrs
import trio

import wavetank
from engine import Draws, Fault, Json, NotFound, load_manifests
from reconcilers import default_reconcilers
from sim_nodes import SimulatedNode
from wavetank import Cluster, ImageBehaviour, Node, Pod, Settings, UnknownTarget, default_scheme
from wavetank.faults.catalogue import CATALOGUE, fault_type
from wavetank.faults.inventory import Inventory, inventory_of
from wavetank.faults.model import FaultType, TargetKind
from wavetank.faults.residue import residue

SEEDS: Final = range(int(os.environ.get("WAVETANK_SEEDS", "2")))

WEB: Final = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
        - name: main
          image: registry.example/web:1
          resources: {requests: {cpu: 500m, memory: 128Mi}}
          livenessProbe: {httpGet: {port: 80}, periodSeconds: 5}
          readinessProbe: {httpGet: {port: 80}, periodSeconds: 2}
"""
NODES: Final = tuple(
    SimulatedNode(name=f"node-{number}", zone=f"zone-{'abc'[number]}") for number in range(3)
)
WINDOW: Final = 60.0
"""Seconds within which everything happens."""
SETTLES: Final = "60m"

MEANWHILE: Final = ("again", "other", "crash", "restart", "delete", "heal")
_NEVER_BESIDE: Final = ("node.poweroff",)
"""What no heal takes back strikes alone."""


def check_residue(
    fault: str,
    seeds: Iterable[int] = SEEDS,
    *,
    targets: Sequence[str] = (),
    settles: bool = True,
) -> None:
    """Check one fault type over seeds. `targets` instead of all that the cluster has; without `settles` it need not recover."""
    kind = fault_type(fault, "check_residue")
    for seed in seeds:
        play = _Play(kind=kind, seed=seed, targets=tuple(targets), settles=settles)
        try:
            wavetank.run(
                play.run,
                nodes=NODES,
                seed=seed,
                images=[ImageBehaviour(pull=wavetank.DurationRange.parse("1s..3s"))],
                invariants=(),
            )
        except Exception as error:
            raise AssertionError(f"{fault}, seed {seed}: {play.story}: {error!r}") from error


@attrs.define(eq=False, kw_only=True)
class _Play:
    """One seed."""

    kind: FaultType
    seed: int
    targets: tuple[str, ...]
    settles: bool
    story: list[str] = attrs.field(factory=list, init=False)
    _cluster: Cluster = attrs.field(init=False)
    _draws: Draws = attrs.field(init=False)
    _inventory: Inventory = attrs.field(init=False)

    async def run(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._draws = Draws(self.seed)
        self._inventory = inventory_of(
            nodes=NODES,
            reconcilers=default_reconcilers(),
            settings=Settings(),
            api_servers=1,
            objects=_namespaced(),
        )
        await cluster.apply(WEB)
        await cluster.settled()
        assert residue(cluster.chaos.world) == []
        target = self._target(self.kind, "target")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._strike, self.kind, target, "first", 0.0)
            for number in range(1 + self._integer("meanwhile", 3)):
                label = f"meanwhile-{number}"
                what = self._draws.choice(f"residue/{label}", 0, MEANWHILE)
                at = round(self._draws.uniform(f"residue/{label}/at", 0, 0.0, WINDOW), 3)
                if self._integer(f"{label}/at-once", 4) == 0:
                    at = 0.0
                nursery.start_soon(self._meanwhile, what, target, label, at)
        await cluster.chaos.heal_all()
        await self._restore()
        self._check("healed")
        if self.settles:
            await cluster.until(_all_ready, SETTLES)
            await cluster.settled(SETTLES)
            self._check("settled")

    # -- what happens ------------------------------------------------------------------------------

    async def _strike(self, kind: FaultType, target: str, label: str, at: float) -> None:
        await trio.sleep(at)
        seconds = None
        if kind.lasting and self._integer(f"{label}/for", 4):
            seconds = round(self._draws.uniform(f"residue/{label}/for", 1, 0.0, WINDOW), 3)
        parameters = self._parameters(kind, label)
        self.story.append(f"{at:g}s {kind.name} {target} for {seconds} {parameters}")
        with suppress(UnknownTarget):  # it may have been deleted meanwhile
            await self._cluster.chaos.strike(kind.name, target, seconds, **parameters)

    async def _meanwhile(self, what: str, target: str, label: str, at: float) -> None:
        if what == "again":
            await self._strike(self.kind, target, label, at)
            return
        if what == "other":
            hunted = [
                each
                for each in CATALOGUE.values()
                if each.hunted and each.name not in _NEVER_BESIDE
            ]
            kind = self._draws.choice(f"residue/{label}/kind", 0, hunted)
            same = kind.target is self.kind.target
            await self._strike(kind, target if same else self._target(kind, label), label, at)
            return
        await trio.sleep(at)
        self.story.append(f"{at:g}s {what} {target}")
        does: Mapping[str, Callable[[str], Awaitable[None]]] = {
            "crash": self._crash,
            "restart": self._restart,
            "delete": self._delete,
            "heal": self._heal,
        }
        with suppress(UnknownTarget):
            await does[what](target)

    async def _heal(self, _: str) -> None:
        await self._cluster.chaos.heal_all()

    async def _crash(self, target: str) -> None:
        """The power of the node it is about, or is on; it stays off for a while."""
        node = self._node_of(target)
        if node:
            await self._cluster.chaos.crash(node)
            await trio.sleep(20)
            if not self._cluster.machines[node].process.living:
                await self._cluster.chaos.restart(node)

    async def _restart(self, target: str) -> None:
        """The process, or the kubelet of the node it is about."""
        world = self._cluster.chaos.world
        if self.kind.target is TargetKind.PROCESS:
            process = world.process(target)
        else:
            node = self._node_of(target)
            if not node:
                return
            process = world.nodes[node].process
        if process.living:
            await process.restart()

    async def _delete(self, target: str) -> None:
        """The object itself."""
        client = self._cluster.client
        with suppress(NotFound):
            if self.kind.target is TargetKind.POD:
                pod = self._cluster.chaos.world.pod(target)
                await client.delete(Pod, pod.metadata.name, pod.metadata.namespace)
            elif self.kind.target is TargetKind.OBJECT:
                kind, *namespace, name = target.split("/")
                await client.delete(default_scheme().resource_of(kind), name, *namespace)
            elif self.kind.target in (TargetKind.NODE, TargetKind.ZONE):
                await client.delete(Node, self._node_of(target))

    async def _restore(self) -> None:
        """Undo what this play did beside the faults: nodes without power, Node objects and workloads that were deleted."""
        cluster = self._cluster
        for name, machine in cluster.machines.items():
            if not machine.process.living and self.settles:
                await cluster.chaos.restart(name)
            elif machine.process.living and await self._unregistered(name):
                await machine.process.restart()
        await cluster.apply(WEB)

    async def _unregistered(self, name: str) -> bool:
        try:
            await self._cluster.client.get(Node, name)
        except NotFound:
            return True
        return False

    def _check(self, when: str) -> None:
        left = residue(self._cluster.chaos.world)
        assert left == [], f"{when}: {left}"
        assert self._cluster.chaos.active == [], when
        records = self._cluster.view.list(Fault)
        active = [
            each.metadata.name
            for each in records
            if each.status.phase != "Healed" and each.spec.kind in CATALOGUE
        ]
        assert active == [], f"{when}: not healed: {active}"

    # -- draws -------------------------------------------------------------------------------------

    def _integer(self, label: str, bound: int) -> int:
        return self._draws.integer(f"residue/{label}", 0, bound)

    def _target(self, kind: FaultType, label: str) -> str:
        candidates = self._inventory.candidates(kind.target)
        if kind is self.kind and self.targets:
            candidates = self.targets
        return self._draws.choice(f"residue/{label}/target", 0, candidates)

    def _parameters(self, kind: FaultType, label: str) -> dict[str, Json]:
        return {
            name: self._draws.choice(f"residue/{label}/{name}", 0, parameter.hunted)
            for name, parameter in kind.parameters.items()
            if parameter.hunted
        }

    def _node_of(self, target: str) -> str:
        """The node that a target is, is on, or is the first of; empty when it has none."""
        world = self._cluster.chaos.world
        match self.kind.target:
            case TargetKind.NODE:
                return target
            case TargetKind.ZONE:
                return world.in_zone(target)[0].name
            case TargetKind.POD:
                return world.pod(target).spec.node_name
            case TargetKind.PROCESS if target.startswith("kubelet/"):
                return target.removeprefix("kubelet/")
            case _:
                return ""


def _namespaced() -> list[wavetank.KubeObject]:
    loaded = [each.object for each in load_manifests(WEB, default_scheme())]
    return [
        attrs.evolve(obj, metadata=attrs.evolve(obj.metadata, namespace="default"))  # type: ignore[misc]
        for obj in loaded
    ]


def _all_ready(view: wavetank.View) -> bool:
    nodes = view.nodes()
    return len(nodes) == len(NODES) and all(node.ready for node in nodes)
