"""Links: the simulated network between one process and an API server.

A link carries a request with `await to_server()` and its answer, or one batch of a watch, with `await to_client()`. It behaves as TCP
does: a message that cannot get through is sent again until it does, so a partition delays and never drops; whoever cannot wait
has a time-out of its own. What this leaves open is the point: a request in flight may have been applied though its answer never comes.

    the process's gate, then the way there | the server commits | the way back, then the gate again

A partition that begins while a message is on its way stops that message too. So does a clog, which differs in how it ends: what a
partition held back goes on all at once, in any order, and what a clog held back in the order in which it came.

What a fault does to a link beyond that is an `Impairment`, which makes each message wait longer; several add up. It ends for the messages that are
on their way as well.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import trio

from engine.sim.draws import Draws
from engine.sim.durations import NO_TIME, DurationRange
from engine.sim.entries import Entries, Entry
from engine.sim.holds import Hold, Holds
from engine.sim.process import Process
from engine.sim.turnstile import Turnstile


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
class Impairment:
    """What makes a link worse: each message, one way, waits a delay, and with a chance a further one of its own, so that others overtake it."""

    delay: DurationRange = NO_TIME
    loss: float = 0.0
    """The chance, 0 to under 1, that a message is lost and has to be sent again after RETRANSMIT_SECONDS, then twice that, ..."""
    reorder: float = 0.0
    """The chance, 0 to 1, that a message waits `reorder_delay` on top."""
    reorder_delay: DurationRange = NO_TIME
    direction: Direction = Direction.BOTH

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.loss < 1:
            raise ValueError(f"loss is {self.loss}, allowed is 0 to under 1")


@attrs.frozen(kw_only=True)
class LinkStatistics:
    """What `Link.statistics()` returns."""

    name: str
    to_server: int
    """Messages sent to the server so far."""
    to_client: int
    partitions: tuple[str, ...]
    """The reasons of the partitions that cut it now, `to-server` first."""
    clogs: tuple[str, ...] = ()
    """The reasons of what clogs it, likewise."""
    impairments: tuple[str, ...] = ()
    """The reasons of what makes it worse, oldest first."""


class _Lane:
    """One direction: its partitions and its clogs, and how many messages it took."""

    __slots__ = ("clog", "cut", "direction", "label", "sent")

    def __init__(self, name: str, direction: Direction, on_free: Callable[[], None]) -> None:
        self.cut: Final = Holds(on_free)
        self.clog: Final = Turnstile(on_free)
        self.direction: Final = direction
        self.label: Final = f"link/{name}/{direction.value}"
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
        self._there: Final = _Lane(name, Direction.TO_SERVER, self._look)
        self._back: Final = _Lane(name, Direction.TO_CLIENT, self._look)
        self._impairments: Final[Entries[Impairment]] = Entries(self._look)
        self.clear = quality is PERFECT
        """Whether messages pass at once: nothing cuts, clogs or impairs it, and it takes no time and loses nothing. Asked for each message."""

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
            clogs=(*self._there.clog.reasons, *self._back.clog.reasons),
            impairments=self._impairments.reasons,
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
        self.clear = self._quality is PERFECT and not (
            self._there.cut
            or self._back.cut
            or self._there.clog.closed
            or self._back.clog.closed
            or self._impairments
        )

    def partition(self, direction: Direction = Direction.BOTH, reason: str = "") -> Sequence[Hold]:
        """Cut it, until all the holds returned are released; `heal` takes them."""
        self.clear = False
        return tuple(lane.cut.take(reason) for lane in self._lanes(direction))

    def clog(self, direction: Direction = Direction.BOTH, reason: str = "") -> Sequence[Hold]:
        """Have all messages stand still, until all the holds returned are released; then they go on in order."""
        self.clear = False
        return tuple(lane.clog.close(reason) for lane in self._lanes(direction))

    def impair(self, impairment: Impairment, reason: str = "") -> Entry[Impairment]:
        """Make it worse until the entry is released. Every draw is labelled with the link and the `reason`."""
        return self._impairments.add(impairment, reason)

    def heal(self, holds: Sequence[Hold] | None = None) -> None:
        """End the partition or the clog these holds stand for, or every partition; healing what is healed does nothing."""
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
        for impairment in self._impairments:
            await self._wait_longer(lane, n, impairment)
        await self._uncut(lane, delay)
        if lane.clog.closed:
            await lane.clog.passed()
            await self._uncut(lane, delay)

    async def _uncut(self, lane: _Lane, delay: float) -> None:
        while lane.cut:
            await lane.cut.free()
            if delay != 0.0:
                await trio.sleep(delay)

    async def _wait_longer(self, lane: _Lane, n: int, entry: Entry[Impairment]) -> None:
        """Wait what an impairment costs one message, or until it is over."""
        item = entry.item
        if item.direction not in (Direction.BOTH, lane.direction) or entry.over.is_set():
            return
        label = f"{lane.label}/{entry.reason}"
        delay = self._draws.duration(label, n, item.delay) + self._lost(label, n, item.loss)
        if item.reorder > 0.0 and self._draws.chance(f"{label}/reorder", n, item.reorder):
            delay += self._draws.duration(f"{label}/reorder-by", n, item.reorder_delay)
        if delay > 0.0:
            with trio.move_on_after(delay):
                await entry.over.wait()

    def _draw_delay(self, lane: _Lane, n: int) -> float:
        """Seconds on the way, with what retransmissions add."""
        quality = self.quality
        delay = self._draws.duration(lane.label, n, quality.delay)
        return delay + self._lost(lane.label, n, quality.loss)

    def _lost(self, label: str, n: int, loss: float) -> float:
        """Seconds until a message that may be lost has got through."""
        delay = 0.0
        if loss > 0.0:
            losses = 0
            while self._draws.chance(f"{label}/loss/{n}", losses, loss):
                delay += RETRANSMIT_SECONDS * 2 ** min(losses, _MAX_DOUBLINGS)
                losses += 1
        return delay

    def _lanes(self, direction: Direction) -> tuple[_Lane, ...]:
        if direction is Direction.TO_SERVER:
            return (self._there,)
        if direction is Direction.TO_CLIENT:
            return (self._back,)
        return (self._there, self._back)
