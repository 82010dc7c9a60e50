"""Pulling images onto one node: which are there, and when the next one will be.

In virtual time a pull's end is known when it begins, so there is no state to step: an image is there from a moment on, and a lane of the
puller is free from a moment on. What faults add to the pulls under way is kept apart, so that it can be taken off again.
"""

from __future__ import annotations

from typing import Final

import attrs

from sim_nodes.disturbances import Disturbances, PullTrouble
from sim_nodes.effects import Effect
from sim_nodes.images import Images
from sim_nodes.units import NEVER, to_ns

_CHECK_SECONDS: Final = 0.1
"""What a pull takes whose image is there already: the registry is asked for the digest (6.10.1)."""


@attrs.define(eq=False, kw_only=True)
class Pull:
    """One pull: waits from its request to `begins_ns`, runs to `ends_ns`. `error` is empty when it succeeds.

    While it is under way its times may change: a fault that slowed it is healed, or its machine stood still.
    """

    image: str
    asked_ns: int
    begins_ns: int
    takes_ns: int
    """Without what faults add."""
    extra_ns: dict[Effect[PullTrouble] | Effect[float], int]
    lane: int | None
    error: str = ""
    ends_ns: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.settle()

    def settle(self) -> None:
        """Say when it ends, after its times have changed."""
        self.ends_ns = self.begins_ns + self.takes_ns + sum(self.extra_ns.values())


@attrs.define(eq=False, kw_only=True)
class Puller:
    """The images of one node. They are on its disk, so they survive every crash.

    `max_parallel` 1 is the kubelet's serializeImagePulls (its default), None pulls all at once.
    """

    node: str
    images: Images
    max_parallel: int | None = 1
    disturbances: Disturbances = attrs.field(factory=Disturbances)
    _present_ns: dict[str, int] = attrs.field(factory=dict, init=False)
    _pulls: dict[str, int] = attrs.field(factory=dict, init=False)
    _lanes: list[int] = attrs.field(factory=list, init=False)
    _under_way: list[Pull] = attrs.field(factory=list, init=False)
    """And some that have ended since the last one began."""
    _errors: dict[str, str] = attrs.field(factory=dict, init=False)
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
        error = behaviour.pull_error
        if behaviour.pull_failures is not None and count >= behaviour.pull_failures:
            error = ""
        troubles = [each for each in self.disturbances.pulls if each.value.matches(image)]
        for trouble in troubles:
            error = error or trouble.value.error
        if not error and self.present(image, begins):
            drawn = min(drawn, _CHECK_SECONDS)
        takes = to_ns(drawn)
        pull = Pull(
            image=image,
            asked_ns=now,
            begins_ns=begins,
            takes_ns=takes,
            extra_ns=self._extra(image, takes, troubles),
            lane=lane,
            error=error,
        )
        if lane is not None:
            self._lanes[lane] = pull.ends_ns
        self._errors[image] = error
        self._under_way = [each for each in self._under_way if each.ends_ns > now]
        self._under_way.append(pull)
        if not error and self._present_ns.get(image, pull.ends_ns + 1) > pull.ends_ns:
            self._present_ns[image] = pull.ends_ns
            self.version += 1
        return pull

    def _extra(
        self, image: str, takes_ns: int, troubles: list[Effect[PullTrouble]]
    ) -> dict[Effect[PullTrouble] | Effect[float], int]:
        extra: dict[Effect[PullTrouble] | Effect[float], int] = {}
        for trouble in troubles:
            trouble.drawn += 1
            label = f"{trouble.reason}/{self.node}/pull/{image}"
            drawn = self.images.draws.duration(label, trouble.drawn, trouble.value.extra)
            extra[trouble] = to_ns(drawn)
        for slowdown in self.disturbances.slowdown:
            extra[slowdown] = round(takes_ns * (slowdown.value - 1))
        return extra

    def last_error(self, image: str) -> str:
        """With what the last pull of the image failed; empty when it did not, or there was none."""
        return self._errors.get(image, "")

    def relieve(self, effect: Effect[PullTrouble] | Effect[float], now: int) -> None:
        """Take off what a fault adds to the pulls under way, and to those that wait behind them."""
        free: dict[int, int] = {}
        for pull in self._under_way:
            if pull.ends_ns <= now:
                continue
            before = pull.ends_ns
            if pull.begins_ns > now and pull.lane in free:
                pull.begins_ns = max(pull.asked_ns, now, free[pull.lane])
            added = pull.extra_ns.pop(effect, 0)
            pull.settle()
            if added and pull.ends_ns < now:
                pull.takes_ns += now - pull.ends_ns
                pull.settle()
            if pull.lane is not None:
                free[pull.lane] = self._lanes[pull.lane] = pull.ends_ns
            if self._present_ns.get(pull.image) == before and not pull.error:
                self._present_ns[pull.image] = pull.ends_ns
                self.version += 1

    def postpone(self, since: int, by: int) -> None:
        """The machine stood still from `since` on, for so long: what was under way comes so much later."""
        for pull in self._under_way:
            if pull.ends_ns > since:
                if pull.begins_ns > since:
                    pull.begins_ns += by
                else:
                    pull.takes_ns += by
                pull.settle()
        self._lanes = [free + by if free > since else free for free in self._lanes]
        for image, present in self._present_ns.items():
            if since < present < NEVER:
                self._present_ns[image] = present + by
                self.version += 1

    def power_off(self, now: int) -> None:
        """Pulls under way are lost."""
        self._lanes.clear()
        self._under_way.clear()
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
