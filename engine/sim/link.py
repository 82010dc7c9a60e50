"""Links: the simulated network between one process and an API server.

A link carries a request with `await to_server()` and its answer, or one batch of a watch, with `await to_client()`. It behaves as TCP
does: a message that cannot get through is sent again until it does, so a partition delays and never drops; whoever cannot wait
has a time-out of its own. What this leaves open is the point: a request in flight may have been applied though its answer never comes.

    the process's gate, then the way there | the server commits | the way back, then the gate again

A partition that begins while a message is on its way stops that message too.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import trio

from engine.sim.draws import Draws
from engine.sim.durations import NO_TIME, DurationRange
from engine.sim.holds import Hold, Holds
from engine.sim.process import Process


class Direction(enum.Enum):
    """Which way a message goes, or a partition cuts."""

    TO_SERVER = "to-server"
    TO_CLIENT = "to-client"
    BOTH = "both"


RETRANSMIT_SECONDS: Final = 0.2
"""How long a sender waits before it sends a lost message again; doubled each time (Linux: TCP_RTO_MIN, RFC 6298 back-off)."""
_MAX_DOUBLINGS: Final = 9
"""The back-off stops growing at 102.4 s, under Linux's TCP_RTO_MAX of 120 s."""


@attrs.frozen(kw_only=True)
class LinkQuality:
    """How good a link is when no partition cuts it."""

    delay: DurationRange = NO_TIME
    """The time one message takes one way; drawn for each when it is a range."""
    loss: float = 0.0
    """The chance, 0 to under 1, that a message is lost and has to be sent again."""

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.loss < 1:
            raise ValueError(f"loss is {self.loss}, allowed is 0 to under 1")


PERFECT: Final = LinkQuality()
"""Takes no time and loses nothing."""


@attrs.frozen(kw_only=True)
class LinkStatistics:
    """What `Link.statistics()` returns."""

    name: str
    to_server: int
    """Messages sent to the server so far."""
    to_client: int
    partitions: tuple[str, ...]
    """The reasons of the partitions that cut it now, `to-server` first."""


class _Lane:
    """One direction: its partitions, and how many messages it took."""

    __slots__ = ("cut", "label", "sent")

    def __init__(self, label: str, on_free: Callable[[], None]) -> None:
        self.cut: Final = Holds(on_free)
        self.label: Final = label
        self.sent = 0


class Link:
    """The link of one process.

    Two faults that cut it at once both have to heal before a message passes; a one-way cut lets requests through and
    keeps the answers, or the other way round. Every draw of it is labelled with its name.
    """

    def __init__(
        self,
        name: str,
        *,
        draws: Draws,
        process: Process | None = None,
        quality: LinkQuality = PERFECT,
    ) -> None:
        self.name: Final = name
        self._quality = quality
        self._draws: Final = draws
        self._process: Final = process
        self._there: Final = _Lane(f"link/{name}/{Direction.TO_SERVER.value}", self._look)
        self._back: Final = _Lane(f"link/{name}/{Direction.TO_CLIENT.value}", self._look)
        self.clear = quality is PERFECT
        """Whether messages pass at once: nothing cuts it, and it takes no time and loses nothing. Asked for each message."""

    def __repr__(self) -> str:
        cut = " ".join(
            lane.label.rsplit("/", 1)[-1] for lane in self._lanes(Direction.BOTH) if lane.cut
        )
        return f"<Link {self.name} {f'cut {cut}' if cut else 'open'}>"

    def statistics(self) -> LinkStatistics:
        """A reading of its state."""
        return LinkStatistics(
            name=self.name,
            to_server=self._there.sent,
            to_client=self._back.sent,
            partitions=(*self._there.cut.reasons, *self._back.cut.reasons),
        )

    @property
    def quality(self) -> LinkQuality:
        """May be replaced at any time; messages on their way keep what they drew."""
        return self._quality

    @quality.setter
    def quality(self, quality: LinkQuality) -> None:
        self._quality = quality
        self._look()

    def _look(self) -> None:
        self.clear = not self._there.cut and not self._back.cut and self._quality is PERFECT

    def partition(self, direction: Direction = Direction.BOTH, reason: str = "") -> Sequence[Hold]:
        """Cut it, until all the holds returned are released; `heal` takes them."""
        self.clear = False
        return tuple(lane.cut.take(reason) for lane in self._lanes(direction))

    def heal(self, holds: Sequence[Hold] | None = None) -> None:
        """End the partition these holds stand for, or every one; healing what is healed does nothing."""
        if holds is None:
            for lane in self._lanes(Direction.BOTH):
                lane.cut.clear()
        else:
            for hold in holds:
                hold.release()

    def partitioned(self, direction: Direction = Direction.BOTH) -> bool:
        """Whether it is cut that way; BOTH asks for either."""
        return any(lane.cut for lane in self._lanes(direction))

    async def to_server(self) -> None:
        """Carry one message to the server; always a checkpoint. Returns when the server has it.

        Raises:
            ProcessGone: the process is dead or dying.
        """
        if self._process is not None:
            await self._process.passed()
        await self._carry(self._there)

    async def to_client(self) -> None:
        """Carry one message to the process; always a checkpoint. Returns when the process may read it.

        Raises:
            ProcessGone: the process is dead or dying.
        """
        await self._carry(self._back)
        if self._process is not None:
            await self._process.passed()

    async def _carry(self, lane: _Lane) -> None:
        n = lane.sent
        lane.sent += 1
        delay = self._draw_delay(lane, n)
        if delay == 0.0:
            await trio.lowlevel.checkpoint()
        else:
            await trio.sleep(delay)
        while lane.cut:
            await lane.cut.free()
            if delay != 0.0:
                await trio.sleep(delay)

    def _draw_delay(self, lane: _Lane, n: int) -> float:
        """Seconds on the way, with what retransmissions add."""
        quality = self.quality
        delay = self._draws.duration(lane.label, n, quality.delay)
        if quality.loss > 0.0:
            losses = 0
            while self._draws.chance(f"{lane.label}/loss/{n}", losses, quality.loss):
                delay += RETRANSMIT_SECONDS * 2 ** min(losses, _MAX_DOUBLINGS)
                losses += 1
        return delay

    def _lanes(self, direction: Direction) -> tuple[_Lane, ...]:
        if direction is Direction.TO_SERVER:
            return (self._there,)
        if direction is Direction.TO_CLIENT:
            return (self._back,)
        return (self._there, self._back)
