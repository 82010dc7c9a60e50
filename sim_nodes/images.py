"""How simulated images behave: how long they pull and start, when they answer, when and how they end."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

import attrs

from engine import NO_TIME, Draws, DurationRange, Quantity

_MEGABYTE: Final = 1_000_000
_PULL: Final = DurationRange(low=0.5, high=2.0)
_START: Final = DurationRange(low=0.2, high=0.6)
_STOP: Final = DurationRange(low=0.1, high=0.5)


@attrs.frozen(kw_only=True)
class ImageBehaviour:
    """What containers of the images that match `match` do; ranges are drawn for each container.

    `match` is a shell pattern on the image as the pod names it (`busybox*`, `*/cart:v?`). The life of one container of
    `ImageBehaviour(match="web*", pull=1s..5s, start=1s, ready_after=2s)`: the image takes 1 to 5 s to arrive when the
    node does not have it, one second later the container runs, two seconds after that it answers its probes, and it runs
    until it is stopped.
    """

    match: str = "*"
    pull: DurationRange = _PULL
    """From the request to the image being there, when nothing else is pulled before it."""
    start: DurationRange = _START
    """Creating and starting one container (6.2.3 of the controllers reference)."""
    ready_after: DurationRange = NO_TIME
    """From the start until it answers probes of any kind."""
    runs: DurationRange | None = None
    """How long it runs before it ends by itself; None: until it is stopped, or as an init container `INIT_RUNS`."""
    exit_code: int = 0
    """With which it ends by itself."""
    memory: Quantity | None = None
    """What it needs once it answers; above the container's limit it is OOMKilled at that moment."""
    hangs_after: DurationRange | None = None
    """From the start until it stops answering its probes, for ever; None: never."""
    stop: DurationRange = _STOP
    """From SIGTERM to its end; longer than the grace period, it is killed (exit code 137)."""
    stop_exit_code: int = 143
    """With which it ends on SIGTERM: 128 + 15, as a program that does not handle it."""
    pull_error: str = ""
    """With which a pull fails, after the time a pull takes."""
    pull_failures: int | None = None
    """How many pulls on each node fail with `pull_error` before one succeeds; None: all."""
    size_bytes: int = 0
    """Of the image; 0: drawn, 20 to 300 MB."""

    def matches(self, image: str) -> bool:
        return fnmatchcase(image, self.match)


INIT_RUNS: Final = DurationRange(low=0.2, high=1.0)
"""How long an init container runs whose image is not told to run for a time: one that never ended would keep its pod from
ever starting, which nobody means by a rule such as `*`."""

DEFAULT_BEHAVIOUR: Final = ImageBehaviour()
"""Of images that no pattern matches."""


@attrs.define(eq=False)
class Images:
    """The behaviours of a cluster's images: the first that matches decides. A look-up costs O(1) after the first."""

    behaviours: Sequence[ImageBehaviour]
    draws: Draws
    _known: dict[str, ImageBehaviour] = attrs.field(factory=dict, init=False)
    _ids: dict[str, str] = attrs.field(factory=dict, init=False)

    def behaviour(self, image: str) -> ImageBehaviour:
        """The behaviour of `image`."""
        known = self._known.get(image)
        if known is None:
            matching = (each for each in self.behaviours if each.matches(image))
            known = self._known[image] = next(matching, DEFAULT_BEHAVIOUR)
        return known

    def image_id(self, image: str) -> str:
        """The digest form that a container status shows: the same image has the same on all nodes."""
        known = self._ids.get(image)
        if known is None:
            name = image.partition("@")[0]
            head, slash, tail = name.rpartition("/")
            repository = f"{head}{slash}{tail.partition(':')[0]}"
            known = f"{repository}@sha256:{hex_id(self.draws, 'image', image)}"
            self._ids[image] = known
        return known

    def size_bytes(self, image: str) -> int:
        """The image's size."""
        size = self.behaviour(image).size_bytes
        if size:
            return size
        return (20 + self.draws.integer(f"image/{image}/size", 0, 280)) * _MEGABYTE


def hex_id(draws: Draws, *path: str | int) -> str:
    """64 hexadecimal digits caused by `path`, as container and image ids are written."""
    return (draws.uid(*path, 0) + draws.uid(*path, 1)).replace("-", "")


def always_pulled(image: str) -> bool:
    """Whether `imagePullPolicy` defaults to Always: no tag and no digest, or the tag latest (6.10.1)."""
    if "@" in image:
        return False
    tag = image.rpartition("/")[2].partition(":")[2]
    return tag in {"", "latest"}
