"""A reconciler that shows what a process sees: it watches config maps and keeps a copy of each with a `copy` label in its data."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence

import wavetank
from engine import AlreadyExists, Change, Informer, Timeout
from engine.control.reconciler import Source
from reconcilers import default_reconcilers
from wavetank import Cluster, ConfigMap, For, Key, ObjectMeta, Reconciler, Result

ACTOR = "controller/mirror"


class Mirror(Reconciler):
    """`told` has what its handlers were told, `informers` its informer at each start, `failed` what its creates came to."""

    name = "mirror"

    def __init__(self) -> None:
        self.told: list[str] = []
        self.informers: list[Informer[ConfigMap]] = []
        self.failed: list[str] = []

    def sources(self) -> Sequence[Source]:
        return [For(ConfigMap, self._hear)]

    def _hear(self, change: Change[ConfigMap]) -> None:
        data = change.object.data
        self.told.append(f"{change.type.value} {change.object.metadata.name} {data.get('x', '')}")

    async def setup(self) -> None:
        self.informers.append(self.informer(ConfigMap))

    async def reconcile(self, key: Key) -> None:
        """For `a` make a `copy-a`, once; each is tried again after Timeout at the next change."""
        seen = self.informers[-1].get(key)
        if seen is None or "copy" not in seen.data:
            return
        copy = config_map(f"copy-{key.name}")
        try:
            await self.client.create(copy)
        except (AlreadyExists, Timeout) as error:
            self.failed.append(type(error).__name__)

    def shown(self) -> list[tuple[str, str]]:
        """Names and resourceVersions that it sees now."""
        return [
            (each.metadata.name, each.metadata.resource_version)
            for each in self.informers[-1].list()
        ]


Program = Callable[[Cluster, Mirror], Coroutine[None, None, None]]


def mirrored(program: Program, *, api_servers: int = 1, seed: int = 0) -> Result[None]:
    """Run a program on a cluster with a mirror and one node."""
    mirror = Mirror()

    async def main(cluster: Cluster) -> None:
        await cluster.settled()
        await program(cluster, mirror)

    return wavetank.run(
        main,
        nodes=1,
        seed=seed,
        api_servers=api_servers,
        reconcilers=[*default_reconcilers(), mirror],
    )


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data=data)


async def put(cluster: Cluster, name: str, x: str, **data: str) -> None:
    await cluster.apply_object(config_map(name, x=x, **data))


async def stored(cluster: Cluster) -> list[tuple[str, str]]:
    """Names and resourceVersions of all config maps, as the log has them."""
    found = await cluster.client.list(ConfigMap)
    return [(each.metadata.name, each.metadata.resource_version) for each in found]


async def names(cluster: Cluster) -> list[str]:
    return [name for name, _ in await stored(cluster)]
