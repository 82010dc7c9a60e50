"""A second process that shares an etcd with the test that starts it: waits for an object of the parent's, and answers with one of its own."""

from __future__ import annotations

import sys

import trio

from wavetank import Cluster, ConfigMap, ObjectMeta


async def main(address: str) -> None:
    async with Cluster(store=address, nodes=0, reconcilers=()) as cluster:

        def arrived(view: object) -> bool:
            del view
            return any(
                obj.metadata.name == "from-parent"
                for obj in cluster.view.state.raw("ConfigMap").values()
            )

        await cluster.until(arrived, timeout="30s")
        metadata = ObjectMeta(name="from-child", namespace="default")
        await cluster.client.create(ConfigMap(metadata=metadata, data={"from": "child"}))


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
