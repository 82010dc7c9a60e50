"""A real application's manifests (../shared/data/online-boutique.yaml): they settle, and nothing of them is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

import wavetank
from engine import Json, Quantity
from wavetank import Cluster

MANIFESTS: Final = Path(__file__).parents[3] / "shared/data/online-boutique.yaml"
pytestmark = pytest.mark.skipif(not MANIFESTS.exists(), reason=f"{MANIFESTS} is not here")

Where = tuple[str, ...]


def lost(given: Json, live: Json, where: Where = ()) -> Iterator[tuple[Where, Json, Json]]:
    """Every field of `given` that `live` does not have, with what it has there."""
    match given, live:
        case dict(), dict():
            for key, value in given.items():
                yield from lost(value, live.get(key), (*where, key))
        case list(), list() if len(given) <= len(live):
            for index, value in enumerate(given):
                yield from lost(value, live[index], (*where, str(index)))
        case _:
            if not _equal(given, live, where):
                yield where, given, live


def _equal(given: Json, live: Json, where: Where) -> bool:
    if given == live or (not given and not live):
        return True
    amount = where[-2:-1] in {("requests",), ("limits",)} or "capacity" in where
    return amount and live is not None and Quantity.parse(str(given)) == Quantity.parse(str(live))


def test_lost_would_be_noticed() -> None:
    given: Json = {"a": {"b": [1, {"c": 2}]}, "d": "x", "requests": {"cpu": "0.5"}}

    assert [] == list(
        lost(given, {"a": {"b": [1, {"c": 2, "e": 3}]}, "d": "x", "requests": {"cpu": "500m"}})
    )
    assert [(("a", "b", "1", "c"), 2, None)] == list(
        lost({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {}]}})
    )
    assert [(("d",), "x", "y")] == list(lost({"d": "x"}, {"d": "y"}))


@pytest.mark.parametrize("seed", [0, 1])
def test_online_boutique(seed: int) -> None:
    """Three nodes; every Deployment available; every field of the input in the live object."""
    documents = [each for each in yaml.safe_load_all(MANIFESTS.read_text(encoding="utf-8")) if each]

    async def main(cluster: Cluster) -> int:
        await cluster.apply(MANIFESTS)
        await cluster.settled("10m")
        view = cluster.view
        for document in documents:
            live = cluster.scheme.to_dict(view.the(document["kind"], document["metadata"]["name"]))
            name = f"{document['kind']} {document['metadata']['name']}"
            assert [] == list(lost(document, live)), name
        deployments = view.deployments()
        assert all(each.available and each.complete for each in deployments)
        return len(deployments)

    nodes = [
        wavetank.SimulatedNode(
            name=f"node-{number}",
            capacity={
                "cpu": Quantity.parse("4"),
                "memory": Quantity.parse("8Gi"),
                "pods": Quantity.parse("110"),
            },
        )
        for number in range(3)
    ]
    result = wavetank.run(main, nodes=3 if seed else nodes, seed=seed)

    assert result.passed
    assert sum(each["kind"] == "Deployment" for each in documents) == result.value
    assert (result.value or 0) >= 10
