"""Listening to a process' requests and watches, as `perturb` does: it hears everything, and the run is the same run."""

from __future__ import annotations

import wavetank
from engine import Answer, ApiError, Request, Verb, WatchEvent, WatchRequest
from tests.wavetank.faults.residue import WEB
from wavetank import Cluster
from wavetank.faults.residue import residue

ACTOR = "controller/replicaset"


def test_a_run_that_is_listened_to_is_the_same_run() -> None:
    """Listeners in every process, and the digest is as without."""
    wrote, told = list[str](), list[int]()

    def hear(request: Request, answer: Answer | ApiError) -> None:
        if request.verb is Verb.CREATE and request.resource.kind == "Pod":
            assert not isinstance(answer, ApiError)
            wrote.append(request.object.metadata.generate_name)

    def hear_batch(watch: WatchRequest, events: tuple[WatchEvent, ...]) -> None:
        if watch.resource.kind == "Pod":
            told.extend(event.revision for event in events)

    def run(listening: bool) -> str:
        async def main(cluster: Cluster) -> None:
            if listening:
                for name, seam in cluster.chaos.world.seams.items():
                    seam.on_arrival(lambda _: None)
                    if name == ACTOR:
                        seam.on_exchange(hear)
                        seam.on_batch(hear_batch)
                assert residue(cluster.chaos.world) == []
            await cluster.apply(WEB)
            await cluster.settled()

        return wavetank.run(main, nodes=3, seed=4).digest

    assert run(listening=True) == run(listening=False)
    assert len(wrote) == 3
    assert {*wrote} == {wrote[0]}
    assert wrote[0].startswith("web-")
    assert told == sorted(told)
    assert len(told) > 6
