"""Pulling images onto one node: which are there, and when the next one will be.

In virtual time a pull's end is known when it begins, so there is no state to step: an image is there from a moment on, and a lane of the
puller is free from a moment on.
"""

from __future__ import annotations

from typing import Final

import attrs

from sim_nodes.images import Images
from sim_nodes.units import to_ns

_CHECK_SECONDS: Final = 0.1
"""What a pull takes whose image is there already: the registry is asked for the digest (6.10.1)."""


@attrs.frozen(kw_only=True)
class Pull:
    """One pull: waits from its request to `begins_ns`, runs to `ends_ns`. `error` is empty when it succeeds."""

    begins_ns: int
    ends_ns: int
    error: str = ""


@attrs.define(eq=False, kw_only=True)
class Puller:
    """The images of one node. They are on its disk, so they survive every crash.

    `max_parallel` 1 is the kubelet's serializeImagePulls (its default), None pulls all at once.
    """

    node: str
    images: Images
    max_parallel: int | None = 1
    _present_ns: dict[str, int] = attrs.field(factory=dict, init=False)
    _pulls: dict[str, int] = attrs.field(factory=dict, init=False)
    _lanes: list[int] = attrs.field(factory=list, init=False)
    version: int = attrs.field(default=0, init=False)
    """Counts changes of what is, or will be, present."""

    def present(self, image: str, now: int) -> bool:
        """Whether the image is on the node."""
        since = self._present_ns.get(image)
        return since is not None and since <= now

    def present_images(self, now: int) -> list[str]:
        """The images on the node, in the order of their first pull."""
        return [image for image, since in self._present_ns.items() if since <= now]

    def arrives_ns(self, now: int) -> int | None:
        """When the next image that is under way will be there."""
        return min((since for since in self._present_ns.values() if since > now), default=None)

    def pull(self, image: str, now: int) -> Pull:
        """Begin a pull, or queue for one."""
        behaviour = self.images.behaviour(image)
        count = self._pulls.get(image, 0)
        self._pulls[image] = count + 1
        drawn = self.images.draws.duration(f"{self.node}/pull/{image}", count, behaviour.pull)
        lane, free_ns = self._free_lane(now)
        begins = max(now, free_ns)
        fails = bool(behaviour.pull_error) and (
            behaviour.pull_failures is None or count < behaviour.pull_failures
        )
        if not fails and self.present(image, begins):
            drawn = min(drawn, _CHECK_SECONDS)
        ends = begins + to_ns(drawn)
        if lane is not None:
            self._lanes[lane] = ends
        if fails:
            return Pull(begins_ns=begins, ends_ns=ends, error=behaviour.pull_error)
        if self._present_ns.get(image, ends + 1) > ends:
            self._present_ns[image] = ends
            self.version += 1
        return Pull(begins_ns=begins, ends_ns=ends)

    def power_off(self, now: int) -> None:
        """Pulls under way are lost."""
        self._lanes.clear()
        self._present_ns = {i: since for i, since in self._present_ns.items() if since <= now}
        self.version += 1

    def _free_lane(self, now: int) -> tuple[int | None, int]:
        if self.max_parallel is None:
            return None, now
        if len(self._lanes) < self.max_parallel:
            self._lanes.append(now)
            return len(self._lanes) - 1, now
        lane = min(range(len(self._lanes)), key=self._lanes.__getitem__)
        return lane, self._lanes[lane]
